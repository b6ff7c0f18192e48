package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// dropPolicy is what dockerd sets for forwarded packets when it was the one to switch forwarding on.
const dropPolicy = "DROP"

// firewall is what of the host's packet filter an engine changes and we put back. Only IPv4: dockerd's
// bridge networks leave IPv6 rules alone unless asked.
type firewall struct{ tables *iptables.IPTables }

func openFirewall() (firewall, error) {
	tables, err := iptables.NewWithProtocol(iptables.ProtocolIPv4)
	if err != nil {
		return firewall{}, fmt.Errorf("open packet filter: %w", err)
	}
	return firewall{tables}, nil
}

// drops reports whether packets to be forwarded are dropped by policy.
func (f firewall) drops() (bool, error) {
	rules, err := f.tables.List("filter", "FORWARD")
	if err != nil {
		return false, fmt.Errorf("read forward policy: %w", err)
	}
	return len(rules) > 0 && strings.HasSuffix(rules[0], " "+dropPolicy), nil
}

// allow sets the policy of forwarded packets back to accept: others on this host forward too, and dockerd's own
// rules do not rest on the policy.
func (f firewall) allow() error {
	if err := f.tables.ChangePolicy("filter", "FORWARD", "ACCEPT"); err != nil {
		return fmt.Errorf("restore forward policy: %w", err)
	}
	return nil
}

// clean removes the chains that an ended engine leaves, and the jumps to them.
func (f firewall) clean() error {
	for _, table := range []string{"filter", "nat"} {
		chains, err := f.tables.ListChains(table)
		if err != nil {
			return fmt.Errorf("list chains: %w", err)
		}
		isDocker := func(chain string) bool { return chain == "DOCKER" || strings.HasPrefix(chain, "DOCKER-") }
		for _, chain := range chains {
			if err := f.removeJumps(table, chain, isDocker); err != nil {
				return fmt.Errorf("remove jumps from %s: %w", chain, err)
			}
		}
		for _, chain := range slices.DeleteFunc(chains, func(c string) bool { return !isDocker(c) }) {
			if err := f.tables.ClearAndDeleteChain(table, chain); err != nil {
				return fmt.Errorf("remove chain %s: %w", chain, err)
			}
		}
	}
	return nil
}

// removeJumps deletes the chain's rules whose target is one of the wanted chains, the last first: numbers shift.
func (f firewall) removeJumps(table, chain string, wanted func(string) bool) error {
	rules, err := f.tables.List(table, chain)
	if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(rule string) bool { return !strings.HasPrefix(rule, "-A ") })
	for i, rule := range slices.Backward(rules) {
		fields := strings.Fields(rule)
		at := slices.Index(fields, "-j")
		if at < 0 || at+1 == len(fields) || !wanted(fields[at+1]) {
			continue
		}
		if err := f.tables.DeleteById(table, chain, i+1); err != nil {
			return err
		}
	}
	return nil
}
