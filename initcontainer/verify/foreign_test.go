package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// with is the default pod's rules and, before those of the same chain, rules of others:
// lines "TABLE -A CHAIN ...".
func with(t *testing.T, c capture.Config, lines ...string) rule.Listing {
	t.Helper()
	l := rule.ListingOf(rule.IPTablesNft, plan.Build(c, rule.IPv4).Rules)
	for i := len(lines) - 1; i >= 0; i-- {
		table, text, _ := strings.Cut(lines[i], " ")
		r, err := rule.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		at := rule.Place{Backend: rule.IPTablesNft, Table: table, Chain: r.Chain}
		if _, there := l.Rules[at]; !there && (r.Chain == rule.Output || r.Chain == rule.Prerouting) {
			for _, b := range rule.Bases(rule.IPTablesNft, rule.Table(table)) {
				l.Bases = append(l.Bases, b)
				l.Rules[b.Place] = nil
			}
		}
		l.Rules[at] = append([]rule.Rule{r}, l.Rules[at]...)
	}
	return l
}

func TestRulesOfOthers(t *testing.T) {
	c := parse(t, "-i * -b * -d 15090,15021,15020")
	tests := []struct {
		name  string
		lines []string
		want  string // the first difference; "" for none
	}{
		{"accepted early", []string{"nat -A OUTPUT -d 192.0.2.0/24 -p tcp -j ACCEPT"},
			"tcp 10.244.0.5:40000 → 192.0.2.7:8080, sent over eth0 by uid 1000 gid 1000 is left alone, wanted: redirected to 15001 " +
				"(included range (-i)); by a rule of others: iptables-nft nat OUTPUT -A OUTPUT -d 192.0.2.0/24 -p tcp -j ACCEPT"},
		{"sent elsewhere", []string{"nat -A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.9"},
			"tcp 192.0.2.7:40000 → 10.244.0.5:80, arrived by eth0 is taken elsewhere, wanted: redirected to 15006 " +
				"(included port (-b)); by a rule of others: iptables-nft nat PREROUTING -A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.9"},
		{"not tracked", []string{"raw -A PREROUTING -p tcp -m tcp --dport 8080 -j CT --notrack"},
			"tcp 192.0.2.7:40000 → 10.244.0.5:8080, arrived by eth0 is left alone, wanted: redirected to 15006 " +
				"(included port (-b)); by a rule of others: iptables-nft raw PREROUTING -A PREROUTING -p tcp -m tcp --dport 8080 -j CT --notrack"},
		{"unknown condition", []string{"nat -A OUTPUT -m statistic --mode random --probability 0.5 -j ACCEPT"},
			"tcp 10.244.0.5:40000 → 192.0.2.7:8080, sent over eth0 by uid 1000 gid 1000 may be left alone, wanted: redirected to 15001 " +
				"(included range (-i)); by a rule of others: iptables-nft nat OUTPUT -A OUTPUT -m statistic --mode random --probability 0.5 -j ACCEPT"},
		{"in a chain of its own", []string{"nat -A OUTPUT -j OTHER", "nat -A OTHER -g MORE", "nat -A MORE -p tcp -m tcp --dport 9 -j ACCEPT"},
			"tcp 10.244.0.5:40000 → 192.0.2.7:9, sent over eth0 by uid 1000 gid 1000 is left alone, wanted: redirected to 15001 " +
				"(included range (-i)); by a rule of others: iptables-nft nat MORE -A MORE -p tcp -m tcp --dport 9 -j ACCEPT"},
		{"accepted in another table", []string{"mangle -A OUTPUT -j ACCEPT"}, ""},
		{"dropped", []string{"mangle -A OUTPUT -d 192.0.2.0/24 -j DROP"}, ""},
		{"logged", []string{"nat -A OUTPUT -j LOG --log-prefix x", "nat -A OUTPUT -m statistic --mode random --probability 0.5 -j LOG"}, ""},
		{"about what is left alone", []string{"nat -A OUTPUT -p udp -j DNAT --to-destination 10.0.0.9", "nat -A PREROUTING -p tcp -m tcp --dport 15020 -j ACCEPT"}, ""},
		{"marks without TPROXY", []string{"mangle -A OUTPUT -j MARK --set-xmark 0x539/0xff00"}, ""},
		{"unknown condition of a chain that does nothing", []string{"nat -A OUTPUT -m addrtype --dst-type LOCAL -j OTHER", "nat -A OTHER -j RETURN"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := verify.Prove(c, rule.IPv4, with(t, c, tt.lines...))
			got := ""
			var d *verify.Disproof
			if errors.As(err, &d) {
				got = d.Differences[0].String()
				if len(d.Differences[0].Trace) == 0 {
					t.Error("no way of the example")
				}
				if d.Certain() == strings.Contains(tt.name, "unknown") {
					t.Errorf("certain: %t", d.Certain())
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("first difference (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRemedy: what keeps a pod from starting says what to do, where there is something to do.
func TestRemedy(t *testing.T) {
	c := parse(t, "-i * -b *")
	const remedy = "; remove the rules of others (an init container of the pod, or a network plug-in, wrote them), or exclude what they take from interception"
	for line, want := range map[string]bool{
		"nat -A OUTPUT -p tcp -m tcp --dport 443 -j ACCEPT": true,
		"nat -A ISTIO_OUTPUT -p tcp -j RETURN":              false,
	} {
		err := verify.Prove(c, rule.IPv4, with(t, c, line))
		if err == nil || strings.Contains(err.Error(), remedy) != want {
			t.Errorf("%s: %v; remedy: want %t", line, err, want)
		}
	}
}

// TestOwnRulesMustBeUnderstood: what is not known of rules of interception is no excuse.
func TestOwnRulesMustBeUnderstood(t *testing.T) {
	c := parse(t, "-i * -b *")
	for _, line := range []string{
		"nat -A ISTIO_OUTPUT -m statistic --mode random --probability 0.5 -j RETURN",
		"nat -A ISTIO_OUTPUT -p icmp -j DNAT --to-destination 10.0.0.9",
	} {
		err := verify.Prove(c, rule.IPv4, with(t, c, line))
		if err == nil || !strings.Contains(err.Error(), "interception writes only rules that it understands: iptables-nft nat ISTIO_OUTPUT -A ISTIO_OUTPUT") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestNothingMayBeLeft: without interception no rule of it is to be there, even an idle one.
func TestNothingMayBeLeft(t *testing.T) {
	c := parse(t, "-m NONE")
	if err := verify.Prove(c, rule.IPv4, with(t, c)); err != nil {
		t.Error(err)
	}
	if verify.Prove(c, rule.IPv4, with(t, c, "nat -A ISTIO_OUTPUT -j RETURN")) == nil {
		t.Error("a rule that was left passes")
	}
}

const wantText = `IPv4 1: taken by a rule of others
  packets  tcp; sent over any but lo; by uid any but 1337; by gid any but 1337; to 192.0.2.0/24; new, related
  example  tcp 10.244.0.5:40000 → 192.0.2.7:8080, sent over eth0 by uid 1000 gid 1000
  happens  left alone
  wanted   redirected to 15001: included range (-i)
  rule     iptables-nft nat OUTPUT -A OUTPUT -d 192.0.2.0/24 -p tcp -j ACCEPT
  way
      · connection looked up in zone 0: new
    iptables-nft nat OUTPUT
      + -d 192.0.2.0/24 -p tcp -j ACCEPT
      · iptables-nft nat OUTPUT: on to the next table
`

func TestText(t *testing.T) {
	c := parse(t, "-i * -b * -u 1337 -d 15020")
	var d *verify.Disproof
	if !errors.As(verify.Prove(c, rule.IPv4, with(t, c, "nat -A OUTPUT -d 192.0.2.0/24 -p tcp -j ACCEPT")), &d) {
		t.Fatal("passes")
	}
	d.Differences, d.More = d.Differences[:1], 0
	var b strings.Builder
	d.Write(&b)
	if diff := cmp.Diff(wantText, b.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}
