package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	securityv1alpha1 "istio.io/api/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/sluicemesh/sluice/internal/identity"
)

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	sleep = identity.Identity{TrustDomain: "cluster.local", Namespace: "default", ServiceAccount: "sleep"}
)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	cert, key, err := NewRoot("cluster.local", start)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAuthority(cert, key, at(start))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newRequest(t *testing.T, names ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{}
	for _, n := range names {
		u, err := url.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func parseLeaf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("not PEM: %q", text)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func TestSignWorkload(t *testing.T) {
	a := newAuthority(t)
	chain, err := a.SignWorkload(newRequest(t, "spiffe://cluster.local/ns/kube-system/sa/admin"), sleep, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 || chain[1] != string(a.Roots()) {
		t.Fatalf("chain of %d, last is the root: %v", len(chain), chain[len(chain)-1] == string(a.Roots()))
	}
	leaf := parseLeaf(t, chain[0])
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://cluster.local/ns/default/sa/sleep" {
		t.Errorf("URIs = %v: the proven identity must win over the request's", leaf.URIs)
	}
	if got := leaf.NotAfter.Sub(start); got != 24*time.Hour {
		t.Errorf("valid for %s, want 24h", got)
	}
	if got := start.Sub(leaf.NotBefore); got != 2*time.Minute {
		t.Errorf("valid from %s before now, want 2m", got)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment {
		t.Errorf("key usage %b", leaf.KeyUsage)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestSignWorkloadRefuses(t *testing.T) {
	a := newAuthority(t)
	broken := newRequest(t)
	block, _ := pem.Decode(broken)
	block.Bytes[len(block.Bytes)-1] ^= 1 // spoil the signature
	for name, c := range map[string]struct {
		csr []byte
		ttl time.Duration
	}{
		"empty":     {nil, 0},
		"not PEM":   {[]byte("hello"), 0},
		"not a CSR": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")}), 0},
		"signature": {pem.EncodeToMemory(block), 0},
		"too long":  {newRequest(t), MaxTTL + time.Second},
	} {
		if _, err := a.SignWorkload(c.csr, sleep, c.ttl); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: err = %v, want ErrRequest", name, err)
		}
	}
}

func TestLeafEndsWithTheRoot(t *testing.T) {
	cert, key, err := NewRoot("cluster.local", start)
	if err != nil {
		t.Fatal(err)
	}
	nearEnd := start.Add(rootTTL - time.Hour)
	a, err := NewAuthority(cert, key, at(nearEnd))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.SignWorkload(newRequest(t), sleep, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := parseLeaf(t, chain[0]).NotAfter.Sub(nearEnd); got != time.Hour {
		t.Errorf("leaf outlives its root: valid for %s, want 1h", got)
	}
	if _, err := NewAuthority(cert, key, at(start.Add(rootTTL+time.Hour))); err == nil {
		t.Error("an expired root is accepted")
	}
}

func TestServingCertificate(t *testing.T) {
	a := newAuthority(t)
	cert, err := a.ServingCertificate(t.Context(), []string{"istiod.istio-system.svc"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: "istiod.istio-system.svc", CurrentTime: start}); err != nil {
		t.Error(err)
	}
	if _, err := a.ServingCertificate(t.Context(), nil); err == nil {
		t.Error("a certificate without a name is issued")
	}
}

func TestLoadMakesTheRootOnce(t *testing.T) {
	secrets := fake.NewClientset().CoreV1().Secrets("istio-system")
	first, err := Load(t.Context(), secrets, "cluster.local", at(start))
	if err != nil {
		t.Fatal(err)
	}
	second, err := Load(t.Context(), secrets, "cluster.local", at(start))
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Roots()) != string(second.Roots()) {
		t.Error("the second replica made a root of its own")
	}
	secret, err := secrets.Get(t.Context(), "istio-ca-secret", metav1.GetOptions{})
	if err != nil || secret.Type != "istio.io/ca-root" || len(secret.Data["ca-key.pem"]) == 0 {
		t.Errorf("secret = %v, %v", secret, err)
	}
}

func TestLoadNeverReplacesAnUnusableRoot(t *testing.T) {
	secrets := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-ca-secret"},
		Data:       map[string][]byte{"ca-cert.pem": []byte("broken")},
	}).CoreV1().Secrets("istio-system")
	_, err := Load(t.Context(), secrets, "cluster.local", at(start))
	if err == nil || !strings.Contains(err.Error(), "istio-system/istio-ca-secret") || !strings.Contains(err.Error(), "not PEM") {
		t.Errorf("err = %v", err)
	}
	secret, err := secrets.Get(t.Context(), "istio-ca-secret", metav1.GetOptions{})
	if err != nil || string(secret.Data["ca-cert.pem"]) != "broken" {
		t.Errorf("secret was changed: %v, %v", secret, err)
	}
}

// caller proves a fixed identity, or none.
type caller struct {
	id  identity.Identity
	err error
}

func (c caller) Authenticate(context.Context) (identity.Identity, error) { return c.id, c.err }

func TestService(t *testing.T) {
	a := newAuthority(t)
	request := func() *securityv1alpha1.IstioCertificateRequest {
		return &securityv1alpha1.IstioCertificateRequest{Csr: string(newRequest(t)), ValidityDuration: 3600}
	}
	impersonating := request()
	impersonating.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"ImpersonatedIdentity": structpb.NewStringValue("spiffe://x/ns/a/sa/b")}}
	for name, c := range map[string]struct {
		caller caller
		req    *securityv1alpha1.IstioCertificateRequest
		want   codes.Code
	}{
		"good":          {caller{id: sleep}, request(), codes.OK},
		"stranger":      {caller{err: status.Error(codes.Unauthenticated, "no")}, request(), codes.Unauthenticated},
		"bad request":   {caller{id: sleep}, &securityv1alpha1.IstioCertificateRequest{Csr: "x"}, codes.InvalidArgument},
		"impersonation": {caller{id: sleep}, impersonating, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewService(a, c.caller, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
			answer, err := s.CreateCertificate(t.Context(), c.req)
			if status.Code(err) != c.want {
				t.Fatalf("code %v (%v), want %v", status.Code(err), err, c.want)
			}
			if issued := testutil.ToFloat64(s.issued); (issued == 1) != (c.want == codes.OK) {
				t.Errorf("issued = %v", issued)
			}
			if c.want == codes.OK {
				if got := parseLeaf(t, answer.CertChain[0]).NotAfter.Sub(start); got != time.Hour {
					t.Errorf("valid for %s, want the requested hour", got)
				}
			}
		})
	}
}

func TestServingIsRenewedAtHalfOfItsLife(t *testing.T) {
	cert, key, err := NewRoot("cluster.local", start)
	if err != nil {
		t.Fatal(err)
	}
	now := start
	a, err := NewAuthority(cert, key, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	s := NewServing(a, []string{"istiod.istio-system.svc"})
	serial := func() string {
		t.Helper()
		c, err := s.get(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	now = start.Add(11 * time.Hour)
	if serial() != first {
		t.Error("renewed before half of its life")
	}
	now = start.Add(13 * time.Hour)
	if serial() == first {
		t.Error("not renewed after half of its life")
	}
}
