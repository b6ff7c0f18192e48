// Command caprunc is an OCI runtime for hosts that lack a capability: it takes what the host does not have out of the
// document it is given and then becomes runc.
//
// It is registered with a container engine only where something is missing. Arguments and documents are those of runc's
// command line; all else passes unchanged.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sluicemesh/sluice/e2e/cluster/capability"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "caprunc:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	missing, err := capability.OfHost()
	if err != nil {
		return err
	}
	if bundle := value(args, "--bundle", "-b"); bundle != "" {
		config := filepath.Join(bundle, "config.json")
		err = rewrite(config, missing, capability.StripBundle)
	} else if process := value(args, "--process", "-p"); process != "" {
		err = rewrite(process, missing, capability.StripProcess)
	}
	if err != nil {
		return err
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		return fmt.Errorf("find the real runtime: %w", err)
	}
	return syscall.Exec(runc, append([]string{runc}, args...), os.Environ())
}

// value returns what a flag was set to, in either of the forms "--flag value" and "--flag=value".
func value(args []string, names ...string) string {
	for i, arg := range args {
		for _, name := range names {
			if arg == name && i+1 < len(args) {
				return args[i+1]
			}
			if v, found := strings.CutPrefix(arg, name+"="); found {
				return v
			}
		}
	}
	return ""
}

func rewrite(path string, missing []string, strip func([]byte, []string) ([]byte, error)) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read runtime document: %w", err)
	}
	doc, err = strip(doc, missing)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		return fmt.Errorf("write runtime document: %w", err)
	}
	return nil
}
