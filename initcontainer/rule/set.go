package rule

import (
	"fmt"
	"slices"
	"strings"
)

// Set is all that belongs to the interception in one table of one family: its chains and,
// in order, its rules, those of built-in chains included. The zero Set is nothing.
type Set struct {
	Chains []Chain // private chains
	Rules  []Rule
}

// Sets is all that belongs to the interception in one family. A table that holds nothing
// of it has no entry.
type Sets map[Table]Set

// Empty reports whether no table holds anything.
func (s Sets) Empty() bool { return len(s) == 0 }

// Len is the number of rules in all tables.
func (s Sets) Len() int {
	n := 0
	for _, set := range s {
		n += len(set.Rules)
	}
	return n
}

// Marks are the packet marks with which rules hand connections to a listener as they are,
// each once.
func (s Sets) Marks() []uint32 {
	var out []uint32
	for _, t := range Tables() {
		for _, r := range s[t].Rules {
			if r.Target.Action == Diverts && !slices.Contains(out, r.Target.Value) {
				out = append(out, r.Target.Value)
			}
		}
	}
	return out
}

// SetOf is the set of the given rules; its chains are the private ones that hold a rule.
func SetOf(rules []Rule) Set {
	s := Set{Rules: rules}
	for _, r := range rules {
		if r.Chain.Private() && !slices.Contains(s.Chains, r.Chain) {
			s.Chains = append(s.Chains, r.Chain)
		}
	}
	return s
}

// ParseSave reads the output of iptables-save: the interception's part of the tables in
// use. Rules and chains of others are left out, whatever they hold.
func ParseSave(save string) (Sets, error) {
	sets := Sets{}
	var table Table
	for line := range strings.Lines(save) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = Table(name)
			continue
		}
		if !slices.Contains(Tables(), table) {
			continue
		}
		set := sets[table]
		if err := set.read(line); err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		if !set.Empty() {
			sets[table] = set
		}
	}
	return sets, nil
}

// read takes a line within a table into s, if it is of the interception.
func (s *Set) read(line string) error {
	switch {
	case strings.HasPrefix(line, ":"):
		name, _, _ := strings.Cut(line[1:], " ")
		if c := Chain(name); c.Private() {
			s.Chains = append(s.Chains, c)
		}
	case strings.HasPrefix(line, "-A "):
		r, err := Parse(line)
		if err != nil {
			return err
		}
		if r.Owned() {
			s.Rules = append(s.Rules, r)
		}
	}
	return nil
}

// Empty reports whether the set holds nothing.
func (s Set) Empty() bool { return len(s.Chains) == 0 && len(s.Rules) == 0 }

// In returns the rules of one chain, in order.
func (s Set) In(c Chain) []Rule {
	var out []Rule
	for _, r := range s.Rules {
		if r.Chain == c {
			out = append(out, r)
		}
	}
	return out
}

// Swap is the input of "iptables-restore --noflush" that turns from into to: one
// transaction of the kernel for each table, before which all packets meet from and after
// which all meet to. When one fails, tables named before it have changed, others have not.
// Tables that are filled come before those that are emptied, so that what was captured and
// is to be stays captured in between. from must be what the tables hold, else the
// transaction fails. Rules and chains of others are not named. It is empty when there is
// nothing to do.
func Swap(from, to Sets) string {
	var b strings.Builder
	for _, filled := range []bool{true, false} {
		for _, t := range Tables() {
			if to[t].Empty() != filled {
				b.WriteString(swap(t, from[t], to[t]))
			}
		}
	}
	return b.String()
}

// swap is the part of Swap for one table.
func swap(t Table, from, to Set) string {
	if from.Empty() && to.Empty() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%s\n", t)
	for _, c := range to.Chains {
		if slices.Contains(from.Chains, c) {
			fmt.Fprintf(&b, "-F %s\n", c)
		} else {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c)
		}
	}
	for _, r := range from.Rules {
		if !r.Chain.Private() {
			fmt.Fprintf(&b, "-D %s %s\n", r.Chain, r.Spec())
		}
	}
	gone := slices.DeleteFunc(slices.Clone(from.Chains), func(c Chain) bool {
		return slices.Contains(to.Chains, c)
	})
	// Chains may jump to each other, so all are emptied before the first is removed.
	for _, verb := range []string{"-F", "-X"} {
		for _, c := range gone {
			fmt.Fprintf(&b, "%s %s\n", verb, c)
		}
	}
	for _, r := range to.ordered() {
		fmt.Fprintln(&b, r)
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// ordered is the rules with those of built-in chains last: nothing is captured by chains
// that are not complete, even where a restore were not atomic.
func (s Set) ordered() []Rule {
	private := slices.DeleteFunc(slices.Clone(s.Rules), func(r Rule) bool { return !r.Chain.Private() })
	jumps := slices.DeleteFunc(slices.Clone(s.Rules), func(r Rule) bool { return r.Chain.Private() })
	return slices.Concat(private, jumps)
}
