// Package upstream keeps one delta ADS stream to the control plane.
//
// It hands every response to a Sink as encoded resources and sends what the Sink wants
// sent. A lost stream is opened again with jittered backoff, for as long as it takes; the
// Sink says on each new stream what it already holds. It decides nothing and keeps nothing.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/sync/errgroup"
	statusv1 "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicemesh/sluice/agent/backoff"
	"github.com/sluicemesh/sluice/agent/relay/store"
)

// Sink takes what the control plane sends and says what it is to be told.
type Sink interface {
	// Connect begins a new stream and returns its first requests.
	Connect() []store.Request
	// Apply takes one response.
	Apply(store.Push)
	// Requests takes the requests that have gathered.
	Requests() []store.Request
	// Wake delivers after something may have gathered.
	Wake() <-chan struct{}
}

// Counts are told what happens to the stream. Any may be nil.
type Counts struct {
	Failure     func()            // a connection could not be made
	Termination func(kind string) // an established stream ended: "cancelled" or "error"
	Request     func()
	Response    func()
}

// Config says how to reach the control plane.
type Config struct {
	// Dial makes a connection to the control plane. It is called for each stream, so that
	// rotated roots and moved addresses are picked up; Run closes the connection.
	Dial func() (*grpc.ClientConn, error)
	// Node describes the proxy; sent with the first request of a stream.
	Node   *corev3.Node
	Counts Counts
	Log    *slog.Logger
	// Backoff spaces the attempts; nil is 100 ms doubling to 15 s.
	Backoff *backoff.Backoff
}

// Run keeps a stream open until ctx is done and returns nil then. It never gives up.
func Run(ctx context.Context, cfg Config, sink Sink) error {
	wait := cfg.Backoff
	if wait == nil {
		wait = &backoff.Backoff{Min: 100 * time.Millisecond, Max: 15 * time.Second}
	}
	for {
		established, err := stream(ctx, cfg, sink)
		if ctx.Err() != nil {
			return nil
		}
		cfg.report(ctx, established, err)
		if established {
			wait.Reset()
		}
		if !wait.Sleep(ctx) {
			return nil
		}
	}
}

// report counts and logs why a stream ended.
func (cfg Config) report(ctx context.Context, established bool, err error) {
	if !established {
		call(cfg.Counts.Failure)
		cfg.Log.Warn("control plane not reached, retrying", "error", err)
		return
	}
	kind, level := "error", slog.LevelWarn
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		kind, level = "cancelled", slog.LevelInfo
	}
	if errors.Is(err, io.EOF) {
		kind, level = "cancelled", slog.LevelInfo
	}
	if cfg.Counts.Termination != nil {
		cfg.Counts.Termination(kind)
	}
	cfg.Log.Log(ctx, level, "control plane stream ended, reconnecting", "error", err)
}

// stream runs one stream to its end. established says that the control plane answered.
func stream(ctx context.Context, cfg Config, sink Sink) (established bool, err error) {
	conn, err := cfg.Dial()
	if err != nil {
		return false, fmt.Errorf("dial control plane: %w", err)
	}
	defer conn.Close()
	g, ctx := errgroup.WithContext(ctx)
	ads, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, fmt.Errorf("open delta stream: %w", err)
	}
	g.Go(func() error {
		for {
			in, err := ads.Recv()
			if err != nil {
				return err
			}
			established = true
			call(cfg.Counts.Response)
			sink.Apply(push(in))
		}
	})
	g.Go(func() error { return send(ctx, cfg, ads, sink) })
	err = g.Wait()
	return established, err
}

// send writes the first requests and then whatever gathers, until ctx is done.
func send(ctx context.Context, cfg Config, ads grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse], sink Sink) error {
	node := cfg.Node
	pending := sink.Connect()
	for {
		for _, r := range pending {
			out := request(r)
			out.Node, node = node, nil
			call(cfg.Counts.Request)
			if err := ads.Send(out); err != nil {
				return nil // Recv has the reason
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sink.Wake():
			pending = sink.Requests()
		}
	}
}

// push takes the encoded bodies out of a response.
func push(in *discoveryv3.DeltaDiscoveryResponse) store.Push {
	out := store.Push{Type: in.GetTypeUrl(), Nonce: in.GetNonce(), Removed: in.GetRemovedResources()}
	out.Resources = make([]*store.Resource, 0, len(in.GetResources()))
	for _, r := range in.GetResources() {
		out.Resources = append(out.Resources, &store.Resource{Name: r.GetName(), Version: r.GetVersion(), Body: r.GetResource().GetValue()})
	}
	return out
}

func request(r store.Request) *discoveryv3.DeltaDiscoveryRequest {
	out := &discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: r.Type, ResponseNonce: r.Nonce, InitialResourceVersions: r.Initial,
		ResourceNamesSubscribe: r.Subscribe, ResourceNamesUnsubscribe: r.Unsubscribe,
	}
	if r.Error != "" {
		out.ErrorDetail = &statusv1.Status{Code: int32(codes.InvalidArgument), Message: r.Error}
	}
	return out
}

func call(fn func()) {
	if fn != nil {
		fn()
	}
}
