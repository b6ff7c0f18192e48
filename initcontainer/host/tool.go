package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Flavour is the part of the kernel that an iptables program writes to.
type Flavour string

// The flavours. Both may hold rules at once; each sees only its own.
const (
	Nft     Flavour = "nft"     // nf_tables
	Legacy  Flavour = "legacy"  // ip_tables, ip6_tables
	Default Flavour = "default" // the plain name, where an image has only that
)

// lockSeconds is how long a program waits for another that holds the lock of the tables.
const lockSeconds = 30

// Tool is a set of programs that works here for one family.
type Tool struct {
	Family  rule.Family
	Flavour Flavour
	Save    []string // lists all tables in the form of iptables-save
	Restore []string // loads standard input in one transaction and keeps all it does not name
	Ours    bool     // the nat table has a chain of the interception
}

// FindTool chooses the programs for family f, or for the given flavour only if force is
// not empty. The error names what was tried and why it does not work.
//
// Where legacy tables exist in this namespace, others use them and so do we; otherwise
// nft comes first. But a flavour that holds rules of an earlier run is kept: rules in both
// would add up.
func FindTool(f rule.Family, force Flavour) (Tool, error) {
	var found []Tool
	var problems []error
	for _, flavour := range candidates(f, force) {
		tool, err := open(f, flavour)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if tool.Ours {
			return tool, nil
		}
		found = append(found, tool)
		// Legacy tables have no chain of ours unless the namespace has such tables, which
		// puts them first; so only then another flavour may hold our rules.
		if flavour != Legacy {
			break
		}
	}
	if len(found) == 0 {
		return Tool{}, fmt.Errorf("no usable iptables for %s: %w", f, errors.Join(problems...))
	}
	return found[0], nil
}

// candidates lists the flavours in the order of preference.
func candidates(f rule.Family, force Flavour) []Flavour {
	switch {
	case force != "":
		return []Flavour{force}
	case legacyInUse(f):
		return []Flavour{Legacy, Nft, Default}
	default:
		return []Flavour{Nft, Legacy, Default}
	}
}

// legacyInUse reports whether the calling thread's namespace has legacy tables. Reading
// the kernel's list, unlike running iptables-legacy, does not create them.
func legacyInUse(f rule.Family) bool {
	file := "/proc/thread-self/net/ip_tables_names"
	if f == rule.IPv6 {
		file = "/proc/thread-self/net/ip6_tables_names"
	}
	names, err := os.ReadFile(file)
	return err == nil && strings.TrimSpace(string(names)) != ""
}

// open finds the programs of one flavour and makes sure that the kernel answers them.
func open(f rule.Family, flavour Flavour) (Tool, error) {
	name, proto := "iptables", iptables.ProtocolIPv4
	if f == rule.IPv6 {
		name, proto = "ip6tables", iptables.ProtocolIPv6
	}
	if flavour != Default {
		name += "-" + string(flavour)
	}
	ipt, err := iptables.New(iptables.IPFamily(proto), iptables.Path(name), iptables.Timeout(lockSeconds))
	if err != nil {
		return Tool{}, fmt.Errorf("%s: %w", name, err)
	}
	save, err := exec.LookPath(name + "-save")
	if err != nil {
		return Tool{}, err
	}
	restore, err := exec.LookPath(name + "-restore")
	if err != nil {
		return Tool{}, err
	}
	chains, err := ipt.ListChains(string(rule.Nat))
	if err != nil {
		return Tool{}, fmt.Errorf("%s cannot list table %s (is the kernel module there, and capability NET_ADMIN?): %w", name, rule.Nat, err)
	}
	t := Tool{
		Family: f, Flavour: flavour,
		Save:    []string{save},
		Restore: []string{restore, "--noflush"},
		Ours:    slices.ContainsFunc(chains, func(c string) bool { return rule.Chain(c).Private() }),
	}
	// --random-fully of the rules and --wait of the restore program came with one release.
	if ipt.HasRandomFully() {
		t.Restore = append(t.Restore, fmt.Sprintf("--wait=%d", lockSeconds))
	}
	return t, nil
}
