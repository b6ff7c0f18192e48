package store

import "slices"

// Subscription is Envoy's change of what it wants of one type.
type Subscription struct {
	Type        string
	Subscribe   []string // "*" or nothing at first means all clusters or listeners
	Unsubscribe []string
	Initial     map[string]string // name → version that Envoy holds; first of a stream
}

// Subscribe takes Envoy's wishes for one type. A name asked for again is sent again. A
// name of a type that is not eager is asked for at the control plane.
func (s *Store) Subscribe(in Subscription) {
	o := s.offer(in.Type)
	if !o.subscribed {
		o.subscribed = true
		o.wildcard = o.whole() && len(in.Subscribe) == 0
		for name, v := range in.Initial {
			o.held[name] = v
			o.dirty[name] = true
		}
	} else {
		for _, name := range in.Subscribe {
			o.forget(name)
		}
	}
	for _, name := range in.Subscribe {
		if name == "*" {
			o.wildcard = true
			continue
		}
		o.names[name] = true
		o.dirty[name] = true
	}
	if o.wildcard {
		s.markAll(o)
	}
	for _, name := range in.Unsubscribe {
		s.unsubscribe(o, name)
	}
	s.askUpstream(o, in)
}

// forget makes Envoy's copy of name count as lost, also in the response under way.
func (o *offer) forget(name string) {
	delete(o.held, name)
	for _, f := range o.flights {
		f.items = slices.DeleteFunc(f.items, func(i item) bool { return i.name == name })
	}
}

func (s *Store) markAll(o *offer) {
	for k := range s.parts {
		if k.typ == o.typ {
			o.dirty[k.name] = true
		}
	}
}

// unsubscribe ends Envoy's interest in one name: whoever waited for it counts it as held.
func (s *Store) unsubscribe(o *offer, name string) {
	if name == "*" {
		o.wildcard = false
		return
	}
	delete(o.names, name)
	if o.expects(name) {
		return
	}
	o.forget(name)
	delete(o.dirty, name)
	delete(o.missing, name)
	delete(o.removals, name)
	for _, k := range s.partsOf(o.typ, name) {
		if pt := s.parts[k]; pt != nil && pt.want == nil {
			s.drop(k)
		} else if pt != nil {
			s.release(pt, s.seq, "")
		}
	}
}

// askUpstream passes changed names of a type that is not eager on to the control plane.
func (s *Store) askUpstream(o *offer, in Subscription) {
	if slices.Contains(eager(), o.typ) {
		return
	}
	req := Request{Type: o.typ}
	for _, name := range in.Subscribe {
		if !o.asked[name] {
			o.asked[name] = true
			req.Subscribe = append(req.Subscribe, name)
		}
	}
	for _, name := range in.Unsubscribe {
		if !o.asked[name] {
			continue
		}
		delete(o.asked, name)
		req.Unsubscribe = append(req.Unsubscribe, name)
		if k := (key{o.typ, name}); s.parts[k] != nil {
			s.drop(k)
		}
	}
	if len(req.Subscribe)+len(req.Unsubscribe) > 0 {
		s.outbox = append(s.outbox, req)
	}
}

// Disconnect forgets Envoy's stream. Pushes of clusters and listeners go on waiting for
// the next one, which always asks for them; all else counts as held.
func (s *Store) Disconnect() {
	for _, o := range s.offers {
		o.reset()
	}
	for k, pt := range s.parts {
		if pt.want == nil {
			s.drop(k)
			continue
		}
		if o, name := s.offerOf(k); len(pt.waiters) > 0 && !o.expects(name) {
			s.release(pt, s.seq, "")
		}
	}
}
