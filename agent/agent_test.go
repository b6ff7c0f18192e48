package agent_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	securityv1alpha1 "istio.io/api/security/v1alpha1"

	"github.com/sluicemesh/sluice/agent"
	"github.com/sluicemesh/sluice/agent/config"
	"github.com/sluicemesh/sluice/agent/envoy"
	"github.com/sluicemesh/sluice/agent/internal/envoytest"
	"github.com/sluicemesh/sluice/agent/relay/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority is a certificate authority that signs everything for one identity.
type authority struct {
	securityv1alpha1.UnimplementedIstioCertificateServiceServer
	key     *ecdsa.PrivateKey
	root    *x509.Certificate
	rootPEM string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"cluster.local"}}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key: key, root: root, rootPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// CreateCertificate signs the request's key.
func (a *authority) CreateCertificate(_ context.Context, req *securityv1alpha1.IstioCertificateRequest) (*securityv1alpha1.IstioCertificateResponse, error) {
	block, _ := pem.Decode([]byte(req.GetCsr()))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(30 * time.Minute),
		URIs: csr.URIs, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.root, csr.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &securityv1alpha1.IstioCertificateResponse{CertChain: []string{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), a.rootPEM,
	}}, nil
}

// pod is an agent with a real Envoy in a directory of its own.
type pod struct {
	t      *testing.T
	plane  *envoytest.Plane
	ca     *authority
	cancel context.CancelFunc
	done   chan error
	log    *output

	status, health, admin, prometheus, port uint16
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write gathers the log of agent and Envoy.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func newPod(t *testing.T, environ ...string) *pod {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Chdir(dir)
	p := &pod{t: t, plane: envoytest.NewPlane(), ca: newAuthority(t), log: &output{}}
	for _, port := range []*uint16{&p.status, &p.health, &p.admin, &p.prometheus, &p.port} {
		*port = envoytest.FreePort(t)
	}
	p.plane.Register = func(s *grpc.Server) { securityv1alpha1.RegisterIstioCertificateServiceServer(s, p.ca) }
	p.plane.Start(t)
	cfg, err := config.Load(config.Flags{Role: "sidecar"}, config.Source{Root: dir, Environ: append([]string{
		"POD_NAME=a", "POD_NAMESPACE=b", "SERVICE_ACCOUNT=c", "INSTANCE_IP=127.0.0.1", "ISTIO_CPU_LIMIT=1",
		"ENVOY_STATUS_PORT=" + text(p.health), "ENVOY_PROMETHEUS_PORT=" + text(p.prometheus),
		fmt.Sprintf("PROXY_CONFIG={discoveryAddress: %q, controlPlaneAuthPolicy: NONE, binaryPath: %q, statusPort: %d, proxyAdminPort: %d, terminationDrainDuration: 0.2s}",
			p.plane.Address(), envoytest.Binary(t), p.status, p.admin),
	}, environ...)})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Node.IPs = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan error, 1)
	go func() {
		p.done <- agent.Run(ctx, agent.Config{
			Config: cfg, Stdout: p.log, Stderr: p.log, Started: time.Now(), Log: slog.New(slog.NewTextHandler(p.log, nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			t.Error("agent does not stop")
		}
		if t.Failed() {
			t.Logf("%s", p.log.b.String())
		}
	})
	return p
}

func text(port uint16) string { return strconv.Itoa(int(port)) }

func (p *pod) url(port uint16, path string) string {
	return "http://127.0.0.1:" + text(port) + path
}

func (p *pod) do(method, url string) (int, string, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (p *pod) untilStatus(what, url string, want int) {
	p.t.Helper()
	envoytest.Until(p.t, what, func() error {
		got, body, err := p.do(http.MethodGet, url)
		if err == nil && got != want {
			err = fmt.Errorf("status %d, want %d: %s", got, want, body)
		}
		return err
	})
}

// end waits for the agent's end.
func (p *pod) end() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err // for the clean-up
		return err
	case <-time.After(10 * time.Second):
		p.t.Fatal("agent does not end")
		return nil
	}
}

// secure makes a listener that terminates mutual TLS with the agent's secrets.
func (p *pod) secure() *listenerv3.Listener {
	source := func(name string) *tlsv3.SdsSecretConfig {
		return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
			ResourceApiVersion: corev3.ApiVersion_V3, InitialFetchTimeout: durationpb.New(0),
			ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
				ApiType: corev3.ApiConfigSource_GRPC, TransportApiVersion: corev3.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
				GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: "sds-grpc"},
				}}},
			}},
		}}
	}
	context, err := anypb.New(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{source("default")},
		ValidationContextType:          &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: source("ROOTCA")},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	l := envoytest.Listener(p.t, "l", p.port, "r")
	l.FilterChains[0].TransportSocket = &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: context},
	}
	return l
}

