// Command sluice-cni is the network plug-in that writes the interception rules of pods, and
// its own installer. Started by a container runtime (CNI_COMMAND is set) it is the plug-in;
// "sluice-cni install", also under the name install-cni, is what runs on every node.
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv("CNI_COMMAND") == "" && installs() {
		if err := node.Main(ctx, os.Getenv, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "install-cni: %v\n", err)
			os.Exit(1) //nolint:gocritic // the process ends with its signals
		}
		return
	}
	p := plugin.Plugin{Context: ctx, Fetch: plugin.Fetch}
	skel.PluginMainFuncs(p.Funcs(), plugin.Versions(), plugin.About)
}

// installs reports whether the program was started as the installer.
func installs() bool {
	return filepath.Base(os.Args[0]) == "install-cni" || len(os.Args) > 1 && os.Args[1] == "install"
}
