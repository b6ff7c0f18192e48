// Command sluice-cni is the network plug-in that writes the interception rules of pods, and
// its own installer. Started by a container runtime (CNI_COMMAND is set) it is the plug-in;
// "sluice-cni install", also under the name install-cni, is what runs on every node; with
// "verify" or "trace" it answers questions about a pod of its node.
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
	if os.Getenv("CNI_COMMAND") == "" && node.Asks(os.Args[1:]) {
		return answer(ctx)
	}
	if os.Getenv("CNI_COMMAND") == "" && installs() {
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

// installs reports whether the program was started as the installer.
func installs() bool {
	return filepath.Base(os.Args[0]) == "install-cni" || len(os.Args) > 1 && os.Args[1] == "install"
}

// answer answers the command line of users about a pod and returns the exit code: that of
// sluice-init.
func answer(ctx context.Context) int {
	well, err := node.Answer(ctx, os.Args[1:], os.Getenv, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "install-cni: %v\n", err)
		return 1
	case !well:
		return 126
	}
	return 0
}
