package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rig is a store with short ways to drive it.
type rig struct {
	t *testing.T
	s *Store
}

func newRig(t *testing.T) *rig {
	r := &rig{t, New()}
	r.s.Connect()
	return r
}

func res(name, version string) *Resource {
	return &Resource{Name: name, Version: version, Body: []byte(name + "=" + version)}
}

// push applies resources of one type under a nonce.
func (r *rig) push(typ, nonce string, rs ...*Resource) {
	r.s.Apply(Push{Type: typ, Nonce: nonce, Resources: rs})
}

// complete gives every type an initial state: what is passed, or nothing.
func (r *rig) complete(clusters ...*Resource) {
	r.push(Cluster, "c0", clusters...)
	for _, typ := range []string{Endpoints, Listener, Route, VirtualHost} {
		r.push(typ, "i0")
	}
}

// sent is a response without its nonce, for comparison.
type sent struct {
	Type    string
	Names   []string
	Removed []string
}

func (r *rig) next() (*Response, sent) {
	r.t.Helper()
	out := r.s.Next()
	if out == nil {
		return nil, sent{}
	}
	s := sent{Type: out.Type, Removed: out.Removed}
	for _, x := range out.Resources {
		s.Names = append(s.Names, x.Name+"@"+x.Version)
	}
	return out, s
}

// expect takes the next response and acknowledges it.
func (r *rig) expect(want sent) {
	r.t.Helper()
	resp := r.expectOpen(want)
	r.s.Ack(resp.Type, resp.Nonce)
}

func (r *rig) expectOpen(want sent) *Response {
	r.t.Helper()
	resp, got := r.next()
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Fatalf("next response (-want +got):\n%s", diff)
	}
	return resp
}

func (r *rig) expectNothing() {
	r.t.Helper()
	if resp, got := r.next(); resp != nil {
		r.t.Fatalf("unexpected response %+v", got)
	}
}

func (r *rig) expectRequests(want ...Request) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.s.Requests()); diff != "" {
		r.t.Fatalf("requests (-want +got):\n%s", diff)
	}
}

func TestEnvoyWaitsForTheInitialStateOfEveryType(t *testing.T) {
	r := newRig(t)
	r.s.Subscribe(Subscription{Type: Cluster})
	r.push(Cluster, "1", res("a", "1"))
	for _, typ := range []string{Endpoints, Listener, Route} {
		r.push(typ, "1")
		r.expectNothing()
	}
	r.push(VirtualHost, "1")
	r.expect(sent{Cluster, []string{"a@1"}, nil})
}

func TestOrderAndAcknowledgement(t *testing.T) {
	r := newRig(t)
	r.complete(res("a", "1"))
	r.push(Endpoints, "e1", res("a", "1"), res("b", "1"))
	r.push(Listener, "l1", res("0.0.0.0_80", "1"))
	r.push(Route, "r1", &Resource{Name: "80", Version: "1", Body: []byte{10, 2, '8', '0'}})
	r.push(VirtualHost, "v1", &Resource{Name: "80/x", Version: "1", Body: []byte{10, 1, 'x'}})
	// Endpoints and routes that Envoy has not asked for are held; what it always takes waits.
	r.expectRequests(
		Request{Type: Endpoints, Nonce: "i0"}, Request{Type: Listener, Nonce: "i0"}, Request{Type: Route, Nonce: "i0"}, Request{Type: VirtualHost, Nonce: "i0"},
		Request{Type: Endpoints, Nonce: "e1"}, Request{Type: Route, Nonce: "r1"}, Request{Type: VirtualHost, Nonce: "v1"},
	)
	r.s.Subscribe(Subscription{Type: Listener})
	r.s.Subscribe(Subscription{Type: Cluster})
	c := r.expectOpen(sent{Cluster, []string{"a@1"}, nil})
	r.expectNothing() // listeners wait for the clusters' acknowledgement
	r.s.Subscribe(Subscription{Type: Endpoints, Subscribe: []string{"a"}})
	r.s.Ack(Cluster, c.Nonce)
	r.expectRequests(Request{Type: Cluster, Nonce: "c0"})
	r.expect(sent{Endpoints, []string{"a@1"}, nil})
	r.expect(sent{Listener, []string{"0.0.0.0_80@1"}, nil})
	r.expectRequests(Request{Type: Listener, Nonce: "l1"})
	r.s.Subscribe(Subscription{Type: Route, Subscribe: []string{"80"}})
	resp, _ := r.next()
	if got, want := string(resp.Resources[0].Body), "\x0a\x0280\x12\x03\x0a\x01x"; got != want {
		t.Errorf("joined table = %q, want %q", got, want)
	}
	r.s.Ack(Route, resp.Nonce)
	r.expectNothing()
}

