// Command sluice-cni is the network plug-in that writes the interception rules of pods, and
// its own installer. Started by a container runtime (CNI_COMMAND is set) it is the plug-in;
// "sluice-cni install", also under the name install-cni, is what runs on every node; there
// "install-cni verify NAMESPACE/POD" and "install-cni trace NAMESPACE/POD" tell of rules in force.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/containernetworking/cni/pkg/skel"

	"github.com/sluicemesh/sluice/initcontainer/cni/node"
	"github.com/sluicemesh/sluice/initcontainer/cni/plugin"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch called := os.Getenv("CNI_COMMAND") != ""; {
	case called:
	case node.Asks(os.Args[1:]):
		return ask(ctx)
	case installs():
		if err := node.Main(ctx, os.Getenv, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "install-cni: %v\n", err)
			return 1
		}
		return 0
	}
	p := plugin.Plugin{Context: ctx, Fetch: plugin.Fetch}
	if err := skel.PluginMainFuncsWithError(p.Funcs(), plugin.Versions(), plugin.About); err != nil {
		// The protocol wants errors on standard output.
		if err := err.Print(); err != nil {
			fmt.Fprintf(os.Stderr, "istio-cni: print the error: %v\n", err)
		}
		return 1
	}
	return 0
}

// exitMismatch is the exit code of sluice-init where packets do not go where they should.
const exitMismatch = 126

// ask answers a question about a pod of the node.
func ask(ctx context.Context) int {
	well, err := node.Ask(ctx, os.Getenv, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "install-cni: %v\n", err)
		return 1
	}
	if !well {
		return exitMismatch
	}
	return 0
}

// installs reports whether the program was started as the installer.
func installs() bool {
	return filepath.Base(os.Args[0]) == "install-cni" || len(os.Args) > 1 && os.Args[1] == "install"
}
