// Package store keeps the encoded resources that the control plane sent and decides what
// Envoy is offered of them, in which order, and what the control plane is told about it.
//
// It is the middle of the relay: upstream puts responses in and takes requests out,
// downstream puts Envoy's requests in and takes responses out. Bodies are bytes that
// nobody decodes; a route table is joined from a shell and its virtual hosts. A resource
// that Envoy rejects is found by splitting the response that carried it, and goes back to
// the bytes Envoy last accepted. The package knows no connection, clock, goroutine or
// lock: a Store is a state machine, and its owner serialises the calls.
package store

import (
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/routetable"
)

// Type URLs of the resources that the agent subscribes to as a whole.
const (
	Cluster     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	Endpoints   = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	Listener    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	Route       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	VirtualHost = nodemeta.VirtualHostType
)

// eager lists the types of which everything is held, whether Envoy asks for it or not, in
// the order in which Envoy has to get them.
func eager() []string { return []string{Cluster, Endpoints, Listener, Route, VirtualHost} }

// Resource is one encoded resource. It is never modified once it is in a Store.
type Resource struct {
	Name    string
	Version string
	Body    []byte // the value of the Any
}

// Push is one response of the control plane.
type Push struct {
	Type      string
	Nonce     string
	Resources []*Resource
	Removed   []string
}

// Request is one message for the control plane. Either it answers Nonce (with Error, if
// Envoy rejected something), or it changes the subscription to Type.
type Request struct {
	Type        string
	Nonce       string
	Error       string // empty: acknowledged
	Subscribe   []string
	Unsubscribe []string
	Initial     map[string]string // name → version already held; first request of a stream
}

// Response is one message for Envoy.
type Response struct {
	Type      string
	Nonce     string
	Resources []Resource // the owner must not modify the bodies
	Removed   []string
}

// key names what the control plane sends. part is its state.
type key struct{ typ, name string }

type part struct {
	want    *Resource  // newest from the control plane; nil: removed
	good    *Resource  // what Envoy last accepted; nil: nothing
	bad     *rejection // Envoy rejected want
	seq     uint64     // of the push that brought want
	waiters []*push    // pushes whose answer waits for Envoy's word on this part
}

type rejection struct {
	version string // of the rejected resource; empty: the removal was rejected
	message string
}

// push is the answer owed to the control plane for one response.
type push struct {
	typ, nonce string
	stream     uint64 // upstream stream that brought it; others do not know its nonce
	seq        uint64
	open       int // parts that still wait for Envoy
	errs       []string
	answered   bool
}

// Store is the state between one control plane and one Envoy. The zero value is not
// usable; New makes one.
type Store struct {
	parts  map[key]*part
	tables map[string][]string // route table → names of its virtual host resources, sorted
	offers map[string]*offer   // by type; VirtualHost has none
	first  map[string]bool     // types whose initial state has arrived
	nonces map[string]string   // last nonce of each type on this upstream stream
	late   map[string][]string // rejections for which this stream has no nonce yet
	outbox []Request
	stream uint64 // counts upstream streams
	seq    uint64 // counts pushes
	nonce  uint64 // counts responses to Envoy
}

// New returns an empty store.
func New() *Store {
	s := &Store{
		parts: map[key]*part{}, tables: map[string][]string{}, offers: map[string]*offer{},
		first: map[string]bool{}, nonces: map[string]string{}, late: map[string][]string{},
	}
	for _, typ := range eager() {
		if typ != VirtualHost {
			s.offers[typ] = newOffer(typ)
		}
	}
	return s
}

// Complete reports whether the initial state of every eager type has arrived. Envoy gets
// no answer before: a partial first answer would make it drop what it has.
func (s *Store) Complete() bool { return len(s.first) == len(eager()) }

// Connect begins a new upstream stream and returns its first requests: every eager type
// by wildcard, every other by the names Envoy asked for, each with the versions held.
// A version that Envoy rejected is not reported as held, so that a control plane that
// lost its memory sends it again and learns of the rejection.
func (s *Store) Connect() []Request {
	s.stream++
	s.outbox = nil
	clear(s.nonces)
	initial := map[string]map[string]string{}
	for k, p := range s.parts {
		r := p.want
		if p.bad != nil {
			r = p.good
		}
		if r == nil {
			continue
		}
		if initial[k.typ] == nil {
			initial[k.typ] = map[string]string{}
		}
		initial[k.typ][k.name] = r.Version
	}
	var out []Request
	for _, typ := range eager() {
		out = append(out, Request{Type: typ, Subscribe: []string{"*"}, Initial: initial[typ]})
	}
	for _, o := range s.named() {
		if len(o.asked) > 0 {
			out = append(out, Request{Type: o.typ, Subscribe: sortedKeys(o.asked), Initial: initial[o.typ]})
		}
	}
	return out
}

// Requests takes the messages for the control plane that have gathered.
func (s *Store) Requests() []Request {
	out := s.outbox
	s.outbox = nil
	return out
}

// Apply takes one response of the control plane. What Envoy is not subscribed to counts
// as held at once; for the rest the answer waits for Envoy's.
func (s *Store) Apply(in Push) {
	s.seq++
	p := &push{typ: in.Type, nonce: in.Nonce, stream: s.stream, seq: s.seq, errs: s.late[in.Type]}
	delete(s.late, in.Type)
	s.nonces[in.Type] = in.Nonce
	p.open = 1 // held open until every part is applied
	for _, r := range in.Resources {
		s.set(p, key{in.Type, r.Name}, r)
	}
	for _, name := range in.Removed {
		s.set(p, key{in.Type, name}, nil)
	}
	if slices.Contains(eager(), in.Type) {
		s.first[in.Type] = true
	}
	s.settle(p)
}

