// Package command is the command line of the cluster harness: flags in, calls of package cluster, text out.
package command

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/cluster/settings"
)

// New returns the root command. Progress goes to standard error, answers for scripts to standard output.
func New() *cobra.Command {
	config := &cluster.Config{Log: os.Stderr}
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "Local Kubernetes clusters for the end-to-end scenarios (kind, with or without an image registry)",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&config.Name, "name", cluster.DefaultName, "name of the cluster")
	root.AddCommand(
		up(config), down(config), status(config), load(config), kubeconfig(config), kubectl(config), doctor(config), assets(config),
	)
	return root
}

func up(config *cluster.Config) *cobra.Command {
	var family, image string
	command := &cobra.Command{
		Use: "up", Short: "Make the cluster, or find it made", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config.IPFamily, config.NodeImage = settings.Family(family), cluster.NodeImage(image)
			_, err := cluster.Up(cmd.Context(), *config)
			return err
		},
	}
	command.Flags().IntVar(&config.Nodes, "nodes", 1, "one control plane that also runs workloads, the rest workers")
	command.Flags().StringVar(&family, "ip-family", string(settings.IPv4), "addresses of pods and services: ipv4, ipv6 or dual")
	command.Flags().StringVar(&image, "node-image", string(cluster.Auto), "pull kind's, build one, or auto: what works here")
	command.Flags().StringVar(&config.Kubeconfig, "kubeconfig", "", "file to write access to (default: a file in the cache)")
	return command
}

func down(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Remove the cluster and all that was made for it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cluster.Down(cmd.Context(), *config) },
	}
}

func load(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "load IMAGE-ARCHIVE…", Short: "Put images on the nodes that lack them", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			c, err := cluster.Find(cmd.Context(), *config)
			if err != nil {
				return err
			}
			return c.Load(cmd.Context(), files...)
		},
	}
}

func kubeconfig(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "Print the path of the cluster's kubeconfig", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := cluster.Find(cmd.Context(), *config)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), c.Kubeconfig())
			return err
		},
	}
}

func assets(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "assets", Short: "Print a directory with kube-apiserver, etcd, kubectl and kubeadm (KUBEBUILDER_ASSETS)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := cluster.Assets(cmd.Context(), *config)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}
}

func kubectl(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "kubectl -- ARGUMENT…", Short: "Run the kubectl of the cluster's version against it",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := cluster.Find(cmd.Context(), *config)
			if err != nil {
				return err
			}
			return c.Kubectl(cmd.Context(), args)
		},
	}
}
