package envoytest

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/internal/nametable"
)

// Plane is a small control plane: it sends what Set says and remembers what it was told.
type Plane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	// Register adds further services to the server; may be nil.
	Register func(*grpc.Server)

	mu      sync.Mutex
	changed chan struct{}
	state   map[string]map[string]*discoveryv3.Resource
	answers []*discoveryv3.DeltaDiscoveryRequest
	states  []*discoveryv3.DiscoveryRequest
	mute    map[string]bool // types that nothing is said of
	version int
	addr    string
	srv     *grpc.Server
	done    chan struct{}
}

// NewPlane returns a control plane that is not listening yet.
func NewPlane() *Plane {
	return &Plane{changed: make(chan struct{}), state: map[string]map[string]*discoveryv3.Resource{}, mute: map[string]bool{}}
}

// Start listens on loopback, after a Stop on the same port again.
func (p *Plane) Start(t testing.TB) {
	t.Helper()
	addr := p.Address()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.addr = lis.Addr().String()
	p.mu.Unlock()
	p.srv, p.done = grpc.NewServer(), make(chan struct{})
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(p.srv, p)
	if p.Register != nil {
		p.Register(p.srv)
	}
	go func(srv *grpc.Server, done chan struct{}) {
		defer close(done)
		if err := srv.Serve(lis); err != nil {
			t.Errorf("serve: %v", err)
		}
	}(p.srv, p.done)
	t.Cleanup(p.Stop)
}

// Stop cuts every stream and closes the port.
func (p *Plane) Stop() {
	p.srv.Stop()
	<-p.done
}

// Address is host:port, empty before the first Start.
func (p *Plane) Address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}

// Set adds or changes resources of a type; the version is new for each call.
func (p *Plane) Set(t testing.TB, typ string, resources map[string]proto.Message) {
	t.Helper()
	bodies := map[string][]byte{}
	for name, m := range resources {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		bodies[name] = body
	}
	p.SetBytes(typ, bodies)
}

// SetBytes is Set for resources that are encoded already.
func (p *Plane) SetBytes(typ string, resources map[string][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version++
	if p.state[typ] == nil {
		p.state[typ] = map[string]*discoveryv3.Resource{}
	}
	for name, body := range resources {
		p.state[typ][name] = &discoveryv3.Resource{
			Name: name, Version: strconv.Itoa(p.version), Resource: &anypb.Any{TypeUrl: typ, Value: body},
		}
	}
	p.wake()
}

// Remove takes one resource away.
func (p *Plane) Remove(typ, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.state[typ], name)
	p.wake()
}

// Mute makes the control plane say nothing of a type, or speak again.
func (p *Plane) Mute(typ string, mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute[typ] = mute
	p.wake()
}

func (p *Plane) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Requests are all requests so far.
func (p *Plane) Requests() []*discoveryv3.DeltaDiscoveryRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*discoveryv3.DeltaDiscoveryRequest(nil), p.answers...)
}

// DeltaAggregatedResources sends the state of each type that is subscribed to, and then
// differences.
func (p *Plane) DeltaAggregatedResources(ads grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	in := receive(ads.Context(), ads.Recv)
	held, nonce := map[string]map[string]string{}, 0
	for {
		p.mu.Lock()
		changed := p.changed
		for _, typ := range []string{store.Cluster, store.Endpoints, store.Listener, store.Route, store.VirtualHost, nametable.Type} {
			if held[typ] == nil || p.mute[typ] {
				continue
			}
			out := p.diff(typ, held[typ])
			if out == nil {
				continue
			}
			nonce++
			out.Nonce = fmt.Sprintf("%s-%d", typ[len("type.googleapis.com/envoy.config."):], nonce)
			if err := ads.Send(out); err != nil {
				p.mu.Unlock()
				return err
			}
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case msg, ok := <-in:
			if !ok {
				return nil
			}
			p.mu.Lock()
			p.answers = append(p.answers, msg)
			p.mu.Unlock()
			if held[msg.GetTypeUrl()] == nil {
				held[msg.GetTypeUrl()] = map[string]string{"": ""}
				for name, v := range msg.GetInitialResourceVersions() {
					held[msg.GetTypeUrl()][name] = v
				}
			}
		}
	}
}

// diff is what a client that holds these versions has to hear; nil for nothing, but not
// the first time.
func (p *Plane) diff(typ string, held map[string]string) *discoveryv3.DeltaDiscoveryResponse {
	out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typ}
	_, first := held[""]
	delete(held, "")
	for name, r := range p.state[typ] {
		if held[name] != r.Version {
			out.Resources = append(out.Resources, r)
			held[name] = r.Version
		}
	}
	for name := range held {
		if p.state[typ][name] == nil {
			out.RemovedResources = append(out.RemovedResources, name)
			delete(held, name)
		}
	}
	if !first && len(out.Resources)+len(out.RemovedResources) == 0 {
		return nil
	}
	return out
}

// Until calls check every few milliseconds until it returns nil, and fails the test with
// its last error after 20 seconds.
func Until(t testing.TB, what string, check func() error) {
	t.Helper()
	ctx, start := t.Context(), time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		err := check()
		if err == nil {
			t.Logf("%s: %v", what, time.Since(start))
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-deadline.C:
			t.Fatalf("%s: not within 20 s: %v", what, err)
		}
	}
}

// FreePort is a loopback TCP port that nobody listens on.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
