package verify_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// parse reads settings; words with "=" are variables, the rest are flags and their values.
func parse(t testing.TB, line string) capture.Config {
	t.Helper()
	var args []string
	env := map[string]string{}
	var servers []netip.Addr
	for word := range strings.SplitSeq(line, " ") {
		if list, ok := strings.CutPrefix(word, "SERVERS="); ok {
			for name := range strings.SplitSeq(list, ",") {
				servers = append(servers, netip.MustParseAddr(name))
			}
			continue
		}
		if name, value, ok := strings.Cut(word, "="); ok && !strings.HasPrefix(word, "-") {
			env[name] = value
		} else {
			args = append(args, word)
		}
	}
	c, _, err := capture.Parse(args, func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	c.DNSServers = servers // which are not an option but what resolv.conf lists
	return c
}

// lines are settings for each option alone and in the combinations in which they meet.
var lines = []string{
	"-i * -b * -d 15090,15021,15020",
	"-i 127.0.0.5/32,8.8.8.8/32,2001:4860:4860::8888/128 -o 53 -b * -d 15090,15021,15020",
	"-q 80 -b 8080 -d 15090,15021,15020",
	"-m NONE",
	"-m TPROXY -i * -b * -d 15090,15021,15020",
	"-i * -x 8.8.8.8/24,2001:4860:4860::8888/64 -q 32000 -b * -d 8080,22",
	"-i 8.8.8.0/24,2001:4860::/32 -q 32000 -o 80 -b 8080,22",
	"-i * -b * -u 1337,2000",
	"-b *",
	"-i 0.0.0.0/0,::/0 -x 9.9.9.9,2620:fe::9 -p 15011 -z 15016 -e 8080 -b *",
	"-m TPROXY -i * -b 8080,22,15008",
	"-m TPROXY -i * -o 8080",
	"-m TPROXY -b * -d 22 -z 15016 -e 8080",
	"-i * ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=7,888",
	"-i * ISTIO_OUTBOUND_OWNER_GROUPS=7,888",
	"-i * ISTIO_OUTBOUND_OWNER_GROUPS=,",
	"-i * ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8",
	"-i 127.0.0.5 ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.4/30 -m TPROXY",
	"-i * -b * -c net1",
	"-i * -b * -k net1",
	"-i 8.8.8.0/24,2001:4860::/32 -x 8.8.8.9,2001:4860:4860::9 -b * -k net1",
	"-i * -x 9.9.9.9,2620:fe::9 -o 53 -b 8080 -k eth9,net1",
	"-b * -k net1",
	"-m TPROXY -i * -b * -c net1",
	"-m TPROXY -i * -b * -k net1",
	"-i * -b * -c eth9 INVALID_DROP=true",
	"-m TPROXY -i * -b * -c eth9,lo INVALID_DROP=true",
	"-i * -b * --redirect-dns --capture-all-dns",
	"-i * -b * --redirect-dns SERVERS=10.96.0.10,fd00::10,127.0.0.53",
	"-i 127.0.0.0/8,10.0.0.0/8 -b * --redirect-dns SERVERS=10.96.0.10",
	"-i * -o 53,80 -b * --redirect-dns --capture-all-dns",
	"-m TPROXY -t 17 -r 18 -i * -b * --redirect-dns --capture-all-dns",
	"-m TPROXY -i 10.0.0.0/8 -b * --redirect-dns SERVERS=10.96.0.10,fd00::10 -c net1 -k net2",
	"-i * -b * --redirect-dns --capture-all-dns ISTIO_OUTBOUND_OWNER_GROUPS=7,888 -u 1337,0 -g 1338",
	"-i * -b * --redirect-dns --capture-all-dns ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=7,888 INVALID_DROP=true",
	"-i * -b * --redirect-dns SERVERS=10.96.0.10 ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.0/8 -e 53",
}

func TestPlansAreProven(t *testing.T) {
	for _, line := range lines {
		c := parse(t, line)
		for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
			for _, b := range []rule.Backend{rule.IPTablesNft, rule.IPTablesLegacy, rule.NFTables} {
				if err := verify.Prove(c, f, rule.ListingOf(b, plan.Build(c, f).Rules)); err != nil {
					t.Errorf("%s, %s, %s:\n%s", line, f, b, explain(err))
				}
			}
		}
	}
}

// explain is the first difference of a Disproof.
func explain(err error) string {
	var d *verify.Disproof
	if !errors.As(err, &d) {
		return err.Error()
	}
	first := d.Differences[0]
	return first.String() + "\n\tall of: " + first.Packets
}
