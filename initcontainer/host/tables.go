package host

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// LegacyInUse reports whether the network namespace of the calling thread has a legacy
// table that interception uses. Unlike running iptables-legacy, asking creates none. A
// kernel without legacy tables has none.
func LegacyInUse(f rule.Family) (bool, error) {
	file := "/proc/thread-self/net/ip_tables_names"
	if f == rule.IPv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	names, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist): // no module of this flavour is loaded
		return false, nil
	case err != nil:
		return false, fmt.Errorf("list legacy %s tables: %w", f, err)
	}
	return slices.ContainsFunc(strings.Fields(string(names)), func(name string) bool {
		return slices.Contains(rule.Tables(), rule.Table(name))
	}), nil
}
