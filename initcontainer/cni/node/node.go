// Package node is the process that runs on every node where pods get their rules from the
// network plug-in: it keeps the plug-in installed, repairs pods that started without it, and
// says how it is.
//
// What it is told comes in as environment, from the chart cni. When it is deleted for good
// it takes the plug-in out again; when it is only replaced or restarted the plug-in stays,
// so that no pod of the mesh starts unprotected in between.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/initcontainer/cni/install"
	"github.com/sluicemesh/sluice/initcontainer/cni/kube"
	"github.com/sluicemesh/sluice/initcontainer/cni/repair"
)

// Main reads the configuration from env and runs until ctx ends.
func Main(ctx context.Context, env func(string) string, out io.Writer) error {
	c, err := Parse(env)
	if err != nil {
		return err
	}
	return Run(ctx, c, out)
}

// Run keeps the node as it should be until ctx ends, and leaves it as the package says. Log
// lines, the plug-in's included, go to out. It ends early if it cannot listen or watch.
func Run(ctx context.Context, c Config, out io.Writer) error {
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level(c.LogLevel)}))
	m := newMetrics()
	installed := make(chan struct{})
	first := sync.OnceFunc(func() { close(installed) })
	installer := install.Installer{Config: c.Install, Log: log, Report: m.installed, Ready: func(ready bool) {
		m.setReady(ready)
		if ready {
			first()
		}
	}}
	repairer := repair.Repairer{
		Config: c.Repair, Log: log,
		Connect: func() (*kube.Client, error) { return connect(c.Install) },
		Report:  func(ok bool) { m.repaired(c.Repair.Mode, ok) },
	}
	// The plug-in's lines come in until the very end.
	lines, err := listen(c.LogSocket)
	if err != nil {
		return err
	}
	var repeating errgroup.Group
	repeating.Go(func() error { return repeat(lines, out) })

	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return installer.Run(running) })
	if c.Repair.Mode != repair.Off {
		g.Go(func() error { return repairer.Run(running) })
	}
	if c.Untaint {
		g.Go(func() error { return untaint(running, c, installed, log) })
	}
	g.Go(func() error { return serve(running, c.Ready, m.readiness()) })
	g.Go(func() error { return serve(running, c.Metrics, m.handler()) })
	log.Info("plug-in is being installed", "node", c.Repair.Node, "repair", string(c.Repair.Mode))
	err = g.Wait()
	leave(context.WithoutCancel(ctx), c, installer, log)
	return errors.Join(err, lines.Close(), os.Remove(c.LogSocket), repeating.Wait())
}

// taint is what keeps pods off a node until the plug-in is there.
const taint = "cni.istio.io/not-ready"

// untaintWait is the time between two attempts.
const untaintWait = 5 * time.Second

// untaint lets pods onto the node as soon as the plug-in is installed.
func untaint(ctx context.Context, c Config, installed <-chan struct{}, log *slog.Logger) error {
	select {
	case <-ctx.Done():
		return nil
	case <-installed:
	}
	for {
		removed, err := untaintOnce(ctx, c)
		if err == nil {
			log.Info("node may take pods", "taint", taint, "had", removed)
			return nil
		}
		log.Warn("node keeps its taint for now", "taint", taint, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(untaintWait):
		}
	}
}

func untaintOnce(ctx context.Context, c Config) (bool, error) {
	client, err := connect(c.Install)
	if err != nil {
		return false, err
	}
	defer client.Close()
	return client.Untaint(ctx, c.Repair.Node, taint)
}

// leaveTimeout bounds what is done at the end.
const leaveTimeout = 5 * time.Second

// leave takes the plug-in out if its DaemonSet has been deleted, or the right to ask has.
func leave(ctx context.Context, c Config, installer install.Installer, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	stays, err := stays(ctx, c)
	switch {
	case err != nil:
		log.Warn("plug-in stays: whether it is to be removed cannot be found out", "error", err)
	case stays:
		log.Info("plug-in stays: this process is replaced or restarted")
	default:
		if err := installer.Remove(); err != nil {
			log.Error("plug-in not removed from the node", "error", err)
			return
		}
		log.Info("plug-in removed from the node; the rules of running pods stay")
	}
}

// stays reports whether this process's DaemonSet is there to stay.
func stays(ctx context.Context, c Config) (bool, error) {
	client, err := connect(c.Install)
	if err != nil {
		return false, err
	}
	defer client.Close()
	stays, err := client.Stays(ctx, c.Namespace, c.DaemonSet)
	if code := kube.Code(err); code == http.StatusUnauthorized || code == http.StatusForbidden {
		// The account goes together with the DaemonSet.
		return false, nil
	}
	return stays, err
}

// connect returns a client with the service account's token of now.
func connect(c install.Config) (*kube.Client, error) {
	access, err := c.Access()
	if err != nil {
		return nil, fmt.Errorf("read the service account: %w", err)
	}
	return kube.New(access)
}

// serve answers HTTP requests until ctx ends.
func serve(ctx context.Context, address string, h http.Handler) error {
	server := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing is to be waited for
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", address, err)
	}
	return nil
}

func level(word string) slog.Level {
	return map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError, "none": slog.LevelError + 1}[word]
}
