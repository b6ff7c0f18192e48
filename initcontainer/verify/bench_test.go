package verify_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
	"github.com/sluicemesh/sluice/initcontainer/verify"
)

// large is settings with as many values as the largest that users have been seen with.
func large(t testing.TB) capture.Config {
	c := parse(t, "-b * -c net1,net2 -k eth7 --redirect-dns SERVERS=10.96.0.10,fd00::10")
	for i := range 200 {
		c.OutboundRanges.Prefixes = append(c.OutboundRanges.Prefixes, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i)))
		c.OutboundExcludeRanges = append(c.OutboundExcludeRanges, netip.MustParsePrefix(fmt.Sprintf("10.%d.7.0/24", i)))
	}
	for i := range uint16(500) {
		c.InboundExcludePorts = append(c.InboundExcludePorts, 20000+3*i)
		c.OutboundExcludePorts = append(c.OutboundExcludePorts, 30000+3*i)
	}
	c.OwnerGroups = capture.Groups{}
	for i := range uint32(capture.MaxGroups) {
		c.OwnerGroups.List = append(c.OwnerGroups.List, 5000+2*i)
	}
	return c
}

func TestLargeSettingsAreProven(t *testing.T) {
	c := large(t)
	if err := verify.Prove(c, rule.IPv4, rule.ListingOf(rule.NFTables, plan.Build(c, rule.IPv4).Rules)); err != nil {
		t.Fatal(explain(err))
	}
}

// BenchmarkProve is what the init container pays for the proof of one family.
func BenchmarkProve(b *testing.B) {
	for name, c := range map[string]capture.Config{
		"default": parse(b, lines[0]),
		"dns":     parse(b, "-i * -b * --redirect-dns --capture-all-dns"),
		"tproxy":  parse(b, "-m TPROXY -i * -b * -d 15090,15021,15020"),
		"large":   large(b),
	} {
		listing := rule.ListingOf(rule.NFTables, plan.Build(c, rule.IPv4).Rules)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := verify.Prove(c, rule.IPv4, listing); err != nil {
					b.Fatal(explain(err))
				}
			}
		})
	}
}
