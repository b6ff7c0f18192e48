package xtables

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// explain adds to the error of a load what is missing and what to do, as far as that can be
// found out. It runs programs, which nothing but a failed load does for that reason.
func (k *Kernel) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if a := advice(err.Error()); a != "" {
		return fmt.Errorf("%w: %s", err, a)
	}
	for _, tool := range k.tools {
		if missing := unanswered(tool); missing != nil {
			return fmt.Errorf("%w: %w", err, missing)
		}
	}
	return err
}

// unanswered is why the kernel does not answer a program; nil when it does.
func unanswered(tool host.Tool) error {
	protocol := iptables.ProtocolIPv4
	if tool.Family == rule.IPv6 {
		protocol = iptables.ProtocolIPv6
	}
	name := filepath.Base(tool.Command)
	ipt, err := iptables.New(iptables.IPFamily(protocol), iptables.Path(tool.Command), iptables.Timeout(lockSeconds))
	if err != nil {
		return fmt.Errorf("%s does not tell its version: %w", name, err)
	}
	if _, err := ipt.ListChains(string(rule.Nat)); err != nil {
		what := cmp.Or(advice(err.Error()), "load its module on the node, add capabilities NET_ADMIN and NET_RAW")
		return fmt.Errorf("%s cannot list table %s: %w: %s", name, rule.Nat, err, what)
	}
	return nil
}

// advice is what to do about what a program said; "" for what is not known.
func advice(said string) string {
	switch {
	case strings.Contains(said, "Permission denied"), strings.Contains(said, "Operation not permitted"):
		// Flavour legacy speaks to the kernel through a raw socket.
		return "add capabilities NET_ADMIN and NET_RAW to the container's securityContext, or let the CNI plugin write the rules"
	case strings.Contains(said, "xtables lock"):
		return "another program has held the lock of the tables for all the time: look for one that hangs on /run/xtables.lock"
	case strings.Contains(said, "Read-only file system"), strings.Contains(said, "can't open lock file"):
		return "the lock file is in a folder that cannot be written: give the container an emptyDir at /run"
	}
	if name, ok := between(said, "Extension ", " revision"); ok {
		return fmt.Sprintf("load module xt_%s on the node, or choose the other flavour with FORCE_IPTABLES_BINARY", name)
	}
	if name, ok := between(said, "table `", "'"); ok {
		return fmt.Sprintf("load module iptable_%[1]s (ip6table_%[1]s for IPv6) on the node, or choose the other flavour with FORCE_IPTABLES_BINARY", name)
	}
	return ""
}

// between is what stands between the first occurrence of start and the next of end.
func between(text, start, end string) (string, bool) {
	_, rest, ok := strings.Cut(text, start)
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, end)
	return name, ok
}
