package nft

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Stages are the rule sets to load one after the other, the last of them to.
//
// A transaction changes all tables at one moment, but a packet meets one table after the
// other: it may meet the old rules of mangle and then the new ones of nat. That matters
// where inbound connections move from one to the other, since neither of the two would
// capture that packet. So both do for a while: whichever rules of a table a packet meets,
// one of the tables captures it.
func Stages(from, to map[rule.Family]rule.Sets) []map[rule.Family]rule.Sets {
	between := map[rule.Family]rule.Sets{}
	moves := false
	for _, f := range families() {
		between[f] = to[f]
		if from[f][rule.Nat].Empty() || to[f][rule.Nat].Empty() || diverts(from[f]) == diverts(to[f]) {
			continue
		}
		moves = true
		redirecting, diverting := from[f], to[f]
		if diverts(from[f]) {
			redirecting, diverting = to[f], from[f]
		}
		between[f] = rule.Sets{rule.Raw: to[f][rule.Raw], rule.Mangle: diverting[rule.Mangle], rule.Nat: redirecting[rule.Nat]}
	}
	if !moves {
		return []map[rule.Family]rule.Sets{to}
	}
	return []map[rule.Family]rule.Sets{between, to}
}

// diverts reports whether inbound connections are captured in mangle.
func diverts(s rule.Sets) bool {
	return slices.ContainsFunc(s[rule.Mangle].Rules, func(r rule.Rule) bool { return r.Target.Action == rule.Diverts })
}

// Settle waits until no packet is on its way any more that met a chain before the call: the
// kernel takes a packet through all chains of a hook in one section that this waits for.
func Settle() {
	// Where the call is not there, or not allowed, nothing waits: then a packet that is held
	// up between two chains for as long as a transaction takes is not captured.
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
}

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL.
const membarrierGlobal = 1
