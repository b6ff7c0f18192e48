// Package daemon provides a Docker engine: the one that is there, or one of its own.
//
// Its own engine keeps data, log and process number in the cache, listens on its own socket, outlives the command that
// started it and is ended only through Stop. It must not touch an engine it did not start. A cache and a packager come in;
// the engine's address goes out, which the caller puts into DOCKER_HOST.
package daemon

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sluicemesh/sluice/e2e/cluster/cache"
	"github.com/sluicemesh/sluice/e2e/cluster/host"
	"github.com/sluicemesh/sluice/e2e/cluster/proc"
)

// pingTimeout bounds one question to an engine: a live one answers in milliseconds.
const pingTimeout = 5 * time.Second

// Engine finds or starts a Docker engine.
type Engine struct {
	Store    cache.Store
	Packages host.Packager
	Module   string // directory of this module, to build the runtime wrapper from
}

// Ensure returns the address of a working engine: "" for the one the docker client finds by itself, or the address of
// ours, which is started if need be. Callers hold no lock.
func (e Engine) Ensure(ctx context.Context) (address string, err error) {
	if address, found := e.Find(ctx); found {
		return address, nil
	}
	if configured := os.Getenv("DOCKER_HOST"); configured != "" && configured != e.address() {
		return "", fmt.Errorf("no Docker engine answers at DOCKER_HOST=%s: start it, or unset DOCKER_HOST", configured)
	}
	unlock, err := e.Store.Lock(ctx, "docker")
	if err != nil {
		return "", err
	}
	defer unlock()
	if address, found := e.Find(ctx); found {
		return address, nil
	}
	if err := e.start(ctx); err != nil {
		return "", fmt.Errorf("start a Docker engine: %w", err)
	}
	return e.address(), nil
}

// Find looks for a working engine without starting one. What DOCKER_HOST names goes first; then ours, because our clusters
// live in it; then the machine's.
func (e Engine) Find(ctx context.Context) (address string, found bool) {
	configured := os.Getenv("DOCKER_HOST")
	if (configured == "" || configured == e.address()) && e.Own(ctx) {
		return e.address(), true
	}
	if !proc.Has("docker") || configured == e.address() {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := proc.Output(ctx, "docker", "version", "--format", "{{.Server.Version}}")
	return "", err == nil
}

// Own reports whether our own engine is running and answers.
func (e Engine) Own(ctx context.Context) bool {
	client := http.Client{Timeout: pingTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", e.socket())
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", http.NoBody)
	if err != nil {
		return false
	}
	answer, err := client.Do(request)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}

func (e Engine) address() string { return "unix://" + e.socket() }

// runDir is where sockets live. It is not in the cache because a socket's path is limited to 107 bytes; the hash keeps
// the engines of two caches apart.
func (e Engine) runDir() string { return filepath.Join("/run", "sluice-"+cache.Key(e.Store.Root)[:8]) }

func (e Engine) socket() string   { return filepath.Join(e.runDir(), "docker.sock") }
func (e Engine) dataDir() string  { return filepath.Join(e.Store.Root, "docker") }
func (e Engine) pidFile() string  { return filepath.Join(e.dataDir(), "dockerd.pid") }
func (e Engine) logFile() string  { return filepath.Join(e.dataDir(), "dockerd.log") }
func (e Engine) dataRoot() string { return filepath.Join(e.dataDir(), "data") }
