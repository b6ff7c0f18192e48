package nft_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// ruleset is what nft lists in the lab's pod, without the numbers that the kernel gives out
// and those that packets change.
func ruleset(t *testing.T, lab *netlab.Lab) any {
	t.Helper()
	var out any
	if err := json.Unmarshal([]byte(lab.Output(t, "nft", "-j", "list", "ruleset")), &out); err != nil {
		t.Fatal(err)
	}
	return withoutNumbers(out)
}

func withoutNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range []string{"handle", "packets", "bytes"} {
			delete(v, name)
		}
		for _, inner := range v {
			withoutNumbers(inner)
		}
	case []any:
		for _, inner := range v {
			withoutNumbers(inner)
		}
	}
	return v
}

// TestTextIsWhatIsLoaded: nft makes of the script what Swap makes of the rules.
func TestTextIsWhatIsLoaded(t *testing.T) {
	tproxy := capture.Default()
	tproxy.Mode = capture.TProxy
	for name, sets := range map[string]both{
		"everything": {rule.IPv4: every(rule.IPv4), rule.IPv6: every(rule.IPv6)},
		"default":    {rule.IPv4: plan.Build(capture.Default(), rule.IPv4).Rules},
		"tproxy":     {rule.IPv4: plan.Build(tproxy, rule.IPv4).Rules, rule.IPv6: plan.Build(tproxy, rule.IPv6).Rules},
	} {
		t.Run(name, func(t *testing.T) {
			byText, bySwap := netlab.New(t, true), netlab.New(t, true)
			for _, f := range []rule.Family{rule.IPv4, rule.IPv6} {
				text, err := nft.Text(f, sets[f])
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "rules.nft")
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				byText.Output(t, "nft", "-f", file)
				byText.Output(t, "nft", "-f", file) // it replaces what is there
			}
			err := netlab.In(bySwap.Pod, func() error { return (&nft.Kernel{}).Swap(t.Context(), nil, sets) })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ruleset(t, byText), ruleset(t, bySwap)); diff != "" {
				t.Errorf("rulesets differ (-nft +netlink):\n%s", diff)
			}
		})
	}
}
