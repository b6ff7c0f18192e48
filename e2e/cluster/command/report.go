package command

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/e2e/cluster"
)

func status(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "List the clusters made here", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := cluster.List(cmd.Context(), *config)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "NAME\tSPEC\tHEALTH\tADDRESSES\tNODE IMAGE\tKUBECONFIG") // errors show on Flush
			for _, c := range list {
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.Spec, c.Health, c.Addresses, c.Image, c.Kubeconfig)
			}
			return table.Flush()
		},
	}
}

func doctor(config *cluster.Config) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what this host lacks for a cluster and what is done about it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := cluster.Examine(cmd.Context(), *config)
			if err != nil {
				return err
			}
			ill := false
			for _, f := range findings {
				mark := "✓"
				if !f.Fine {
					mark, ill = "✗", true
				}
				line := mark + " " + f.What
				if f.Done != "" {
					line += " → " + f.Done
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return fmt.Errorf("write findings: %w", err)
				}
			}
			if ill {
				return errors.New("this host lacks something that is not done about by itself: see the lines with ✗")
			}
			return nil
		},
	}
}