func TestEmptyStateIsAnswered(t *testing.T) {
	r := newRig(t)
	r.complete()
	r.s.Subscribe(Subscription{Type: Cluster})
	r.s.Subscribe(Subscription{Type: Listener})
	r.expect(sent{Type: Cluster})
	r.expect(sent{Type: Listener})
	r.expectNothing()
}

func TestOnlyChangesAreSentAndRemovalsComeLast(t *testing.T) {
	r := newRig(t)
	r.complete(res("a", "1"), res("b", "1"))
	r.s.Subscribe(Subscription{Type: Cluster, Subscribe: []string{"*"}})
	r.s.Subscribe(Subscription{Type: Listener})
	r.expect(sent{Cluster, []string{"a@1", "b@1"}, nil})
	r.s.Apply(Push{Type: Cluster, Nonce: "2", Resources: []*Resource{res("a", "1"), res("c", "1")}, Removed: []string{"b"}})
	r.push(Listener, "l", res("l", "1"))
	r.expect(sent{Cluster, []string{"c@1"}, nil})
	r.expect(sent{Listener, []string{"l@1"}, nil})
	r.expect(sent{Cluster, nil, []string{"b"}})
	r.expectNothing()
	r.push(Cluster, "3", res("b", "1")) // removed and added again is sent again
	r.expect(sent{Cluster, []string{"b@1"}, nil})
}

func TestMissingEndpointsAreAnsweredAndUpdatedClustersGetThemAgain(t *testing.T) {
	r := newRig(t)
	r.complete(res("a", "1"))
	r.s.Subscribe(Subscription{Type: Cluster})
	r.expect(sent{Cluster, []string{"a@1"}, nil})
	r.s.Subscribe(Subscription{Type: Endpoints, Subscribe: []string{"a"}})
	r.expect(sent{Endpoints, nil, []string{"a"}})
	r.push(Endpoints, "e", res("a", "1"))
	r.expect(sent{Endpoints, []string{"a@1"}, nil})
	r.push(Cluster, "c", res("a", "2"))
	r.expect(sent{Cluster, []string{"a@2"}, nil})
	r.expect(sent{Endpoints, []string{"a@1"}, nil})
	r.expectNothing()
}

