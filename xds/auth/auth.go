// Package auth proves who is at the other end of a stream.
//
// A caller shows either a certificate that the mesh's CA issued or a bearer token that the
// cluster's API server vouches for (TokenReview). Everything else is refused: the package
// fails closed. Verdicts on tokens are kept for a short time so that a reconnect storm does
// not become a storm on the API server.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	authv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/identity"
)

// verdictLifetime is how long an accepted token is trusted without asking again: short
// enough that a revoked token is refused within a minute.
const verdictLifetime = time.Minute

// TokenReviewer asks the API server about a token; client-go's TokenReviews() is one.
type TokenReviewer interface {
	Create(ctx context.Context, review *authv1.TokenReview, opts metav1.CreateOptions) (*authv1.TokenReview, error)
}

// Authenticator proves identities. It is safe for concurrent use.
type Authenticator struct {
	reviewer    TokenReviewer
	trustDomain string
	now         func() time.Time

	mu       sync.Mutex
	verdicts map[[sha256.Size]byte]verdict // by hash: tokens themselves are not kept
}

type verdict struct {
	id      identity.Identity
	expires time.Time
}

// New returns an Authenticator of identities in trustDomain. now is the clock.
func New(reviewer TokenReviewer, trustDomain string, now func() time.Time) *Authenticator {
	return &Authenticator{reviewer: reviewer, trustDomain: trustDomain, now: now, verdicts: map[[sha256.Size]byte]verdict{}}
}

// Authenticate returns the identity of the caller of the gRPC method whose context this
// is. The error has the code Unauthenticated and says what each kind of proof lacked.
func (a *Authenticator) Authenticate(ctx context.Context) (identity.Identity, error) {
	id, certErr := fromCertificate(ctx)
	if certErr == nil {
		return id, nil
	}
	id, tokenErr := a.fromToken(ctx)
	if tokenErr == nil {
		return id, nil
	}
	return identity.Identity{}, status.Errorf(codes.Unauthenticated, "no proof of identity: client certificate: %v; token: %v", certErr, tokenErr)
}

// fromCertificate reads the identity from the verified client certificate of the
// connection. TLS has already checked the chain.
func fromCertificate(ctx context.Context) (identity.Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity.Identity{}, errors.New("no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return identity.Identity{}, errors.New("none shown")
	}
	return fromSANs(info.State.VerifiedChains[0][0])
}

func fromSANs(leaf *x509.Certificate) (identity.Identity, error) {
	if len(leaf.URIs) != 1 {
		return identity.Identity{}, fmt.Errorf("has %d URI names, want one", len(leaf.URIs))
	}
	return identity.Parse(leaf.URIs[0].String())
}

func (a *Authenticator) fromToken(ctx context.Context) (identity.Identity, error) {
	token, err := bearerToken(ctx)
	if err != nil {
		return identity.Identity{}, err
	}
	key := sha256.Sum256([]byte(token))
	if id, ok := a.cached(key); ok {
		return id, nil
	}
	review := &authv1.TokenReview{Spec: authv1.TokenReviewSpec{Token: token, Audiences: []string{identity.TokenAudience}}}
	answer, err := a.reviewer.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return identity.Identity{}, fmt.Errorf("review token: %w", err)
	}
	id, err := judge(answer.Status, a.trustDomain)
	if err != nil {
		return identity.Identity{}, err
	}
	a.remember(key, id)
	return id, nil
}

// judge reads the API server's answer.
func judge(s authv1.TokenReviewStatus, trustDomain string) (identity.Identity, error) {
	if s.Error != "" {
		return identity.Identity{}, fmt.Errorf("refused: %s", s.Error)
	}
	if !s.Authenticated {
		return identity.Identity{}, errors.New("not authenticated")
	}
	for _, audience := range s.Audiences {
		if audience == identity.TokenAudience {
			return identity.FromServiceAccountUser(trustDomain, s.User.Username)
		}
	}
	return identity.Identity{}, fmt.Errorf("audiences %q, want %q", s.Audiences, identity.TokenAudience)
}

func (a *Authenticator) cached(key [sha256.Size]byte) (identity.Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.verdicts[key]
	return v.id, ok && a.now().Before(v.expires)
}

// remember keeps a verdict and drops the expired ones.
func (a *Authenticator) remember(key [sha256.Size]byte, id identity.Identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for k, v := range a.verdicts {
		if !now.Before(v.expires) {
			delete(a.verdicts, k)
		}
	}
	a.verdicts[key] = verdict{id: id, expires: now.Add(verdictLifetime)}
}

func bearerToken(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, value := range md.Get("authorization") {
		if token, ok := strings.CutPrefix(value, "Bearer "); ok && token != "" {
			return token, nil
		}
	}
	return "", errors.New("none shown")
}
