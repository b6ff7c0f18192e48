package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signer signs for an hour, or fails while err is set.
type signer struct {
	t     *testing.T
	mu    sync.Mutex // guards err and calls
	err   error
	calls []time.Time
	key   *ecdsa.PrivateKey // signs the leaf for this key instead of the request's, if set
}

func (s *signer) Sign(_ context.Context, csrPEM []byte) ([]string, error) {
	s.mu.Lock()
	s.calls = append(s.calls, time.Now())
	err := s.err
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(csrPEM)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, err
	}
	pub := csr.PublicKey
	if s.key != nil {
		pub = &s.key.PublicKey
	}
	return chain(s.t, pub, csr)
}

// fail makes later calls fail with err; nil ends that.
func (s *signer) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// times are the calls so far.
func (s *signer) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

func chain(t *testing.T, pub any, csr *x509.CertificateRequest) ([]string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), URIs: csr.URIs, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return []string{strings.TrimSpace(text(der)), text(rootDER)}, nil
}

func TestRenewalKeepsTheOldCertificateUntilTheNewOneIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, src := &signer{t: t}, &Source{}
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Config{Identity: "spiffe://cluster.local/ns/a/sa/b", GraceRatio: 0.5, Signer: s, Log: slog.New(slog.DiscardHandler)}, src)
		}()
		synctest.Wait()
		first, changed := src.Current()
		if first == nil || first.NotAfter.Sub(first.NotBefore) != time.Hour {
			t.Fatalf("first certificate: %v", first)
		}
		if _, err := tls.X509KeyPair(first.Chain, first.Key); err != nil {
			t.Error(err)
		}
		s.fail(errors.New("authority is away"))
		time.Sleep(40 * time.Minute) //nolint:forbidigo // the fake time of synctest
		synctest.Wait()
		if now, _ := src.Current(); now != first {
			t.Error("the old certificate is gone before the new one is there")
		}
		if n := len(s.times()); n < 4 {
			t.Errorf("%d attempts in 10 minutes, want retries a minute or so apart", n)
		}
		s.fail(nil)
		time.Sleep(4 * time.Minute) //nolint:forbidigo // the fake time of synctest
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Fatal("nobody was told of the new certificate")
		}
		if now, _ := src.Current(); now == first {
			t.Error("not renewed")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFirstCertificateIsRetriedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s, src := &signer{t: t, err: errors.New("away")}, &Source{}
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Config{Identity: "spiffe://td/ns/a/sa/b", Signer: s, Log: slog.New(slog.DiscardHandler)}, src)
		}()
		time.Sleep(10 * time.Minute) //nolint:forbidigo // the fake time of synctest
		cancel()
		<-done
		calls := s.times()
		for i := 1; i < len(calls); i++ {
			step := min(500*time.Millisecond<<(i-1), time.Minute)
			if gap := calls[i].Sub(calls[i-1]); gap < step/2 || gap > step {
				t.Errorf("wait %d = %v, want between %v and %v", i, gap, step/2, step)
			}
		}
		if n := len(calls); n < 12 || n > 40 {
			t.Errorf("%d attempts in ten minutes", n)
		}
	})
}

func TestRenewIn(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &Certificate{NotBefore: start, NotAfter: start.Add(24 * time.Hour)}
	for _, x := range []struct {
		now   time.Duration
		grace float64
		want  time.Duration
	}{
		{0, 0.5, 12 * time.Hour}, {2 * time.Hour, 0.5, 10 * time.Hour}, {0, 0.51, 11*time.Hour + 45*time.Minute + 36*time.Second},
		{20 * time.Hour, 0.5, time.Second}, {30 * time.Hour, 0.5, time.Second},
	} {
		if got := RenewIn(c, start.Add(x.now), x.grace); got != x.want {
			t.Errorf("RenewIn(%v, %v) = %v, want %v", x.now, x.grace, got, x.want)
		}
	}
}

func TestAnswersThatDoNotFitAreRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Identity: "spiffe://td/ns/a/sa/b", Signer: &signer{t: t, key: other}}
	if _, err := issue(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("leaf for another key: %v", err)
	}
	good, err := (&signer{t: t}).Sign(t.Context(), csr(t, other))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := (&signer{t: t}).Sign(t.Context(), csr(t, other))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		chain []string
		want  string
	}{
		{nil, "0 certificates"}, {good[:1], "1 certificates"}, {[]string{"x", good[1]}, "not PEM"},
		{[]string{good[0], "x"}, "root bundle"}, {[]string{good[0], foreign[1]}, "does not chain"},
	} {
		if _, err := assemble(other, c.chain); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("assemble(%d) = %v, want %q", len(c.chain), err, c.want)
		}
	}
}

func csr(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	out, err := request(key, "spiffe://td/ns/a/sa/b")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKeyIsNotPrinted(t *testing.T) {
	c := &Certificate{Key: []byte("secret-key")}
	if s := fmt.Sprint(c); strings.Contains(s, "secret-key") || !strings.Contains(s, "[redacted]") {
		t.Error(s)
	}
}

func BenchmarkIssue(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := request(key, "spiffe://td/ns/a/sa/b"); err != nil {
			b.Fatal(err)
		}
	}
}
