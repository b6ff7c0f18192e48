package initcontainer

import (
	"fmt"
	"io"
	"os"
	"strings"

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
		if c.Options.Explain {
			all.WriteString(plan.ExplainText(c.wanted(f), c.Capture))
		} else {
			all.WriteString(c.wanted(f).Text(f))
		}
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
