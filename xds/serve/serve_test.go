package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// registrar records connects and disconnects.
type registrar struct{ events chan string }

func (r registrar) Connect(c class.Class)    { r.events <- "connect " + c.Namespace }
func (r registrar) Disconnect(c class.Class) { r.events <- "disconnect " + c.Namespace }

// proven always proves one identity.
type proven identity.Identity

func (p proven) Authenticate(context.Context) (identity.Identity, error) {
	return identity.Identity(p), nil
}

// rig is a server behind an in-memory connection.
type rig struct {
	server *Server
	events chan string
	ready  bool
	client discoveryv3.AggregatedDiscoveryServiceClient
}

func newRig(t *testing.T, auth Authenticator) *rig {
	t.Helper()
	r := &rig{events: make(chan string, 16), ready: true}
	r.server = New(Config{
		Registrar: registrar{r.events},
		ClassOf:   func(n nodemeta.Node) class.Class { return class.Class{Namespace: n.Namespace} },
		Ready:     func() bool { return r.ready },
		Metrics:   NewMetrics(prometheus.NewRegistry()),
		Log:       slog.New(slog.DiscardHandler),
		Now:       time.Now,
	})
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	if auth == nil {
		discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, r.server.Plain())
	} else {
		discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, r.server.Authenticated(auth))
	}
	done := make(chan error)
	go func() { done <- g.Serve(listener) }()
	cc, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close(); g.Stop(); <-done })
	r.client = discoveryv3.NewAggregatedDiscoveryServiceClient(cc)
	return r
}

// node is a proxy's node; store says whether it keeps a store of its own.
func node(store bool) *corev3.Node {
	n := &corev3.Node{Id: "sidecar~10.0.0.1~sleep.default~default.svc.cluster.local", Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{}}}
	if store {
		n.Metadata.Fields["SLUICE_STORE"] = structpb.NewStringValue("true")
	}
	return n
}

// deltaClient is one delta stream.
type deltaClient struct {
	t      *testing.T
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (r *rig) delta(t *testing.T) *deltaClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := r.client.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &deltaClient{t, stream}
}

func (d *deltaClient) send(req *discoveryv3.DeltaDiscoveryRequest) {
	d.t.Helper()
	if err := d.stream.Send(req); err != nil {
		d.t.Fatal(err)
	}
}

// recv returns the next answer as "TYPE +name… -name…".
func (d *deltaClient) recv() (string, *discoveryv3.DeltaDiscoveryResponse) {
	d.t.Helper()
	resp, err := d.stream.Recv()
	if err != nil {
		d.t.Fatal(err)
	}
	words := []string{short(resp.TypeUrl)}
	for _, r := range resp.Resources {
		words = append(words, "+"+r.Name+"@"+r.Version)
	}
	slices.Sort(words[1:])
	for _, n := range resp.RemovedResources {
		words = append(words, "-"+n)
	}
	return strings.Join(words, " "), resp
}

// want receives an answer, compares it, and acknowledges it.
func (d *deltaClient) want(want string) {
	d.t.Helper()
	got, resp := d.recv()
	if got != want {
		d.t.Fatalf("answer %q, want %q", got, want)
	}
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce})
}

func (d *deltaClient) wantError(code codes.Code, part string) {
	d.t.Helper()
	for {
		_, err := d.stream.Recv()
		if err == nil {
			continue
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), part) {
			d.t.Fatalf("stream ended with %v, want %v with %q", err, code, part)
		}
		return
	}
}

func (r *rig) event(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-r.events:
		if got != want {
			t.Fatalf("event %q, want %q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no event %q", want)
	}
}

// res is a resource whose version is given, not hashed: the server must not care.
func res(typeURL, name, version string) *envoy.Resource {
	return &envoy.Resource{TypeURL: typeURL, Name: name, Version: version, Body: []byte{}}
}

var defaultClass = class.Class{Namespace: "default"}

func whole(revision uint64, rs ...*envoy.Resource) []envoy.Update {
	return []envoy.Update{{Class: defaultClass, Revision: revision, Whole: true, Changed: rs}}
}

func changed(revision uint64, rs ...*envoy.Resource) []envoy.Update {
	return []envoy.Update{{Class: defaultClass, Revision: revision, Changed: rs}}
}

