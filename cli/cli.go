// Package cli builds the command tree of sluice, which is also the kubectl plugin
// kubectl-sluice. It only binds verbs; each family of verbs has a package below this one.
package cli

import (
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/cli/install"
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
}

// Command returns the whole tree. Errors of verbs are returned by its execution and not
// printed, so that the caller prints them once.
func Command(c Config) *cobra.Command {
	t := &target.Target{In: c.In, Out: c.Out, Err: c.Err, Version: c.Version}
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
	)
	return root
}
