// Package host prepares the machine the harness runs on: it installs Debian packages that are missing.
//
// It must install nothing that is there already and nothing silently. Names of programs come in; programs on PATH, or an error
// that says which package to install by hand, go out.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/e2e/cluster/proc"
	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

// Packager installs packages.
type Packager struct {
	Root   bool              // whether this process may install
	Debian bool              // whether apt-get is how to do it
	Out    *progress.Printer // where installing is said
}

// Local returns the packager of this machine.
func Local(out *progress.Printer) Packager {
	release, err := os.ReadFile("/etc/os-release")
	return Packager{Root: os.Geteuid() == 0, Debian: err == nil && isDebian(string(release)), Out: out}
}

// Need makes each program available, installing its Debian package where it is missing.
func (p Packager) Need(ctx context.Context, programs ...string) error {
	missing := slices.DeleteFunc(slices.Clone(programs), proc.Has)
	if len(missing) == 0 {
		return nil
	}
	packages := packagesOf(missing)
	list := strings.Join(packages, " ")
	if !p.Debian || !p.Root {
		return fmt.Errorf("%s not found: install the package %s (on Debian, as root: apt-get install %s)",
			strings.Join(missing, ", "), list, list)
	}
	err := p.Out.Step(ctx, "install from Debian: "+list, func(ctx context.Context) error {
		// A source of the machine's that does not answer fails the update; what is needed may be known all the same.
		updateErr := proc.Run(ctx, proc.Command{Args: []string{"apt-get", "update", "-q"}})
		args := append([]string{"apt-get", "install", "-q", "-y", "--no-install-recommends"}, packages...)
		err := proc.Run(ctx, proc.Command{Args: args, Env: []string{"DEBIAN_FRONTEND=noninteractive"}})
		if err != nil {
			return errors.Join(updateErr, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("install %s: %w", list, err)
	}
	return nil
}

// packagesOf names the Debian packages the programs come from, sorted, each once.
func packagesOf(programs []string) []string {
	from := map[string]string{
		"dockerd": "docker.io", "docker": "docker.io", "runc": "runc", "containerd": "containerd",
		"ip": "iproute2", "iptables": "iptables", "modprobe": "kmod",
	}
	var packages []string
	for _, program := range programs {
		name, known := from[program]
		if !known {
			name = program
		}
		packages = append(packages, name)
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// isDebian reads the form of /etc/os-release.
func isDebian(release string) bool {
	for line := range strings.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if (key == "ID" || key == "ID_LIKE") && slices.Contains(strings.Fields(strings.Trim(value, `"`)), "debian") {
			return true
		}
	}
	return false
}
