// Package agent runs beside Envoy in every pod of the mesh: it writes Envoy's bootstrap,
// starts and stops it, gives it configuration and certificates, and answers the kubelet
// and Prometheus. Where the application speaks xDS itself, through gRPC, it does the same
// for gRPC and starts no Envoy.
//
// Run binds the parts together; each part is a package below. The agent keeps no state
// outside its process but the bootstrap, two Unix sockets and, if asked for, certificate
// files, and reads its environment in config only.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/sluicemesh/sluice/agent/cert"
	"github.com/sluicemesh/sluice/agent/config"
	"github.com/sluicemesh/sluice/agent/dial"
	"github.com/sluicemesh/sluice/agent/dns"
	"github.com/sluicemesh/sluice/agent/envoy"
	"github.com/sluicemesh/sluice/agent/health"
	"github.com/sluicemesh/sluice/agent/metrics"
	"github.com/sluicemesh/sluice/agent/relay"
	"github.com/sluicemesh/sluice/agent/relay/downstream"
	"github.com/sluicemesh/sluice/agent/relay/passthrough"
	"github.com/sluicemesh/sluice/agent/relay/upstream"
	"github.com/sluicemesh/sluice/agent/sds"
)

// Config is what Run needs beside the settings.
type Config struct {
	config.Config
	// Stdout and Stderr get Envoy's output.
	Stdout, Stderr io.Writer
	Log            *slog.Logger
	// Started is when the process started, for the startup metric.
	Started time.Time
}

// Run starts Envoy and serves it until ctx is done or Envoy ends.
//
// Order of start: bootstrap file, sockets, Envoy; then, side by side, certificate, secrets,
// configuration and status port, while Envoy starts. Order of stop: readiness fails, the
// listeners drain, Envoy is asked to end and killed after 2 s; only then the sockets and
// the status port close. Run returns nil after a stop that was asked for, an
// *envoy.ExitError when Envoy ended by itself other than with code 0, and the error of a
// part that could not go on.
func Run(ctx context.Context, cfg Config) error {
	a := &agent{cfg: cfg, metrics: metrics.New(), files: &cert.Files{
		Dir: cfg.Cert.OutputDir, Mode: cfg.Cert.OutputMode, Log: cfg.Log,
	}}
	if err := a.open(ctx); err != nil {
		return err
	}
	defer a.close()
	proc, err := a.start()
	if err != nil {
		return err
	}
	defer a.admin.Close()
	a.life = newLifecycle(cfg.Drain, a.admin, proc, cfg.Log)
	a.life.skip = []string{portText(cfg.Bootstrap.HealthPort), portText(cfg.Bootstrap.PrometheusPort)}

	// The parts outlive ctx: they serve Envoy until it is gone.
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, parts := errgroup.WithContext(parts)
	g.Go(func() error {
		defer stop()
		return proc.Wait()
	})
	g.Go(func() error {
		a.life.run(ctx, parts)
		return nil
	})
	for _, part := range a.parts() {
		g.Go(func() error { return part(parts) })
	}
	err = g.Wait()
	var exit *envoy.ExitError
	if errors.As(err, &exit) && a.life.Asked() {
		return nil // ended by our signal
	}
	return err
}

// agent is what the parts share.
type agent struct {
	cfg     Config
	metrics *metrics.Set
	admin   console
	life    *lifecycle
	certs   cert.Source
	files   *cert.Files

	xdsSocket, sdsSocket, status net.Listener // status is nil without a status port

	names      *dns.Table // nil: the pod's DNS queries are none of ours
	dnsSockets *dns.Sockets
}

// open listens everywhere, so that Envoy finds all of it there.
func (a *agent) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.xdsSocket, err = listenUnix(ctx, a.cfg.Discovery.Socket); err != nil {
		return err
	}
	if a.sdsSocket, err = listenUnix(ctx, a.cfg.Cert.Socket); err != nil {
		return err
	}
	if err = a.openDNS(ctx); err != nil {
		return err
	}
	if a.cfg.Status.Port == 0 {
		return nil
	}
	var lc net.ListenConfig
	if a.status, err = lc.Listen(ctx, "tcp", ":"+portText(a.cfg.Status.Port)); err != nil {
		return fmt.Errorf("status port: %w", err)
	}
	return nil
}

func (a *agent) close() {
	for _, l := range []net.Listener{a.xdsSocket, a.sdsSocket, a.status} {
		if l != nil {
			_ = l.Close() // closed by its server already, unless that never started
		}
	}
	if a.dnsSockets != nil {
		a.dnsSockets.Close()
	}
}