func TestPodFromStartToStop(t *testing.T) {
	p := newPod(t)
	p.untilStatus("not ready without listeners", p.url(p.status, "/healthz/ready"), http.StatusServiceUnavailable)
	p.plane.Set(t, store.Route, map[string]proto.Message{"r": &routev3.RouteConfiguration{Name: "r"}})
	p.plane.Set(t, store.VirtualHost, map[string]proto.Message{"r/x": envoytest.Direct("x", "*", 218)})
	p.plane.Set(t, store.Listener, map[string]proto.Message{"l": p.secure()})
	p.untilStatus("ready through envoy", p.url(p.health, "/healthz/ready"), http.StatusOK)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.ca.rootPEM))
	var peer *x509.Certificate
	envoytest.Until(t, "handshake", func() error {
		conn, err := tls.Dial("tcp", net.JoinHostPort("127.0.0.1", text(p.port)), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer conn.Close()
		peer = conn.ConnectionState().PeerCertificates[0]
		return nil
	})
	if _, err := peer.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
		t.Error(err)
	}
	if got := (&url.URL{Scheme: "spiffe", Host: "cluster.local", Path: "/ns/b/sa/c"}).String(); peer.URIs[0].String() != got {
		t.Errorf("identity = %v, want %s", peer.URIs, got)
	}

	code, body, err := p.do(http.MethodGet, p.url(p.status, "/stats/prometheus"))
	if err != nil || code != http.StatusOK {
		t.Fatalf("metrics: %d %v", code, err)
	}
	for _, want := range []string{"istio_agent_xds_proxy_responses ", "envoy_server_live{} 1", `istio_agent_cert_expiry_seconds{resource_name="default"}`, "istio_agent_startup_duration_seconds "} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %q", want)
		}
	}

	if strings.Contains(body, "istio_agent_startup_duration_seconds 0\n") {
		t.Error("the startup time is not set although the proxy is ready")
	}

	p.cancel() // SIGTERM
	p.untilStatus("not ready while draining", p.url(p.status, "/healthz/ready"), http.StatusServiceUnavailable)
	if err := p.end(); err != nil {
		t.Errorf("Run = %v, want nil after a stop", err)
	}
}

func TestBootstrapOverrideIsMerged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "custom_bootstrap.json")
	if err := os.WriteFile(file, []byte(`{"node": {"metadata": {"COLLECTOR": "$(HOST_IP):9411"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPod(t, "ISTIO_BOOTSTRAP_OVERRIDE="+file, "HOST_IP=fd00::7")
	p.untilStatus("envoy answers", p.url(p.admin, "/server_info"), http.StatusOK)
	_, body, err := p.do(http.MethodGet, p.url(p.admin, "/config_dump?mask=bootstrap.node"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"COLLECTOR": "[fd00::7]:9411"`, `"id": "sidecar~127.0.0.1~a.b~b.svc.cluster.local"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the bootstrap lacks %s:\n%s", want, body)
		}
	}
}

func TestCrashOfEnvoyIsReported(t *testing.T) {
	p := newPod(t)
	p.untilStatus("envoy answers", p.url(p.admin, "/server_info"), http.StatusOK)
	if err := syscall.Kill(p.pid(), syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	var exit *envoy.ExitError
	if err := p.end(); !errors.As(err, &exit) || exit.Signal != syscall.SIGABRT {
		t.Errorf("Run = %v, want the signal", err)
	}
}

// pid reads Envoy's process ID from the agent's log.
func (p *pod) pid() int {
	p.t.Helper()
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	_, after, _ := strings.Cut(p.log.b.String(), "msg=\"envoy started\" pid=")
	pid, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func TestQuitDoesNotDrain(t *testing.T) {
	p := newPod(t)
	p.plane.Set(t, store.Listener, map[string]proto.Message{})
	p.untilStatus("ready without listeners", p.url(p.status, "/healthz/ready"), http.StatusOK)
	if code, _, err := p.do(http.MethodPost, p.url(p.status, "/drain")); err != nil || code != http.StatusOK {
		t.Errorf("/drain: %d %v", code, err)
	}
	if code, _, err := p.do(http.MethodGet, p.url(p.status, "/quitquitquit")); err != nil || code != http.StatusMethodNotAllowed {
		t.Errorf("GET /quitquitquit: %d %v", code, err)
	}
	if code, _, err := p.do(http.MethodPost, p.url(p.status, "/quitquitquit")); err != nil || code != http.StatusOK {
		t.Errorf("POST /quitquitquit: %d %v", code, err)
	}
	if err := p.end(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
