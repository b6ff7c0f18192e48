package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	jsonpatch "gomodules.xyz/jsonpatch/v2"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/webhook"
)

// peer is a server that is measured.
type peer string

const (
	// sluice is the webhook itself.
	sluice peer = "sluice"
	// classic injects with the same rules, but does what is around them as webhooks mostly do:
	// encoding/json, and a patch from comparing the pod's JSON before and after.
	classic peer = "classic"
	// bare decodes the review and the pod with encoding/json and allows it: what a webhook
	// costs that does nothing.
	bare peer = "floor"
)

func peers() []peer { return []peer{sluice, classic, bare} }

// handler is nil for the webhook itself.
func (p peer) handler(s *webhook.Settings) (http.Handler, error) {
	switch p {
	case sluice:
		return nil, nil
	case classic:
		return reviews(func(r *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) { return inject(s, r) }), nil
	case bare:
		return reviews(allow), nil
	}
	return nil, fmt.Errorf("unknown server %q", p)
}

// reviews answers AdmissionReviews.
type reviews func(*admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error)

// ServeHTTP implements http.Handler.
func (answer reviews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in admissionv1.AdmissionReview
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || in.Request == nil {
		http.Error(w, fmt.Sprintf("no review: %v", err), http.StatusBadRequest)
		return
	}
	out := admissionv1.AdmissionReview{TypeMeta: in.TypeMeta}
	if out.Response, err = answer(in.Request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := json.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // the client notices
}

func allow(r *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	var pod corev1.Pod
	if err := json.Unmarshal(r.Object.Raw, &pod); err != nil {
		return nil, fmt.Errorf("decode pod: %w", err)
	}
	return &admissionv1.AdmissionResponse{UID: r.UID, Allowed: true}, nil
}

func inject(s *webhook.Settings, r *admissionv1.AdmissionRequest) (*admissionv1.AdmissionResponse, error) {
	var pod corev1.Pod
	if err := json.Unmarshal(r.Object.Raw, &pod); err != nil {
		return nil, fmt.Errorf("decode pod: %w", err)
	}
	result := webhook.Inject(s, webhook.Request{Pod: &pod, Namespace: r.Namespace, Native: true})
	data, err := json.Marshal(result.Pod)
	if err != nil {
		return nil, fmt.Errorf("encode pod: %w", err)
	}
	steps, err := jsonpatch.CreatePatch(r.Object.Raw, data)
	if err != nil {
		return nil, fmt.Errorf("create patch: %w", err)
	}
	patch, err := json.Marshal(steps)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	return &admissionv1.AdmissionResponse{UID: r.UID, Allowed: true, Patch: patch, PatchType: &kind}, nil
}
