package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

// usual is a review as an API server writes it for a pod of a Deployment, field managers
// included.
//
//go:embed review.json
var usual []byte

// review is a body and what goes with it.
type review struct {
	name string
	body []byte
	// share is how many of it are sent for each of the usual one: one in so many.
	share int
}

// reviewsOf are the sizes that are quoted.
func reviewsOf() ([]review, error) {
	out := []review{{"5 kB", usual, 1}}
	for _, r := range []review{{"40 kB", nil, 5}, {"64 kB", nil, 5}, {"1 MB", nil, 50}} {
		var size int
		var unit string
		if _, err := fmt.Sscan(r.name, &size, &unit); err != nil {
			return nil, err
		}
		if unit == "MB" {
			size *= 1000
		}
		body, err := grown(size * 1000)
		if err != nil {
			return nil, fmt.Errorf("make a review of %s: %w", r.name, err)
		}
		r.body = body
		out = append(out, r)
	}
	return out, nil
}

// grown is the usual review with so many variables in its container that it has size bytes,
// give or take one variable.
func grown(size int) ([]byte, error) {
	var whole struct {
		Kind       string                     `json:"kind"`
		APIVersion string                     `json:"apiVersion"`
		Request    map[string]json.RawMessage `json:"request"`
	}
	if err := json.Unmarshal(usual, &whole); err != nil {
		return nil, err
	}
	var pod corev1.Pod
	if err := json.Unmarshal(whole.Request["object"], &pod); err != nil {
		return nil, err
	}
	c := &pod.Spec.Containers[0]
	for i, left := 0, size-len(usual); left > 0; i++ {
		v := corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%05d", i), Value: strings.Repeat("v", 40)}
		c.Env = append(c.Env, v)
		left -= len(v.Name) + len(v.Value) + len(`{"name":"","value":""},`)
	}
	var err error
	if whole.Request["object"], err = json.Marshal(&pod); err != nil {
		return nil, err
	}
	return json.Marshal(whole)
}

// check says what is wrong with an answer of p to r: it has to allow the pod and, unless
// nothing is injected, lead to one with a proxy.
func check(p peer, r review, answer []byte) error {
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &out); err != nil {
		return fmt.Errorf("answer of %s: %w", p, err)
	}
	var in struct {
		Request struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(r.body, &in); err != nil {
		return err
	}
	if out.Response == nil || !out.Response.Allowed {
		return fmt.Errorf("%s does not allow the pod: %.300s", p, answer)
	}
	if p == bare {
		return nil
	}
	patch, err := jsonpatch.DecodePatch(out.Response.Patch)
	if err != nil {
		return fmt.Errorf("patch of %s: %w", p, err)
	}
	data, err := patch.Apply(in.Request.Object)
	if err != nil {
		return fmt.Errorf("apply patch of %s: %w", p, err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(data, &pod); err != nil {
		return fmt.Errorf("patched pod of %s: %w", p, err)
	}
	if !slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers),
		func(c corev1.Container) bool { return c.Name == "istio-proxy" }) {
		return errors.New("the pod that " + string(p) + " makes has no proxy")
	}
	return nil
}
