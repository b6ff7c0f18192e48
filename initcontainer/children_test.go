package initcontainer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// TestPrograms counts what a run in a fresh pod with both families starts, and a run after it.
func TestPrograms(t *testing.T) {
	for _, tt := range []struct {
		line         string
		first, again string
	}{
		{"--force-iptables-binary=nft", "ip6tables-nft-restore iptables-nft-restore", ""},
		{"--force-iptables-binary=legacy",
			"ip6tables-legacy-restore ip6tables-legacy-save iptables-legacy-restore iptables-legacy-save",
			"ip6tables-legacy-save iptables-legacy-save"},
		{"--native-nftables", "", ""},
	} {
		t.Run(tt.line, func(t *testing.T) {
			lab := netlab.New(t, true)
			started := filepath.Join(t.TempDir(), "started")
			fakes := netlab.FakePrograms(t, `basename $0 >> `+started+`; exec $REAL "$@"`, nil)
			t.Setenv("PATH", fakes+string(filepath.ListSeparator)+os.Getenv("PATH"))
			for _, want := range []string{tt.first, tt.again} {
				if err := os.WriteFile(started, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				mustRun(t, lab, tt.line+" -i * -b *")
				got, err := os.ReadFile(started)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(strings.Fields(want), sortedWords(string(got))); diff != "" {
					t.Errorf("programs started (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func sortedWords(text string) []string {
	words := strings.Fields(text)
	slices.Sort(words)
	return words
}
