// Command sluice-agent runs beside Envoy in each pod of the mesh. Images also carry it
// under the name pilot-agent.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluicemesh/sluice/agent/command"
	"github.com/sluicemesh/sluice/internal/version"
)

func main() {
	if handled, err := command.Exec(os.Args[1:], os.Environ(), syscall.Exec); handled {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	// Only the first signal counts: a second one must not cut the draining short.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Execute(ctx, command.IO{
		Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		Started: time.Now(), Version: version.Version,
	})
	cancel()
	os.Exit(code)
}
