package incr

// Pair is the key of a Product.
type Pair[A, B comparable] struct {
	A A
	B B
}

// Both is the value of a Product.
type Both[V, W any] struct {
	A V
	B W
}

// product is the node behind Product.
type product[A comparable, V any, B comparable, W any] struct {
	*Collection[Pair[A, B], Both[V, W]]
	a     *Collection[A, V]
	b     *Collection[B, W]
	keysA []A
	keysB []B
	placA map[A]int
	placB map[B]int
	dirtA []A
	dirtB []B
}

// Product adds a collection of all pairs of a value of a and a value of b. A change of
// one side costs as much as the other side is large, never their product.
func Product[A comparable, V any, B comparable, W any](g *Graph, name string, a *Collection[A, V], b *Collection[B, W]) *Collection[Pair[A, B], Both[V, W]] {
	equal := func(x, y Both[V, W]) bool { return a.equal(x.A, y.A) && b.equal(x.B, y.B) }
	p := &product[A, V, B, W]{
		Collection: newCollection[Pair[A, B]](name, equal), a: a, b: b,
		placA: map[A]int{}, placB: map[B]int{},
	}
	a.subs = append(a.subs, func(ch *Change[A, V]) {
		p.dirtA = append(p.dirtA, ch.Key)
		p.keysA = keep(p.keysA, p.placA, ch.Key, ch.Has)
	})
	b.subs = append(b.subs, func(ch *Change[B, W]) {
		p.dirtB = append(p.dirtB, ch.Key)
		p.keysB = keep(p.keysB, p.placB, ch.Key, ch.Has)
	})
	p.order = g.add(p)
	return p.Collection
}

// keep adds k to the list of keys or takes it away, in constant time.
func keep[K comparable](keys []K, place map[K]int, k K, has bool) []K {
	i, there := place[k]
	switch {
	case has && !there:
		place[k] = len(keys)
		return append(keys, k)
	case !has && there:
		last := len(keys) - 1
		keys[i] = keys[last]
		place[keys[i]] = i
		delete(place, k)
		return keys[:last]
	}
	return keys
}

func (p *product[A, V, B, W]) run() {
	// A dirty key meets the other side's keys of now; keys that vanished from the other
	// side in the same turn are met by that side's own dirt.
	for _, a := range p.dirtA {
		for _, b := range p.keysB {
			p.update(Pair[A, B]{a, b})
		}
		for _, b := range p.dirtB {
			p.update(Pair[A, B]{a, b})
		}
	}
	for _, b := range p.dirtB {
		for _, a := range p.keysA {
			p.update(Pair[A, B]{a, b})
		}
	}
	p.dirtA, p.dirtB = nil, nil
}

func (p *product[A, V, B, W]) update(k Pair[A, B]) {
	a, hasA := p.a.Get(k.A)
	b, hasB := p.b.Get(k.B)
	if hasA && hasB {
		p.set(p.cell(k), Both[V, W]{a, b})
		return
	}
	if at := p.cells[k]; at != nil {
		p.remove(at)
		at.tidy()
	}
}
