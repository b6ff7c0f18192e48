package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sluicemesh/sluice/agent/config"
)

const (
	maxProbeBody  = 10 << 10 // as the kubelet
	maxRedirects  = 10
	defaultWait   = time.Second
	lingerSeconds = 1 // closed probe connections leave no TIME_WAIT behind
)

// errStopRedirect ends a redirect chain with the answer at hand, as the kubelet does.
var errStopRedirect = http.ErrUseLastResponse

// prober carries out the application's own probes.
type prober struct {
	cfg     Config
	dialer  *net.Dialer
	clients map[string]*http.Client // by path
}

// newProber makes a client for each HTTP probe. Probes come from 127.0.0.6 or ::6, which
// interception leaves alone, so they reach the application and not the proxy.
func newProber(cfg Config) *prober {
	p := &prober{cfg: cfg, dialer: &net.Dialer{Control: linger}, clients: map[string]*http.Client{}}
	if ip, err := netip.ParseAddr(cfg.ProbeHost); err == nil {
		source := "127.0.0.6"
		if ip.Is6() {
			source = "::6"
		}
		p.dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	for path, probe := range cfg.Probers {
		if probe.HTTPGet != nil {
			p.clients[path] = p.client(probe)
		}
	}
	return p
}

// linger makes close drop a connection after at most a second.
func linger(_, _ string, c syscall.RawConn) error {
	var err error
	ctl := c.Control(func(fd uintptr) {
		err = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: lingerSeconds})
	})
	return errors.Join(ctl, err)
}

func (p *prober) close() {
	for _, c := range p.clients {
		c.CloseIdleConnections()
	}
}

func wait(probe config.Prober) time.Duration {
	if probe.TimeoutSeconds <= 0 {
		return defaultWait
	}
	return time.Duration(probe.TimeoutSeconds) * time.Second
}

func (p *prober) client(probe config.Prober) *http.Client {
	return &http.Client{
		Timeout: wait(probe),
		Transport: &http.Transport{
			// The kubelet does not verify a probe's certificate either.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DialContext:       p.dialer.DialContext,
			DisableKeepAlives: true, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Hostname() != via[0].URL.Hostname() {
				return errStopRedirect // another host: reaching it is success
			}
			if len(via) >= maxRedirects {
				return fmt.Errorf("stopped after %d redirects", maxRedirects)
			}
			return nil
		},
	}
}

// ServeHTTP carries out the probe that was recorded for the path.
func (p *prober) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	probe, ok := p.cfg.Probers[r.URL.Path]
	if !ok {
		p.cfg.Log.Warn("probe of an unknown path", "path", r.URL.Path)
		http.Error(w, "no probe is recorded for "+r.URL.Path, http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait(probe))
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		p.http(ctx, w, r, probe.HTTPGet)
	case probe.TCPSocket != nil:
		p.answer(w, p.tcp(ctx, probe.TCPSocket))
	default:
		p.answer(w, p.grpc(ctx, probe.GRPC))
	}
}

func (p *prober) answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (p *prober) address(port uint16) string {
	return net.JoinHostPort(p.cfg.ProbeHost, strconv.Itoa(int(port)))
}

// http repeats the kubelet's request at the application and passes status and body back.
func (p *prober) http(ctx context.Context, w http.ResponseWriter, r *http.Request, get *config.HTTPGet) {
	target, err := url.Parse("/" + strings.TrimPrefix(get.Path, "/"))
	if err != nil {
		p.answer(w, fmt.Errorf("probe path %q: %w", get.Path, err))
		return
	}
	target.Scheme, target.Host = "http", p.address(get.Port)
	if strings.EqualFold(get.Scheme, "https") {
		target.Scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		p.answer(w, err)
		return
	}
	req.Header = r.Header.Clone()
	req.Host = hostHeader(r.Host, p.cfg.StatusPort, get.Port)
	for _, h := range get.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
		}
	}
	resp, err := p.clients[r.URL.Path].Do(req)
	if err != nil {
		p.answer(w, err)
		return
	}
	defer resp.Body.Close()
	code := resp.StatusCode
	if code >= 300 && code < 400 {
		code = http.StatusOK // the kubelet would have taken the redirect as success
	}
	w.WriteHeader(code)
	// The status is what counts; a body that breaks off does not change it.
	_, _ = io.Copy(w, io.LimitReader(resp.Body, maxProbeBody))
}

// hostHeader swaps the status port of the kubelet's Host header for the application's.
func hostHeader(host string, status, app uint16) string {
	if name, ok := strings.CutSuffix(host, ":"+strconv.Itoa(int(status))); ok {
		return name + ":" + strconv.Itoa(int(app))
	}
	return host
}

func (p *prober) tcp(ctx context.Context, probe *config.TCPSocket) error {
	conn, err := p.dialer.DialContext(ctx, "tcp", p.address(probe.Port))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *prober) grpc(ctx context.Context, probe *config.GRPC) error {
	conn, err := grpc.NewClient("passthrough:///"+p.address(probe.Port),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(), grpc.WithUserAgent("kube-probe/sluice-agent"),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return p.dialer.DialContext(ctx, "tcp", addr)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: probe.Service})
	if err != nil {
		return err
	}
	if resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("service %q is %s", probe.Service, resp.GetStatus())
	}
	return nil
}
