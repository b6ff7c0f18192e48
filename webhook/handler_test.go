package webhook

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/webhook/notice"
	"github.com/sluicemesh/sluice/webhook/params"
)

func testHandler(t testing.TB) *handler {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	settings, err := NewSettings(Source{Tag: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	st := &state{native: newNative(nativeAuto)}
	st.settings.Store(settings)
	return &handler{
		state: st, metrics: m, log: slog.New(slog.DiscardHandler), buffers: newBufferPool(),
		notices: notice.NewBoard(&recorded{}),
	}
}

// count reads a counter.
func count(m prometheus.Metric) float64 {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return out.Counter.GetValue()
}

func post(t *testing.T, h http.Handler, path, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestStopping: a process that was told to stop still answers, and sends its callers to
// another connection.
func TestStopping(t *testing.T) {
	review, err := os.ReadFile("testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	h := testHandler(t)
	stopping := make(chan struct{})
	h.stopping = stopping
	for _, want := range []string{"", "close"} {
		w := post(t, h, "/inject", "application/json", string(review))
		if got := w.Header().Get("Connection"); got != want || !readReview(t, w).Response.Allowed {
			t.Errorf("Connection %q, answer %s; want %q and a pod", got, w.Body, want)
		}
		if want == "" {
			close(stopping)
		}
	}
}

func readReview(t *testing.T, w *httptest.ResponseRecorder) admissionv1.AdmissionReview {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("answer %s: %v", w.Body, err)
	}
	if out.Response == nil {
		t.Fatalf("answer without response: %s", w.Body)
	}
	return out
}

const jsonType = "application/json"

// TestHandlerInjects sends a review as an API server of Kubernetes 1.34 writes it.
func TestHandlerInjects(t *testing.T) {
	body, err := os.ReadFile("testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	h := testHandler(t)
	out := readReview(t, post(t, h, "/inject/cluster/c9/net/n9", jsonType, string(body)))
	if out.APIVersion != "admission.k8s.io/v1" || out.Kind != "AdmissionReview" {
		t.Errorf("answer is a %s %s", out.APIVersion, out.Kind)
	}
	if out.Response.UID != "0df28fbd-5f5f-11e8-bc74-36e6bb280816" || !out.Response.Allowed {
		t.Errorf("response = %v", out.Response)
	}
	if got := out.Response.AuditAnnotations["injected"]; got != "PolicyEnabled" {
		t.Errorf("audit annotation = %q; want PolicyEnabled", got)
	}
	var in struct {
		Request struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		t.Fatal(err)
	}
	pod := applyTo(t, in.Request.Object, out.Response.Patch)
	names := []string{}
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff([]string{"istio-init", "istio-proxy", "httpbin"}, names); diff != "" {
		t.Errorf("containers differ (-want +got):\n%s", diff)
	}
	env := map[string]string{}
	for _, e := range pod.Spec.InitContainers[1].Env {
		env[e.Name] = e.Value
	}
	if env["ISTIO_META_CLUSTER_ID"] != "c9" || env["ISTIO_META_NETWORK"] != "n9" {
		t.Errorf("cluster %q, network %q; want c9, n9", env["ISTIO_META_CLUSTER_ID"], env["ISTIO_META_NETWORK"])
	}
	if count(h.metrics.success.WithLabelValues("PolicyEnabled")) != 1 || count(h.metrics.requests) != 1 {
		t.Error("not counted as one request and one success")
	}
}

// applyTo applies a patch to the object as it was received.
func applyTo(t *testing.T, object, patch []byte) *corev1.Pod {
	t.Helper()
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	data, err := decoded.Apply(object)
	if err != nil {
		t.Fatalf("apply %s: %v", patch, err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(data, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// TestPatchKeepsUnknownFields sends fields that this program's types do not have: those of
// a newer Kubernetes. They stay with their container.
func TestPatchKeepsUnknownFields(t *testing.T) {
	object := `{"metadata":{"name":"web","labels":{"a":"b"}},"spec":{"newPodField":1,
		"initContainers":[{"name":"first","image":"i","newField":"of-first"}],
		"containers":[{"name":"app","image":"i","newField":"of-app","readinessProbe":{"httpGet":{"path":"/","port":80},"periodSeconds":3}}]}}`
	body := `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u1","namespace":"shop","object":` + object + `}}`
	out := readReview(t, post(t, testHandler(t), "/inject", jsonType, body))
	if out.APIVersion != "admission.k8s.io/v1beta1" {
		t.Errorf("answer to v1beta1 is %s", out.APIVersion)
	}
	decoded, err := jsonpatch.DecodePatch(out.Response.Patch)
	if err != nil {
		t.Fatal(err)
	}
	data, err := decoded.Apply([]byte(object))
	if err != nil {
		t.Fatal(err)
	}
	var pod struct {
		Spec struct {
			NewPodField                int
			InitContainers, Containers []struct{ Name, NewField string }
		}
	}
	if err := json.Unmarshal(data, &pod); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		got[c.Name] = c.NewField
	}
	want := map[string]string{"istio-init": "", "istio-proxy": "", "first": "of-first", "app": "of-app"}
	if diff := cmp.Diff(want, got); diff != "" || pod.Spec.NewPodField != 1 {
		t.Errorf("unknown fields (newPodField %d) differ (-want +got):\n%s", pod.Spec.NewPodField, diff)
	}
}

func TestHandlerRefuses(t *testing.T) {
	h := testHandler(t)
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","namespace":"shop","object":
		{"metadata":{"name":"web","annotations":{"sidecar.istio.io/proxyCPU":"much","sidecar.istio.io/proxyCpu":"1"}},"spec":{"containers":[{"name":"app"}]}}}}`
	out := readReview(t, post(t, h, "/inject", jsonType, body)).Response
	const want = `Pod shop/web: metadata.annotations[sidecar.istio.io/proxyCPU]: "much" is not a quantity, write a number with a unit such as 100m or 128Mi [InvalidAnnotation]`
	if out.Allowed || out.Patch != nil || out.UID != "u1" || out.Result == nil || out.Result.Message != want {
		t.Errorf("response = %v; want a refusal with %s", out, want)
	}
	const warning = `Pod shop/web: metadata.annotations[sidecar.istio.io/proxyCpu]: unknown annotation, it has no effect: ` +
		`did you mean sidecar.istio.io/proxyCPU? [UnknownAnnotation]`
	if diff := cmp.Diff([]string{warning}, out.Warnings); diff != "" {
		t.Errorf("warnings of a refusal differ (-want +got):\n%s", diff)
	}
	if n := count(h.metrics.failure.WithLabelValues("InvalidAnnotation")); n != 1 {
		t.Errorf("failures = %v; want 1", n)
	}
	if n := count(h.metrics.success.WithLabelValues("PolicyEnabled")); n != 0 {
		t.Errorf("a refusal counts as a success")
	}
}

func TestHandlerSkips(t *testing.T) {
	tests := []struct {
		name, request, reason, warning string
	}{
		{
			"host network, asked for",
			`{"uid":"u1","namespace":"shop","object":{"metadata":{"name":"web","labels":{"sidecar.istio.io/inject":"true"}},"spec":{"hostNetwork":true}}}`,
			"HostNetwork",
			"Pod shop/web: not injected: spec.hostNetwork is true; remove spec.hostNetwork: on the node's network, " +
				"interception would capture the whole node's traffic [HostNetwork]",
		},
		{"opted out", `{"uid":"u1","object":{"metadata":{"labels":{"sidecar.istio.io/inject":"false"}}}}`, "PodOptedOut", ""},
		{"another kind", `{"uid":"u1","kind":{"version":"v1","kind":"Service"},"object":{"metadata":{"name":"web"}}}`, "NotAPod", ""},
		{"another operation", `{"uid":"u1","kind":{"version":"v1","kind":"Pod"},"operation":"UPDATE","object":{}}`, "NotCreated", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := testHandler(t)
			out := readReview(t, post(t, h, "/inject", jsonType, `{"request":`+tt.request+`}`)).Response
			if !out.Allowed || out.Patch != nil || out.PatchType != nil || out.AuditAnnotations["skipped"] != tt.reason {
				t.Errorf("response = %v; want a skip because of %s", out, tt.reason)
			}
			if got := strings.Join(out.Warnings, "\n"); got != tt.warning {
				t.Errorf("warnings = %q; want %q", got, tt.warning)
			}
			if n := count(h.metrics.skip.WithLabelValues(tt.reason)); n != 1 {
				t.Errorf("skips = %v; want 1", n)
			}
		})
	}
}

func TestHandlerHTTP(t *testing.T) {
	big := `{"request":{"uid":"u1","object":{"metadata":{"annotations":{"a":"` + strings.Repeat("x", maxBody) + `"}}}}}`
	tests := []struct {
		name, contentType, body string
		status                  int
	}{
		{"wrong type", "text/yaml", `{}`, http.StatusUnsupportedMediaType},
		{"type with parameter", "application/json; charset=utf-8", `{}`, http.StatusUnsupportedMediaType},
		{"no body", jsonType, "", http.StatusBadRequest},
		{"no JSON", jsonType, "nonsense", http.StatusBadRequest},
		{"no request", jsonType, `{"kind":"AdmissionReview"}`, http.StatusBadRequest},
		{"too large", jsonType, big, http.StatusRequestEntityTooLarge},
		{"just fits", jsonType, `{"request":{"uid":"u1","object":{"spec":{"hostNetwork":true}}}}` + strings.Repeat(" ", maxBody-65), http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := testHandler(t)
			if w := post(t, h, "/inject", tt.contentType, tt.body); w.Code != tt.status {
				t.Errorf("status = %d (%s); want %d", w.Code, w.Body, tt.status)
			}
			failed := count(h.metrics.failure.WithLabelValues(badRequest))
			if want := map[bool]float64{true: 1, false: 0}[tt.status != http.StatusOK]; failed != want {
				t.Errorf("failures = %v; want %v", failed, want)
			}
		})
	}
}

// TestHandlerBadPod: the review is one, its object is no pod; the answer carries the UID.
func TestHandlerBadPod(t *testing.T) {
	out := readReview(t, post(t, testHandler(t), "/inject", jsonType, `{"request":{"uid":"u1","object":{"spec":7}}}`)).Response
	if out.Allowed || out.UID != "u1" || !strings.Contains(out.Result.Message, "decode pod") {
		t.Errorf("response = %v; want a refusal of u1", out)
	}
}

func TestHandlerNotReady(t *testing.T) {
	h := testHandler(t)
	h.state.settings.Store(nil)
	out := readReview(t, post(t, h, "/inject", jsonType, `{"request":{"uid":"u1","object":{}}}`)).Response
	if out.Allowed || out.UID != "u1" {
		t.Errorf("response = %v; want a refusal", out)
	}
}

// TestHandlerPanic: a bug refuses one pod and leaves the process alive.
func TestHandlerPanic(t *testing.T) {
	h := testHandler(t)
	h.state.settings.Store(&Settings{}) // no defaults: resolving dereferences nil
	h.state.settings.Load().Rules.Policy = "enabled"
	var logged bytes.Buffer
	h.log = slog.New(slog.NewTextHandler(&logged, nil))
	out := readReview(t, post(t, h, "/inject", jsonType, `{"request":{"uid":"u1","object":{"spec":{"containers":[{"name":"a"}]}}}}`)).Response
	if out.Allowed || out.UID != "u1" || !strings.Contains(logged.String(), "injection panicked") {
		t.Errorf("response = %v, log %s; want a refusal and a stack", out, logged.String())
	}
	if n := count(h.metrics.failure.WithLabelValues(internalBug)); n != 1 {
		t.Errorf("failures = %v; want 1", n)
	}
}

func TestParsePath(t *testing.T) {
	tests := map[string]params.Path{
		"/inject":                      {},
		"/inject/":                     {},
		"/inject/cluster/c1":           {Cluster: "c1"},
		"/inject/cluster/c1/net/n1/":   {Cluster: "c1", Network: "n1"},
		"/inject/net/a--slash--b":      {Network: "a/b"},
		"/inject/region/eu/zone/1/odd": {Env: map[string]string{"REGION": "eu", "ZONE": "1"}},
		"/inject/:ENV:a=b/c:ENV:ISTIO_META_NETWORK=n:ENV:=x:ENV:nonsense": {Network: "n", Env: map[string]string{"a": "b/c"}},
	}
	for path, want := range tests {
		if diff := cmp.Diff(want, ParsePath(path)); diff != "" {
			t.Errorf("ParsePath(%q) differs (-want +got):\n%s", path, diff)
		}
	}
}

// answerBytes answers a review with buffers from the pool, as ServeHTTP does; the answer
// is the caller's.
func answerBytes(h *handler, body []byte, path string) ([]byte, error) {
	b := h.buffers.get()
	defer h.buffers.release(b)
	b.body.Write(body)
	answer, err := h.answer(b, path)
	return slices.Clone(answer), err
}
