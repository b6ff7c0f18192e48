package initcontainer

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/apply/nft"
	"github.com/sluicemesh/sluice/initcontainer/host"
	"github.com/sluicemesh/sluice/initcontainer/plan"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// print writes what a run into an empty namespace would load, or why.
func (c Config) print(families host.Families) error {
	list := []rule.Family{rule.IPv4}
	if families.IPv6 || families.IPv6Enabled {
		list = append(list, rule.IPv6)
	}
	var all strings.Builder
	for _, f := range list {
		fmt.Fprintf(&all, "# %s\n", f)
		text, err := c.text(f)
		if err != nil {
			return fmt.Errorf("print %s rules: %w", f, err)
		}
		all.WriteString(text)
	}
	if _, err := io.WriteString(c.Out, all.String()); err != nil {
		return fmt.Errorf("print rules: %w", err)
	}
	if file := c.Options.DryRunFile; file != "" {
		if err := os.WriteFile(file, []byte(all.String()), 0o644); err != nil {
			return fmt.Errorf("print rules to DRY_RUN_FILE_PATH: %w", err)
		}
	}
	return nil
}

// text is what is printed for one family: why the rules exist, or the rules in the words of
// the backend.
func (c Config) text(f rule.Family) (string, error) {
	p := c.wanted(f)
	switch {
	case c.Options.Explain:
		return plan.ExplainText(p, c.Capture), nil
	case c.Options.NativeNftables:
		script, err := nft.Text(f, p.Rules)
		return p.Routing(f) + script, err
	}
	return p.Text(f), nil
}
