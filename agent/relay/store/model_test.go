package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
)

// model is a control plane and an Envoy around a store, driven by chance. Bodies that
// contain "bad" are rejected by Envoy; a listener's body is the name of its route table.
type model struct {
	t       *testing.T
	r       *rand.Rand
	s       *Store
	version int
	nonce   int

	plane     map[key]*Resource // what the control plane wants
	held      map[key]string    // what the agent was told, by the control plane's count
	connected bool
	open      map[string]string // nonce → type, not answered on this stream
	rejected  map[string]bool   // "<name>" of every error the control plane got

	envoy map[string]map[string]string // type → name → body
	subs  map[string]map[string]bool
	up    bool
	inbox []*Response
}

func newModel(t *testing.T, seed uint64) *model {
	return &model{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), s: New(), plane: map[key]*Resource{},
		rejected: map[string]bool{},
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	out, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// edit changes one object of the control plane.
func (m *model) edit() {
	types := eager()
	k := key{types[m.r.IntN(len(types))], string(rune('a' + m.r.IntN(4)))}
	if k.typ == VirtualHost {
		k.name += "/" + string(rune('p'+m.r.IntN(5)))
	}
	if m.r.IntN(4) == 0 {
		delete(m.plane, k)
		return
	}
	m.version++
	text := fmt.Sprintf("v%d", m.version)
	if m.r.IntN(6) == 0 {
		text = "bad" + text
	}
	res := &Resource{Name: k.name, Version: text}
	switch k.typ {
	case Route:
		res.Body = encoded(m.t, &routev3.RouteConfiguration{Name: k.name, InternalOnlyHeaders: []string{text}})
	case VirtualHost:
		res.Body = encoded(m.t, &routev3.VirtualHost{Name: k.name, Domains: []string{text}})
	case Listener:
		res.Body = []byte(k.name + text)
	default:
		res.Body = []byte(text)
	}
	m.plane[k] = res
}

// connect begins a stream of the control plane.
func (m *model) connect() {
	m.connected, m.open, m.held = true, map[string]string{}, map[key]string{}
	for _, req := range m.s.Connect() {
		for name, v := range req.Initial {
			m.held[key{req.Type, name}] = v
		}
	}
	for _, typ := range eager() {
		m.send(typ, true)
	}
}

// send sends the differences of one type.
func (m *model) send(typ string, first bool) {
	p := Push{Type: typ, Nonce: fmt.Sprint("n", m.nonce)}
	for k, r := range m.plane {
		if k.typ == typ && m.held[k] != r.Version {
			p.Resources = append(p.Resources, r)
			m.held[k] = r.Version
		}
	}
	for k := range m.held {
		if k.typ == typ && m.plane[k] == nil {
			p.Removed = append(p.Removed, k.name)
			delete(m.held, k)
		}
	}
	if !first && len(p.Resources)+len(p.Removed) == 0 {
		return
	}
	m.nonce++
	m.open[p.Nonce] = typ
	m.s.Apply(p)
}

// collect takes the agent's answers.
func (m *model) collect() {
	for _, req := range m.s.Requests() {
		delete(m.open, req.Nonce)
		for part := range strings.SplitSeq(req.Error, "; ") {
			name, _, _ := strings.Cut(part, ": ")
			m.rejected[req.Type+name] = true
		}
	}
}

// start begins a stream of Envoy: a new process knows nothing.
func (m *model) start() {
	m.up, m.inbox = true, nil
	m.envoy, m.subs = map[string]map[string]string{}, map[string]map[string]bool{}
	for _, typ := range []string{Cluster, Endpoints, Listener, Route} {
		m.envoy[typ], m.subs[typ] = map[string]string{}, map[string]bool{}
	}
	m.s.Subscribe(Subscription{Type: Cluster})
	m.s.Subscribe(Subscription{Type: Listener})
}

// answer lets Envoy handle its oldest message.
func (m *model) answer() {
	if len(m.inbox) == 0 {
		return
	}
	r := m.inbox[0]
	m.inbox = m.inbox[1:]
	for _, res := range r.Resources {
		if strings.Contains(string(res.Body), "bad") {
			m.s.Nack(r.Type, r.Nonce, "Envoy says no")
			return
		}
	}
	for _, res := range r.Resources {
		if whole := r.Type == Cluster || r.Type == Listener; whole || m.subs[r.Type][res.Name] {
			m.envoy[r.Type][res.Name] = string(res.Body)
		}
	}
	for _, name := range r.Removed {
		delete(m.envoy[r.Type], name)
	}
	m.s.Ack(r.Type, r.Nonce)
	m.resubscribe(Cluster, Endpoints)
	m.resubscribe(Listener, Route)
}

// resubscribe follows what of one type refers to the other by name.
func (m *model) resubscribe(from, to string) {
	sub := Subscription{Type: to}
	for name := range m.envoy[from] {
		if !m.subs[to][name] {
			m.subs[to][name] = true
			sub.Subscribe = append(sub.Subscribe, name)
		}
	}
	for name := range m.subs[to] {
		if _, ok := m.envoy[from][name]; !ok {
			delete(m.subs[to], name)
			delete(m.envoy[to], name)
			sub.Unsubscribe = append(sub.Unsubscribe, name)
		}
	}
	if len(sub.Subscribe)+len(sub.Unsubscribe) > 0 {
		m.s.Subscribe(sub)
	}
}

// step does one thing by chance.
func (m *model) step() {
	switch m.r.IntN(12) {
	case 0, 1, 2:
		m.edit()
	case 3, 4:
		if m.connected {
			m.send(eager()[m.r.IntN(5)], false)
		}
	case 5, 6, 7:
		m.take()
	case 8, 9:
		m.answer()
	case 10:
		if m.r.IntN(8) == 0 {
			m.connect()
		}
		m.s.Relax()
	case 11:
		if m.r.IntN(8) == 0 {
			m.s.Disconnect()
			m.start()
		}
	}
	m.collect()
}

func (m *model) take() {
	if m.up {
		if r := m.s.Next(); r != nil {
			m.inbox = append(m.inbox, r)
		}
	}
}

// settle lets everything run out.
func (m *model) settle() {
	for _, typ := range eager() {
		m.send(typ, false)
	}
	for range 10_000 {
		m.take()
		if len(m.inbox) == 0 {
			m.collect()
			return
		}
		m.answer()
		m.collect()
	}
	m.t.Fatal("does not settle")
}

// check compares Envoy with the control plane.
func (m *model) check() {
	if len(m.open) > 0 {
		m.t.Errorf("not answered: %v", m.open)
	}
	for _, typ := range []string{Cluster, Listener} {
		for name := range m.envoy[typ] {
			if m.plane[key{typ, name}] == nil {
				m.t.Errorf("%s %s is left in envoy", typ, name)
			}
		}
	}
	for k, r := range m.plane {
		body, has := "", false
		switch {
		case k.typ == VirtualHost:
			route, _, _ := strings.Cut(k.name, "/")
			body, has = m.envoy[Route][route]
			has = has && m.subs[Route][route]
			if !has || m.plane[key{Route, route}] == nil {
				continue // no table, or one that the control plane takes away
			}
			has = strings.Contains(body, r.Version)
			body = string(r.Body)
		case k.typ == Cluster || k.typ == Listener || m.subs[k.typ][k.name]:
			body, has = m.envoy[k.typ][k.name]
			has = has && strings.Contains(body, r.Version)
		default:
			continue
		}
		bad := strings.HasPrefix(r.Version, "bad")
		if bad == has {
			m.t.Errorf("%v %s: in envoy %v (%q)", k, r.Version, has, body)
		}
		if bad && !m.rejected[k.typ+k.name] {
			m.t.Errorf("%v %s was not reported as rejected", k, r.Version)
		}
	}
}

// TestEnvoyEndsWithEverythingGood lets control plane, agent and Envoy run by chance,
// reconnect and restart: in the end Envoy holds everything the control plane wants except
// what it rejects, nothing else, and every push was answered.
func TestEnvoyEndsWithEverythingGood(t *testing.T) {
	for seed := range uint64(4000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := newModel(t, seed)
			m.connect()
			m.start()
			for range 200 {
				m.step()
			}
			m.settle()
			m.check()
		})
	}
}

