package nft

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Stages are the rule sets to load one after the other, the last of them to.
//
// Tables change at one moment or one after the other, depending on the backend, but a packet
// meets one table after the other in any case: it may meet the old rules of mangle and then
// the new ones of nat. That matters where inbound connections move from one to the other,
// since neither of the two would capture that packet.
//
// With a change of mode all of them move: both tables capture them for a while, and
// whichever rules of a table a packet meets, one of the tables captures it. Within mode
// TPROXY some may move, both ways perhaps: those that enter by interfaces which become
// virtual or cease to be, and those within the pod when the proxy's owners change. Where
// both tables differ, TCP that reaches the pod is dropped for a while, to be sent again by
// its senders.
func Stages(from, to map[rule.Family]rule.Sets) []map[rule.Family]rule.Sets {
	first, second := map[rule.Family]rule.Sets{}, map[rule.Family]rule.Sets{}
	stages := 1
	for _, f := range families() {
		first[f], second[f] = to[f], to[f]
		old, wanted := from[f], to[f]
		switch {
		case old[rule.Nat].Empty() || wanted[rule.Nat].Empty(): // nothing is captured by both
		case diverts(old) && !diverts(wanted):
			stages = max(stages, 2)
			first[f] = rule.Sets{rule.Raw: wanted[rule.Raw], rule.Mangle: old[rule.Mangle], rule.Nat: wanted[rule.Nat]}
			second[f] = first[f]
		case !diverts(old) && diverts(wanted):
			stages = max(stages, 2)
			first[f] = rule.Sets{rule.Raw: wanted[rule.Raw], rule.Mangle: wanted[rule.Mangle], rule.Nat: old[rule.Nat]}
			second[f] = first[f]
		case diverts(old) && !sameSet(old[rule.Mangle], wanted[rule.Mangle]) && !sameSet(old[rule.Nat], wanted[rule.Nat]):
			stages = 3
			shut := guarded(old[rule.Mangle])
			first[f] = rule.Sets{rule.Raw: old[rule.Raw], rule.Mangle: shut, rule.Nat: old[rule.Nat]}
			second[f] = rule.Sets{rule.Raw: wanted[rule.Raw], rule.Mangle: shut, rule.Nat: wanted[rule.Nat]}
		}
	}
	return []map[rule.Family]rule.Sets{first, second, to}[3-stages:]
}

// guarded is s with no TCP let in, be it from the pod itself.
func guarded(s rule.Set) rule.Set {
	guard := rule.Rule{Chain: rule.Prerouting, Match: []rule.Match{rule.TCP()}, Target: rule.Drop(), Why: "while-rules-change"}
	return rule.Set{Chains: s.Chains, Rules: slices.Concat([]rule.Rule{guard}, s.Rules)}
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
