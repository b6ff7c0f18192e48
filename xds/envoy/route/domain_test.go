package route

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/xds/ir"
)

func TestDomains(t *testing.T) {
	client := Client{Namespace: "default", DNSDomain: "svc.cluster.local"}
	for _, c := range []struct {
		name string
		host Host
		want []string
	}{
		{"same namespace",
			Host{Name: "reviews.default.svc.cluster.local", Addresses: []netip.Prefix{netip.MustParsePrefix("10.96.0.10/32"), netip.MustParsePrefix("fd00::10/128")}},
			[]string{"reviews.default.svc.cluster.local", "reviews.default.svc.cluster.local.", "reviews", "reviews.default.svc", "reviews.default", "10.96.0.10", "[fd00::10]"}},
		{"other namespace",
			Host{Name: "db.data.svc.cluster.local"},
			[]string{"db.data.svc.cluster.local", "db.data.svc.cluster.local.", "db.data.svc", "db.data"}},
		{"headless",
			Host{Name: "h.default.svc.cluster.local", Headless: true},
			[]string{
				"h.default.svc.cluster.local", "h.default.svc.cluster.local.", "h", "h.default.svc", "h.default",
				"*.h.default.svc.cluster.local", "*.h.default.svc.cluster.local.", "*.h", "*.h.default.svc", "*.h.default",
			}},
		{"outside", Host{Name: "api.example.com"}, []string{"api.example.com", "api.example.com."}},
		{"outside with range of addresses",
			Host{Name: "api.example.com", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			[]string{"api.example.com", "api.example.com."}},
		{"shares the end of the domain", Host{Name: "vm.corp.cluster.local"}, []string{"vm.corp.cluster.local", "vm.corp.cluster.local.", "vm.corp"}},
		{"wildcard", Host{Name: "*.example.com"}, []string{"*.example.com"}},
		{"everything", Host{Name: "*"}, []string{"*"}},
		{"address", Host{Name: "192.0.2.1", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}, []string{"192.0.2.1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Domains(c.host, client)); diff != "" {
				t.Errorf("Domains(%+v) differs (-want +got):\n%s", c.host, diff)
			}
		})
	}
}

func TestHostOf(t *testing.T) {
	s := ir.Service{ID: ir.ServiceID{Host: "a.b"}, Headless: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}
	got := HostOf(s)
	if got.Name != "a.b" || !got.Headless || len(got.Addresses) != 1 {
		t.Errorf("HostOf(%+v) = %+v", s, got)
	}
}

func TestGRPCStatus(t *testing.T) {
	for word, want := range map[string]uint32{"UNAVAILABLE": 14, "unavailable": 14, "OK": 0, "16": 16} {
		if got, ok := GRPCStatus(word); got != want || !ok {
			t.Errorf("GRPCStatus(%q) = %d, %v; want %d, true", word, got, ok, want)
		}
	}
	for _, word := range []string{"", "nonsense", "17", "-1"} {
		if got, ok := GRPCStatus(word); got != 2 || ok {
			t.Errorf("GRPCStatus(%q) = %d, %v; want 2, false", word, got, ok)
		}
	}
}