func removed(revision uint64, names ...envoy.Name) []envoy.Update {
	return []envoy.Update{{Class: defaultClass, Revision: revision, Removed: names}}
}

func TestStoreClientGetsAllThenChanges(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	for _, typeURL := range pushOrder {
		d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}})
	}
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.ClusterType, "a", "1"), res(envoy.ClusterType, "b", "1"), res(envoy.VirtualHostType, "80/a:80", "1")))
	d.want("CDS +a@1 +b@1")
	d.want("EDS")
	d.want("LDS")
	d.want("RDS")
	d.want("VHDS +80/a:80@1")
	d.want("NDS")
	r.server.Publish(changed(2, res(envoy.ClusterType, "b", "2"), res(envoy.EndpointType, "b", "1")))
	d.want("CDS +b@2")
	d.want("EDS +b@1")
	r.server.Publish(removed(3, envoy.Name{TypeURL: envoy.ClusterType, Name: "a"}))
	d.want("CDS -a")
	r.server.Publish(changed(4, res(envoy.ClusterType, "b", "2"))) // the same version: nothing to say
	r.server.Publish(changed(5, res(envoy.ListenerType, "l", "1")))
	d.want("LDS +l@1")
	if err := d.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	r.event(t, "disconnect default")
}

func TestChangesOfSeveralTurnsAreOneAnswer(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{"*"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.ClusterType, "a", "1"), res(envoy.ClusterType, "b", "1")))
	got, first := d.recv()
	if got != "CDS +a@1 +b@1" {
		t.Fatal(got)
	}
	r.server.Publish(changed(2, res(envoy.ClusterType, "b", "2"))) // not acknowledged yet: wait
	r.server.Publish(changed(3, res(envoy.ClusterType, "b", "3"), res(envoy.ClusterType, "c", "1")))
	r.server.Publish(removed(4, envoy.Name{TypeURL: envoy.ClusterType, Name: "a"}))
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResponseNonce: first.Nonce})
	d.want("CDS +b@3 +c@1 -a")
}

func TestReconnectGetsTheDifference(t *testing.T) {
	r := newRig(t, nil)
	keep := r.delta(t) // keeps the class alive
	keep.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{"*"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.ClusterType, "a", "1"), res(envoy.ClusterType, "b", "2")))
	keep.want("CDS +a@1 +b@2")
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{"*"},
		InitialResourceVersions: map[string]string{"a": "1", "b": "1", "gone": "9"}})
	d.want("CDS +b@2 -gone")
}

func TestRejectionIsRecordedAndNotRepeated(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{"*"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.ClusterType, "bad", "1")))
	_, resp := d.recv()
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResponseNonce: resp.Nonce, ErrorDetail: &statuspb.Status{Message: "no such load balancer"}})
	r.server.Publish(changed(2, res(envoy.ClusterType, "good", "1")))
	got, resp := d.recv()
	if got != "CDS +good@1" {
		t.Fatalf("answer %q", got)
	}
	p := r.server.Status()[0]
	if p.Types["CDS"] != Rejected || p.Types["EDS"] != NotSent {
		t.Errorf("types = %v", p.Types)
	}
	rejections := p.Rejected["CDS"]
	if len(rejections) != 1 || rejections[0].Message != "no such load balancer" || !slices.Equal(rejections[0].Names, []string{"bad"}) {
		t.Errorf("rejections = %+v", rejections)
	}
	d.ack(resp.Nonce)
	r.server.Publish(changed(3, res(envoy.ClusterType, "bad", "2")))
	_, resp = d.recv() // its arrival proves that the acknowledgement was read
	if p := r.server.Status()[0]; p.Types["CDS"] != Rejected {
		t.Errorf("not rejected any more after an acknowledgement of something else: %v", p.Types)
	}
	d.ack(resp.Nonce)
	r.server.Publish(changed(4, res(envoy.ClusterType, "good", "2")))
	d.want("CDS +good@2")
	if p := r.server.Status()[0]; p.Types["CDS"] == Rejected || len(p.Rejected) > 0 {
		t.Errorf("still rejected after an acknowledgement: %v", p)
	}
}

func (d *deltaClient) ack(nonce string) {
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResponseNonce: nonce})
}

// An agent names the resources; the objects that they were made from are the ones to tell.
func TestRejectionNamesItsObjects(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{"*"}})
	r.event(t, "connect default")
	good, bad := res(envoy.ClusterType, "good", "1"), res(envoy.ClusterType, "bad", "1")
	service := problem.Origin{Kind: "Service", Namespace: "default", Name: "web"}
	rule := problem.Origin{Kind: "DestinationRule.networking.istio.io", Namespace: "default", Name: "web", Generation: 3}
	good.From, bad.From = []problem.Origin{service}, []problem.Origin{rule, service, rule}
	r.server.Publish(whole(1, good, bad))
	_, resp := d.recv()
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResponseNonce: resp.Nonce,
		ErrorDetail: &statuspb.Status{Message: "bad: too: many; of it; gone: was removed"}})
	r.server.Publish(changed(2, res(envoy.ClusterType, "good", "2")))
	_, resp = d.recv()
	got := r.server.Status()[0].Rejected["CDS"]
	if len(got) != 1 || !slices.Equal(got[0].Names, []string{"bad"}) || !slices.Equal(got[0].Origins, []problem.Origin{rule, service}) {
		t.Errorf("rejections = %+v", got)
	}
	var texts []string
	for _, p := range r.server.Problems() {
		texts = append(texts, p.Origin.String()+" "+p.Reason)
	}
	want := []string{"DestinationRule.networking.istio.io default/web RejectedByProxy", "Service default/web RejectedByProxy"}
	if !slices.Equal(texts, want) {
		t.Errorf("problems %q, want %q", texts, want)
	}
	d.ack(resp.Nonce)
	r.server.Publish(removed(3, envoy.Name{TypeURL: envoy.ClusterType, Name: "bad"}))
	_, resp = d.recv()
	d.ack(resp.Nonce)
	r.server.Publish(changed(4, res(envoy.ClusterType, "good", "3")))
	d.want("CDS +good@3")
	if got := r.server.Problems(); len(got) > 0 {
		t.Errorf("problems after the resource is gone: %v", got)
	}
}

func TestNamedSubscription(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(false), TypeUrl: envoy.EndpointType, ResourceNamesSubscribe: []string{"a", "later"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.EndpointType, "a", "1"), res(envoy.EndpointType, "b", "1")))
	d.want("EDS +a@1 -later")
	r.server.Publish(changed(2, res(envoy.EndpointType, "b", "2"))) // not subscribed
	r.server.Publish(changed(3, res(envoy.EndpointType, "later", "1")))
	d.want("EDS +later@1")
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.EndpointType, ResourceNamesSubscribe: []string{"b"}})
	d.want("EDS +b@2")
}

func TestPlainClientGetsWholeRouteTables(t *testing.T) {
	r := newRig(t, nil)
	shell := envoy.Encode(envoy.RouteType, "80", &routev3.RouteConfiguration{Name: "80"})
	host := func(name, domain string) *envoy.Resource {
		return envoy.Encode(envoy.VirtualHostType, "80/"+name, &routev3.VirtualHost{Name: name, Domains: []string{domain}})
	}
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(false), TypeUrl: envoy.RouteType, ResourceNamesSubscribe: []string{"80"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, shell, host("b", "b.example"), host("a", "a.example")))
	table := func() []string {
		t.Helper()
		_, resp := d.recv()
		var rc routev3.RouteConfiguration
		if err := proto.Unmarshal(resp.Resources[0].Resource.Value, &rc); err != nil {
			t.Fatal(err)
		}
		names := []string{rc.Name}
		for _, vh := range rc.VirtualHosts {
			names = append(names, vh.Name+"="+vh.Domains[0])
		}
		d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce})
		return names
	}
	if diff := cmp.Diff([]string{"80", "a=a.example", "b=b.example"}, table()); diff != "" {
		t.Error(diff)
	}
	r.server.Publish(changed(2, host("a", "a2.example")))
	if diff := cmp.Diff([]string{"80", "a=a2.example", "b=b.example"}, table()); diff != "" {
		t.Error(diff)
	}
	r.server.Publish(removed(3, envoy.Name{TypeURL: envoy.VirtualHostType, Name: "80/b"}))
	if diff := cmp.Diff([]string{"80", "a=a2.example"}, table()); diff != "" {
		t.Error(diff)
	}
}

