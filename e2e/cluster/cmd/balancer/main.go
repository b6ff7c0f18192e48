// Command balancer gives addresses to a test cluster's Services of type LoadBalancer. It runs on the control plane node.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sluicemesh/sluice/e2e/cluster/balancer"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "/etc/kubernetes/admin.conf", "file with access to the cluster")
	ranges := flag.String("pool", "", "address ranges to give out, separated by commas, at most one per family")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *ranges); err != nil {
		fmt.Fprintln(os.Stderr, "balancer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, ranges string) error {
	var prefixes []netip.Prefix
	for text := range strings.SplitSeq(ranges, ",") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("parse -pool: %w", err)
		}
		prefixes = append(prefixes, prefix)
	}
	pool, err := balancer.NewPool(prefixes...)
	if err != nil {
		return fmt.Errorf("make pool: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return balancer.Run(ctx, client, pool, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
