package sds_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/agent/cert"
	"github.com/sluicemesh/sluice/agent/sds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source struct {
	mu      sync.Mutex
	c       *cert.Certificate
	changed chan struct{}
}

func (s *source) Current() (*cert.Certificate, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c, s.changed
}

func (s *source) set(c *cert.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c = c
	close(s.changed)
	s.changed = make(chan struct{})
}

func serve(t *testing.T) (*source, secretv3.SecretDiscoveryServiceClient) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	src := &source{changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sds.Run(ctx, lis, src, slog.New(slog.DiscardHandler)) }()
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
	return src, secretv3.NewSecretDiscoveryServiceClient(conn)
}

func decode(t *testing.T, a *anypb.Any) *tlsv3.Secret {
	t.Helper()
	var s tlsv3.Secret
	if err := a.UnmarshalTo(&s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func certificate(n string) *cert.Certificate {
	return &cert.Certificate{Chain: []byte("chain" + n), Key: []byte("key" + n), Roots: []byte("roots")}
}

func TestStreamSecretsWaitsAndPushes(t *testing.T) {
	src, client := serve(t)
	stream, err := client.StreamSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{"default"}}); err != nil {
		t.Fatal(err)
	}
	src.set(certificate("1"))
	for _, want := range []string{"1", "2"} {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		s := decode(t, resp.GetResources()[0])
		if s.GetName() != "default" || string(s.GetTlsCertificate().GetCertificateChain().GetInlineBytes()) != "chain"+want ||
			string(s.GetTlsCertificate().GetPrivateKey().GetInlineBytes()) != "key"+want {
			t.Errorf("got %v", s)
		}
		if err := stream.Send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{"default"}, ResponseNonce: resp.GetNonce(), VersionInfo: resp.GetVersionInfo()}); err != nil {
			t.Fatal(err)
		}
		src.set(certificate("2"))
	}
}

func TestDeltaSecretsSendsRootsFirstAndOnlyChanges(t *testing.T) {
	src, client := serve(t)
	src.set(certificate("1"))
	stream, err := client.DeltaSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{"default", "ROOTCA"}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"ROOTCA", "default"}, {"default"}} { // the roots do not change
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range resp.GetResources() {
			names = append(names, r.GetName())
		}
		if len(names) != len(want) || names[0] != want[0] {
			t.Errorf("got %v, want %v", names, want)
		}
		src.set(certificate("2"))
	}
}

func TestUnknownSecretIsRefused(t *testing.T) {
	_, client := serve(t)
	stream, err := client.StreamSecrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DiscoveryRequest{ResourceNames: []string{"kubernetes://x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}
