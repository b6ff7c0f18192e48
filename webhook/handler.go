package webhook

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/notice"
)

// Reasons of skips and failures that are not the policy's; metric labels.
const (
	notAPod     = "NotAPod"     // the webhook configuration sends other kinds
	notCreated  = "NotCreated"  // … or other operations
	notReady    = "NotReady"    // no configuration yet
	badRequest  = "BadRequest"  // not an admission review
	busy        = "Busy"        // too many large reviews at once
	internalBug = "InternalBug" // a panic
)

// handler answers admission reviews from memory alone.
type handler struct {
	state   *state
	metrics *injectionMetrics
	log     *slog.Logger
	buffers *bufferPool
	notices *notice.Board // nil for no Events
	// stopping is closed when the process was told to stop; nil for never.
	stopping <-chan struct{}
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
	b, failed := h.buffers.read(w, r)
	if failed != nil {
		h.metrics.failure.WithLabelValues(failed.reason).Inc()
		http.Error(w, failed.text, failed.status)
		return
	}
	defer h.buffers.release(b)
	answer, err := h.answer(b, r.URL.Path)
	if err != nil {
		h.metrics.failure.WithLabelValues(badRequest).Inc()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := w.Header()
	select {
	case <-h.stopping:
		// The caller takes another connection next, to another replica. A review that is sent
		// at the moment its connection is closed from here is lost: the API server does not
		// send it again.
		header.Set("Connection", "close")
	default:
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(answer)))
	if _, err := w.Write(answer); err != nil {
		h.log.Debug("answer admission review", "error", err)
	}
}

// answer turns the review in b into an answered one, bytes to bytes; the result is b's. An
// error means that it is no review at all; everything else is said in the answer.
func (h *handler) answer(b *buffers, path string) ([]byte, error) {
	in, err := decode(b.body.Bytes())
	if in.Request == nil {
		return nil, fmt.Errorf("decode admission review: %w", err)
	}
	var response *admissionv1.AdmissionResponse
	if err != nil {
		h.metrics.failure.WithLabelValues(badRequest).Inc()
		response = refuse(in.Request.UID, err.Error())
	} else {
		response = h.review(b, in.Request, path)
	}
	return b.write(in.TypeMeta, response)
}

// review decides on one request. A panic is a bug of ours: the pod is refused, the process
// lives on.
func (h *handler) review(b *buffers, in *request, path string) (response *admissionv1.AdmissionResponse) {
	defer func() {
		if bug := recover(); bug != nil {
			h.metrics.failure.WithLabelValues(internalBug).Inc()
			h.log.Error("injection panicked", "panic", bug, "pod", in.Object.Metadata.Name, "stack", string(debug.Stack()))
			response = refuse(in.UID, "internal error of the injector, see the log of the control plane")
		}
	}()
	if k := in.Kind.Kind; k != "" && k != "Pod" {
		return h.skip(in.UID, notAPod)
	}
	if op := in.Operation; op != "" && op != admissionv1.Create {
		return h.skip(in.UID, notCreated)
	}
	settings := h.state.settings.Load()
	if settings == nil {
		h.metrics.failure.WithLabelValues(notReady).Inc()
		return refuse(in.UID, "the injector has no valid configuration yet, see the log of the control plane")
	}
	pod := in.Object.pod()
	request := Request{
		Pod: pod, Namespace: in.Namespace,
		NamespaceAnnotations: h.state.namespaces.of(cmp.Or(pod.Namespace, in.Namespace)),
		Native:               h.state.native.supported(pod.Spec.NodeName), Path: ParsePath(path),
	}
	result := Inject(settings, request)
	h.report(request, in.DryRun, result)
	out := h.respond(in.UID, result)
	if result.Pod == nil {
		return out
	}
	create := b.patch.Native
	if result.Composed {
		create = b.patch.Composed
	}
	patch, err := create(pod, result.Pod, settings.known)
	if err != nil {
		h.metrics.failure.WithLabelValues(internalBug).Inc()
		return refuse(in.UID, err.Error())
	}
	h.metrics.success.WithLabelValues(string(result.Decision.Reason)).Inc()
	if len(patch) > 0 {
		kind := admissionv1.PatchTypeJSONPatch
		out.Patch, out.PatchType = patch, &kind
	}
	return out
}

// respond writes a Result as an answer, without the patch.
func (h *handler) respond(uid types.UID, result Result) *admissionv1.AdmissionResponse {
	switch {
	case !result.Decision.Inject:
		out := h.skip(uid, string(result.Decision.Reason))
		out.Warnings = warnings(result.Problems)
		return out
	case result.Pod == nil:
		fatal := fatalOnly(result.Problems)
		h.metrics.failure.WithLabelValues(fatal[0].Reason).Inc()
		out := refuse(uid, listed(fatal))
		// What would be said about the corrected pod is said at once.
		out.Warnings = warnings(result.Problems)
		return out
	}
	return &admissionv1.AdmissionResponse{
		UID: uid, Allowed: true, Warnings: warnings(result.Problems),
		AuditAnnotations: map[string]string{"injected": string(result.Decision.Reason)},
	}
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

// maxListed is how many problems an answer names. Nobody reads more, and the API server
// passes on only a part of long warnings.
const maxListed = 100

func warnings(ps []problem.Problem) []string {
	var out []string
	for _, p := range ps {
		if p.Fatal {
			continue
		}
		if len(out) == maxListed {
			return append(out, "and further warnings")
		}
		out = append(out, p.String())
	}
	return out
}

// listed is problem.Join for a list of any length.
func listed(ps []problem.Problem) string {
	if len(ps) <= maxListed {
		return problem.Join(ps)
	}
	return problem.Join(ps[:maxListed]) + "\nand " + strconv.Itoa(len(ps)-maxListed) + " more"
}
