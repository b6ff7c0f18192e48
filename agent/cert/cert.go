// Package cert obtains and renews the workload's certificate.
//
// A fresh ECDSA P-256 key is made for each certificate and never leaves the process but
// to Envoy. The certificate authority is behind the Signer interface. The current one is
// kept until its successor is there, so an Envoy that restarts meanwhile still has an
// identity. Who wants the current one, and to know of the next, uses Source.
package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/sluicemesh/sluice/agent/backoff"
)

// Certificate is a workload certificate, PEM encoded. It is never modified.
type Certificate struct {
	Chain []byte // leaf first, then intermediates
	Key   []byte // PKCS #8; must not be logged
	Roots []byte // the mesh's trust bundle

	NotBefore, NotAfter time.Time
}

// String leaves the key out.
func (c *Certificate) String() string {
	return "certificate valid until " + c.NotAfter.UTC().Format(time.RFC3339) + ", key [redacted]"
}

// Signer is the certificate authority: it returns PEM blocks, leaf first and the root
// bundle last, for an encoded request.
type Signer interface {
	Sign(ctx context.Context, csrPEM []byte) ([]string, error)
}

// Config says what is asked for and when it is renewed.
type Config struct {
	Identity   string  // SPIFFE ID
	GraceRatio float64 // part of the lifetime that is left at renewal
	Jitter     float64 // GraceRatio varies by up to this much to either side
	Signer     Signer
	Log        *slog.Logger
	// Issued is told of every new certificate; nil: nobody.
	Issued func(*Certificate)
}

// Source holds the current certificate and wakes those who wait for the next. It is safe
// for concurrent use. The zero value is empty.
type Source struct {
	mu      sync.Mutex
	current *Certificate
	changed chan struct{}
}

// Current returns the certificate, nil before the first, and a channel that is closed
// when there is another.
func (s *Source) Current() (*Certificate, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.current, s.changed
}

// set makes c the current certificate.
func (s *Source) set(c *Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = c
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

// Run keeps a valid certificate in src until ctx is done and returns nil then. Failures
// are retried for ever: 0.5 s to 60 s apart for the first certificate, and up to a
// twentieth of the lifetime apart while an old one is there.
func Run(ctx context.Context, cfg Config, src *Source) error {
	wait := &backoff.Backoff{Min: 500 * time.Millisecond, Max: time.Minute}
	for {
		c, err := issue(ctx, cfg)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			cfg.Log.Warn("certificate not issued, retrying", "identity", cfg.Identity, "error", err)
			if !wait.Sleep(ctx) {
				return nil
			}
			continue
		}
		src.set(c)
		if cfg.Issued != nil {
			cfg.Issued(c)
		}
		life := c.NotAfter.Sub(c.NotBefore)
		wait = &backoff.Backoff{Min: min(time.Minute, life/20), Max: max(life/20, time.Second)}
		delay := RenewIn(c, time.Now(), cfg.GraceRatio+cfg.Jitter*(2*mathrand.Float64()-1))
		cfg.Log.Info("certificate issued", "identity", cfg.Identity, "until", c.NotAfter, "renewal", delay.Round(time.Second))
		if !sleep(ctx, delay) {
			return nil
		}
	}
}

// RenewIn is how long after now c is to be renewed so that grace, a part of its lifetime,
// is left; never negative, and at least a second so that a certificate that comes too
// short does not make a loop.
func RenewIn(c *Certificate, now time.Time, grace float64) time.Duration {
	life := c.NotAfter.Sub(c.NotBefore)
	due := c.NotAfter.Add(-time.Duration(grace * float64(life)))
	return max(due.Sub(now), time.Second)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// issue makes a key, asks for its certificate and checks the answer.
func issue(ctx context.Context, cfg Config) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	csr, err := request(key, cfg.Identity)
	if err != nil {
		return nil, err
	}
	chain, err := cfg.Signer.Sign(ctx, csr)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return assemble(key, chain)
}

// request encodes a signing request for identity.
func request(key *ecdsa.PrivateKey, identity string) ([]byte, error) {
	uri, err := url.Parse(identity)
	if err != nil {
		return nil, fmt.Errorf("identity %q: %w", identity, err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{uri}}, key)
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// assemble checks that the chain belongs to key and is anchored in the roots it came with.
func assemble(key *ecdsa.PrivateKey, chain []string) (*Certificate, error) {
	if len(chain) < 2 {
		return nil, fmt.Errorf("certificate authority answered %d certificates, want a leaf and a root", len(chain))
	}
	block, _ := pem.Decode([]byte(chain[0]))
	if block == nil {
		return nil, errors.New("leaf is not PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse leaf: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("leaf is for another key")
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(chain[len(chain)-1])) {
		return nil, errors.New("root bundle holds no certificate")
	}
	out := &Certificate{NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Roots: withNewline(chain[len(chain)-1])}
	for _, text := range chain[:len(chain)-1] {
		out.Chain = append(out.Chain, withNewline(text)...)
		middle.AppendCertsFromPEM([]byte(text))
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: leaf.NotBefore.Add(time.Second)}); err != nil {
		return nil, fmt.Errorf("leaf does not chain to the root it came with: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	out.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return out, nil
}

func withNewline(text string) []byte {
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text += "\n"
	}
	return []byte(text)
}
