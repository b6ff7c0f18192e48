package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// without makes programs fail as they do on a kernel that lacks the tables of a flavour.
func without(flavour string) string {
	return `case "$0,$*" in *--version*) ;; *-` + flavour + `*)
  echo "can't initialize iptables table nat: Table does not exist (do you need to insmod?)" >&2; exit 3;; esac
exec $REAL "$@"`
}

// TestFindTool needs a kernel with both flavours only where the row says that rules of
// that flavour exist beforehand.
func TestFindTool(t *testing.T) {
	tests := []struct {
		name   string
		before []string // programs run in the pod first
		fake   string
		absent func(program string) bool
		force  Flavour
		want   Flavour
		errors []string // instead of want
	}{
		{name: "fresh", want: Nft},
		{name: "kernel without legacy tables", fake: without("legacy"), want: Nft},
		{name: "kernel without nf_tables", fake: without("nft"), want: Legacy},
		{name: "kernel without any", fake: without("legacy") + "\n", absent: func(p string) bool { return !strings.Contains(p, "-legacy") },
			errors: []string{"no usable iptables for IPv4", "iptables-nft: ", "iptables-legacy cannot list table nat", "do you need to insmod?"}},
		{name: "forced and missing in the kernel", fake: without("legacy"), force: Legacy,
			errors: []string{"iptables-legacy cannot list table nat (is the kernel module there, and capability NET_ADMIN?)", "Table does not exist"}},
		{name: "forced and not installed", absent: func(p string) bool { return strings.Contains(p, "-nft") }, force: Nft,
			errors: []string{"iptables-nft: ", "executable file not found"}},
		{name: "image without restore", absent: func(p string) bool { return strings.HasSuffix(p, "-restore") },
			errors: []string{`"iptables-nft-restore": executable file not found`}},
		{name: "only plain names", absent: func(p string) bool { return strings.Contains(p, "-nft") || strings.Contains(p, "-legacy") }, want: Default},
		{name: "nft in use", before: []string{"iptables-nft -t nat -N FOREIGN"}, want: Nft},
		{name: "legacy in use", before: []string{"iptables-legacy -t nat -N FOREIGN"}, want: Legacy},
		{name: "both in use, ours in nft", want: Nft,
			before: []string{"iptables-legacy -t nat -N FOREIGN", "iptables-nft -t nat -N ISTIO_OUTPUT"}},
		{name: "both in use, ours in legacy", want: Legacy,
			before: []string{"iptables-legacy -t nat -N ISTIO_OUTPUT", "iptables-nft -t nat -N FOREIGN"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lab := netlab.New(t, true)
			for _, line := range tt.before {
				words := strings.Fields(line)
				lab.Output(t, words[0], words[1:]...)
			}
			fake := tt.fake
			if fake == "" {
				fake = `exec $REAL "$@"`
			}
			t.Setenv("PATH", netlab.FakePrograms(t, fake, tt.absent)+string(filepath.ListSeparator)+coreutils(t))
			var got Tool
			err := netlab.In(lab.Pod, func() (err error) {
				got, err = FindTool(rule.IPv4, tt.force)
				return err
			})
			if tt.errors == nil && (err != nil || got.Flavour != tt.want) {
				t.Fatalf("FindTool = %v, %v; want %s", got.Flavour, err, tt.want)
			}
			for _, want := range tt.errors {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
		})
	}
}

// coreutils is a directory that has no iptables, for the fake programs' own needs.
func coreutils(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink("/bin/sh", filepath.Join(dir, "sh")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadFamilies(t *testing.T) {
	dual, only4, none := netlab.New(t, true), netlab.New(t, false), netlab.New(t, false)
	none.DropAddress(t, netlab.Pod4+"/24")
	tests := []struct {
		name string
		lab  *netlab.Lab
		want Families
	}{
		{"dual stack", dual, Families{IPv4: true, IPv6: true, IPv6Enabled: true}},
		{"link-local IPv6 only", only4, Families{IPv4: true, IPv6Enabled: true}},
		{"none", none, Families{IPv6Enabled: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Families
			if err := netlab.In(tt.lab.Pod, func() (err error) {
				got, err = ReadFamilies()
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("families (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("IPv6 switched off", func(t *testing.T) {
		only4.DisableIPv6(t)
		var got Families
		if err := netlab.In(only4.Pod, func() (err error) {
			got, err = ReadFamilies()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Families{IPv4: true}, got); diff != "" {
			t.Errorf("families (-want +got):\n%s", diff)
		}
	})
}

// TestFindToolOnlyReads: choosing the programs leaves no trace in a fresh namespace.
func TestFindToolOnlyReads(t *testing.T) {
	lab := netlab.New(t, true)
	before := lab.Output(t, "iptables-nft-save")
	if err := netlab.In(lab.Pod, func() error {
		_, err := FindTool(rule.IPv4, "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, lab.Output(t, "iptables-nft-save")); diff != "" {
		t.Errorf("tables (-before +after):\n%s", diff)
	}
	if names := lab.Output(t, "cat", "/proc/thread-self/net/ip_tables_names"); names != "" {
		t.Errorf("legacy tables %q exist now", names)
	}
}