// listenUnix replaces a stale socket and lets every user of the pod connect: the proxy may
// run as another user than the agent.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// parts are the services for Envoy, the kubelet and Prometheus.
func (a *agent) parts() []func(context.Context) error {
	out := []func(context.Context) error{
		func(ctx context.Context) error { return sds.Run(ctx, a.sdsSocket, &a.certs, a.cfg.Log) },
	}
	if a.cfg.Proxyless.Enabled {
		out = append(out, func(ctx context.Context) error { return passthrough.Run(ctx, a.passthroughConfig()) })
	} else {
		out = append(out, func(ctx context.Context) error { return relay.Run(ctx, a.relayConfig()) })
	}
	if !a.cfg.Cert.Disabled {
		out = append(out, func(ctx context.Context) error { return cert.Run(ctx, a.certConfig(), &a.certs) })
	}
	if a.writesFiles() {
		out = append(out, func(ctx context.Context) error { return a.files.Run(ctx, &a.certs) })
	}
	if a.names != nil {
		out = append(out, func(ctx context.Context) error { return dns.Run(ctx, a.dnsConfig()) })
	}
	if a.status != nil {
		out = append(out, func(ctx context.Context) error { return health.Run(ctx, a.healthConfig()) })
	}
	return out
}

func (a *agent) relayConfig() relay.Config {
	node := a.cfg.Node.Proto()
	node.UserAgentName = "envoy"
	node.UserAgentVersionType = &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{Version: envoyVersion()}}
	return relay.Config{
		Listener: a.xdsSocket, Log: a.cfg.Log,
		Upstream: upstream.Config{
			Node: node, Log: a.cfg.Log, Dial: a.dial, Counts: upstreamCounts(a.metrics),
		},
		Counts: downstreamCounts(a.metrics), Taps: a.taps(),
	}
}

// dial makes a connection for configuration.
func (a *agent) dial() (*grpc.ClientConn, error) {
	d := a.cfg.Discovery
	return dial.New(dial.Config{
		Address: d.Address, Plaintext: d.Plaintext, ServerName: d.ServerName, RootFile: d.RootFile,
		TokenFile: d.TokenFile, ClusterID: d.ClusterID, Headers: d.Headers,
	})
}

func upstreamCounts(m *metrics.Set) upstream.Counts {
	return upstream.Counts{
		Failure: m.ConnectionFailures.Inc, Request: m.Requests.Inc, Response: m.Responses.Inc,
		Termination: func(kind string) { m.UpstreamTerminations.WithLabelValues(kind).Inc() },
	}
}

func downstreamCounts(m *metrics.Set) downstream.Counts {
	return downstream.Counts{
		Termination: func(kind string) { m.EnvoyTerminations.WithLabelValues(kind).Inc() },
		Nack:        func(typeURL string) { m.Rejections.WithLabelValues(typeURL).Inc() },
	}
}

// envoyVersion is the release that configuration is made for. Envoy itself reports it only
// once it connects, and the control plane is asked before.
func envoyVersion() *typev3.SemanticVersion {
	out := &typev3.SemanticVersion{}
	// The constant is checked by a test.
	_, _ = fmt.Sscanf(config.EnvoyVersion, "%d.%d.%d", &out.MajorNumber, &out.MinorNumber, &out.Patch)
	return out
}

func (a *agent) certConfig() cert.Config {
	c, m := a.cfg.Cert, a.metrics
	return cert.Config{
		Identity: c.Identity, GraceRatio: c.GraceRatio, Jitter: c.Jitter, Log: a.cfg.Log,
		Issued: func(n *cert.Certificate) { m.CertNotAfter.Store(n.NotAfter.Unix()) },
		Signer: &cert.Authority{
			TTL: c.TTL, Name: c.Signer,
			Dial: func() (*grpc.ClientConn, error) {
				return dial.New(dial.Config{
					Address: c.Address, Plaintext: c.Plaintext, ServerName: c.ServerName, RootFile: c.RootFile,
					TokenFile: a.cfg.Discovery.TokenFile, ClusterID: a.cfg.Discovery.ClusterID, Headers: c.Headers,
				})
			},
			Called: func(failed bool) {
				m.OutgoingRequests.WithLabelValues("csr").Inc()
				if failed {
					m.FailedRequests.WithLabelValues("csr").Inc()
				}
			},
		},
	}
}

func (a *agent) healthConfig() health.Config {
	s := a.cfg.Status
	merge := &metrics.Merger{Own: a.metrics, Log: a.cfg.Log, Client: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}}
	if s.MergeEnvoy {
		merge.Envoy = "http://localhost:" + portText(s.PrometheusPort) + "/stats/prometheus"
	}
	if s.Scrape != nil {
		for _, t := range s.Scrape.Targets {
			merge.Apps = append(merge.Apps, "http://localhost:"+portText(t.Port)+t.Path)
		}
	}
	return health.Config{
		Listener: a.status, Ready: a.ready, Names: a.namesPage(), Lifecycle: a.life, Metrics: merge, LocalMetrics: s.LocalMetrics,
		Probers: s.Probers, ProbeHost: s.ProbeHost, StatusPort: s.Port, Profiling: s.Profiling, Log: a.cfg.Log,
		FirstReady: func() {
			a.metrics.StartupSeconds.Set(time.Since(a.cfg.Started).Seconds())
			// Taking the first configuration needs a multiple of what stays of it. Pods count
			// resident memory, and the runtime alone would give it back over minutes.
			debug.FreeOSMemory()
		},
	}
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }
