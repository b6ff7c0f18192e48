package patch

import (
	"slices"
	"sort"
)

// names is a list of names that is searched; long ones have an index.
type names struct {
	list []string
	at   map[string]int // nil where the list is short
}

const (
	shortList = 16  // is searched without an index
	maxNames  = 256 // in a list that is kept for another pod
)

func (n *names) reset() { n.list, n.at = n.list[:0], nil }

// prepare is called when the list is complete.
func (n *names) prepare() {
	if len(n.list) <= shortList {
		return
	}
	n.at = make(map[string]int, len(n.list))
	for i, name := range n.list {
		n.at[name] = i
	}
}

// index returns the place of a name, -1 where it is not in the list.
func (n *names) index(name string) int {
	if n.at == nil {
		return slices.Index(n.list, name)
	}
	if i, ok := n.at[name]; ok {
		return i
	}
	return -1
}

// unique reports whether no name comes twice.
func (n *names) unique() bool {
	if n.at != nil {
		return len(n.at) == len(n.list)
	}
	for i, name := range n.list {
		if slices.Contains(n.list[i+1:], name) {
			return false
		}
	}
	return true
}

// movers returns the names of from that have to move because to has them in another order;
// the fewest that will do. Names that are in one list only do not count.
func movers(from, to *names) []string {
	if sameOrder(from, to) {
		return nil
	}
	var kept []string
	var places []int // in to, of kept
	for _, name := range from.list {
		if i := to.index(name); i >= 0 {
			kept, places = append(kept, name), append(places, i)
		}
	}
	stay := longestRise(places)
	var out []string
	for i, name := range kept {
		if _, ok := slices.BinarySearch(stay, i); !ok {
			out = append(out, name)
		}
	}
	return out
}

func sameOrder(from, to *names) bool {
	before := -1
	for _, name := range from.list {
		i := to.index(name)
		if i >= 0 && i < before {
			return false
		}
		before = max(before, i)
	}
	return true
}

// longestRise returns where the members of a longest rising subsequence are.
func longestRise(values []int) []int {
	var ends []int // of the best rise of each length: where its last member is
	before := make([]int, len(values))
	for i, v := range values {
		length := sort.Search(len(ends), func(k int) bool { return values[ends[k]] >= v })
		before[i] = -1
		if length > 0 {
			before[i] = ends[length-1]
		}
		if length == len(ends) {
			ends = append(ends, i)
		} else {
			ends[length] = i
		}
	}
	out := make([]int, len(ends))
	for at, k := ends[len(ends)-1], len(ends)-1; k >= 0; at, k = before[at], k-1 {
		out[k] = at
	}
	return out
}
