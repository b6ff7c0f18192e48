// Package ca is the mesh's certificate authority.
//
// It keeps a self-signed root in a Secret that every replica shares, signs the keys of
// workloads for the identity that their caller proved (never for the one a request asks
// for), signs the control plane's own serving certificate, and spreads the root into every
// namespace. A key never leaves the program that made it, except the root's, which lives
// in the Secret.
package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/sluicemesh/sluice/internal/identity"
)

const (
	// clockSkew is how far in the past a certificate starts to be valid.
	clockSkew = 2 * time.Minute
	// DefaultTTL is the lifetime of a leaf when the request names none.
	DefaultTTL = 24 * time.Hour
	// MaxTTL bounds what a request may ask for.
	MaxTTL = 90 * 24 * time.Hour
	// rootTTL is the lifetime of the self-signed root.
	rootTTL = 10 * 365 * 24 * time.Hour
)

// Authority signs certificates with one root. It is immutable and safe for concurrent use.
type Authority struct {
	root    *x509.Certificate
	rootPEM []byte
	key     *ecdsa.PrivateKey
	now     func() time.Time
	changed chan struct{} // never closed: the root of an Authority does not change
}

// NewRoot makes a new self-signed root for a trust domain and returns it with its key,
// both PEM.
func NewRoot(trustDomain string, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make root key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{trustDomain}},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(rootTTL),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign root: %w", err)
	}
	keyPEM, err = encodeKey(key)
	return encodeCert(der), keyPEM, err
}

// NewAuthority reads a root and its key, as the Secret holds them. The error says which of
// the two is unusable; a root that has expired is refused.
func NewAuthority(certPEM, keyPEM []byte, now func() time.Time) (*Authority, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, errors.New("root certificate is not PEM")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse root certificate: %w", err)
	}
	if !root.IsCA {
		return nil, errors.New("root certificate is not a CA certificate")
	}
	if t := now(); t.After(root.NotAfter) {
		return nil, fmt.Errorf("root certificate expired at %s", root.NotAfter.Format(time.RFC3339))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("root certificate and key: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("root key is %T, want ECDSA", pair.PrivateKey)
	}
	return &Authority{root: root, rootPEM: encodeCert(block.Bytes), key: key, now: now, changed: make(chan struct{})}, nil
}

// Roots returns the trust bundle as PEM. The caller must not modify it.
func (a *Authority) Roots() []byte { return a.rootPEM }

// RootsChanged returns a channel that is closed when Roots changes next.
func (a *Authority) RootsChanged() <-chan struct{} { return a.changed }

// Pool returns the trust bundle as a new pool.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// SignWorkload signs the public key of a PEM certificate request for id and returns the
// chain as PEM, leaf first, root last. Names in the request are ignored: the caller proved
// id. ttl 0 means DefaultTTL; the lifetime never exceeds the root's. The error tells a bad
// request (ErrRequest) from a failure of ours.
func (a *Authority) SignWorkload(csrPEM []byte, id identity.Identity, ttl time.Duration) ([]string, error) {
	block, _ := pem.Decode(csrPEM)
	if block == nil {
		return nil, fmt.Errorf("%w: not PEM", ErrRequest)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRequest, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRequest, err)
	}
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	if ttl > MaxTTL {
		return nil, fmt.Errorf("%w: lifetime %s exceeds %s", ErrRequest, ttl, MaxTTL)
	}
	uri, err := url.Parse(id.String())
	if err != nil {
		return nil, fmt.Errorf("%w: identity %q: %v", ErrRequest, id, err)
	}
	template, err := a.leaf(ttl)
	if err != nil {
		return nil, err
	}
	template.URIs = []*url.URL{uri}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, csr.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", id, err)
	}
	return []string{string(encodeCert(der)), string(a.rootPEM)}, nil
}

// ErrRequest marks a request that cannot be signed because of what it says.
var ErrRequest = errors.New("certificate request")

// ServingCertificate makes a key and a certificate for the control plane's own servers,
// valid for DefaultTTL. dnsNames must not be empty.
func (a *Authority) ServingCertificate(_ context.Context, dnsNames []string) (tls.Certificate, error) {
	if len(dnsNames) == 0 {
		return tls.Certificate{}, errors.New("serving certificate: no DNS name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make serving key: %w", err)
	}
	template, err := a.leaf(DefaultTTL)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.DNSNames = dnsNames
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign serving certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read serving certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.root.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// leaf is what all leaves share: lifetime within the root's, usage, serial number.
func (a *Authority) leaf(ttl time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	end := now.Add(ttl)
	if end.After(a.root.NotAfter) {
		end = a.root.NotAfter
	}
	return &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, nil
}

// newSerial is a random 128-bit serial number.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return serial, nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
