package nft

import (
	"fmt"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Text is what Swap loads for one family, as a script that "nft -f" takes. It replaces what
// the tables hold. It fails on rules that no plan contains.
func Text(f rule.Family, s rule.Sets) (string, error) {
	w := &writer{family: f}
	for _, t := range rule.Tables() {
		if err := w.table(t, s[t]); err != nil {
			return "", err
		}
	}
	return w.String(), nil
}

// writer says rules of one family as nft does.
type writer struct {
	strings.Builder
	family rule.Family
}

// ip is the family in nft's words, for tables and headers alike.
func (w *writer) ip() string {
	if w.family == rule.IPv6 {
		return "ip6"
	}
	return "ip"
}

func (w *writer) table(t rule.Table, s rule.Set) error {
	if s.Empty() {
		return nil
	}
	name := w.ip() + " " + tableName(t)
	// Deleting fails where there is no such table, so there has to be one.
	fmt.Fprintf(w, "add table %s\ndelete table %s\ntable %s {\n", name, name, name)
	for _, c := range s.Chains {
		fmt.Fprintf(w, "\tchain %s {\n", chainName(c))
		if err := w.rules(s.In(c)); err != nil {
			return err
		}
	}
	for _, c := range []rule.Chain{rule.Prerouting, rule.Output} {
		at := hookOf(t, chainName(c))
		fmt.Fprintf(w, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy accept;\n", chainName(c), at.kind, chainName(c), at.priority)
		if err := w.rules(s.In(c)); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "}")
	return nil
}

// rules writes those of one chain and closes it.
func (w *writer) rules(rules []rule.Rule) error {
	for _, r := range rules {
		// What lower refuses, this does not say either.
		if _, err := lower(w.family, r); err != nil {
			return err
		}
		when := w.when(r)
		fmt.Fprintf(w, "\t\t%scounter %s%s\n", when, w.then(r.Target), comment(r))
		if r.Target.Action == rule.Diverts {
			fmt.Fprintf(w, "\t\t%scounter drop%s\n", when, comment(r))
		}
	}
	fmt.Fprint(w, "\t}\n")
	return nil
}

func comment(r rule.Rule) string {
	if c := r.Comment(); c != "" {
		return fmt.Sprintf(" comment %q", c)
	}
	return ""
}

// when is what must hold, in the order in which it is lowered.
func (w *writer) when(r rule.Rule) string {
	var b strings.Builder
	header := "th"
	for _, m := range r.Match {
		if m.Key == rule.Protocol {
			fmt.Fprintf(&b, "meta l4proto %s%s ", not(m), m.Value)
		}
		if m.Key == rule.Protocol && !m.Not {
			header = m.Value
		}
	}
	for _, m := range r.Match {
		if m.Key != rule.Protocol {
			fmt.Fprintf(&b, "%s ", w.match(m, header))
		}
	}
	return b.String()
}

func not(m rule.Match) string {
	if m.Not {
		return "!= "
	}
	return ""
}

// match says one condition; header is that of the rule's protocol.
func (w *writer) match(m rule.Match, header string) string {
	value := not(m) + m.Value
	switch m.Key { //exhaustive:enforce
	case rule.Source:
		return w.ip() + " saddr " + value
	case rule.Destination:
		return w.ip() + " daddr " + value
	case rule.InLink:
		return "iifname " + not(m) + linkText(m.Value)
	case rule.OutLink:
		return "oifname " + not(m) + linkText(m.Value)
	case rule.SourcePort:
		return header + " sport " + value
	case rule.DestPort:
		return header + " dport " + value
	case rule.OwnerUID:
		return "meta skuid " + value
	case rule.OwnerGID:
		return "meta skgid " + value
	case rule.PacketMark:
		return "meta mark " + value
	case rule.ConnMark:
		return "ct mark " + value
	case rule.ConnState:
		names := strings.ToLower(m.Value)
		if m.Not {
			return "ct state & (" + strings.ReplaceAll(names, ",", " | ") + ") == 0"
		}
		return "ct state " + names
	case rule.ConnDir:
		return "ct direction " + not(m) + strings.ToLower(m.Value)
	case rule.Protocol, rule.Other:
	}
	return value
}

func linkText(name string) string {
	if begin, more := strings.CutSuffix(name, "+"); more {
		name = begin + "*"
	}
	return `"` + name + `"`
}

// then says what happens.
func (w *writer) then(t rule.Target) string {
	switch t.Action { //exhaustive:enforce
	case rule.Returns:
		return "return"
	case rule.Accepts:
		return "accept"
	case rule.Drops:
		return "drop"
	case rule.Jumps:
		return "jump " + chainName(t.Chain)
	case rule.Redirects:
		return fmt.Sprintf("redirect to :%d", t.Port)
	case rule.Diverts:
		return fmt.Sprintf("tproxy to :%d meta mark set 0x%x accept", t.Port, t.Value)
	case rule.Marks:
		return fmt.Sprintf("meta mark set 0x%x", t.Value)
	case rule.KeepsMark:
		return "ct mark set meta mark"
	case rule.TakesMark:
		return "meta mark set ct mark"
	case rule.Zones:
		return fmt.Sprintf("ct zone set %d", t.Value)
	case rule.Nothing, rule.Foreign:
	}
	return t.Text
}
