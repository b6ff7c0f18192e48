package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc/connectivity"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/agent/relay/passthrough"
)

// reachTimeout is how long the control plane may take to accept a connection before one
// answer about readiness.
const reachTimeout = 2 * time.Second

// startProxyless writes the bootstrap that gRPC in the application reads, and starts nothing.
func (a *agent) startProxyless() (process, error) {
	if err := a.writeGRPCBootstrap(); err != nil {
		return nil, fmt.Errorf("write bootstrap of grpc: %w", err)
	}
	out := &absent{ready: a.proxylessReady, done: make(chan struct{})}
	a.admin = out
	a.cfg.Log.Info("envoy is disabled, serving grpc", "bootstrap", a.cfg.Proxyless.Bootstrap, "socket", a.cfg.Discovery.Socket)
	return out, nil
}

// writeGRPCBootstrap writes in one step a file that all users may read: the application
// runs as another one, and there is no secret in it.
func (a *agent) writeGRPCBootstrap() error {
	p := bootstrap.GRPC{Node: a.cfg.Node}
	var err error
	// The application has another working directory.
	if p.XDSSocket, err = filepath.Abs(a.cfg.Discovery.Socket); err != nil {
		return err
	}
	if a.writesFiles() {
		if p.CertDir, err = filepath.Abs(a.cfg.Cert.OutputDir); err != nil {
			return err
		}
	}
	data, err := p.Encode()
	if err != nil {
		return err
	}
	file := a.cfg.Proxyless.Bootstrap
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", data, 0o644); err != nil {
		return err
	}
	if err := os.Chmod(file+".new", 0o644); err != nil { // whatever the umask
		return err
	}
	return os.Rename(file+".new", file)
}

// writesFiles reports whether copies of the certificate are kept in files.
func (a *agent) writesFiles() bool { return a.cfg.Cert.OutputDir != "" && !a.cfg.Cert.Disabled }

// proxylessReady returns nil when an application that starts now finds all it needs: the
// bootstrap, the certificate files and, behind the socket, the control plane.
func (a *agent) proxylessReady(ctx context.Context) error {
	if _, err := os.Stat(a.cfg.Proxyless.Bootstrap); err != nil {
		return fmt.Errorf("bootstrap of grpc: %w", err)
	}
	if current, _ := a.certs.Current(); current == nil && !a.cfg.Cert.Disabled {
		return errors.New("no certificate yet: is the certificate authority reachable")
	}
	if a.writesFiles() && !a.files.Written() {
		return fmt.Errorf("certificate files are not written to %s", a.cfg.Cert.OutputDir)
	}
	return a.reach(ctx)
}

// reach makes a connection to the control plane and drops it.
func (a *agent) reach(ctx context.Context) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	conn.Connect()
	for {
		state := conn.GetState()
		switch {
		case state == connectivity.Ready:
			return nil
		case state == connectivity.TransientFailure:
			return fmt.Errorf("control plane %s is not reached", a.cfg.Discovery.Address)
		case !conn.WaitForStateChange(ctx, state):
			return fmt.Errorf("control plane %s is not reached: %w", a.cfg.Discovery.Address, ctx.Err())
		}
	}
}

func (a *agent) passthroughConfig() passthrough.Config {
	return passthrough.Config{
		Listener: a.xdsSocket, Dial: a.dial, Node: a.cfg.Node.Proto(),
		Upstream: upstreamCounts(a.metrics), Downstream: downstreamCounts(a.metrics), Log: a.cfg.Log,
	}
}

// absent stands for Envoy, process and admin interface, where none runs. It lives until it
// is stopped, so that the agent stops as it does with Envoy: the socket is served while
// the application drains.
type absent struct {
	ready func(context.Context) error
	done  chan struct{}
	once  sync.Once
}

// Done is closed by Stop.
func (p *absent) Done() <-chan struct{} { return p.done }

// Wait waits for Stop.
func (p *absent) Wait() error {
	<-p.done
	return nil
}

// Stop ends the wait.
func (p *absent) Stop(context.Context) { p.once.Do(func() { close(p.done) }) }

// Drain does nothing: there are no listeners.
func (p *absent) Drain(context.Context, bool, bool) error { return nil }

// ActiveConnections reports that none is known.
func (p *absent) ActiveConnections(context.Context, []string) (uint64, bool, error) {
	return 0, false, nil
}

// Ready returns nil when the application can start.
func (p *absent) Ready(ctx context.Context) error { return p.ready(ctx) }

// Close does nothing.
func (p *absent) Close() {}
