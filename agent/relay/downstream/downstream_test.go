package downstream_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sluicemesh/sluice/agent/relay/downstream"
	"github.com/sluicemesh/sluice/agent/relay/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source answers every message with one response of its type.
type source struct {
	mu    sync.Mutex
	queue []*store.Response
	gone  chan struct{} // a value for each ended stream
	ready chan struct{}
}

func (s *source) Handle(_ downstream.Answer, sub store.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, &store.Response{Type: sub.Type, Nonce: "1", Resources: []store.Resource{{Name: "a", Version: "v", Body: []byte{10, 1, 'a'}}}, Removed: []string{"b"}})
}

func (s *source) Next() *store.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	r := s.queue[0]
	s.queue = s.queue[1:]
	return r
}

func (s *source) Ready() <-chan struct{} { return s.ready }
func (s *source) Relax()                 {}
func (s *source) Disconnect()            { s.gone <- struct{}{} }

func serve(t *testing.T) (*source, discoveryv3.AggregatedDiscoveryServiceClient) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	src := &source{gone: make(chan struct{}, 10), ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- downstream.Run(ctx, lis, src, downstream.Options{Log: slog.New(slog.DiscardHandler)})
	}()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return src, discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
}

func TestStateOfTheWorldIsRefused(t *testing.T) {
	_, client := serve(t)
	stream, err := client.StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

func TestNewStreamEndsTheOldOne(t *testing.T) {
	src, client := serve(t)
	open := func() grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse] {
		stream, err := client.DeltaAggregatedResources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: store.Cluster}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r := got.GetResources()[0]; r.GetName() != "a" || r.GetVersion() != "v" || r.GetResource().GetTypeUrl() != store.Cluster || got.GetRemovedResources()[0] != "b" {
			t.Errorf("got %v", got)
		}
		return stream
	}
	old := open()
	open()
	<-src.gone
	if _, err := old.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("old stream: %v", err)
	}
}
