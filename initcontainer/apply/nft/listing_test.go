package nft_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// settings are command lines with every kind of rule in their plans.
func settings(t *testing.T) []capture.Config {
	t.Helper()
	var out []capture.Config
	for _, line := range []string{
		"-i * -b *",
		"-m TPROXY -i * -b * -d 22 --drop-invalid -c net1",
		"-i 10.0.0.0/8,fd00::/8 -x 10.9.0.0/16 -q 80 -o 22 -b 8080 -k eth1,eth2 -u 1337,1338 -g 5",
		"-i * -b * --redirect-dns --capture-all-dns",
		"-m TPROXY -i * -b * --redirect-dns --capture-all-dns -t 77 -r 7",
	} {
		for _, groups := range []string{"*", "202,888"} {
			c, _, err := capture.Parse(strings.Fields(line), func(name string) string {
				return map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": groups}[name]
			})
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

// prove makes the kernel hold the rules of c and proves that they do what c wants.
func prove(t *testing.T, k *nft.Kernel, c capture.Config) error {
	t.Helper()
	from, err := k.Read(t.Context())
	if err != nil {
		return err
	}
	to := both{rule.IPv4: plan.Build(c, rule.IPv4).Rules, rule.IPv6: plan.Build(c, rule.IPv6).Rules}
	if err := k.Swap(t.Context(), from, to); err != nil {
		return err
	}
	return errors.Join(proven(t, k, c, rule.IPv4), proven(t, k, c, rule.IPv6))
}

func proven(t *testing.T, k *nft.Kernel, c capture.Config, f rule.Family) error {
	t.Helper()
	l, err := k.Listing(t.Context(), f)
	if err != nil {
		return err
	}
	return verify.Prove(c, f, l)
}

func TestWhatTheKernelListsIsProven(t *testing.T) {
	within(t, func(k *nft.Kernel) error {
		for i, c := range settings(t) {
			if err := prove(t, k, c); err != nil {
				t.Errorf("settings %d %q: %v", i, c.Args(), err)
			}
		}
		return nil
	})
}

// TestForeignTables: rules of others are listed, with what each of the families meets.
func TestForeignTables(t *testing.T) {
	lab := netlab.New(t, true)
	file := filepath.Join(t.TempDir(), "foreign.nft")
	text := `
		table inet both {
			chain pre { type filter hook prerouting priority -310; policy drop;
				meta nfproto ipv4 tcp dport 80 accept
				ip6 saddr fd00::/8 meta mark set 5 accept
				meta l4proto icmp accept
				iif lo ct state established,related accept
				jump more
			}
			chain more { tcp dport { 1, 2 } return; tcp dport vmap { 3 : drop }; ip daddr 1.2.3.4 goto most; }
			chain most { meta mark & 0xff == 3 notrack; ip6 nexthdr tcp drop; }
			chain in { type filter hook input priority 0; policy accept; }
		}
		table ip evil { chain out { type nat hook output priority -101; policy accept; meta skuid 1000 tcp dport 8443 redirect to :9 ; }; }
		table ip6 asleep { flags dormant; chain out { type nat hook output priority -101; policy accept; redirect; }; }
	`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Output(t, "nft", "-f", file)
	got := map[rule.Family][]string{}
	err := netlab.In(lab.Pod, func() error {
		k := &nft.Kernel{}
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			l, err := k.Listing(t.Context(), f)
			if err != nil {
				return err
			}
			got[f] = lines(l)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[rule.Family][]string{
		rule.IPv4: {
			"base evil out at 2, -101, nat true, drops false",
			"base inet both pre at 1, -310, nat false, drops true",
			"evil: -A out -m owner --uid-owner 1000 -p tcp -m tcp --dport 8443 -j REDIRECT --to-ports 9",
			"inet both: -A more -d 1.2.3.4/32 -j -g most",
			"inet both: -A more -p tcp lookup -j RETURN",
			"inet both: -A more -p tcp lookup -j lookup",
			"inet both: -A most -m mark --mark 0x3/0xff -j notrack",
			"inet both: -A pre -i lo -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
			"inet both: -A pre -j more",
			"inet both: -A pre -p 1 -j ACCEPT",
			"inet both: -A pre -p tcp -m tcp --dport 80 -j ACCEPT",
		},
		rule.IPv6: {
			"base inet both pre at 1, -310, nat false, drops true",
			"inet both: -A more -p tcp lookup -j RETURN",
			"inet both: -A more -p tcp lookup -j lookup",
			"inet both: -A most -m mark --mark 0x3/0xff -j notrack",
			"inet both: -A most network 6 op 0 06 -j DROP",
			"inet both: -A pre -i lo -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
			"inet both: -A pre -j more",
			"inet both: -A pre -p 1 -j ACCEPT",
			"inet both: -A pre -s fd00::/8 -j MARK --set-xmark 0x5/0xffffffff, ACCEPT",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// lines says a listing line by line.
func lines(l rule.Listing) (out []string) {
	for _, b := range l.Bases {
		out = append(out, fmt.Sprintf("base %s %s at %d, %d, nat %t, drops %t", b.Table, b.Chain, b.Hook, b.Priority, b.Nat, b.Drops))
	}
	for at, rules := range l.Rules {
		for _, r := range rules {
			out = append(out, at.Table+": "+r.String())
		}
	}
	slices.Sort(out)
	return out
}

// TestForeignRedirectionIsALeak: the proof sees what others do to packets before us.
func TestForeignRedirectionIsALeak(t *testing.T) {
	lab := netlab.New(t, true)
	file := filepath.Join(t.TempDir(), "foreign.nft")
	text := `table ip evil { chain out { type nat hook output priority -101; policy accept; meta skuid 1000 tcp dport 8443 redirect to :9 ; }; }`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	err := netlab.In(lab.Pod, func() error { return prove(t, &nft.Kernel{}, capture.Default()) })
	if err != nil {
		t.Fatal(err)
	}
	lab.Output(t, "nft", "-f", file)
	err = netlab.In(lab.Pod, func() error { return proven(t, &nft.Kernel{}, capture.Default(), rule.IPv4) })
	if err == nil || !strings.Contains(err.Error(), "8443") {
		t.Errorf("the proof says %v; want the packets that go elsewhere", err)
	}
}
