package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// connections is how many are kept alive to a server; no measurement uses more at a time.
const connections = 64

// startLimit is how long a server may take until it answers.
const startLimit = 30 * time.Second

// subject is a running server and a client of it.
type subject struct {
	peer   peer
	url    string
	client *http.Client
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Scanner
}

// launch starts a server as a process of this very program and waits until it answers.
func launch(ctx context.Context, p peer) (*subject, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &subject{peer: p, url: fmt.Sprintf("https://127.0.0.1:%d/inject", port)}
	s.cmd = exec.CommandContext(ctx, program, "serve", string(p), "--port", strconv.Itoa(port))
	s.cmd.Stderr = os.Stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p, err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p, err)
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p, err)
	}
	var first hello
	if err := s.read(&first); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.client = newClient(first.Roots)
	if err := s.awaitAnswer(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// newClient speaks to a webhook as the API server does: HTTP/1.1, kept alive.
func newClient(roots []byte) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &http.Client{Transport: &http.Transport{
		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, DisableCompression: true,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "istiod.istio-system.svc", NextProtos: []string{"http/1.1"},
		},
	}}
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// awaitAnswer asks until the server answers at all.
func (s *subject) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
		if err != nil {
			return err
		}
		response, err := s.client.Do(r)
		if err == nil {
			return response.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.peer, err)
		case <-tick.C:
		}
	}
}

func (s *subject) read(v any) error {
	if !s.out.Scan() {
		return fmt.Errorf("%s ended: %w", s.peer, errors.Join(s.out.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(s.out.Bytes(), v); err != nil {
		return fmt.Errorf("read from %s: %w", s.peer, err)
	}
	return nil
}

// usage asks the server.
func (s *subject) usage() (usage, error) {
	var u usage
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return u, fmt.Errorf("ask %s: %w", s.peer, err)
	}
	return u, s.read(&u)
}

// close ends the server and waits for it.
func (s *subject) close() error {
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	return errors.Join(s.in.Close(), s.cmd.Wait())
}