func TestRejectionSparesTheInnocent(t *testing.T) {
	r := newRig(t)
	r.complete(res("a", "1"), res("b", "1"), res("c", "1"))
	r.s.Subscribe(Subscription{Type: Cluster})
	r.expect(sent{Cluster, []string{"a@1", "b@1", "c@1"}, nil})
	r.s.Requests()
	r.push(Cluster, "2", res("a", "2"), res("b", "2"), res("c", "2"), res("d", "2"))
	first := r.expectOpen(sent{Cluster, []string{"a@2", "b@2", "c@2", "d@2"}, nil})
	r.s.Nack(Cluster, first.Nonce, "Error adding/updating cluster(s) b: bad thing")
	r.expect(sent{Cluster, []string{"a@2", "c@2", "d@2"}, nil})
	alone := r.expectOpen(sent{Cluster, []string{"b@2"}, nil})
	r.s.Nack(Cluster, alone.Nonce, "bad thing")
	// Something passed before b was tried, nothing after: b is guilty.
	r.expectNothing()
	r.expectRequests(Request{Type: Cluster, Nonce: "2", Error: "b: bad thing"})
	r.push(Cluster, "3", res("b", "2")) // the same bytes again are refused without asking Envoy
	r.expectNothing()
	r.expectRequests(Request{Type: Cluster, Nonce: "3", Error: "b: bad thing"})
	r.s.Disconnect() // a new Envoy gets the last good bytes
	r.s.Subscribe(Subscription{Type: Cluster})
	r.expect(sent{Cluster, []string{"a@2", "b@1", "c@2", "d@2"}, nil})
	r.push(Cluster, "4", res("b", "3"))
	r.expect(sent{Cluster, []string{"b@3"}, nil})
	r.expectRequests(Request{Type: Cluster, Nonce: "4"})
	got := map[string]string{}
	for _, req := range r.s.Connect() {
		if req.Type == Cluster {
			got = req.Initial
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "2", "b": "3", "c": "2", "d": "2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReconnectDoesNotClaimWhatWasRejected(t *testing.T) {
	r := newRig(t)
	r.complete(res("a", "1"))
	r.s.Subscribe(Subscription{Type: Cluster})
	r.expect(sent{Cluster, []string{"a@1"}, nil})
	r.push(Cluster, "2", res("a", "2"))
	resp := r.expectOpen(sent{Cluster, []string{"a@2"}, nil})
	r.s.Nack(Cluster, resp.Nonce, "no")
	first := r.s.Connect()[0]
	want := Request{Type: Cluster, Subscribe: []string{"*"}, Initial: map[string]string{"a": "1"}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Fatal(diff)
	}
	r.push(Cluster, "n", res("a", "2"))
	r.expectRequests(Request{Type: Cluster, Nonce: "n", Error: "a: no"})
}

func TestRejectionAfterReconnectGoesWithTheNextAnswer(t *testing.T) {
	r := newRig(t)
	r.complete(res("a", "1"))
	r.s.Subscribe(Subscription{Type: Cluster})
	resp := r.expectOpen(sent{Cluster, []string{"a@1"}, nil})
	r.s.Connect()
	r.s.Nack(Cluster, resp.Nonce, "no")
	r.expectRequests()
	r.push(Cluster, "n")
	r.expectRequests(Request{Type: Cluster, Nonce: "n", Error: "a: no"})
}

func TestOtherTypesAreAskedForByName(t *testing.T) {
	const secret = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	r := newRig(t)
	r.s.Subscribe(Subscription{Type: secret, Subscribe: []string{"kubernetes://a", "kubernetes://b"}})
	r.expectRequests(Request{Type: secret, Subscribe: []string{"kubernetes://a", "kubernetes://b"}})
	r.s.Apply(Push{Type: secret, Nonce: "1", Resources: []*Resource{res("kubernetes://a", "1")}, Removed: []string{"kubernetes://b"}})
	r.expect(sent{secret, []string{"kubernetes://a@1"}, []string{"kubernetes://b"}})
	r.expectRequests(Request{Type: secret, Nonce: "1"})
	again := r.s.Connect()
	want := Request{Type: secret, Subscribe: []string{"kubernetes://a", "kubernetes://b"}, Initial: map[string]string{"kubernetes://a": "1"}}
	if diff := cmp.Diff(want, again[len(again)-1]); diff != "" {
		t.Error(diff)
	}
	r.s.Subscribe(Subscription{Type: secret, Unsubscribe: []string{"kubernetes://a"}})
	r.expectRequests(Request{Type: secret, Unsubscribe: []string{"kubernetes://a"}})
}

func TestLargeStateIsSentInPieces(t *testing.T) {
	r := newRig(t)
	var rs []*Resource
	for _, name := range []string{"a", "b", "c"} {
		rs = append(rs, &Resource{Name: name, Version: "1", Body: make([]byte, 300<<10)})
	}
	r.complete(rs...)
	r.s.Subscribe(Subscription{Type: Cluster})
	r.expect(sent{Cluster, []string{"a@1", "b@1"}, nil})
	r.expect(sent{Cluster, []string{"c@1"}, nil})
}

func TestEndpointsNameIsTheServiceName(t *testing.T) {
	withName := []byte("\x0a\x01c\x1a\x05\x12\x03svc") // name: "c", eds_cluster_config {service_name: "svc"}
	for _, c := range []struct {
		body []byte
		want string
	}{{withName, "svc"}, {[]byte("\x0a\x01c"), "c"}, {[]byte{0xff}, "c"}, {nil, "c"}} {
		if got := endpointsName("c", c.body); got != c.want {
			t.Errorf("endpointsName(%q) = %q, want %q", c.body, got, c.want)
		}
	}
}

func TestMentions(t *testing.T) {
	for _, c := range []struct {
		message, name string
		want          bool
	}{
		{"Error adding/updating listener(s) 0.0.0.0_8080: bad", "0.0.0.0_8080", true},
		{"Error adding/updating listener(s) 0.0.0.0_8080: bad", "0.0.0.0_80", false},
		{"cluster(s) outbound|80||a.b.svc.cluster.local: x", "outbound|80||a.b.svc", false},
		{"cluster 'b'.", "b", true},
		{"", "b", false},
		{"anything", "", false},
	} {
		if got := mentions(c.message, c.name); got != c.want {
			t.Errorf("mentions(%q, %q) = %v, want %v", c.message, c.name, got, c.want)
		}
	}
}
