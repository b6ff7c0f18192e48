package ca

import (
	"crypto/tls"
	"sync"
	"time"
)

// Serving is the control plane's own certificate for its gRPC address. It is signed when
// it is first asked for and again at half of its life, so it needs no goroutine.
type Serving struct {
	authority *Authority
	names     []string

	mu   sync.Mutex
	cert *tls.Certificate
}

// NewServing returns a Serving for DNS names, at least one.
func NewServing(authority *Authority, names []string) *Serving {
	return &Serving{authority: authority, names: names}
}

// TLS returns the configuration of the server: TLS 1.2 or later, a client certificate is
// verified against the mesh's root if one is shown.
func (s *Serving) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: s.get,
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      s.authority.Pool(),
	}
}

func (s *Serving) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert != nil && s.authority.now().Before(renewAt(s.cert)) {
		return s.cert, nil
	}
	cert, err := s.authority.ServingCertificate(hello.Context(), s.names)
	if err != nil {
		return nil, err
	}
	s.cert = &cert
	return s.cert, nil
}

// renewAt is half of the certificate's life.
func renewAt(cert *tls.Certificate) time.Time {
	life := cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)
	return cert.Leaf.NotBefore.Add(life / 2)
}
