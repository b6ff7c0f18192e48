// Package agent runs beside Envoy in every pod of the mesh: it writes Envoy's bootstrap,
// starts and stops it, gives it configuration and certificates, and answers the kubelet
// and Prometheus.
//
// Run binds the parts together; each part is a package below. The agent keeps no state
// outside its process but Envoy's bootstrap and two Unix sockets, and reads its
// environment in config only.
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
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/agent/cert"
	"github.com/sluicemesh/sluice/agent/config"
	"github.com/sluicemesh/sluice/agent/dial"
	"github.com/sluicemesh/sluice/agent/envoy"
	"github.com/sluicemesh/sluice/agent/health"
	"github.com/sluicemesh/sluice/agent/metrics"
	"github.com/sluicemesh/sluice/agent/relay"
	"github.com/sluicemesh/sluice/agent/relay/downstream"
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
	a := &agent{cfg: cfg, metrics: metrics.New(), admin: envoy.NewAdmin(adminAddress(cfg.Bootstrap))}
	defer a.admin.Close()
	if err := a.open(ctx); err != nil {
		return err
	}
	defer a.close()
	file, err := writeBootstrap(cfg.Config)
	if err != nil {
		return err
	}
	options, err := envoyOptions(cfg.Envoy, file)
	if err != nil {
		return err
	}
	proc, err := envoy.Start(options, cfg.Stdout, cfg.Stderr)
	if err != nil {
		return err
	}
	cfg.Log.Info("envoy started", "pid", proc.PID())
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
	admin   *envoy.Admin
	life    *lifecycle
	certs   cert.Source

	xdsSocket, sdsSocket, status net.Listener // status is nil without a status port
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
		func(ctx context.Context) error { return relay.Run(ctx, a.relayConfig()) },
		func(ctx context.Context) error { return sds.Run(ctx, a.sdsSocket, &a.certs, a.cfg.Log) },
	}
	if !a.cfg.Cert.Disabled {
		out = append(out, func(ctx context.Context) error { return cert.Run(ctx, a.certConfig(), &a.certs) })
	}
	if a.status != nil {
		out = append(out, func(ctx context.Context) error { return health.Run(ctx, a.healthConfig()) })
	}
	return out
}

func (a *agent) relayConfig() relay.Config {
	d, m := a.cfg.Discovery, a.metrics
	node := a.cfg.Node.Proto()
	node.UserAgentName = "envoy"
	node.UserAgentVersionType = &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{Version: envoyVersion()}}
	return relay.Config{
		Listener: a.xdsSocket, Log: a.cfg.Log,
		Upstream: upstream.Config{
			Node: node, Log: a.cfg.Log,
			Dial: func() (*grpc.ClientConn, error) {
				return dial.New(dial.Config{
					Address: d.Address, Plaintext: d.Plaintext, ServerName: d.ServerName, RootFile: d.RootFile,
					TokenFile: d.TokenFile, ClusterID: d.ClusterID, Headers: d.Headers,
				})
			},
			Counts: upstream.Counts{
				Failure: m.ConnectionFailures.Inc, Request: m.Requests.Inc, Response: m.Responses.Inc,
				Termination: func(kind string) { m.UpstreamTerminations.WithLabelValues(kind).Inc() },
			},
		},
		Counts: downstream.Counts{
			Termination: func(kind string) { m.EnvoyTerminations.WithLabelValues(kind).Inc() },
			Nack:        func(typeURL string) { m.Rejections.WithLabelValues(typeURL).Inc() },
		},
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
		Listener: a.status, Ready: a.admin.Ready, Lifecycle: a.life, Metrics: merge, LocalMetrics: s.LocalMetrics,
		Probers: s.Probers, ProbeHost: s.ProbeHost, StatusPort: s.Port, Profiling: s.Profiling, Log: a.cfg.Log,
		FirstReady: func() {
			a.metrics.StartupSeconds.Set(time.Since(a.cfg.Started).Seconds())
			// Taking the first configuration needs a multiple of what stays of it. Pods count
			// resident memory, and the runtime alone would give it back over minutes.
			debug.FreeOSMemory()
		},
	}
}

// writeBootstrap writes Envoy's configuration for its owner only and returns the file.
func writeBootstrap(c config.Config) (string, error) {
	if c.Envoy.CustomConfig != "" {
		return c.Envoy.CustomConfig, nil
	}
	data, err := bootstrap.Encode(c.Bootstrap)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(c.Envoy.ConfigFile), 0o700); err != nil {
		return "", fmt.Errorf("write bootstrap: %w", err)
	}
	if err := os.WriteFile(c.Envoy.ConfigFile, data, 0o600); err != nil {
		return "", fmt.Errorf("write bootstrap: %w", err)
	}
	return c.Envoy.ConfigFile, nil
}

// hostIP stands for the node's address in a bootstrap override.
const hostIP = "$(HOST_IP)"

func envoyOptions(e config.Envoy, file string) (envoy.Options, error) {
	out := envoy.Options{
		Binary: e.Binary, ConfigFile: file, LogLevel: e.LogLevel, ComponentLogLevel: e.ComponentLogLevel,
		Concurrency: e.Concurrency, DrainTime: e.DrainTime, FileFlush: e.FileFlush, FileFlushMinKB: e.FileFlushMinKB,
		SkipDeprecated: e.SkipDeprecated, LocalV6: e.LocalV6,
	}
	if e.Override != "" {
		data, err := os.ReadFile(e.Override)
		if err != nil {
			return envoy.Options{}, fmt.Errorf("read bootstrap override: %w", err)
		}
		out.OverrideYAML = string(data)
		if strings.Contains(out.OverrideYAML, hostIP) {
			if e.HostAddress == "" {
				return envoy.Options{}, fmt.Errorf("bootstrap override %s uses %s, and environment HOST_IP is not set", e.Override, hostIP)
			}
			out.OverrideYAML = strings.ReplaceAll(out.OverrideYAML, hostIP, e.HostAddress)
		}
	}
	return out, nil
}

func adminAddress(p bootstrap.Params) string {
	host := "127.0.0.1"
	if !p.Families.V4First() {
		host = "::1"
	}
	return net.JoinHostPort(host, portText(p.AdminPort))
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }
