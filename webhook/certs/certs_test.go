package certs

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
	"log/slog"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testAuthority signs with a root that tests can replace.
type testAuthority struct {
	t  *testing.T
	mu sync.Mutex

	key     *ecdsa.PrivateKey
	root    *x509.Certificate
	bundle  []byte
	changed chan struct{}
	fail    error
	asked   []time.Time
	names   []string
}

func newAuthority(t *testing.T) *testAuthority {
	a := &testAuthority{t: t, changed: make(chan struct{})}
	a.newRoot()
	return a
}

func (a *testAuthority) newRoot() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.key = key
	a.root = &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now(), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.root, a.root, key.Public(), key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// rotate replaces the root; clients trust only the new one from then on.
func (a *testAuthority) rotate() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newRoot()
	close(a.changed)
	a.changed = make(chan struct{})
}

// adopt takes the root of another authority, as a replica does that reads the same Secret.
func (a *testAuthority) adopt(from *testAuthority) {
	from.mu.Lock()
	defer from.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.key, a.root, a.bundle = from.key, from.root, from.bundle
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *testAuthority) setFail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = err
}

func (a *testAuthority) calls() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func (a *testAuthority) ServingCertificate(_ context.Context, names []string) (tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked, a.names = append(a.asked, time.Now()), names
	if a.fail != nil {
		return tls.Certificate{}, a.fail
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.asked))), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.root, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (a *testAuthority) Roots() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bundle
}

func (a *testAuthority) RootsChanged() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// advance moves the fake clock of synctest and lets everything settle.
func advance(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // inside synctest this is the clock, not a wait
	synctest.Wait()
}

// run starts fn and returns a function that stops it and waits for it.
func run(t *testing.T, fn func(context.Context) error) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Start = %v; want nil", err)
		}
	}
}

func serial(t *testing.T, s *Serving) int64 {
	t.Helper()
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Int64()
}

func TestServingRenewsAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		s := NewServing(a, []string{"istiod.istio-system.svc"}, quiet())
		if _, err := s.GetCertificate(nil); err == nil {
			t.Error("a certificate before there is one")
		}
		stop := run(t, s.Start)
		synctest.Wait()
		if got := serial(t, s); got != 1 {
			t.Errorf("serial = %d; want 1", got)
		}
		advance(12*time.Hour - time.Minute)
		if got := serial(t, s); got != 1 {
			t.Errorf("serial before half-life = %d; want 1", got)
		}
		advance(2 * time.Minute)
		if got := serial(t, s); got != 2 {
			t.Errorf("serial after half-life = %d; want 2", got)
		}
		if diff := cmp.Diff([]string{"istiod.istio-system.svc"}, a.names); diff != "" {
			t.Errorf("names differ:\n%s", diff)
		}
		stop()
	})
}

func TestServingRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		a.setFail(errors.New("not yet"))
		s := NewServing(a, []string{"x"}, quiet())
		start := time.Now()
		stop := run(t, s.Start)
		advance(time.Second)
		var delays []time.Duration
		for _, at := range a.calls() {
			delays = append(delays, at.Sub(start))
		}
		want := []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond, 700 * time.Millisecond}
		if diff := cmp.Diff(want, delays); diff != "" {
			t.Errorf("attempts differ (-want +got):\n%s", diff)
		}
		a.setFail(nil)
		advance(time.Second)
		if got := serial(t, s); got != 5 {
			t.Errorf("serial = %d; want that of the fifth attempt", got)
		}
		stop()
	})
}

// TestServingKeepsOld: a failed renewal leaves the certificate at hand in use.
func TestServingKeepsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		s := NewServing(a, []string{"x"}, quiet())
		stop := run(t, s.Start)
		synctest.Wait()
		a.setFail(errors.New("down"))
		advance(20 * time.Hour)
		if got := serial(t, s); got != 1 {
			t.Errorf("serial = %d; want the old 1", got)
		}
		if n := len(a.calls()); n < 100 {
			t.Errorf("%d attempts in 8 hours; want one a minute", n)
		}
		stop()
	})
}

// TestServingFollowsRoots: a certificate that the new roots do not cover is replaced, when
// the new ones had time to reach the API servers.
func TestServingFollowsRoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		s := NewServing(a, []string{"x"}, quiet())
		stop := run(t, s.Start)
		synctest.Wait()
		a.rotate()
		advance(29 * time.Second)
		if got := serial(t, s); got != 1 {
			t.Errorf("serial = %d; want the old 1 until the new roots are known", got)
		}
		advance(2 * time.Second)
		if got := serial(t, s); got != 2 {
			t.Errorf("serial = %d; want the new 2", got)
		}
		if n := len(a.calls()); n != 2 {
			t.Errorf("%d certificates made; want 2", n)
		}
		stop()
	})
}

func config(name, revision string, entries ...string) *admissionv1.MutatingWebhookConfiguration {
	c := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if revision != "" {
		c.Labels = map[string]string{"istio.io/rev": revision}
	}
	for _, e := range entries {
		c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{Name: e})
	}
	return c
}

// bundles reads who trusts what, "object/entry" → bundle.
func bundles(t *testing.T, c client.Client) map[string]string {
	t.Helper()
	var list admissionv1.MutatingWebhookConfigurationList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, item := range list.Items {
		for _, w := range item.Webhooks {
			out[item.Name+"/"+w.Name] = string(w.ClientConfig.CABundle)
		}
	}
	return out
}

func TestBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		c := fake.NewClientBuilder().WithObjects(
			config("own", "default", "namespace.sidecar-injector.istio.io", "other.example.com", "object.sidecar-injector.istio.io"),
			config("canary", "canary", "rev.namespace.sidecar-injector.istio.io"),
			config("foreign", "", "namespace.sidecar-injector.istio.io"),
		).Build()
		b := &Bundle{Authority: a, Client: c, Revision: "default", Log: quiet()}
		seen := make(chan struct{}, 1)
		stop := run(t, func(ctx context.Context) error { return b.loop(ctx, seen) })
		want := func(roots string) map[string]string {
			return map[string]string{
				"own/namespace.sidecar-injector.istio.io": roots, "own/other.example.com": "", "own/object.sidecar-injector.istio.io": roots,
				"canary/rev.namespace.sidecar-injector.istio.io": "", "foreign/namespace.sidecar-injector.istio.io": "",
			}
		}
		synctest.Wait()
		if diff := cmp.Diff(want(string(a.Roots())), bundles(t, c)); diff != "" {
			t.Errorf("bundles differ (-want +got):\n%s", diff)
		}
		former := string(a.Roots())
		a.rotate()
		synctest.Wait()
		if diff := cmp.Diff(want(string(a.Roots())+former), bundles(t, c)); diff != "" {
			t.Errorf("bundles after rotation differ (-want +got):\n%s", diff)
		}
		advance(overlap - time.Second)
		if diff := cmp.Diff(want(string(a.Roots())+former), bundles(t, c)); diff != "" {
			t.Errorf("bundles within the overlap differ (-want +got):\n%s", diff)
		}
		advance(time.Second)
		if diff := cmp.Diff(want(string(a.Roots())), bundles(t, c)); diff != "" {
			t.Errorf("bundles after the overlap differ (-want +got):\n%s", diff)
		}
		// Someone applies the manifest again, without a bundle.
		if err := c.Update(t.Context(), func() *admissionv1.MutatingWebhookConfiguration {
			var own admissionv1.MutatingWebhookConfiguration
			if err := c.Get(t.Context(), client.ObjectKey{Name: "own"}, &own); err != nil {
				t.Fatal(err)
			}
			for i := range own.Webhooks {
				own.Webhooks[i].ClientConfig.CABundle = nil
			}
			return &own
		}()); err != nil {
			t.Fatal(err)
		}
		seen <- struct{}{}
		synctest.Wait()
		if diff := cmp.Diff(want(string(a.Roots())), bundles(t, c)); diff != "" {
			t.Errorf("bundles after another apply differ (-want +got):\n%s", diff)
		}
		stop()
	})
}

