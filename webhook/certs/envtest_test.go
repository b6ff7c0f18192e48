package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	reviewv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/sluicemesh/sluice/manifests"
)

// patience bounds every wait for the API server.
const patience = 60 * time.Second

// TestEnvtest: what the API server makes of bundles and certificates.
func TestEnvtest(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS names no directory with etcd and kube-apiserver: make test sets it")
	}
	ctrl.SetLogger(logr.FromSlogHandler(slog.DiscardHandler))
	env := &envtest.Environment{ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("start API server: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop API server: %v", err)
		}
	})
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("ownership", func(t *testing.T) { testOwnership(t, config, c) })
	t.Run("rotation", func(t *testing.T) { testRotation(t, config, c) })
}

// rendered is the chart's webhook configuration, as Helm or Argo CD would apply it.
func rendered(t *testing.T, byDefault bool) *unstructured.Unstructured {
	t.Helper()
	objects, err := manifests.Render(manifests.Release{Chart: manifests.Istiod, Name: "istiod", Namespace: "istio-system", Values: map[string]any{
		"sidecarInjectorWebhook": map[string]any{"enableNamespacesByDefault": byDefault},
	}})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "MutatingWebhookConfiguration" })
	return objects[i]
}

// apply is server-side apply as Helm 4 and Argo CD do it: without force.
func apply(t *testing.T, c client.Client, o *unstructured.Unstructured) {
	t.Helper()
	if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.FieldOwner("helm")); err != nil {
		t.Fatalf("apply as helm: %v", err)
	}
}

// startBundle runs b under a manager of its own until stopped.
func startBundle(t *testing.T, config *rest.Config, a Authority, stay time.Duration) *Bundle {
	t.Helper()
	mgr, err := ctrl.NewManager(config, ctrl.Options{Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	b := &Bundle{Authority: a, Client: mgr.GetClient(), Cache: mgr.GetCache(), Revision: "default", Log: quiet(), overlap: stay}
	if err := mgr.Add(b); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, mgr.Start))
	return b
}

// testOwnership: applying the chart again and again neither conflicts with the bundle's
// writer nor resets the bundle, and entries can go.
func testOwnership(t *testing.T, config *rest.Config, c client.Client) {
	a := newAuthority(t)
	apply(t, c, rendered(t, false))
	b := startBundle(t, config, a, 0)
	has := func(entries int) func() bool {
		return func() bool {
			all := bundles(t, c)
			for _, bundle := range all {
				if bundle != string(a.Roots()) {
					return false
				}
			}
			return len(all) == entries
		}
	}
	waitFor(t, "the bundle", has(4))
	waitFor(t, "the first round", b.Tried)
	before := live(t, c)
	for range 3 {
		apply(t, c, rendered(t, false))
	}
	if after := live(t, c); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("applying the same again changed the object:\n%s", cmp.Diff(before, after))
	}
	if diff := cmp.Diff([]string{"caBundle"}, owned(t, before, string(bundleOwner))); diff != "" {
		t.Errorf("fields of %s differ (-want +got):\n%s", bundleOwner, diff)
	}
	apply(t, c, rendered(t, true))
	waitFor(t, "the bundle of a new entry", has(5))
	apply(t, c, rendered(t, false))
	waitFor(t, "the entry to go", has(4))
}

func live(t *testing.T, c client.Client) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	var o admissionv1.MutatingWebhookConfiguration
	if err := c.Get(t.Context(), client.ObjectKey{Name: "istio-sidecar-injector"}, &o); err != nil {
		t.Fatal(err)
	}
	return &o
}

// owned lists the names of the leaf fields that a manager owns, each once.
func owned(t *testing.T, o client.Object, manager string) []string {
	t.Helper()
	var names []string
	var walk func(map[string]any)
	walk = func(m map[string]any) {
		for key, below := range m {
			if below, ok := below.(map[string]any); ok && len(below) > 0 {
				walk(below)
			} else if name := strings.TrimPrefix(key, "f:"); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != manager {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			t.Fatal(err)
		}
		walk(fields)
	}
	return names
}

// replica is one injector: a listener with certificates, and a bundle's writer.
type replica struct {
	address string
	serving *Serving
	asked   atomic.Int64
}

func startReplica(t *testing.T, config *rest.Config, a Authority) *replica {
	t.Helper()
	r := &replica{serving: NewServing(a, []string{"istiod.istio-system.svc"}, quiet())}
	r.serving.adoption = time.Second
	t.Cleanup(run(t, r.serving.Start))
	startBundle(t, config, a, 4*time.Second)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: r.serving.GetCertificate, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	// Each review on a connection of its own: a kept one would hide a bad certificate.
	server := &http.Server{Handler: http.HandlerFunc(r.admit), ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	server.SetKeepAlivesEnabled(false)
	t.Cleanup(run(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = server.Close() })()
		if err := server.Serve(l); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	}))
	return r
}

