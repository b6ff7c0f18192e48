package store

import "strings"

// trial finds the guilty parts of a response that Envoy rejected, by offering the parts
// in groups: a group that passes is accepted, one that fails is split, one part that
// fails alone is guilty. Parts may only be valid together with others, so a guilty one is
// tried again as long as others were accepted after it failed.
type trial struct {
	suspects []key
	groups   [][]key      // not yet tried; the first is next or under way
	now      map[key]bool // the first group, once its response is built
	failed   []verdict
	progress bool // something was accepted since a part failed
}

type verdict struct {
	change
	message string
}

// Nack takes Envoy's rejection of the response nonce. Nothing of the response counts as
// accepted. A single changed part is guilty; several are tried in groups.
func (s *Store) Nack(typ, nonce, message string) {
	o := s.offers[typ]
	if o == nil {
		return
	}
	f := o.land(nonce)
	if f == nil {
		return
	}
	for _, i := range f.items {
		o.dirty[i.name] = true
	}
	for _, name := range f.removed {
		delete(o.held, name) // it was sent and is not offered any more, whatever Envoy says
	}
	suspects := s.suspects(o, f)
	switch {
	case f.test && o.trial != nil:
		s.failed(o, f, message)
	case len(suspects) == 1 && o.trial == nil:
		s.convict(o, []verdict{{suspects[0], message}})
	case len(suspects) > 0:
		if o.trial == nil {
			o.trial = &trial{}
		}
		keys := keysOf(suspects)
		o.trial.suspects = append(o.trial.suspects, keys...)
		o.trial.groups = append(o.trial.groups, split(keys, message)...)
	}
}

// suspects are the parts that the response changed; all its parts if Envoy rejected what
// it, or its predecessor, once accepted.
func (s *Store) suspects(o *offer, f *flight) []change {
	if len(f.changes) > 0 {
		return f.changes
	}
	var out []change
	for _, i := range f.items {
		_, picked := s.pickAll(o, i.name)
		out = append(out, picked...)
	}
	return out
}

// split divides suspects in two. Those that Envoy's message names go into the second
// group: if the message is right, the first passes and all innocents are through at once.
func split(keys []key, message string) [][]key {
	var quiet, accused []key
	for _, k := range keys {
		if mentions(message, k.name) {
			accused = append(accused, k)
		} else {
			quiet = append(quiet, k)
		}
	}
	if len(quiet) > 0 && len(accused) > 0 {
		return [][]key{quiet, accused}
	}
	if len(keys) == 1 {
		return [][]key{keys}
	}
	return [][]key{keys[:len(keys)/2], keys[len(keys)/2:]}
}

// mentions reports whether name occurs in message as a word of its own.
func mentions(message, name string) bool {
	for rest := message; name != ""; {
		before, after, found := strings.Cut(rest, name)
		if !found {
			return false
		}
		if !endsInWord(before) && !startsWithWord(after) {
			return true
		}
		rest = after
	}
	return false
}

func endsInWord(s string) bool { return s != "" && isWord(s[len(s)-1]) }

// startsWithWord takes ':' and '.' as ends of a name when nothing of a word follows.
func startsWithWord(s string) bool {
	trimmed := strings.TrimLeft(s, ":.")
	return trimmed != "" && isWord(trimmed[0])
}

func isWord(c byte) bool {
	return c == '_' || c == '-' || c == '|' || c == '/' || c == '.' ||
		'0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// try builds the response for the next group that makes a difference, nil when the trial
// is over.
func (s *Store) try(o *offer) *Response {
	for o.trial != nil {
		f, out := &flight{test: true}, &Response{Type: o.typ}
		group, seen := o.trial.groups[0], map[string]bool{}
		o.trial.now = setOf(group)
		for _, k := range group {
			_, name := s.offerOf(k)
			if pt := s.parts[k]; pt == nil || seen[name] || !o.expects(name) {
				continue
			}
			seen[name] = true
			v, picked := s.pickAll(o, name)
			held, holds := o.has(name)
			if v == "" || v == held {
				continue
			}
			f.items = append(f.items, item{name, v})
			out.Resources = append(out.Resources, Resource{Name: name, Version: v, Body: body(o.typ, picked)})
			for _, c := range picked {
				if o.trial.now[c.key] {
					f.changes = append(f.changes, c)
				}
			}
			if holds {
				s.rewarm(o, name, out)
			}
		}
		if len(out.Resources) > 0 {
			return s.launch(o, f, out)
		}
		s.skip(o)
	}
	return nil
}

func keysOf(changes []change) []key {
	out := make([]key, len(changes))
	for i, c := range changes {
		out[i] = c.key
	}
	return out
}

func setOf(keys []key) map[key]bool {
	out := make(map[key]bool, len(keys))
	for _, k := range keys {
		out[k] = true
	}
	return out
}

// passed ends the turn of a group that Envoy accepted.
func (s *Store) passed(o *offer) {
	o.trial.progress = len(o.trial.failed) > 0
	s.skip(o)
}

// failed splits the group that Envoy rejected, or notes the one part of it.
func (s *Store) failed(o *offer, f *flight, message string) {
	t := o.trial
	if len(f.changes) > 1 {
		t.groups = append(split(keysOf(f.changes), message), t.groups[1:]...)
		return
	}
	for _, c := range f.changes {
		t.failed = append(t.failed, verdict{c, message})
	}
	s.skip(o)
}

// skip goes on to the next group. After the last one the failed parts get another try if
// anything was accepted since, else they are convicted and the trial is over.
func (s *Store) skip(o *offer) {
	t := o.trial
	t.groups = t.groups[1:]
	if len(t.groups) > 0 {
		return
	}
	if t.progress {
		for _, v := range t.failed {
			t.groups = append(t.groups, []key{v.key})
		}
		t.failed, t.progress = nil, false
		return
	}
	o.trial = nil
	for _, k := range t.suspects {
		if _, name := s.offerOf(k); o.expects(name) {
			o.dirty[name] = true
		}
	}
	s.convict(o, t.failed)
}

// convict sends the guilty back to their last good bytes and reports them.
func (s *Store) convict(o *offer, guilty []verdict) {
	for _, v := range guilty {
		s.reject(v.key, v.res, v.seq, v.message)
		if _, name := s.offerOf(v.key); o.expects(name) {
			o.dirty[name] = true
		}
	}
}
