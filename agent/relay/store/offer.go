package store

import (
	"slices"
	"strconv"
)

// maxResponse is how many body bytes one response carries before the rest has to wait for
// its acknowledgement. It bounds what is encoded at one time, not what Envoy may hold.
const maxResponse = 512 << 10

// offer is Envoy's side of one type: what it asked for, what it holds, what is under way.
type offer struct {
	typ        string
	subscribed bool              // Envoy asked for the type on this stream
	wildcard   bool              // … for all of it
	answered   bool              // … and accepted a first answer
	names      map[string]bool   // … for these by name
	asked      map[string]bool   // names that the control plane was asked for; not eager types
	held       map[string]string // name → version that Envoy acknowledged
	dirty      map[string]bool   // names whose offer may differ from what Envoy holds
	missing    map[string]bool   // names that the control plane said do not exist
	removals   map[string]bool   // names to take away when nothing else is to be sent
	flights    []*flight         // oldest first
	trial      *trial
}

// flight is a response that Envoy has not answered.
type flight struct {
	nonce   string
	overdue bool // Envoy takes its time: nothing waits for the answer any more
	test    bool // of the trial
	items   []item
	removed []string
	changes []change
}

type item struct{ name, version string }

// change is one part that a response brings to Envoy, as it was when it was sent.
type change struct {
	key
	res *Resource
	seq uint64
}

func newOffer(typ string) *offer {
	o := &offer{typ: typ, asked: map[string]bool{}}
	o.reset()
	return o
}

// reset forgets the stream, not what the control plane was asked for.
func (o *offer) reset() {
	o.subscribed, o.wildcard, o.answered, o.flights, o.trial = false, false, false, nil, nil
	o.names, o.held, o.dirty = map[string]bool{}, map[string]string{}, map[string]bool{}
	o.missing, o.removals = map[string]bool{}, map[string]bool{}
}

// whole reports whether Envoy always takes all resources of the type.
func (o *offer) whole() bool { return o.typ == Cluster || o.typ == Listener }

// expects reports whether Envoy wants to be told about name.
func (o *offer) expects(name string) bool { return o.whole() || o.wildcard || o.names[name] }

// busy reports whether a response is under way that others wait for.
func (o *offer) busy() bool {
	return slices.ContainsFunc(o.flights, func(f *flight) bool { return !f.overdue })
}

// has is the version of name that Envoy holds or is about to.
func (o *offer) has(name string) (version string, ok bool) {
	for _, f := range slices.Backward(o.flights) {
		for _, i := range f.items {
			if i.name == name {
				return i.version, true
			}
		}
		if slices.Contains(f.removed, name) {
			return "", false
		}
	}
	version, ok = o.held[name]
	return version, ok
}

// land takes the response with this nonce out of those under way, nil if there is none.
func (o *offer) land(nonce string) *flight {
	i := slices.IndexFunc(o.flights, func(f *flight) bool { return f.nonce == nonce })
	if i < 0 {
		return nil
	}
	f := o.flights[i]
	o.flights = slices.Delete(o.flights, i, i+1)
	return f
}

// offer returns the offer of typ, a new one for a type seen for the first time.
func (s *Store) offer(typ string) *offer {
	o := s.offers[typ]
	if o == nil {
		o = newOffer(typ)
		s.offers[typ] = o
	}
	return o
}

// ordered returns the offers of the eager types in the order Envoy needs, clusters first.
func (s *Store) ordered() []*offer {
	return []*offer{s.offers[Cluster], s.offers[Endpoints], s.offers[Listener], s.offers[Route]}
}

// named returns the offers of the other types, sorted.
func (s *Store) named() []*offer {
	var out []*offer
	for _, typ := range sortedKeys(s.offers) {
		if !slices.Contains(eager(), typ) {
			out = append(out, s.offers[typ])
		}
	}
	return out
}

// Next returns the next response for Envoy, nil when there is none for now. At most one
// of a type is under way. Listeners and routes wait until Envoy has acknowledged clusters
// and endpoints, which it does when the clusters are warm, and removals wait for
// everything else: nothing refers to what is not there yet or no more. Endpoints do not
// wait for clusters, because clusters wait for them to become warm.
func (s *Store) Next() *Response {
	if s.Complete() {
		if r, clear := s.nextAddition(); r != nil {
			return r
		} else if clear {
			for _, i := range []int{2, 3, 0, 1} { // listeners, routes, clusters, endpoints
				if r := s.takeAway(s.ordered()[i]); r != nil {
					return r
				}
			}
		}
	}
	for _, o := range s.named() {
		if o.busy() || !o.subscribed {
			continue
		}
		if r := s.add(o); r != nil {
			return r
		}
		if r := s.takeAway(o); r != nil {
			return r
		}
	}
	return nil
}

// nextAddition is the next response that adds or changes; clear says that none is under
// way and none is left.
func (s *Store) nextAddition() (r *Response, clear bool) {
	clear = true
	for _, o := range s.ordered() {
		if !clear && o.typ != Endpoints {
			return nil, false
		}
		if o.busy() {
			clear = false
			continue
		}
		if !o.subscribed {
			continue
		}
		if r := s.add(o); r != nil {
			return r, false
		}
	}
	return nil, clear
}

// Relax stops waiting for answers that are under way. Envoy acknowledges clusters only
// when all are warm; one that never will be (its secret does not exist) must not hold up
// everything that comes later.
func (s *Store) Relax() {
	for _, o := range s.offers {
		for _, f := range o.flights {
			f.overdue = true
		}
	}
}

