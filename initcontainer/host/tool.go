package host

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Flavour is the part of the kernel that an iptables program writes to.
type Flavour string

// The flavours. Both may hold rules at once; each sees only its own.
const (
	Nft    Flavour = "nft"    // nf_tables
	Legacy Flavour = "legacy" // ip_tables, ip6_tables
)

// Tool is the programs of one flavour for one family, by path.
type Tool struct {
	Family  rule.Family
	Flavour Flavour
	Command string // iptables itself
	Save    string // lists all tables in the form of iptables-save
	Restore string // loads standard input, one transaction for each table
}

// FindTool looks for the programs in PATH. It runs none: whether the kernel answers them is
// found out by the first that does work. The error names the program that is missing.
func FindTool(f rule.Family, flavour Flavour) (Tool, error) {
	family := "iptables"
	if f == rule.IPv6 {
		family = "ip6tables"
	}
	command, err := exec.LookPath(family + "-" + string(flavour))
	if err != nil {
		// An image may have the plain names only.
		plain, plainErr := exec.LookPath(family)
		if plainErr != nil || flavourOf(plain) != flavour {
			return Tool{}, fmt.Errorf("program %s-%s is not in the image: %w", family, flavour, err)
		}
		command = plain
	}
	t := Tool{Family: f, Flavour: flavour, Command: command}
	for suffix, path := range map[string]*string{"-save": &t.Save, "-restore": &t.Restore} {
		if *path, err = exec.LookPath(command + suffix); err != nil {
			return Tool{}, fmt.Errorf("program %s is not in the image: %w", filepath.Base(command)+suffix, err)
		}
	}
	return t, nil
}

// flavourOf tells the flavour of a program by the file that its name leads to: all names
// are links to one file for each flavour. Before there were two, there was legacy.
func flavourOf(path string) Flavour {
	file, err := filepath.EvalSymlinks(path)
	if err == nil && strings.Contains(filepath.Base(file), string(Nft)) {
		return Nft
	}
	return Legacy
}
