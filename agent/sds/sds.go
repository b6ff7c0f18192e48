// Package sds serves the workload's certificate and the mesh's roots to its own Envoy over
// SDS, state of the world and delta, and pushes both when there are new ones.
//
// It answers for the two names of internal/identity only and waits with an answer until
// there is a certificate. Access is guarded by the permissions of the Unix socket.
package sds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/agent/cert"
	"github.com/sluicemesh/sluice/agent/stream"
	"github.com/sluicemesh/sluice/internal/identity"
)

const secretType = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

// Source holds the certificate: cert.Source.
type Source interface {
	Current() (*cert.Certificate, <-chan struct{})
}

// Run serves on lis until ctx is done and then returns nil.
func Run(ctx context.Context, lis net.Listener, src Source, log *slog.Logger) error {
	srv := grpc.NewServer()
	s := &server{src: src, log: log}
	secretv3.RegisterSecretDiscoveryServiceServer(srv, s)
	return stream.Serve(ctx, srv, lis, &s.readers)
}

type server struct {
	secretv3.UnimplementedSecretDiscoveryServiceServer
	src     Source
	log     *slog.Logger
	readers stream.Readers
}

// secret is one encoded secret.
type secret struct {
	name, version string
	body          *anypb.Any
}

// secrets encodes the named secrets, the roots first so that Envoy knows a new root
// before it uses a leaf of it.
func secrets(c *cert.Certificate, names map[string]bool) ([]secret, error) {
	var out []secret
	for _, name := range []string{identity.RootSecret, identity.WorkloadSecret} {
		if !names[name] {
			continue
		}
		m := &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(c.Roots)},
		}}
		sum := sha256.New()
		sum.Write(c.Roots)
		if name == identity.WorkloadSecret {
			m.Type = &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
				CertificateChain: inline(c.Chain), PrivateKey: inline(c.Key),
			}}
			sum.Write(c.Chain)
		}
		body, err := anypb.New(m)
		if err != nil {
			return nil, fmt.Errorf("encode secret %s: %w", name, err)
		}
		out = append(out, secret{name, hex.EncodeToString(sum.Sum(nil)[:8]), body})
	}
	return out, nil
}

func inline(data []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: data}}
}

// check refuses names that the agent has no secret for.
func check(names []string) error {
	for _, name := range names {
		if name != identity.WorkloadSecret && name != identity.RootSecret {
			return status.Errorf(codes.InvalidArgument, "no secret %q: the agent has %s and %s", name, identity.WorkloadSecret, identity.RootSecret)
		}
	}
	return nil
}

// StreamSecrets is state-of-the-world SDS.
func (s *server) StreamSecrets(sds grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	ctx, cancel := context.WithCancelCause(sds.Context())
	defer cancel(nil)
	in := stream.Receive(ctx, &s.readers, sds.Recv, cancel)
	names, sent, nonce := map[string]bool{}, "", 0
	for {
		c, changed := s.src.Current()
		if c != nil && len(names) > 0 {
			all, err := secrets(c, names)
			if err != nil {
				return status.Error(codes.Internal, err.Error())
			}
			out := &discoveryv3.DiscoveryResponse{TypeUrl: secretType}
			for _, x := range all {
				out.VersionInfo += x.version
				out.Resources = append(out.Resources, x.body)
			}
			if out.VersionInfo != sent {
				nonce++
				out.Nonce = strconv.Itoa(nonce)
				if err := sds.Send(out); err != nil {
					return err
				}
				sent = out.VersionInfo
			}
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-changed:
		case msg := <-in:
			s.rejected(msg.GetErrorDetail().GetMessage())
			if err := check(msg.GetResourceNames()); err != nil {
				return err
			}
			names = setOf(msg.GetResourceNames())
		}
	}
}

// DeltaSecrets is delta SDS.
func (s *server) DeltaSecrets(sds grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	ctx, cancel := context.WithCancelCause(sds.Context())
	defer cancel(nil)
	in := stream.Receive(ctx, &s.readers, sds.Recv, cancel)
	names, held, nonce := map[string]bool{}, map[string]string{}, 0
	for {
		c, changed := s.src.Current()
		if c != nil && len(names) > 0 {
			all, err := secrets(c, names)
			if err != nil {
				return status.Error(codes.Internal, err.Error())
			}
			out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: secretType}
			for _, x := range all {
				if held[x.name] != x.version {
					held[x.name] = x.version
					out.Resources = append(out.Resources, &discoveryv3.Resource{Name: x.name, Version: x.version, Resource: x.body})
				}
			}
			if len(out.Resources) > 0 {
				nonce++
				out.Nonce = strconv.Itoa(nonce)
				if err := sds.Send(out); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-changed:
		case msg := <-in:
			s.rejected(msg.GetErrorDetail().GetMessage())
			if err := check(msg.GetResourceNamesSubscribe()); err != nil {
				return err
			}
			for name, version := range msg.GetInitialResourceVersions() {
				held[name] = version
			}
			subscribe(names, held, msg)
		}
	}
}

// subscribe applies a delta request; a name asked for again is sent again.
func subscribe(names map[string]bool, held map[string]string, msg *discoveryv3.DeltaDiscoveryRequest) {
	for _, name := range msg.GetResourceNamesSubscribe() {
		if names[name] {
			delete(held, name)
		}
		names[name] = true
	}
	for _, name := range msg.GetResourceNamesUnsubscribe() {
		delete(names, name)
		delete(held, name)
	}
}

// rejected reports that Envoy could not use a secret; it keeps the one it has.
func (s *server) rejected(message string) {
	if message != "" {
		s.log.Error("certificate rejected by envoy", "error", message)
	}
}

// ended is the end of a stream that Envoy, or the agent's end, brought about.
func ended(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

func setOf(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
		out[n] = true
	}
	return out
}
