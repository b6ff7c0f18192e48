package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Explanation is a rule with the reason why it exists.
type Explanation struct {
	Table rule.Table
	Rule  rule.Rule
	Why   string // a sentence without full stop
	// Option is the setting that the rule exists for, as an argument such as
	// "--proxy-uid=1337", or as a variable of the environment.
	Option string
}

// Explain gives the reason for each rule of p, in the order in which a packet meets tables
// and chains. p must be what Build returns for c.
func Explain(p Plan, c capture.Config) []Explanation {
	var out []Explanation
	for _, t := range rule.Tables() {
		for _, r := range byWay(p.Rules[t]) {
			for _, reason := range reasons() {
				if reason.of(t, r) {
					out = append(out, Explanation{t, r, reason.sentence, reason.option(c, r)})
					break
				}
			}
		}
	}
	return out
}

// byWay is the rules of a table chain by chain, each chain after those that lead to it.
func byWay(s rule.Set) []rule.Rule {
	var out []rule.Rule
	chains := []rule.Chain{rule.Prerouting, rule.Output}
	for i := 0; i < len(chains); i++ {
		for _, r := range s.In(chains[i]) {
			out = append(out, r)
			if r.Target.Action == rule.Jumps && !slices.Contains(chains, r.Target.Chain) {
				chains = append(chains, r.Target.Chain)
			}
		}
	}
	return out
}

// ExplainText is Explain for readers: each rule as iptables writes it, and below why it is there.
func ExplainText(p Plan, c capture.Config) string {
	var b strings.Builder
	if p.RouteMarked {
		fmt.Fprintf(&b, "routing\n  packets with mark %d are for this host (table %d)\n      %s: %s\n", p.Mark, p.Table,
			modeOption(c, rule.Rule{}), "what the proxy accepted bears the mark, and has addresses that are not of this host")
	}
	var table rule.Table
	for _, e := range Explain(p, c) {
		if e.Table != table {
			table = e.Table
			fmt.Fprintf(&b, "table %s\n", table)
		}
		bare := e.Rule
		bare.Why = ""
		fmt.Fprintf(&b, "  %s\n      %s: %s\n", bare, e.Option, e.Why)
	}
	return b.String()
}

// reason explains the rules with a short word, those of one table or chain only where these
// are not empty.
type reason struct {
	why      string
	table    rule.Table
	chain    rule.Chain
	sentence string
	option   func(capture.Config, rule.Rule) string
}

func (e reason) of(t rule.Table, r rule.Rule) bool {
	return e.why == r.Why && (e.table == "" || e.table == t) && (e.chain == "" || e.chain == r.Chain)
}

// value is the option whose value the rule holds in a condition.
func value(flag string, k rule.Key) func(capture.Config, rule.Rule) string {
	return func(_ capture.Config, r rule.Rule) string {
		for _, m := range r.Match {
			if m.Key == k {
				return flag + "=" + m.Value
			}
		}
		return flag + "=*"
	}
}

// values is value for a rule with the whole list in it.
func values(flag string, list func(capture.Config) string) func(capture.Config, rule.Rule) string {
	return func(c capture.Config, _ rule.Rule) string { return flag + "=" + list(c) }
}

func ownerOption(c capture.Config, r rule.Rule) string {
	for _, m := range r.Match {
		if m.Key == rule.OwnerUID {
			return "--proxy-uid=" + m.Value
		}
	}
	return value("--proxy-gid", rule.OwnerGID)(c, r)
}

func modeOption(c capture.Config, _ rule.Rule) string {
	return "--istio-inbound-interception-mode=" + string(c.Mode)
}

func dnsOption(c capture.Config, _ rule.Rule) string {
	if c.CaptureAllDNS {
		return "--redirect-dns --capture-all-dns"
	}
	return "--redirect-dns"
}

func inboundOption(c capture.Config, r rule.Rule) string {
	if p := c.InboundPorts; !p.All && len(p.List) == 0 { // then only guests are looked at, or the proxy itself
		if len(c.VirtualInterfaces) > 0 {
			return "--kube-virt-interfaces=" + strings.Join(c.VirtualInterfaces, ",")
		}
		return modeOption(c, r)
	}
	return "--istio-inbound-ports=" + c.InboundPorts.String()
}

func outboundOption(c capture.Config, r rule.Rule) string {
	if to := c.OutboundRanges; !to.All && len(to.Prefixes) == 0 {
		if len(c.OutboundPorts) > 0 {
			return "--istio-outbound-ports=" + capture.Ports{List: c.OutboundPorts}.String()
		}
		return ownersOption(c, r)
	}
	return "--istio-service-cidr=" + c.OutboundRanges.String()
}
