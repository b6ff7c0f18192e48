// Command sluiced is the control plane: injection webhook, xDS, certificates.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/sluicemesh/sluice/internal/logging"
	"github.com/sluicemesh/sluice/internal/version"
	"github.com/sluicemesh/sluice/webhook"
	"github.com/sluicemesh/sluice/xds"
	"github.com/sluicemesh/sluice/xds/ca"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	root := &cobra.Command{Use: "sluiced", Short: "The control plane of the mesh", Version: version.Version, SilenceUsage: true}
	root.AddCommand(discovery())
	if err := root.ExecuteContext(ctx); err != nil {
		stop()
		os.Exit(1)
	}
}

// discovery is the one verb, named and spelled as the charts of Istio call it.
func discovery() *cobra.Command {
	cfg := xds.Config{Namespace: env("POD_NAMESPACE", "istio-system"), Revision: env("REVISION", "default"), Version: version.Version}
	var logs logging.Config
	cmd := &cobra.Command{
		Use: "discovery", Short: "Run the control plane", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Log, err = logging.New(os.Stdout, logs); err != nil {
				return err
			}
			if cfg.REST, err = ctrl.GetConfig(); err != nil {
				return fmt.Errorf("find the API server: %w", err)
			}
			hook := webhookConfig(cfg)
			hook.Stopping = cmd.Context().Done()
			cfg.Cache = webhook.CacheOptions(hook)
			cfg.Extend = func(mgr ctrl.Manager, authority *ca.Authority) error {
				hook.Authority = authority
				return webhook.Setup(mgr, hook)
			}
			return xds.Run(cmd.Context(), cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.ClusterDomain, "domain", "cluster.local", "DNS suffix of the cluster's Services")
	f.StringVar(&cfg.PlainAddr, "grpcAddr", ":15010", "address for xDS without TLS")
	f.StringVar(&cfg.SecureAddr, "secureGRPCAddr", ":15012", "address for xDS and certificates over TLS")
	f.StringVar(&cfg.MonitoringAddr, "monitoringAddr", ":15014", "address for metrics, version and debug pages")
	f.StringVar(&cfg.HealthAddr, "httpAddr", ":8080", "address for readiness")
	f.IntVar(&cfg.WebhookPort, "httpsPort", 15017, "port of the injection webhook")
	f.DurationVar(&cfg.MaxConnectionAge, "keepaliveMaxServerConnectionAge", 0, "after how long a proxy's stream is closed; 0: never")
	f.DurationVar(&cfg.Linger, "shutdownDuration", 5*time.Second, "how long to go on serving after the signal to stop, until nobody is sent here any more")
	logs.AddFlags(f)
	return cmd
}

func webhookConfig(cfg xds.Config) webhook.Config {
	return webhook.Config{
		Revision: cfg.Revision, Namespace: cfg.Namespace, ClusterDomain: cfg.ClusterDomain,
		NativeSidecars: os.Getenv("ENABLE_NATIVE_SIDECARS"), Platform: os.Getenv("PLATFORM"), Tag: version.Version,
		KeepBundles: emptied("INJECTION_WEBHOOK_CONFIG_NAME"), Log: cfg.Log.With(slog.String("part", "webhook")),
	}
}

// emptied reports whether an environment variable is set to nothing, which turns off what it
// names.
func emptied(name string) bool {
	v, set := os.LookupEnv(name)
	return set && v == ""
}

// env is an environment variable, or its default when it is empty.
func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}
