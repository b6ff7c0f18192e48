package nft

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// explainRead says what to do about a request that was refused.
func explainRead(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: nf_tables is only for processes with capability NET_ADMIN: add it to the container's securityContext.capabilities, or let the CNI plugin write the rules", err)
	}
	return err
}

// explainWrite says what a refused part of a transaction was, and what to do about it.
func explainWrite(err error, a action) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return explainRead(err)
	case errors.Is(err, unix.EOPNOTSUPP) && a.rule == nil && a.chain == "", errors.Is(err, errAbsent):
		return errAbsent
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT):
		if missing := modules(a); len(missing) > 0 {
			return fmt.Errorf("%s: %w: the kernel lacks %s: load the module on the node, or use iptables", a, err, strings.Join(missing, " or "))
		}
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%s: %w: a set or map that is not Sluice's refers to it: remove that first", a, err)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%s: %w: the node is out of memory for the kernel", a, err)
	}
	return fmt.Errorf("%s: %w", a, err)
}

// modules are those of the kernel that a message may lack, by the names to load them.
func modules(a action) []string {
	if a.rule == nil {
		if a.chain != "" && a.table == rule.Nat {
			return []string{"nft_chain_nat"}
		}
		return nil
	}
	var out []string
	need := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, m := range a.rule.Match {
		switch m.Key {
		case rule.ConnMark, rule.ConnState, rule.ConnDir:
			need("nft_ct")
		}
	}
	switch a.rule.Target.Action {
	case rule.Redirects:
		need("nft_redir")
	case rule.Diverts:
		need("nft_tproxy")
	case rule.KeepsMark, rule.TakesMark:
		need("nft_ct (with CONFIG_NF_CONNTRACK_MARK)")
	case rule.Zones:
		need("nft_ct (with CONFIG_NF_CONNTRACK_ZONES)")
	}
	return out
}
