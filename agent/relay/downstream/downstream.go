// Package downstream serves delta ADS to Envoy.
//
// It passes every message of Envoy to a Source and sends what the Source offers. One
// stream is live at a time: a new one ends the one before, which belongs to an Envoy that
// is gone. State-of-the-world ADS is refused. It decides nothing and keeps nothing.
package downstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/agent/stream"
)

// Answer is Envoy's word on an earlier response. Nonce is empty when the message is none.
type Answer struct {
	Nonce string
	Error string // empty: accepted
}

// Source takes Envoy's messages and says what Envoy gets.
type Source interface {
	Handle(Answer, store.Subscription)
	// Next takes the next response, nil if there is none for now.
	Next() *store.Response
	// Ready delivers after there may be one.
	Ready() <-chan struct{}
	// Relax stops waiting for answers to what was sent.
	Relax()
	// Disconnect forgets the stream.
	Disconnect()
}

// Counts are told what happens. Any may be nil.
type Counts struct {
	Termination func(kind string) // "cancelled" or "error"
	Nack        func(typeURL string)
}

// Options are what Run needs beside the listener and the source.
type Options struct {
	Counts Counts
	Log    *slog.Logger
}

// Run serves on lis until ctx is done and then returns nil; streams are cut, not drained.
func Run(ctx context.Context, lis net.Listener, src Source, opt Options) error {
	srv := grpc.NewServer(
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(1<<20), // one window holds one response
	)
	s := &server{src: src, opt: opt}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(srv, s)
	return stream.Serve(ctx, srv, lis, &s.readers)
}

type server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	src Source
	opt Options

	mu     sync.Mutex
	cancel context.CancelCauseFunc // ends the live stream

	live    sync.Mutex // held by the live stream
	readers stream.Readers
}

// StreamAggregatedResources refuses: the agent holds single resources, not states.
func (s *server) StreamAggregatedResources(grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	return status.Error(codes.Unimplemented, "this agent serves delta ADS only: set api_type DELTA_GRPC in ads_config")
}

// DeltaAggregatedResources is one connection of Envoy: it ends when Envoy goes away, when
// a newer connection comes, or when the agent stops.
func (s *server) DeltaAggregatedResources(ads adsStream) error {
	ctx, cancel := context.WithCancelCause(ads.Context())
	defer cancel(nil)
	s.takeOver(cancel)
	s.live.Lock()
	defer s.live.Unlock()
	defer s.src.Disconnect()

	in := stream.Receive(ctx, &s.readers, ads.Recv, cancel)
	err := s.loop(ctx, ads, in)
	s.ended(err)
	return status.Error(codes.Unavailable, err.Error())
}

type adsStream = grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

var errNewer = errors.New("a newer stream took over")

// takeOver ends the live stream and makes cancel the end of the new one.
func (s *server) takeOver(cancel context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(errNewer)
	}
	s.cancel = cancel
}

// patience is how long Envoy may take for an answer before later responses stop waiting
// for it. It answers in milliseconds, unless a cluster waits for DNS or for a secret.
const patience = 3 * time.Second

// loop passes messages both ways until the stream's end and returns why it ended.
func (s *server) loop(ctx context.Context, ads adsStream, in <-chan *discoveryv3.DeltaDiscoveryRequest) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case msg := <-in:
			s.handle(msg)
		case <-late.C:
			s.src.Relax()
		case <-s.src.Ready():
		}
		for r := s.src.Next(); r != nil; r = s.src.Next() {
			late.Reset(patience)
			if err := ads.Send(response(r)); err != nil {
				return fmt.Errorf("send %s: %w", r.Type, err)
			}
		}
	}
}

// handle passes one message of Envoy on.
func (s *server) handle(msg *discoveryv3.DeltaDiscoveryRequest) {
	answer := Answer{Nonce: msg.GetResponseNonce()}
	if d := msg.GetErrorDetail(); d != nil {
		answer.Error = reason(d.GetMessage())
		if answer.Error == "" {
			answer.Error = "rejected without a reason"
		}
		s.opt.Log.Warn("configuration rejected by envoy", "type", msg.GetTypeUrl(), "error", answer.Error)
		if s.opt.Counts.Nack != nil {
			s.opt.Counts.Nack(msg.GetTypeUrl())
		}
	}
	s.src.Handle(answer, store.Subscription{
		Type: msg.GetTypeUrl(), Subscribe: msg.GetResourceNamesSubscribe(),
		Unsubscribe: msg.GetResourceNamesUnsubscribe(), Initial: msg.GetInitialResourceVersions(),
	})
}

// reason takes out of a rejection's message the text form of whole resources, which Envoy
// puts before what is wrong with them and which carries the mark of protobuf's debug format.
// Envoy cuts off long messages: of a large resource it then says nothing but its text form.
func reason(message string) string {
	for {
		before, dump, found := strings.Cut(message, "goo.gle/debug")
		if !found {
			return message
		}
		_, after, whole := strings.Cut(dump, "\n: ")
		if !whole {
			return before + "a field has a value that is not allowed (Envoy's message ends before it says which; its log may)"
		}
		message = before + after
	}
}

// ended counts and logs the end of a stream.
func (s *server) ended(err error) {
	kind := "error"
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, errNewer) || status.Code(err) == codes.Canceled {
		kind = "cancelled"
	}
	if s.opt.Counts.Termination != nil {
		s.opt.Counts.Termination(kind)
	}
	s.opt.Log.Info("envoy's stream ended", "error", err)
}

func response(r *store.Response) *discoveryv3.DeltaDiscoveryResponse {
	out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: r.Type, Nonce: r.Nonce, RemovedResources: r.Removed}
	out.Resources = make([]*discoveryv3.Resource, len(r.Resources))
	for i, res := range r.Resources {
		out.Resources[i] = &discoveryv3.Resource{
			Name: res.Name, Version: res.Version,
			Resource: &anypb.Any{TypeUrl: r.Type, Value: res.Body},
		}
	}
	return out
}