func BenchmarkRelay(b *testing.B) {
	const n = 1000
	var rs []*Resource
	for i := range n {
		rs = append(rs, &Resource{Name: fmt.Sprintf("outbound|80||svc-%d.default.svc.cluster.local", i), Version: "1", Body: make([]byte, 2000)})
	}
	b.SetBytes(n * 2000)
	b.ReportAllocs()
	for b.Loop() {
		s := New()
		s.Connect()
		for _, typ := range eager() {
			p := Push{Type: typ, Nonce: "1"}
			if typ == Cluster {
				p.Resources = rs
			}
			s.Apply(p)
		}
		s.Subscribe(Subscription{Type: Cluster})
		for r := s.Next(); r != nil; r = s.Next() {
			s.Ack(r.Type, r.Nonce)
		}
	}
}

func BenchmarkOneHostOfAThousand(b *testing.B) {
	s := New()
	s.Connect()
	host := func(i int, version string) *Resource {
		return &Resource{Name: fmt.Sprintf("80/svc-%d.default.svc.cluster.local:80", i), Version: version, Body: make([]byte, 230)}
	}
	var hosts []*Resource
	for i := range 1000 {
		hosts = append(hosts, host(i, "1"))
	}
	for _, typ := range eager() {
		p := Push{Type: typ, Nonce: "1"}
		switch typ {
		case Route:
			p.Resources = []*Resource{{Name: "80", Version: "1", Body: make([]byte, 50)}}
		case VirtualHost:
			p.Resources = hosts
		}
		s.Apply(p)
	}
	s.Subscribe(Subscription{Type: Route, Subscribe: []string{"80"}})
	for r := s.Next(); r != nil; r = s.Next() {
		s.Ack(r.Type, r.Nonce)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Apply(Push{Type: VirtualHost, Nonce: "2", Resources: []*Resource{host(i%1000, fmt.Sprint(i+2))}})
		r := s.Next()
		s.Ack(r.Type, r.Nonce)
		s.Requests()
	}
}
