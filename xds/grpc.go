package xds

import (
	"context"
	"fmt"
	"math"
	"net"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	securityv1alpha1 "istio.io/api/security/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/sluicemesh/sluice/xds/auth"
	"github.com/sluicemesh/sluice/xds/ca"
	"github.com/sluicemesh/sluice/xds/serve"
)

// Settings of the gRPC servers. The numbers are those that Istio's agents expect.
const (
	keepaliveInterval = 30 * time.Second
	keepaliveTimeout  = 10 * time.Second
	maxStreams        = 100000
)

// grpcServers are the two gRPC addresses: plain, and TLS with the certificate service.
type grpcServers struct {
	cfg       Config
	xds       *serve.Server
	auth      *auth.Authenticator
	authority *ca.Authority
}

// run listens at both addresses until ctx ends, then closes all streams.
func (g *grpcServers) run(ctx context.Context) error {
	plain := grpc.NewServer(g.options()...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(plain, g.xds.Plain())

	serving := ca.NewServing(g.authority, ServingNames(g.cfg.Namespace, g.cfg.Revision))
	secure := grpc.NewServer(append(g.options(), grpc.Creds(credentials.NewTLS(serving.TLS())))...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(secure, g.xds.Authenticated(g.auth))
	securityv1alpha1.RegisterIstioCertificateServiceServer(secure, ca.NewService(g.authority, g.auth, metrics.Registry, g.cfg.Log))

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return listen(ctx, plain, g.cfg.PlainAddr) })
	group.Go(func() error { return listen(ctx, secure, g.cfg.SecureAddr) })
	return group.Wait()
}

// listen serves at an address until ctx ends.
func listen(ctx context.Context, s *grpc.Server, addr string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for xDS: %w", err)
	}
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve xDS at %s: %w", addr, err)
	}
	return nil
}

func (g *grpcServers) options() []grpc.ServerOption {
	params := keepalive.ServerParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}
	if g.cfg.MaxConnectionAge > 0 {
		params.MaxConnectionAge = g.cfg.MaxConnectionAge
		params.MaxConnectionAgeGrace = keepaliveTimeout
	} else {
		params.MaxConnectionAge = time.Duration(math.MaxInt64)
	}
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(params),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveInterval / 2, PermitWithoutStream: true}),
	}
}

// ServingNames are the DNS names under which the control plane is reached.
func ServingNames(namespace, revision string) []string {
	hosts := []string{"istiod", "istiod-remote", "istio-pilot"}
	if name := withRevision("istiod", revision); name != "istiod" {
		hosts = append(hosts, name)
	}
	var out []string
	for _, h := range hosts {
		out = append(out, h+"."+namespace+".svc")
	}
	return out
}
