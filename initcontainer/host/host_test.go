package host

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

func TestFindTool(t *testing.T) {
	tests := []struct {
		name    string
		absent  func(program string) bool
		flavour Flavour
		want    string // the command, without its folder
		err     string // instead of want
	}{
		{name: "nft", flavour: Nft, want: "iptables-nft"},
		{name: "legacy", flavour: Legacy, want: "iptables-legacy"},
		{name: "not installed", absent: func(p string) bool { return p == "iptables-nft" }, flavour: Nft,
			err: `program iptables-nft is not in the image: exec: "iptables-nft": executable file not found`},
		{name: "image without restore", absent: func(p string) bool { return strings.HasSuffix(p, "-restore") }, flavour: Nft,
			err: "program iptables-nft-restore is not in the image"},
		// The plain names of this test are scripts of their own, as in the days of one flavour.
		{name: "only plain names", absent: func(p string) bool { return strings.Contains(p, "-nft") || strings.Contains(p, "-legacy") },
			flavour: Legacy, want: "iptables"},
		{name: "only plain names of the other", absent: func(p string) bool { return strings.Contains(p, "-nft") || strings.Contains(p, "-legacy") },
			flavour: Nft, err: "program iptables-nft is not in the image"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("PATH", netlab.FakePrograms(t, `exit 1`, tt.absent))
			got, err := FindTool(rule.IPv4, tt.flavour)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one that says %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := Tool{rule.IPv4, tt.flavour, tt.want, tt.want + "-save", tt.want + "-restore"}
			for _, path := range []*string{&got.Command, &got.Save, &got.Restore} {
				*path = filepath.Base(*path)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("tool (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlavourOf(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]Flavour{"xtables-nft-multi": Nft, "xtables-legacy-multi": Legacy, "xtables-multi": Legacy} {
		link := filepath.Join(dir, "iptables-"+name)
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if got := flavourOf(link); got != want {
			t.Errorf("flavourOf(link to %s) = %s, want %s", name, got, want)
		}
	}
}

// TestLegacyInUse: asking finds tables, in the family asked for, and makes none.
func TestLegacyInUse(t *testing.T) {
	lab := netlab.New(t, true)
	in := func(f rule.Family) (used bool) {
		t.Helper()
		err := netlab.In(lab.Pod, func() (err error) {
			used, err = LegacyInUse(f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return used
	}
	for range 2 {
		if in(rule.IPv4) || in(rule.IPv6) {
			t.Fatal("a fresh namespace has legacy tables")
		}
	}
	lab.Output(t, "iptables-legacy", "-t", "filter", "-N", "FOREIGN")
	if in(rule.IPv4) {
		t.Error("table filter is not one that interception uses")
	}
	lab.Output(t, "iptables-legacy", "-t", "raw", "-N", "FOREIGN")
	if !in(rule.IPv4) || in(rule.IPv6) {
		t.Errorf("IPv4 %t, IPv6 %t; want the first only", in(rule.IPv4), in(rule.IPv6))
	}
}

func TestReadFamilies(t *testing.T) {
	dual, only4, none := netlab.New(t, true), netlab.New(t, false), netlab.New(t, false)
	none.DropAddress(t, netlab.Pod4+"/24")
	lo := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	tests := []struct {
		name string
		lab  *netlab.Lab
		want Families
	}{
		{"dual stack", dual, Families{IPv4: true, IPv6: true, IPv6Enabled: true, OnLo: lo}},
		{"link-local IPv6 only", only4, Families{IPv4: true, IPv6Enabled: true, OnLo: lo}},
		{"none", none, Families{IPv6Enabled: true, OnLo: lo}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := families(t, tt.lab)
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(equalAddrs)); diff != "" {
				t.Errorf("families (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("IPv6 switched off", func(t *testing.T) {
		only4.DisableIPv6(t)
		got := families(t, only4)
		if diff := cmp.Diff(Families{IPv4: true, OnLo: lo[:1]}, got, cmp.Comparer(equalAddrs)); diff != "" {
			t.Errorf("families (-want +got):\n%s", diff)
		}
	})
}

func families(t *testing.T, lab *netlab.Lab) (got Families) {
	t.Helper()
	err := netlab.In(lab.Pod, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		got, err = ReadFamilies(h)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func equalAddrs(a, b netip.Addr) bool { return a == b }
