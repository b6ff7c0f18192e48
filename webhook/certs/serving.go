// Package certs keeps the webhook trusted by the API server: the certificate that its
// listener serves, and the roots in the webhook configurations that call it.
//
// Certificates and roots come from an Authority; the certificate goes to the TLS listener
// from memory, the roots to the caBundle fields of the API server and to nothing else
// there. It signs nothing and stores nothing.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Authority signs serving certificates and knows the roots that clients trust.
type Authority interface {
	// ServingCertificate returns a new certificate and key for the names.
	ServingCertificate(ctx context.Context, dnsNames []string) (tls.Certificate, error)
	// Roots returns the trust bundle as PEM; empty while there is none yet.
	Roots() []byte
	// RootsChanged returns a channel that is closed at the next change of Roots.
	RootsChanged() <-chan struct{}
}

// Delays between attempts to get a certificate, doubling from the first to the last.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Minute
)

// minRenewal keeps a certificate whose half-life has passed already from being asked for
// in a loop.
const minRenewal = time.Second

// adoption is how long a renewed certificate waits before it is served, so that a root that
// came with it has reached every API server. The former one is served meanwhile: Bundle
// keeps its root for longer.
const adoption = 30 * time.Second

// Serving holds the certificate of the webhook's listener and renews it at half of its
// life, or at once when the roots change such that it is not signed by one of them.
type Serving struct {
	authority Authority
	names     []string
	log       *slog.Logger
	current   atomic.Pointer[tls.Certificate]
	adoption  time.Duration    // the constant, but for tests
	next      *tls.Certificate // renewed, not served yet; Start's own
	adopt     time.Time        // when next is to be served
}

// NewServing returns a source of certificates for the DNS names, at least one.
func NewServing(authority Authority, names []string, log *slog.Logger) *Serving {
	return &Serving{authority: authority, names: names, log: log, adoption: adoption}
}

// GetCertificate is the hook of tls.Config: the current certificate, from memory. It is an
// error while there is none yet; the handshake fails then.
func (s *Serving) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := s.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("the webhook has no serving certificate yet")
}

// NeedLeaderElection says that every replica serves, leader or not.
func (s *Serving) NeedLeaderElection() bool { return false }

// Start keeps the certificate fresh until ctx ends. A failure is logged and tried again;
// the certificate at hand is served meanwhile.
func (s *Serving) Start(ctx context.Context) error {
	retry := firstRetry
	for {
		changed := s.authority.RootsChanged()
		wait := s.untilRenewal()
		if wait <= 0 {
			err := s.renew(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				s.log.Error("get serving certificate", "error", err, "retry", retry)
				wait, retry = retry, min(2*retry, lastRetry)
			} else {
				wait, retry = max(s.untilRenewal(), minRenewal), firstRetry
			}
		}
		if s.next != nil {
			wait = min(wait, time.Until(s.adopt))
		}
		if !sleep(ctx, wait, changed) {
			return nil
		}
		if s.next != nil && time.Until(s.adopt) <= 0 {
			s.serve(s.next)
		}
	}
}

// serve answers handshakes with c from now on.
func (s *Serving) serve(c *tls.Certificate) {
	s.current.Store(c)
	s.next = nil
	s.log.Info("serving certificate renewed", "names", s.names, "expires", c.Leaf.NotAfter)
}

// sleep waits for the duration or the channel; it is false when ctx ended.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// renew gets a certificate, to be served at once when there is none that will do meanwhile.
func (s *Serving) renew(ctx context.Context) error {
	c, err := s.authority.ServingCertificate(ctx, s.names)
	if err != nil {
		return err
	}
	if len(c.Certificate) == 0 {
		return errors.New("the authority returned no certificate")
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return fmt.Errorf("parse serving certificate: %w", err)
		}
	}
	at := time.Now().Add(s.adoption)
	if former := s.current.Load(); former == nil || former.Leaf.NotAfter.Before(at) {
		s.serve(&c)
	} else {
		s.next, s.adopt = &c, at
	}
	return nil
}

// untilRenewal is the time until the certificate's half-life; zero or less when a new one
// is wanted now.
func (s *Serving) untilRenewal() time.Duration {
	c := s.next
	if c == nil {
		c = s.current.Load()
	}
	if c == nil || !s.trusted(c) {
		return 0
	}
	half := c.Leaf.NotBefore.Add(c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) / 2)
	return time.Until(half)
}

// trusted reports whether a client with the authority's roots accepts the certificate.
func (s *Serving) trusted(c *tls.Certificate) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.authority.Roots()) {
		return true // no roots known: a new certificate would be no better
	}
	for _, der := range c.Certificate[1:] {
		if parent, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(parent)
		}
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: time.Now()})
	return err == nil
}
