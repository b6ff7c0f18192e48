package nft

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// own is how the names of the interception's tables begin.
const own = "istio-proxy-"

// tableName is what the kernel calls a table of the plan.
func tableName(t rule.Table) string { return own + string(t) }

// ownTable is the table of the plan that the kernel calls so; "" for those of others.
func ownTable(name string) rule.Table {
	for _, t := range rule.Tables() {
		if tableName(t) == name {
			return t
		}
	}
	return ""
}

// The base chains, in the kernel's words.
const (
	prerouting = "prerouting"
	output     = "output"
)

// chainName is what the kernel calls a chain of the plan.
func chainName(c rule.Chain) string {
	return strings.ReplaceAll(strings.ToLower(string(c)), "_", "-")
}

// plannedChain is the chain of the plan that the kernel calls so in one of our tables, or,
// when no plan has it, the name as it is.
func plannedChain(name string) rule.Chain {
	c := rule.Chain(strings.ReplaceAll(strings.ToUpper(name), "-", "_"))
	if (c.Private() || c == rule.Prerouting || c == rule.Output) && chainName(c) == name {
		return c
	}
	return rule.Chain(name)
}

// hook is where packets enter a base chain.
type hook struct {
	number   uint32 // the kernel's
	priority int32
	kind     string // "filter", "nat" or "route"
	drops    bool   // the policy
}

// hookOf is where a base chain of one of our tables belongs.
func hookOf(t rule.Table, chain string) hook {
	h := hook{kind: "filter", number: unix.NF_INET_PRE_ROUTING}
	if chain == output {
		h.number = unix.NF_INET_LOCAL_OUT
	}
	switch t {
	case rule.Raw:
		h.priority = rule.PriorityRaw
	case rule.Mangle:
		h.priority = rule.PriorityMangle
		if chain == output {
			h.kind = "route" // a mark given here changes where the packet goes
		}
	case rule.Nat:
		h.priority, h.kind = rule.PriorityNat, "nat"
	}
	return h
}

// familyNumber is a family in the kernel's words.
func familyNumber(f rule.Family) byte {
	if f == rule.IPv6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}
