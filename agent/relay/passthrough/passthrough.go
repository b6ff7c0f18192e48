// Package passthrough lets gRPC clients in the pod speak xDS with the control plane: each
// state-of-the-world stream over the Unix socket becomes one stream of the agent's own,
// with the agent's credentials and node.
//
// Messages pass unchanged and nothing is kept, so a stream ends with the control plane's,
// with its reason; gRPC keeps what it has and opens the next. What the control plane does
// not have is left out of its answers, and gRPC reports such a resource as missing; the
// first answer without a name, and an answer that does not come, are logged here.
package passthrough

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/agent/relay/downstream"
	"github.com/sluicemesh/sluice/agent/relay/upstream"
	"github.com/sluicemesh/sluice/agent/stream"
)

// Config is what the relay needs.
type Config struct {
	// Listener is the Unix socket that gRPC connects to; Run closes it.
	Listener net.Listener
	// Dial makes a connection to the control plane; it is called for each stream, which
	// closes it.
	Dial func() (*grpc.ClientConn, error)
	// Node describes the pod. It takes the place of the client's, but for what that says of
	// the client's program.
	Node       *corev3.Node
	Upstream   upstream.Counts
	Downstream downstream.Counts
	Log        *slog.Logger
}

// patience is how long the control plane may take for the first answer of a type before it
// is logged. gRPC itself takes a resource for missing after 15 s.
const patience = 10 * time.Second

// Run serves until ctx is done and then returns nil; streams are cut.
func Run(ctx context.Context, cfg Config) error {
	srv := grpc.NewServer()
	s := &server{cfg: cfg}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(srv, s)
	return stream.Serve(ctx, srv, cfg.Listener, &s.readers)
}

type server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	cfg     Config
	readers stream.Readers
}

// DeltaAggregatedResources refuses: Envoy alone speaks delta xDS, and there is none.
func (s *server) DeltaAggregatedResources(grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	return status.Error(codes.Unimplemented, "this agent runs without Envoy and serves state-of-the-world ADS only")
}

type (
	serverStream = grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	clientStream = grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
)

// StreamAggregatedResources is one stream of a client. It ends when either side ends.
func (s *server) StreamAggregatedResources(down serverStream) error {
	ctx, cancel := context.WithCancelCause(down.Context())
	defer cancel(nil)
	conn, err := s.cfg.Dial()
	if err != nil {
		return s.failed(err)
	}
	defer conn.Close()
	up, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return s.failed(err)
	}
	c := &connection{server: s, up: up, down: down, wants: wants{}}
	requests := stream.Receive(ctx, &s.readers, down.Recv, func(err error) { cancel(&ended{err: err, client: true}) })
	responses := stream.Receive(ctx, &s.readers, up.Recv, func(err error) { cancel(&ended{err: err}) })
	return s.ended(c, c.pass(ctx, requests, responses))
}

// ended is the end of one side.
type ended struct {
	err    error
	client bool
}

// Error names the side.
func (e *ended) Error() string {
	if e.client {
		return "client: " + e.err.Error()
	}
	return "control plane: " + e.err.Error()
}

// failed counts and logs that the control plane was not reached.
func (s *server) failed(err error) error {
	call(s.cfg.Upstream.Failure)
	s.cfg.Log.Warn("control plane not reached for grpc", "error", err)
	return status.Error(codes.Unavailable, "control plane: "+err.Error())
}

// ended counts and logs the end of a stream and returns its status for the client.
func (s *server) ended(c *connection, err error) error {
	var end *ended
	if !errors.As(err, &end) || end.client {
		terminated(s.cfg.Downstream.Termination, err)
		s.cfg.Log.Info("grpc's stream ended", "error", err)
		return nil
	}
	if !c.established {
		return s.failed(end.err)
	}
	terminated(s.cfg.Upstream.Termination, end.err)
	s.cfg.Log.Info("control plane stream of grpc ended", "error", end.err)
	return status.Error(codes.Unavailable, err.Error())
}

func terminated(count func(string), err error) {
	if count == nil {
		return
	}
	kind := "error"
	var end *ended
	if errors.As(err, &end) {
		err = end.err
	}
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		kind = "cancelled"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		kind = "cancelled"
	}
	count(kind)
}

// connection is a client's stream with the one to the control plane.
type connection struct {
	server      *server
	up          clientStream
	down        serverStream
	described   bool // the first request, which carries the node, is sent
	established bool // the control plane answered
	wants       wants
}

// pass passes messages both ways until the end of one side and returns which and why.
func (c *connection) pass(ctx context.Context, requests <-chan *discoveryv3.DiscoveryRequest, responses <-chan *discoveryv3.DiscoveryResponse) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case in := <-requests:
			if c.request(in) {
				late.Reset(patience)
			}
			if err := c.up.Send(in); err != nil {
				requests = nil // the reader of responses has the reason
			}
		case in := <-responses:
			c.response(in)
			if err := c.down.Send(in); err != nil {
				return &ended{err: fmt.Errorf("send %s: %w", in.GetTypeUrl(), err), client: true}
			}
		case <-late.C:
			for _, typ := range c.wants.unanswered() {
				c.server.cfg.Log.Warn("control plane does not answer grpc", "type", typ, "after", patience)
			}
		}
	}
}

// request notes what is asked for and puts the node in; true means that an answer is due.
func (c *connection) request(in *discoveryv3.DiscoveryRequest) bool {
	cfg := c.server.cfg
	call(cfg.Upstream.Request)
	if !c.described {
		in.Node = describe(cfg.Node, in.GetNode())
		c.described = true
	}
	if d := in.GetErrorDetail(); d != nil {
		cfg.Log.Warn("configuration rejected by grpc", "type", in.GetTypeUrl(), "error", d.GetMessage())
		if cfg.Downstream.Nack != nil {
			cfg.Downstream.Nack(in.GetTypeUrl())
		}
	}
	return c.wants.ask(in.GetTypeUrl(), in.GetResourceNames())
}

// response notes what came.
func (c *connection) response(in *discoveryv3.DiscoveryResponse) {
	c.established = true
	call(c.server.cfg.Upstream.Response)
	if missing := c.wants.answer(in); len(missing) > 0 {
		slices.Sort(missing)
		c.server.cfg.Log.Warn("the control plane's answer lacks resources that grpc asks for", "type", in.GetTypeUrl(), "names", missing)
	}
}

// describe is the pod's node with what the client says of its program.
func describe(node, client *corev3.Node) *corev3.Node {
	out := proto.CloneOf(node)
	out.UserAgentName, out.UserAgentVersionType = client.GetUserAgentName(), client.GetUserAgentVersionType()
	out.ClientFeatures = client.GetClientFeatures()
	return out
}

func call(fn func()) {
	if fn != nil {
		fn()
	}
}
