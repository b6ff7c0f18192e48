package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/xds/envoy"
)

// bundle is what one owner has, with what the last turn changed.
type bundle struct {
	resources map[envoy.Name]*envoy.Resource
	changed   []*envoy.Resource // sorted
	gone      []*envoy.Resource // sorted; as they were
	sorted    []*envoy.Resource // all of resources; nil: not made yet
}

// collect brings the bundles up to date: it looks at what the turn changed and at nothing
// else.
func (g *Graph) collect() {
	for _, b := range g.bundles {
		b.changed, b.gone = nil, nil
	}
	seen := map[wantKey]bool{}
	for _, l := range g.nodes.layers {
		for _, ch := range l.wants.Changes() {
			if ch.Key.kind == mistakesOf {
				keep(&g.problems, g.problems.scopes, ch.Key, ch.New.problems)
				continue
			}
			g.place(l, ch.Key, seen)
		}
		for _, ch := range l.built.Changes() {
			group, _ := l.groups.Get(ch.Key)
			for _, w := range group {
				g.place(l, w.at, seen)
			}
		}
	}
	for id, b := range g.bundles {
		slices.SortFunc(b.changed, compareResources)
		slices.SortFunc(b.gone, compareResources)
		if len(b.resources) == 0 {
			b.sorted = nil
			if len(b.gone) == 0 {
				delete(g.bundles, id)
			}
		}
	}
}

// place puts the resource of a want, or its absence, into the owner's bundle.
func (g *Graph) place(l layer, at wantKey, seen map[wantKey]bool) {
	if seen[at] {
		return
	}
	seen[at] = true
	var now *envoy.Resource
	if w, ok := l.wants.Get(at); ok {
		now, _ = l.built.Get(w.recipe)
	}
	b := g.bundles[at.owner]
	if b == nil {
		b = &bundle{resources: map[envoy.Name]*envoy.Resource{}}
		g.bundles[at.owner] = b
	}
	name := envoy.Name{TypeURL: at.kind.typeURL(), Name: at.name}
	before := b.resources[name]
	if before == now {
		return
	}
	b.sorted = nil
	if now == nil {
		delete(b.resources, name)
		b.gone = append(b.gone, before)
		return
	}
	b.resources[name] = now
	if !envoy.Equal(before, now) {
		b.changed = append(b.changed, now)
	}
}

// all returns every resource of the bundle, sorted. The slice is shared.
func (b *bundle) all() []*envoy.Resource {
	if b == nil {
		return nil
	}
	if b.sorted == nil {
		b.sorted = make([]*envoy.Resource, 0, len(b.resources))
		for _, r := range b.resources {
			b.sorted = append(b.sorted, r)
		}
		slices.SortFunc(b.sorted, compareResources)
	}
	return b.sorted
}

// updates makes the update of each class that has one.
func (g *Graph) updates() []envoy.Update {
	var out []envoy.Update
	for _, m := range g.order {
		shared, own := g.bundles[m.scope], g.bundles[m.id]
		u := envoy.Update{Class: m.class, Revision: g.revision, Whole: !m.sent}
		if u.Whole {
			m.sent = true
			u.Changed = join(shared.all(), own.all())
			out = append(out, u)
			continue
		}
		u.Changed, u.Removed = difference(shared, own)
		if len(u.Changed)+len(u.Removed) > 0 {
			out = append(out, u)
		}
	}
	return out
}

// difference is what a turn changed for a class that has both bundles. A resource that
// only went from one to the other is no change.
func difference(shared, own *bundle) (changed []*envoy.Resource, removed []envoy.Name) {
	var gone []*envoy.Resource
	for _, b := range []*bundle{shared, own} {
		if b != nil {
			changed, gone = join(changed, b.changed), join(gone, b.gone)
		}
	}
	moved := func(r *envoy.Resource) bool {
		return slices.ContainsFunc(gone, func(g *envoy.Resource) bool { return envoy.Equal(g, r) })
	}
	if shared != nil && own != nil && len(gone) > 0 && slices.ContainsFunc(changed, moved) {
		changed = slices.DeleteFunc(slices.Clone(changed), moved)
	}
	for _, g := range gone {
		n := envoy.Name{TypeURL: g.TypeURL, Name: g.Name}
		if shared.has(n) || own.has(n) {
			continue
		}
		removed = append(removed, n)
	}
	return changed, removed
}

func (b *bundle) has(n envoy.Name) bool { return b != nil && b.resources[n] != nil }

// join is a followed by b; it shares memory with an argument when the other is empty.
func join[T any](a, b []T) []T {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	return append(slices.Clip(a), b...)
}

func compareResources(a, b *envoy.Resource) int {
	return cmp.Or(strings.Compare(a.TypeURL, b.TypeURL), strings.Compare(a.Name, b.Name))
}