func TestStateOfTheWorld(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	stream, err := r.client.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(req *discoveryv3.DiscoveryRequest) {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	send(&discoveryv3.DiscoveryRequest{Node: node(false), TypeUrl: envoy.ClusterType})
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.ClusterType, "a", "1"), res(envoy.ClusterType, "b", "1")))
	first, err := stream.Recv()
	if err != nil || len(first.Resources) != 2 {
		t.Fatalf("first answer %v, %v", first, err)
	}
	send(&discoveryv3.DiscoveryRequest{TypeUrl: envoy.ClusterType, VersionInfo: first.VersionInfo, ResponseNonce: first.Nonce})
	r.server.Publish(changed(2, res(envoy.ListenerType, "l", "1"))) // another type: silence
	r.server.Publish(removed(3, envoy.Name{TypeURL: envoy.ClusterType, Name: "a"}))
	second, err := stream.Recv()
	if err != nil || len(second.Resources) != 1 || second.TypeUrl != envoy.ClusterType || second.VersionInfo == first.VersionInfo {
		t.Fatalf("second answer %v, %v", second, err)
	}
}

func TestStreamsAreRefused(t *testing.T) {
	sleep := proven{TrustDomain: "cluster.local", Namespace: "default", ServiceAccount: "sleep"}
	for name, c := range map[string]struct {
		auth Authenticator
		req  *discoveryv3.DeltaDiscoveryRequest
		code codes.Code
		part string
	}{
		"no node":         {nil, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType}, codes.InvalidArgument, "must carry a node"},
		"bad node":        {nil, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, Node: &corev3.Node{Id: "x"}}, codes.InvalidArgument, `node id "x"`},
		"unknown type":    {nil, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: "type.googleapis.com/nope", Node: node(true)}, codes.InvalidArgument, "type.googleapis.com/nope is not served"},
		"other namespace": {proven{Namespace: "other", ServiceAccount: "sleep"}, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, Node: node(true)}, codes.PermissionDenied, "does not belong"},
		"other account": {sleep, func() *discoveryv3.DeltaDiscoveryRequest {
			n := node(true)
			n.Metadata.Fields["SERVICE_ACCOUNT"] = structpb.NewStringValue("admin")
			return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, Node: n}
		}(), codes.PermissionDenied, "does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.auth)
			d := r.delta(t)
			d.send(c.req)
			d.wantError(c.code, c.part)
			if got := len(r.server.Status()); got != 0 {
				t.Errorf("%d proxies are listed", got)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	r := newRig(t, nil)
	r.ready = false
	d := r.delta(t)
	d.wantError(codes.Unavailable, "still reading the cluster")
}

func TestAClientFarBehindIsAskedToReconnect(t *testing.T) {
	r := newRig(t, nil)
	d := r.delta(t)
	d.send(&discoveryv3.DeltaDiscoveryRequest{Node: node(true), TypeUrl: envoy.ClusterType, ResourceNamesSubscribe: []string{"*"}})
	r.event(t, "connect default")
	r.server.Publish(whole(1, res(envoy.ClusterType, "a", "1")))
	_, resp := d.recv()
	for i := range uint64(3 * logLength) {
		r.server.Publish(changed(i+2, res(envoy.ClusterType, fmt.Sprintf("c%d", i), "1")))
	}
	d.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.ClusterType, ResponseNonce: resp.Nonce})
	d.wantError(codes.Unavailable, "too far behind")
}

func TestLogOfChanges(t *testing.T) {
	res := &typeResources{resources: map[string]*discoveryv3.Resource{}}
	v := func(version string) *discoveryv3.Resource { return &discoveryv3.Resource{Version: version} }
	res.set(1, "a", v("1"))
	res.set(2, "b", v("1"))
	res.set(2, "c", v("1"))
	res.set(3, "a", v("2"))
	res.remove(4, "c")
	res.remove(5, "never")
	for since, want := range map[uint64][]string{0: {"b", "a", "c"}, 1: {"b", "a", "c"}, 2: {"a", "c"}, 3: {"c"}, 4: nil} {
		if got, ok := res.since(since); !ok || !slices.Equal(got, want) {
			t.Errorf("since(%d) = %v, %v, want %v", since, got, ok, want)
		}
	}
}
