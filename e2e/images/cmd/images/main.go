// Command images builds the container images of this repository as OCI archives and prints
// where they are. It reads flags, the module in the working directory and the cache; package
// images does the work.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/e2e/images"
	"github.com/sluicemesh/sluice/e2e/images/envoy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		stop()
		os.Exit(1)
	}
}

// cacheOf is the cache directory that the flags name.
func cacheOf(cfg images.Config) (string, error) {
	if cfg.Cache != "" {
		return cfg.Cache, nil
	}
	return images.DefaultCache()
}

func command() *cobra.Command {
	cfg := images.Config{Progress: os.Stderr}
	root := &cobra.Command{Use: "images", Short: "Build container images without a container runtime", SilenceUsage: true}
	flags := root.PersistentFlags()
	flags.StringVar(&cfg.Root, "root", "", "directory of the module (default the working directory)")
	flags.StringVar(&cfg.Cache, "cache", "", "cache directory (default $SLUICE_CACHE or the user's cache directory)")
	flags.StringVar(&cfg.Tag, "tag", "", "tag of the mesh's images (default made of their content)")
	flags.StringVar(&cfg.Version, "version", "", `version stamped into the programs (default "dev")`)

	build := &cobra.Command{
		Use: "build", Short: "Build what changed; print reference, archive, digest and size of each image",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			built, err := images.Build(c.Context(), cfg)
			for _, img := range built {
				fmt.Fprintf(c.OutOrStdout(), "%s\t%s\t%s\t%.1f MB\n", img.Ref, img.Archive, img.Digest, float64(img.Size)/1e6)
			}
			return err
		},
	}
	build.Flags().StringSliceVar(&cfg.Only, "only", nil, "images to build: "+strings.Join(images.Names(), ", "))

	list := &cobra.Command{
		Use: "list", Short: "Print the names of the images", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintln(c.OutOrStdout(), strings.Join(images.Names(), "\n"))
		},
	}
	tag := &cobra.Command{
		Use: "tag", Short: "Print the tag of the mesh's images", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tag, err := images.Tag(c.Context(), cfg)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), tag)
			}
			return err
		},
	}
	program := &cobra.Command{
		Use: "envoy", Short: "Print the path of the pinned Envoy program, getting it if need be", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cache, err := cacheOf(cfg)
			if err != nil {
				return err
			}
			path, err := envoy.Fetch(c.Context(), cache, func(line string) { fmt.Fprintln(os.Stderr, line) })
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), path)
			}
			return err
		},
	}
	root.AddCommand(build, list, tag, program)
	return root
}
