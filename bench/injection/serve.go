package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime/metrics"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/sluicemesh/sluice/webhook"
	"github.com/sluicemesh/sluice/xds/ca"
)

// usage is what a server has used since it started.
type usage struct {
	CPU     time.Duration // user and system
	Allocs  uint64        // objects
	Bytes   uint64        // of these
	RSS     int64         // bytes, now
	PeakRSS int64         // bytes
}

// hello is the first line that a server writes.
type hello struct{ Roots []byte }

// serve answers reviews on loopback until the other end of line is closed. It writes hello
// and then, for each line it reads, its usage.
func serve(ctx context.Context, p peer, port int, line io.ReadWriter) error {
	ctrllog.SetLogger(logr.Discard())
	certPEM, keyPEM, err := ca.NewRoot("cluster.local", time.Now())
	if err != nil {
		return err
	}
	authority, err := ca.NewAuthority(certPEM, keyPEM, time.Now)
	if err != nil {
		return err
	}
	settings, err := webhook.NewSettings(webhook.Source{Tag: "bench"})
	if err != nil {
		return err
	}
	h, err := p.handler(settings)
	if err != nil {
		return err
	}
	server := &ctrlwebhook.DefaultServer{Options: ctrlwebhook.Options{Host: "127.0.0.1", Port: port}}
	cfg := webhook.Config{Authority: authority, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return webhook.Serve(ctx, server, cfg, settings, h) })
	group.Go(func() error {
		defer stop()
		return converse(line, hello{authority.Roots()}, readUsage)
	})
	return group.Wait()
}

// converse writes first, and then a usage for each line it reads, until there are no more.
func converse(line io.ReadWriter, first hello, read func() (usage, error)) error {
	out := json.NewEncoder(line)
	if err := out.Encode(first); err != nil {
		return err
	}
	for in := bufio.NewScanner(line); in.Scan(); {
		u, err := read()
		if err != nil {
			return err
		}
		if err := out.Encode(u); err != nil {
			return err
		}
	}
	return nil
}

func readUsage() (usage, error) {
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return usage{}, fmt.Errorf("read CPU time: %w", err)
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	u := usage{
		CPU:    time.Duration(self.Utime.Nano() + self.Stime.Nano()),
		Allocs: samples[0].Value.Uint64(), Bytes: samples[1].Value.Uint64(),
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usage{}, fmt.Errorf("read memory: %w", err)
	}
	u.RSS, u.PeakRSS = kib(string(status), "VmRSS:"), kib(string(status), "VmHWM:")
	return u, nil
}

// kib reads a size from /proc/PID/status.
func kib(status, name string) int64 {
	_, rest, _ := strings.Cut(status, name)
	var n int64
	if _, err := fmt.Sscan(rest, &n); err != nil {
		return 0
	}
	return min(n, math.MaxInt64>>10) << 10
}

// since is what was used after before; memory is as it is now.
func (u usage) since(before usage) usage {
	u.CPU -= before.CPU
	u.Allocs -= before.Allocs
	u.Bytes -= before.Bytes
	return u
}
