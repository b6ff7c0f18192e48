// Package serve sends the resources of each class of proxies to the proxies of that class.
//
// It receives envoy.Updates from the compiler and answers xDS streams (aggregated, delta
// or state of the world) through go-control-plane's stream handlers over a cache of its
// own, in which every resource is encoded once. It records what each proxy was sent,
// accepted and rejected. It knows nothing of the mesh.
//
// A client that subscribes by wildcard holds all of its class up to a revision; what it is
// sent next is looked up in the class's log of changes, so a push costs what changed. A
// client that subscribes by name is compared name by name.
package serve

import (
	"context"
	"log/slog"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
)

// pushOrder is the order in which the types of one update are offered to a stream: what is
// referred to comes before what refers to it. Names come last: whoever finds out an address
// shall find the proxy ready for it.
var pushOrder = [...]string{envoy.ClusterType, envoy.EndpointType, envoy.ListenerType, envoy.RouteType, envoy.VirtualHostType, envoy.NameTableType}

// Authenticator proves the identity of a caller.
type Authenticator interface {
	Authenticate(ctx context.Context) (identity.Identity, error)
}

// Registrar learns which classes have live proxies. Calls never block.
type Registrar interface {
	// Connect asks for the resources of a class; an Update with Whole follows.
	Connect(class.Class)
	// Disconnect says that the last proxy of a class is gone.
	Disconnect(class.Class)
}

// Config is what a Server needs. All fields are required.
type Config struct {
	Registrar Registrar
	// ClassOf says which class a node belongs to.
	ClassOf func(nodemeta.Node) class.Class
	// Ready reports whether the control plane has seen the whole cluster; before that
	// streams are refused as unavailable.
	Ready   func() bool
	Metrics *Metrics
	Log     *slog.Logger
	Now     func() time.Time
}

// Server holds the classes and their streams. It is safe for concurrent use.
type Server struct {
	cfg Config

	mu      sync.Mutex
	classes map[class.Class]*classState
	conns   map[*conn]struct{}
	serial  int64
}

// New returns a Server without classes.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, classes: map[class.Class]*classState{}, conns: map[*conn]struct{}{}}
}

// Publish takes the updates of one turn and offers them to the streams of their classes.
// It does not wait for any of them.
func (s *Server) Publish(updates []envoy.Update) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range updates {
		state := s.classes[u.Class]
		if state == nil || (!state.whole && !u.Whole) {
			continue // nobody is connected any more, or the first update is still to come
		}
		state.apply(u)
		for c := range state.conns {
			c.offer(state)
		}
	}
}

// endpoint is one address of the server: with proof of identity (TLS) or without.
type endpoint struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	server *Server
	auth   Authenticator // nil: no identity is asked for
}

// Authenticated returns the discovery service for the TLS address: each stream must prove
// its identity, and the node must belong to it.
func (s *Server) Authenticated(auth Authenticator) discoveryv3.AggregatedDiscoveryServiceServer {
	return &endpoint{server: s, auth: auth}
}

// Plain returns the discovery service for the plaintext address. Its streams have no
// identity and so never see secrets.
func (s *Server) Plain() discoveryv3.AggregatedDiscoveryServiceServer {
	return &endpoint{server: s}
}

// DeltaAggregatedResources serves one delta stream until either end closes it.
func (e *endpoint) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	c, err := e.open(stream.Context())
	if err != nil {
		return err
	}
	defer e.server.detach(c)
	return c.closed(delta.NewServer(c.ctx, c, deltaCallbacks{c}).DeltaStreamHandler(stream, ""))
}

// StreamAggregatedResources serves one state-of-the-world stream.
func (e *endpoint) StreamAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	c, err := e.open(stream.Context())
	if err != nil {
		return err
	}
	defer e.server.detach(c)
	return c.closed(sotw.NewServer(c.ctx, c, sotwCallbacks{c}).StreamHandler(stream, ""))
}

// open refuses callers without identity and callers that come before the cluster was seen.
func (e *endpoint) open(ctx context.Context) (*conn, error) {
	s := e.server
	if !s.cfg.Ready() {
		return nil, status.Error(codes.Unavailable, "the control plane is still reading the cluster")
	}
	var proven *identity.Identity
	if e.auth != nil {
		id, err := e.auth.Authenticate(ctx)
		if err != nil {
			s.cfg.Metrics.authFailures.Inc()
			return nil, err
		}
		proven = &id
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	c := &conn{server: s, ctx: ctx, cancel: cancel, identity: proven, connected: s.cfg.Now(), types: map[string]*typeState{}}
	c.id = s.serial
	s.conns[c] = struct{}{}
	s.cfg.Metrics.connected.Inc()
	return c, nil
}

// attach puts a stream whose node is known into its class. The caller holds no lock.
func (s *Server) attach(c *conn, node nodemeta.Node) error {
	if c.identity != nil && (c.identity.Namespace != node.Namespace || (node.ServiceAccount != "" && c.identity.ServiceAccount != node.ServiceAccount)) {
		return status.Errorf(codes.PermissionDenied, "node %s of account %s/%s does not belong to the proven identity %s",
			node.ID(), node.Namespace, node.ServiceAccount, c.identity)
	}
	key := s.cfg.ClassOf(node)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.node, c.class, c.attached = node, key, true
	state := s.classes[key]
	if state == nil {
		state = newClassState()
		s.classes[key] = state
		s.cfg.Registrar.Connect(key)
	}
	state.conns[c] = struct{}{}
	s.cfg.Log.Info("proxy connected", "proxy", node.ID(), "envoy", node.EnvoyVersion)
	return nil
}

// detach forgets a stream; the last one of a class takes the class with it.
func (s *Server) detach(c *conn) {
	c.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.cfg.Metrics.connected.Dec()
	if !c.attached {
		return
	}
	s.cfg.Log.Info("proxy disconnected", "proxy", c.node.ID())
	state := s.classes[c.class]
	delete(state.conns, c)
	if len(state.conns) == 0 {
		delete(s.classes, c.class)
		s.cfg.Registrar.Disconnect(c.class)
	}
}

// errBehind ends a stream that lags further behind than the log of changes reaches. The
// client reconnects and says what it has.
var errBehind = status.Error(codes.Unavailable, "too far behind, reconnect")