// add builds a response from what is dirty in o, nil if nothing of it is to be sent.
func (s *Store) add(o *offer) *Response {
	if slices.ContainsFunc(o.flights, func(f *flight) bool { return f.test }) {
		return nil // the verdict comes first
	}
	if r := s.try(o); r != nil {
		return r
	}
	f, out, size := &flight{}, &Response{Type: o.typ}, 0
	for _, name := range sortedKeys(o.dirty) {
		if size >= maxResponse {
			break
		}
		delete(o.dirty, name)
		if !o.expects(name) {
			continue
		}
		size += s.addName(o, name, f, out)
	}
	return s.launch(o, f, out)
}

// addName puts one name into the response if Envoy has to hear of it and returns the
// bytes that takes.
func (s *Store) addName(o *offer, name string, f *flight, out *Response) int {
	v, picked := s.pickAll(o, name)
	held, holds := o.has(name)
	delete(o.removals, name)
	switch {
	case v == "" && holds:
		o.removals[name] = true
	case v == "":
		s.nothing(o, name, f, out)
	case v == held:
		s.unchanged(o, name, picked)
	default:
		f.items = append(f.items, item{name, v})
		f.changes = append(f.changes, s.changed(picked)...)
		out.Resources = append(out.Resources, Resource{Name: name, Version: v, Body: body(o.typ, picked)})
		if holds {
			s.rewarm(o, name, out)
		}
		return len(out.Resources[len(out.Resources)-1].Body)
	}
	return 0
}

// unchanged settles who waits for a name that Envoy holds as it is offered; while that is
// under way, the answer to it settles them.
func (s *Store) unchanged(o *offer, name string, picked []change) {
	if _, landed := o.held[name]; !landed || len(o.flights) > 0 {
		f := o.flights[len(o.flights)-1]
		f.changes = append(f.changes, s.changed(picked)...)
		return
	}
	for _, c := range picked {
		s.accept(c.key, c.res, c.seq)
	}
}

// rewarm makes the endpoints of a changed cluster be sent again: Envoy builds the cluster
// anew and waits for them, but does not ask, since it is subscribed to them already.
func (s *Store) rewarm(o *offer, name string, out *Response) {
	if o.typ != Cluster {
		return
	}
	endpoints := s.offers[Endpoints]
	if name = endpointsName(name, out.Resources[len(out.Resources)-1].Body); endpoints.expects(name) {
		endpoints.forget(name)
		endpoints.dirty[name] = true
	}
}

// nothing handles a name for which there is no resource: Envoy, if it asked by name, must
// not wait for it, and neither must the control plane. A missing route table is not
// reported: Envoy takes no removal of one and answers 404 after its own timeout.
func (s *Store) nothing(o *offer, name string, f *flight, out *Response) {
	if o.names[name] && (o.typ == Endpoints || o.missing[name]) {
		out.Removed = append(out.Removed, name)
		f.removed = append(f.removed, name)
	}
	delete(o.missing, name)
	for _, k := range s.partsOf(o.typ, name) {
		if pt := s.parts[k]; pt != nil && pt.want == nil && pt.good == nil {
			s.drop(k)
		} else if pt != nil {
			s.release(pt, s.seq, "")
		}
	}
}

// takeAway builds a response that removes what is due in o.
func (s *Store) takeAway(o *offer) *Response {
	if len(o.removals) == 0 || o.busy() {
		return nil
	}
	f, out := &flight{}, &Response{Type: o.typ, Removed: sortedKeys(o.removals)}
	for _, name := range out.Removed {
		_, picked := s.pickAll(o, name)
		for _, c := range picked {
			if c.res == nil { // a virtual host that has lost its table is not seen by Envoy
				f.changes = append(f.changes, c)
			} else if pt := s.parts[c.key]; pt != nil {
				s.release(pt, c.seq, "")
			}
		}
	}
	f.removed = out.Removed
	o.removals = map[string]bool{}
	return s.launch(o, f, out)
}

// launch numbers the response and remembers it as under way; nil if it is empty. Who takes
// all of a type needs a first answer, even an empty one, to go on.
func (s *Store) launch(o *offer, f *flight, out *Response) *Response {
	if len(out.Resources)+len(out.Removed) == 0 && (o.answered || !o.whole()) {
		return nil
	}
	s.nonce++
	f.nonce = strconv.FormatUint(s.nonce, 10)
	out.Nonce = f.nonce
	o.flights = append(o.flights, f)
	return out
}

// changed are those picked parts that Envoy has not accepted, or that somebody waits for.
func (s *Store) changed(picked []change) []change {
	var out []change
	for _, c := range picked {
		if pt := s.parts[c.key]; pt.good != c.res || len(pt.waiters) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// Ack takes Envoy's acceptance of the response nonce. An unknown nonce is ignored.
func (s *Store) Ack(typ, nonce string) {
	o := s.offers[typ]
	if o == nil {
		return
	}
	f := o.land(nonce)
	if f == nil {
		return
	}
	o.answered = true
	for _, i := range f.items {
		if o.expects(i.name) {
			o.held[i.name] = i.version
		}
	}
	for _, name := range f.removed {
		delete(o.held, name)
	}
	for _, c := range f.changes {
		s.accept(c.key, c.res, c.seq)
	}
	if f.test && o.trial != nil {
		s.passed(o)
	}
}
