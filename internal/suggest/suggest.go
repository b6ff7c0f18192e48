// Package suggest finds the name that a user most likely meant by a misspelt one.
//
// It says nothing and knows no names: the known ones come in, one of them goes out. The
// result depends on nothing but the arguments. The package is pure.
package suggest

import "strings"

// Nearest returns the known name with the least distance to name, at most within; of
// several the first in the list, which therefore decides ties. It returns "" when none is
// near enough. Case counts as a difference like any other.
func Nearest(name string, known []string, within int) string {
	best, at := "", within+1
	for _, k := range known {
		if long := len(k) - len(name); long >= at || -long >= at {
			continue // at least as many letters to add or to drop
		}
		if d := Distance(name, k); d < at {
			best, at = k, d
		}
	}
	return best
}

// Name is Nearest for names with a prefix, as labels and annotations have: a known name
// that differs from name in the prefix or in the case of letters alone comes first, then
// the nearest one within three letters.
func Name(name string, known []string) string {
	last := func(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	for _, k := range known {
		if strings.EqualFold(last(k), last(name)) {
			return k
		}
	}
	return Nearest(name, known, 3)
}

// Distance is the Levenshtein distance of two names, in bytes.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			substitute := diagonal
			if a[i-1] != b[j-1] {
				substitute++
			}
			diagonal = row[j]
			row[j] = min(substitute, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
