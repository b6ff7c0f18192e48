package cert

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	securityv1alpha1 "istio.io/api/security/v1alpha1"

	"github.com/sluicemesh/sluice/agent/backoff"
)

// attempts is how often one request is sent before its failure is reported.
const attempts = 5

// Authority is a Signer over IstioCertificateService.
type Authority struct {
	// Dial makes a connection to the authority; a new one for each request, so that rotated
	// roots and moved addresses are picked up. The token comes with its credentials.
	Dial func() (*grpc.ClientConn, error)
	TTL  time.Duration // lifetime that is asked for
	Name string        // CertSigner, for an authority with several; may be empty
	// Called is told of every call and whether it failed; nil: nobody.
	Called func(failed bool)
}

// Sign asks for a certificate, and again after 100 ms and more when the failure may pass.
func (a *Authority) Sign(ctx context.Context, csrPEM []byte) ([]string, error) {
	conn, err := a.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	req := &securityv1alpha1.IstioCertificateRequest{Csr: string(csrPEM), ValidityDuration: int64(a.TTL / time.Second)}
	if a.Name != "" {
		req.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"CertSigner": structpb.NewStringValue(a.Name)}}
	}
	client := securityv1alpha1.NewIstioCertificateServiceClient(conn)
	wait := &backoff.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second}
	for n := 1; ; n++ {
		callCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
		resp, err := client.CreateCertificate(callCtx, req)
		cancel()
		if a.Called != nil {
			a.Called(err != nil)
		}
		if err == nil {
			return resp.GetCertChain(), nil
		}
		if n == attempts || !passes(err) || !wait.Sleep(ctx) {
			return nil, fmt.Errorf("create certificate, attempt %d: %w", n, err)
		}
	}
}

// passes reports whether the same request may succeed later.
func passes(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal, codes.Unavailable:
		return true
	}
	return false
}