// set makes r (nil: removal) the wanted state of k on behalf of p.
func (s *Store) set(p *push, k key, r *Resource) {
	pt := s.parts[k]
	if pt == nil {
		if r == nil {
			s.absent(k)
			return
		}
		pt = &part{}
		s.parts[k] = pt
		s.index(k)
	}
	if pt.bad != nil && pt.bad.version == version(r) {
		p.errs = append(p.errs, pt.bad.message)
		return
	}
	pt.want, pt.bad, pt.seq = r, nil, p.seq
	o, name := s.offerOf(k)
	if o == nil || !o.expects(name) {
		if r == nil {
			s.drop(k)
		}
		return
	}
	pt.waiters = append(pt.waiters, p)
	p.open++
	o.dirty[name] = true
}

// absent notes that the control plane has no resource k: who asked for it by name is told.
func (s *Store) absent(k key) {
	if o, name := s.offerOf(k); o != nil && o.names[name] {
		o.missing[name] = true
		o.dirty[name] = true
	}
}

// settle takes one hold off p, and answers the control plane when none is left.
func (s *Store) settle(p *push) {
	p.open--
	if p.open > 0 || p.answered {
		return
	}
	p.answered = true
	if p.stream == s.stream {
		s.outbox = append(s.outbox, Request{Type: p.typ, Nonce: p.nonce, Error: strings.Join(p.errs, "; ")})
		return
	}
	s.complain(p.typ, p.errs)
}

// complain reports rejections whose own push cannot carry them any more: it was answered
// before Envoy loaded the resource, or it came on a stream that is gone.
func (s *Store) complain(typ string, errs []string) {
	if nonce := s.nonces[typ]; nonce != "" && len(errs) > 0 {
		s.outbox = append(s.outbox, Request{Type: typ, Nonce: nonce, Error: strings.Join(errs, "; ")})
		return
	}
	s.late[typ] = append(s.late[typ], errs...)
}

// accept records that Envoy took r (nil: the removal) for k, as it was at seq.
func (s *Store) accept(k key, r *Resource, seq uint64) {
	pt := s.parts[k]
	if pt == nil {
		return
	}
	pt.good = r
	s.release(pt, seq, "")
	if pt.want == nil && pt.good == nil {
		s.drop(k)
	}
}

// reject records that Envoy refuses r (nil: the removal) for k and tells those who wait.
func (s *Store) reject(k key, r *Resource, seq uint64, message string) {
	pt := s.parts[k]
	if pt == nil || pt.want != r {
		return // something newer is there: it is tried on its own
	}
	message = k.name + ": " + message
	pt.bad = &rejection{version: version(r), message: message}
	if pt.good == r {
		pt.good = nil
	}
	told := len(pt.waiters) > 0
	s.release(pt, seq, message)
	if !told {
		s.complain(k.typ, []string{message})
	}
}

// release settles the pushes up to seq that wait for pt; message says why Envoy refused.
func (s *Store) release(pt *part, seq uint64, message string) {
	kept := pt.waiters[:0]
	for _, w := range pt.waiters {
		if w.seq > seq {
			kept = append(kept, w)
			continue
		}
		if message != "" {
			w.errs = append(w.errs, message)
		}
		s.settle(w)
	}
	pt.waiters = kept
	if len(kept) == 0 {
		pt.waiters = nil
	}
}

// drop forgets k and settles whoever waits for it.
func (s *Store) drop(k key) {
	pt := s.parts[k]
	s.release(pt, s.seq, "")
	delete(s.parts, k)
	route, _, ok := routetable.SplitHostName(k.name)
	if k.typ != VirtualHost || !ok {
		return
	}
	hosts := s.tables[route]
	if i, found := slices.BinarySearch(hosts, k.name); found {
		s.tables[route] = slices.Delete(hosts, i, i+1)
	}
	if len(s.tables[route]) == 0 {
		delete(s.tables, route)
	}
}

// index enters a new virtual host into its table.
func (s *Store) index(k key) {
	route, _, ok := routetable.SplitHostName(k.name)
	if k.typ != VirtualHost || !ok {
		return
	}
	hosts := s.tables[route]
	if i, found := slices.BinarySearch(hosts, k.name); !found {
		s.tables[route] = slices.Insert(hosts, i, k.name)
	}
}

// offerOf says where and under which name Envoy sees k. It is nil for a virtual host
// whose name has no table.
func (s *Store) offerOf(k key) (*offer, string) {
	if k.typ != VirtualHost {
		return s.offer(k.typ), k.name
	}
	route, _, ok := routetable.SplitHostName(k.name)
	if !ok {
		return nil, ""
	}
	return s.offers[Route], route
}

// partsOf lists the keys that make Envoy's resource name: one, or for a route table its
// shell and then its hosts by name.
func (s *Store) partsOf(typ, name string) []key {
	if typ != Route {
		return []key{{typ, name}}
	}
	out := make([]key, 0, 1+len(s.tables[name]))
	out = append(out, key{Route, name})
	for _, host := range s.tables[name] {
		out = append(out, key{VirtualHost, host})
	}
	return out
}

func version(r *Resource) string {
	if r == nil {
		return ""
	}
	return r.Version
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
