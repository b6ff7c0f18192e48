package agent_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv1 "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/xds"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/agent/command"
	"github.com/sluicemesh/sluice/agent/internal/envoytest"
	"github.com/sluicemesh/sluice/agent/relay/store"
)

// newProxyless is an agent as the template grpc-agent runs it.
func newProxyless(t *testing.T) *pod {
	t.Helper()
	return newPod(t, "DISABLE_ENVOY=true", "ISTIO_META_GENERATOR=grpc", "OUTPUT_CERTS=data", "GRPC_XDS_BOOTSTRAP=proxy/grpc-bootstrap.json")
}

func (p *pod) bootstrap() []byte {
	p.t.Helper()
	out, err := os.ReadFile("proxy/grpc-bootstrap.json")
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	out, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// manager routes all requests by one virtual host.
func manager(t *testing.T, route *routev3.Route) *anypb.Any {
	t.Helper()
	route.Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
	return pack(t, &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name: "r", VirtualHosts: []*routev3.VirtualHost{{Name: "v", Domains: []string{"*"}, Routes: []*routev3.Route{route}}},
		}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(t, &routerv3.Router{})},
		}},
	})
}

// provided is TLS with the certificates that the bootstrap's provider reads.
func provided() *tlsv3.CommonTlsContext {
	provider := &tlsv3.CertificateProviderPluginInstance{InstanceName: "default"}
	return &tlsv3.CommonTlsContext{
		TlsCertificateProviderInstance: provider,
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			CaCertificateProviderInstance: provider,
		}},
	}
}

func secured(t *testing.T, context proto.Message) *corev3.TransportSocket {
	t.Helper()
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(t, context)},
	}
}

// publish makes the control plane know a gRPC server at port, under the name echo:7070.
func (p *pod) publish(port uint16) {
	t := p.t
	address := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
	inbound := fmt.Sprintf("xds.istio.io/grpc/lds/inbound/127.0.0.1:%d", port)
	p.plane.Set(t, store.Endpoints, map[string]proto.Message{"echo": &endpointv3.ClusterLoadAssignment{
		ClusterName: "echo", Endpoints: []*endpointv3.LocalityLbEndpoints{{
			Locality: &corev3.Locality{Region: "r"}, LoadBalancingWeight: wrapperspb.UInt32(1),
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}}}},
		}},
	}})
	cluster := envoytest.Cluster("echo", time.Second)
	cluster.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	cluster.TransportSocket = secured(t, &tlsv3.UpstreamTlsContext{CommonTlsContext: provided()})
	p.plane.Set(t, store.Cluster, map[string]proto.Message{"echo": cluster})
	p.plane.Set(t, store.Listener, map[string]proto.Message{
		"echo:7070": &listenerv3.Listener{Name: "echo:7070", ApiListener: &listenerv3.ApiListener{
			ApiListener: manager(t, &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "echo"},
			}}}),
		}},
		inbound: &listenerv3.Listener{Name: inbound, Address: address, FilterChains: []*listenerv3.FilterChain{{
			Name: "f",
			Filters: []*listenerv3.Filter{{Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{
				TypedConfig: manager(t, &routev3.Route{Action: &routev3.Route_NonForwardingAction{NonForwardingAction: &routev3.NonForwardingAction{}}}),
			}}},
			TransportSocket: secured(t, &tlsv3.DownstreamTlsContext{
				CommonTlsContext: provided(), RequireClientCertificate: wrapperspb.Bool(true),
			}),
		}}},
	})
}

// caller answers health checks and remembers who asked.
type caller struct {
	*health.Server
	seen chan string
}

// Check remembers the identity of the client.
func (c *caller) Check(ctx context.Context, in *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	from, _ := peer.FromContext(ctx)
	c.seen <- from.AuthInfo.AuthType()
	return c.Server.Check(ctx, in)
}

// serve runs a gRPC server that takes its listener and certificates by xDS.
func (p *pod) serve(port uint16) *caller {
	t := p.t
	creds, err := xdscreds.NewServerCredentials(xdscreds.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := xds.NewGRPCServer(grpc.Creds(creds), xds.BootstrapContentsForTesting(p.bootstrap()))
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{health.NewServer(), make(chan string, 1)}
	healthv1.RegisterHealthServer(srv, c)
	lis, err := net.Listen("tcp", "127.0.0.1:"+text(port))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return c
}

// dial makes a channel that takes everything by xDS.
func (p *pod) dial(target string) healthv1.HealthClient {
	t := p.t
	creds, err := xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := xds.NewXDSResolverWithConfigForTesting(p.bootstrap())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+target, grpc.WithTransportCredentials(creds), grpc.WithResolvers(resolver))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthv1.NewHealthClient(conn)
}

