// Package cli builds the command tree of sluice, which is also the kubectl plugin
// kubectl-sluice. It only binds verbs; each family of verbs has a package below this one.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/explain"
	"github.com/sluicemesh/sluice/cli/inject"
	"github.com/sluicemesh/sluice/cli/install"
	"github.com/sluicemesh/sluice/cli/intercept"
	"github.com/sluicemesh/sluice/cli/target"
	"github.com/sluicemesh/sluice/cli/version"
)

// Config is what the main program gives.
type Config struct {
	In       io.Reader
	Out, Err io.Writer
	// Version is the program's, and the tag of the images that it installs.
	Version string
	// Program is the path it was called by.
	Program string
	// NoColor says that the environment forbids colours.
	NoColor bool
}

// Run runs the program with its arguments and returns its exit code: 0, 1 with an error on
// Err, or the verb's own.
func Run(ctx context.Context, c Config, args []string) int {
	root := Command(c)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if code := target.Exit(0); errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintln(c.Err, "Error:", err)
	return 1
}

// Command returns the whole tree. Errors of verbs are returned by its execution and not
// printed, so that the caller prints them once.
func Command(c Config) *cobra.Command {
	t := &target.Target{In: c.In, Out: c.Out, Err: c.Err, Version: c.Version, NoColor: c.NoColor}
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "Install, look into and operate a mesh",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	if strings.HasPrefix(filepath.Base(c.Program), "kubectl-") {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sluice"}
	}
	root.SetIn(c.In)
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	t.AddFlags(root.PersistentFlags())
	root.AddCommand(
		install.Command(t),
		install.UninstallCommand(t),
		install.VerifyCommand(t),
		install.ManifestCommand(t),
		install.ProfileCommand(t),
		version.Command(t),
		inject.KubeInjectCommand(t),
		inject.Command(t),
		explain.Command(t),
		explain.UninjectedCommand(t),
		intercept.VerifyCommand(t),
		intercept.TraceCommand(t),
		experimental(t),
	)
	return root
}

// experimental returns the verbs that Istio's users know by this name.
func experimental(t *target.Target) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "experimental",
		Aliases: []string{"x", "exp"},
		Short:   "Verbs that Istio's users know as experimental",
	}
	cmd.AddCommand(explain.CheckCommand(t))
	return cmd
}