func (r *replica) admit(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	body, err := io.ReadAll(req.Body)
	var review reviewv1.AdmissionReview
	if err == nil {
		err = json.Unmarshal(body, &review)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &reviewv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// service spreads connections over replicas, as a Service does.
func service(t *testing.T, replicas []*replica) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = l.Close() })()
		group := errgroup.Group{}
		for i := 0; ; i++ {
			conn, err := l.Accept()
			if err != nil {
				return group.Wait()
			}
			group.Go(func() error { return forward(ctx, conn, replicas[i%len(replicas)].address) })
		}
	}))
	return l.Addr().String()
}

// forward copies both ways until either side or ctx ends.
func forward(ctx context.Context, in net.Conn, address string) error {
	defer in.Close()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil //nolint:nilerr // the replica is stopped: the caller sees its connection end
	}
	defer out.Close()
	closed := context.AfterFunc(ctx, func() { _, _ = in.Close(), out.Close() })
	defer closed()
	group := errgroup.Group{}
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		group.Go(func() error {
			_, _ = io.Copy(pair[0], pair[1])
			_, _ = pair[0].Close(), pair[1].Close()
			return nil
		})
	}
	return group.Wait()
}

// testRotation: while pods are created without a pause, the root is replaced three times
// without any overlap of the authority's own, on two replicas that learn of it one after the
// other; serving certificates follow. No pod is refused.
func testRotation(t *testing.T, config *rest.Config, c client.Client) {
	first, second := newAuthority(t), newAuthority(t)
	second.adopt(first)
	replicas := []*replica{startReplica(t, config, first), startReplica(t, config, second)}
	object := &admissionv1.MutatingWebhookConfiguration{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(rendered(t, false).Object, object); err != nil {
		t.Fatal(err)
	}
	url := "https://" + service(t, replicas) + "/inject"
	for i := range object.Webhooks {
		object.Webhooks[i].ClientConfig = admissionv1.WebhookClientConfig{URL: &url}
	}
	if err := client.IgnoreNotFound(c.Delete(t.Context(), object)); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{object, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "meshed", Labels: map[string]string{"istio-injection": "enabled"}}}} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "an answer", func() bool { return createPod(t.Context(), c) == nil && replicas[0].asked.Load() > 0 })

	ctx, cancel := context.WithCancel(t.Context())
	var created, refused atomic.Int64
	stop := run(t, func(context.Context) error {
		for ctx.Err() == nil {
			if err := createPod(t.Context(), c); err != nil {
				refused.Add(1)
				t.Errorf("pod refused: %v", err)
			}
			created.Add(1)
		}
		return nil
	})
	for round := range 3 {
		former := string(first.Roots())
		first.rotate()
		waitFor(t, "the certificate of the new root", func() bool { return issuedBy(replicas[0], first) })
		if issuedBy(replicas[1], first) {
			t.Error("the second replica knows the new root already: nothing is tested")
		}
		second.adopt(first)
		waitFor(t, "the second replica's", func() bool { return issuedBy(replicas[1], first) })
		waitFor(t, "the former root to go", func() bool {
			return !strings.Contains(bundles(t, c)["istio-sidecar-injector/"+object.Webhooks[0].Name], former)
		})
		t.Logf("round %d: %d pods created, %d refused", round, created.Load(), refused.Load())
	}
	cancel()
	stop()
	for i, r := range replicas {
		if r.asked.Load() < 50 {
			t.Errorf("replica %d was asked %d times: nothing is tested", i, r.asked.Load())
		}
	}
}

func createPod(ctx context.Context, c client.Client) error {
	return c.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "meshed", GenerateName: "web-"},
		Spec:       corev1.PodSpec{ServiceAccountName: "default", Containers: []corev1.Container{{Name: "app", Image: "example.com/web:1"}}},
	}, client.DryRunAll)
}

// issuedBy reports whether a replica serves a certificate of the authority's present root.
func issuedBy(r *replica, a *testAuthority) bool {
	c, err := r.serving.GetCertificate(nil)
	if err != nil {
		return false
	}
	return c.Leaf.CheckSignatureFrom(parseRoots(a.Roots()).certs[0]) == nil
}

// waitFor asks until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("no %s within %s", what, patience)
		case <-tick.C:
		}
	}
}