func TestProxylessFromStartToStop(t *testing.T) {
	p := newProxyless(t)
	url := p.url(p.status, "/healthz/ready")
	if code := command.Execute(t.Context(), command.IO{Args: []string{"wait", "--url=" + url}, Stdout: p.log, Stderr: p.log}); code != 0 {
		t.Fatalf("pilot-agent wait ends with %d", code)
	}
	if strings.Contains(p.log.text(), "envoy started") {
		t.Error("an Envoy was started")
	}
	if _, err := tls.LoadX509KeyPair("data/cert-chain.pem", "data/key.pem"); err != nil {
		t.Errorf("certificate files: %v", err)
	}
	if got, err := os.ReadFile("data/root-cert.pem"); err != nil || string(got) != p.ca.rootPEM {
		t.Errorf("root = %q %v", got, err)
	}
	if dir, err := os.Getwd(); err != nil || !strings.Contains(string(p.bootstrap()), "unix://"+filepath.Join(dir, "etc/istio/proxy/XDS")) {
		t.Errorf("bootstrap in %s: %v\n%s", dir, err, p.bootstrap())
	}
	code, body, err := p.do(http.MethodGet, p.url(p.status, "/stats/prometheus"))
	if err != nil || code != http.StatusOK || !strings.Contains(body, "istio_agent_xds_proxy_requests ") ||
		strings.Contains(body, `istio_agent_scrape_failures_total{type="envoy"}`) {
		t.Errorf("metrics: %d %v\n%s", code, err, body)
	}
	if code, _, err := p.do(http.MethodPost, p.url(p.status, "/drain")); err != nil || code != http.StatusOK {
		t.Errorf("/drain: %d %v", code, err)
	}
	if code, _, err := p.do(http.MethodPost, p.url(p.status, "/quitquitquit")); err != nil || code != http.StatusOK {
		t.Errorf("/quitquitquit: %d %v", code, err)
	}
	if err := p.end(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// TestGRPCServerAndClient runs gRPC's own xDS client and server over the agent: what the
// control plane says reaches them, and they speak mutual TLS with the agent's files.
func TestGRPCServerAndClient(t *testing.T) {
	p := newProxyless(t)
	p.untilStatus("ready", p.url(p.status, "/healthz/ready"), http.StatusOK)
	p.publish(p.port)
	server, client := p.serve(p.port), p.dial("echo:7070")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var from peer.Peer
	if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true), grpc.Peer(&from)); err != nil {
		t.Fatal(err)
	}
	if seen := <-server.seen; seen != "tls" || from.AuthInfo.AuthType() != "tls" {
		t.Errorf("server saw %s, client saw %s, want tls on both sides", seen, from.AuthInfo.AuthType())
	}
	node := p.plane.States()[0].GetNode()
	if got := node.GetMetadata().GetFields()["GENERATOR"].GetStringValue(); got != "grpc" || node.GetUserAgentName() != "gRPC Go" {
		t.Errorf("generator %q, user agent %q", got, node.GetUserAgentName())
	}
	if node.GetMetadata().GetFields()["SLUICE_STORE"] != nil {
		t.Error("gRPC is announced as a client with a store")
	}
	// The control plane goes and comes back: calls go on, changes arrive.
	p.plane.Stop()
	if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("without the control plane: %v", err)
	}
	<-server.seen
	p.plane.Start(t)
	other := p.dial("echo:7070")
	if _, err := other.Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("a new channel: %v", err)
	}
}

// TestWhatTheControlPlaneLacksIsSaid asks as gRPC does: the answer comes at once, without
// the resource. gRPC then waits 15 s for it before calls fail, which no test needs to see.
func TestWhatTheControlPlaneLacksIsSaid(t *testing.T) {
	p := newProxyless(t)
	p.untilStatus("ready", p.url(p.status, "/healthz/ready"), http.StatusOK)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "etc/istio/proxy/XDS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	client := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	ads, err := client.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := ads.Send(&discoveryv3.DiscoveryRequest{TypeUrl: store.Listener, ResourceNames: []string{"absent:80"}}); err != nil {
		t.Fatal(err)
	}
	answer, err := ads.Recv()
	if err != nil || answer.GetTypeUrl() != store.Listener || len(answer.GetResources()) != 0 {
		t.Errorf("answer %v %v, want one without resources", answer, err)
	}
	if log := p.log.text(); !strings.Contains(log, "lacks resources that grpc asks for") || !strings.Contains(log, "names=[absent:80]") {
		t.Error("the log does not name the resource")
	}
	rejection := &statusv1.Status{Message: "no such field"}
	if err := ads.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl: store.Listener, ResourceNames: []string{"absent:80"}, ResponseNonce: answer.GetNonce(), ErrorDetail: rejection,
	}); err != nil {
		t.Fatal(err)
	}
	envoytest.Until(t, "rejection passed on", func() error {
		states := p.plane.States()
		if got := states[len(states)-1].GetErrorDetail().GetMessage(); got != "no such field" {
			return fmt.Errorf("the control plane heard %q", got)
		}
		return nil
	})
	if log := p.log.text(); !strings.Contains(log, "configuration rejected by grpc") {
		t.Error("the log does not mention the rejection")
	}
	p.plane.Stop()
	if _, err := ads.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "control plane: ") {
		t.Errorf("stream ended with %v, want Unavailable because of the control plane", err)
	}
	p.plane.Start(t)
	delta, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := delta.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("delta xDS ends with %v, want Unimplemented", err)
	}
}

func TestProxylessIsNotReadyWithoutControlPlane(t *testing.T) {
	p := newPod(t, "DISABLE_ENVOY=true", "CA_PROVIDER=none", "GRPC_XDS_BOOTSTRAP=proxy/grpc-bootstrap.json",
		fmt.Sprintf("PROXY_CONFIG_OVERRIDE={discoveryAddress: \"127.0.0.1:%d\"}", envoytest.FreePort(t)))
	envoytest.Until(t, "not ready", func() error {
		code, body, err := p.do(http.MethodGet, p.url(p.status, "/healthz/ready"))
		if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(body, "control plane 127.0.0.1:")) {
			err = fmt.Errorf("status %d: %s", code, body)
		}
		return err
	})
	if strings.Contains(string(p.bootstrap()), "certificate_providers") {
		t.Error("certificate files are promised that nobody writes")
	}
	p.cancel()
	if err := p.end(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}
