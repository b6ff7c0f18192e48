package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicemesh/sluice/internal/problem"
)

// maxBody is the greatest review that is read. A pod has at most 1.5 MiB in etcd; a review
// may hold it twice.
const maxBody = 6 << 20

// Reasons of skips and failures that are not the policy's; metric labels.
const (
	notAPod     = "NotAPod"     // the webhook configuration sends other kinds
	notCreated  = "NotCreated"  // … or other operations
	notReady    = "NotReady"    // no configuration yet
	badRequest  = "BadRequest"  // not an admission review
	internalBug = "InternalBug" // a panic
)

// handler answers admission reviews from memory alone.
type handler struct {
	state   *state
	metrics *injectionMetrics
	log     *slog.Logger
}

// review is the part of an AdmissionReview that is read, in both of its versions. The pod
// is decoded in the same pass.
type review struct {
	metav1.TypeMeta
	Request *struct {
		UID       types.UID               `json:"uid"`
		Kind      metav1.GroupVersionKind `json:"kind"`
		Namespace string                  `json:"namespace"`
		Operation admissionv1.Operation   `json:"operation"`
		Object    corev1.Pod              `json:"object"`
	} `json:"request"`
}

// ServeHTTP implements http.Handler: one POST of an AdmissionReview, one answer.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	h.metrics.requests.Inc()
	defer func() { h.metrics.seconds.Observe(time.Since(start).Seconds()) }()

	if r.Header.Get("Content-Type") != "application/json" {
		h.metrics.failure.WithLabelValues(badRequest).Inc()
		http.Error(w, "invalid Content-Type, want application/json", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil || len(body) == 0 {
		h.metrics.failure.WithLabelValues(badRequest).Inc()
		status, text := http.StatusBadRequest, "no body found"
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			status, text = http.StatusRequestEntityTooLarge, "body is larger than 6 MiB"
		} else if err != nil {
			text = "read body: " + err.Error()
		}
		http.Error(w, text, status)
		return
	}
	answer, err := h.answer(body, r.URL.Path)
	if err != nil {
		h.metrics.failure.WithLabelValues(badRequest).Inc()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(answer); err != nil {
		h.log.Debug("answer admission review", "error", err)
	}
}

// answer turns a review into an answered one, bytes to bytes. An error means that body is
// no review at all; everything else is said in the answer.
func (h *handler) answer(body []byte, path string) ([]byte, error) {
	var in review
	response := &admissionv1.AdmissionResponse{}
	if err := json.Unmarshal(body, &in); err != nil {
		uid, kind, ok := identify(body)
		if !ok {
			return nil, fmt.Errorf("decode admission review: %w", err)
		}
		h.metrics.failure.WithLabelValues(badRequest).Inc()
		in.TypeMeta = kind
		*response = *refuse(uid, "decode pod: "+err.Error())
	} else {
		if in.Request == nil {
			return nil, errors.New("decode admission review: it has no request")
		}
		response = h.review(&in, path)
	}
	data, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: in.TypeMeta, Response: response})
	if err != nil {
		return nil, fmt.Errorf("encode admission review: %w", err)
	}
	return data, nil
}

// identify reads what an answer needs from a review whose object cannot be decoded.
func identify(body []byte) (types.UID, metav1.TypeMeta, bool) {
	var in struct {
		metav1.TypeMeta
		Request struct {
			UID types.UID `json:"uid"`
		} `json:"request"`
	}
	err := json.Unmarshal(body, &in)
	return in.Request.UID, in.TypeMeta, err == nil && in.Request.UID != ""
}

// review decides on one request. A panic is a bug of ours: the pod is refused, the process
// lives on.
func (h *handler) review(in *review, path string) (response *admissionv1.AdmissionResponse) {
	uid := in.Request.UID
	defer func() {
		if bug := recover(); bug != nil {
			h.metrics.failure.WithLabelValues(internalBug).Inc()
			h.log.Error("injection panicked", "panic", bug, "pod", in.Request.Object.Name, "stack", string(debug.Stack()))
			response = refuse(uid, "internal error of the injector, see the log of the control plane")
		}
	}()
	if k := in.Request.Kind.Kind; k != "" && k != "Pod" {
		return h.skip(uid, notAPod)
	}
	if op := in.Request.Operation; op != "" && op != admissionv1.Create {
		return h.skip(uid, notCreated)
	}
	settings := h.state.settings.Load()
	if settings == nil {
		h.metrics.failure.WithLabelValues(notReady).Inc()
		return refuse(uid, "the injector has no valid configuration yet, see the log of the control plane")
	}
	pod := &in.Request.Object
	result := Inject(settings, Request{
		Pod: pod, Namespace: in.Request.Namespace,
		Native: h.state.native.supported(pod.Spec.NodeName), Path: parsePath(path),
	})
	return h.respond(uid, pod, result)
}

// respond writes a Result as an answer.
func (h *handler) respond(uid types.UID, pod *corev1.Pod, result Result) *admissionv1.AdmissionResponse {
	if !result.Decision.Inject {
		out := h.skip(uid, string(result.Decision.Reason))
		out.Warnings = warnings(result.Problems)
		return out
	}
	if result.Pod == nil {
		fatal := fatalOnly(result.Problems)
		h.metrics.failure.WithLabelValues(fatal[0].Reason).Inc()
		return refuse(uid, problem.Join(fatal))
	}
	create := createPatch
	if result.Composed {
		create = createComposedPatch
	}
	patch, err := create(pod, result.Pod)
	if err != nil {
		h.metrics.failure.WithLabelValues(internalBug).Inc()
		return refuse(uid, err.Error())
	}
	h.metrics.success.Inc()
	out := &admissionv1.AdmissionResponse{
		UID: uid, Allowed: true, Warnings: warnings(result.Problems),
		AuditAnnotations: map[string]string{"injected": string(result.Decision.Reason)},
	}
	if len(patch) > 0 {
		kind := admissionv1.PatchTypeJSONPatch
		out.Patch, out.PatchType = patch, &kind
	}
	return out
}

func (h *handler) skip(uid types.UID, reason string) *admissionv1.AdmissionResponse {
	h.metrics.skip.WithLabelValues(reason).Inc()
	return &admissionv1.AdmissionResponse{
		UID: uid, Allowed: true, AuditAnnotations: map[string]string{"skipped": reason},
	}
}

func refuse(uid types.UID, message string) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{
		UID:    uid,
		Result: &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusBadRequest, Reason: metav1.StatusReasonInvalid, Message: message},
	}
}

func fatalOnly(ps []problem.Problem) []problem.Problem {
	var out []problem.Problem
	for _, p := range ps {
		if p.Fatal {
			out = append(out, p)
		}
	}
	return out
}

func warnings(ps []problem.Problem) []string {
	var out []string
	for _, p := range ps {
		if !p.Fatal {
			out = append(out, p.String())
		}
	}
	return out
}