// TestBundleReplicas: two replicas that know different roots write both and do not fight;
// when the one with the former root is gone, that root goes.
func TestBundleReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former, latter := newAuthority(t), newAuthority(t)
		patches := 0
		seen := []chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1)}
		c := interceptor.NewClient(
			fake.NewClientBuilder().WithObjects(config("own", "default", "a.sidecar-injector.istio.io")).Build(),
			interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
				patches++
				defer func() {
					for _, wake := range seen {
						select {
						case wake <- struct{}{}:
						default:
						}
					}
				}()
				return c.Patch(ctx, obj, p, opts...)
			}})
		start := func(a Authority, i int) func() {
			b := &Bundle{Authority: a, Client: c, Revision: "default", Log: quiet()}
			return run(t, func(ctx context.Context) error { return b.loop(ctx, seen[i]) })
		}
		stopFormer := start(former, 0)
		synctest.Wait()
		stopLatter := start(latter, 1)
		advance(time.Minute)
		both := string(latter.Roots()) + string(former.Roots())
		if got := bundles(t, c)["own/a.sidecar-injector.istio.io"]; got != both {
			t.Errorf("bundle = %s\nwant both roots, the new one first:\n%s", got, both)
		}
		if patches != 2 {
			t.Errorf("%d patches in a minute; want one of each replica", patches)
		}
		stopFormer()
		advance(overlap)
		if got := bundles(t, c)["own/a.sidecar-injector.istio.io"]; got != string(latter.Roots()) {
			t.Errorf("bundle after the overlap = %s\nwant the remaining replica's root", got)
		}
		if patches != 3 {
			t.Errorf("%d patches; want 3", patches)
		}
		stopLatter()
	})
}

func TestMerge(t *testing.T) {
	one, two := string(newAuthority(t).Roots()), string(newAuthority(t).Roots())
	all, none := func(*x509.Certificate) bool { return true }, func(*x509.Certificate) bool { return false }
	var many string
	for range maxRoots + 2 {
		many += string(newAuthority(t).Roots())
	}
	for name, tc := range map[string]struct {
		roots, present string
		stays          func(*x509.Certificate) bool
		want           string
		changed        bool
	}{
		"first":              {one, "", all, one, true},
		"same":               {one, one, none, one, false},
		"same, other order":  {one + two, two + one, none, one + two, false},
		"another stays":      {one, one + two, all, one + two, false},
		"another goes":       {one, one + two, none, one, true},
		"new beside another": {one, two, all, one + two, true},
		"junk":               {one, one + "junk", all, one, true},
		"not a certificate":  {one, "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n" + one, all, one, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, changed := merge([]byte(tc.roots), []byte(tc.present), tc.stays)
			if string(got) != tc.want || changed != tc.changed {
				t.Errorf("merge = %t\n%s\nwant %t\n%s", changed, got, tc.changed, tc.want)
			}
		})
	}
	if got, changed := merge([]byte(one), []byte(many), all); !changed || len(parseRoots(got).certs) != 1+maxRoots {
		t.Errorf("merge with many others = %d roots, %t; want 9, true", len(parseRoots(got).certs), changed)
	}
}

// TestBundleRetries: quick attempts first, then one a minute, for ever.
func TestBundleRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Duration
		start := time.Now()
		c := interceptor.NewClient(
			fake.NewClientBuilder().WithObjects(config("own", "default", "a.sidecar-injector.istio.io")).Build(),
			interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
				attempts = append(attempts, time.Since(start))
				if len(attempts) < 8 {
					return errors.New("conflict")
				}
				return c.Patch(ctx, obj, p, opts...)
			}})
		a := newAuthority(t)
		b := &Bundle{Authority: a, Client: c, Revision: "default", Log: quiet()}
		stop := run(t, func(ctx context.Context) error { return b.loop(ctx, nil) })
		advance(10 * time.Minute)
		ms := time.Millisecond
		want := []time.Duration{0, 100 * ms, 200 * ms, 300 * ms, 400 * ms, 500 * ms, time.Minute + 500*ms, 2*time.Minute + 500*ms}
		if diff := cmp.Diff(want, attempts); diff != "" {
			t.Errorf("attempts differ (-want +got):\n%s", diff)
		}
		if got := bundles(t, c)["own/a.sidecar-injector.istio.io"]; got != string(a.Roots()) {
			t.Errorf("bundle = %q; want the roots", got)
		}
		stop()
	})
}
