package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sluicemesh/sluice/webhook/policy"
)

// Webhook is an injection webhook of the cluster.
type Webhook struct {
	// Name is its MutatingWebhookConfiguration's.
	Name string

	post func(context.Context, []byte) ([]byte, error)
}

// Answer is what a webhook says about a pod.
type Answer struct {
	// Pod is the injected pod; nil when it was left alone.
	Pod *corev1.Pod
	// Reason is the webhook's own word for its decision; empty where it has none.
	Reason   string
	Warnings []string
}

// Webhook returns the injection webhook of a configuration.
func (s *Source) Webhook(ctx context.Context, name string) (*Webhook, error) {
	if s.client == nil {
		return nil, fmt.Errorf("ask the webhook of %s: %w", name, ErrNoCluster)
	}
	config := &admissionv1.MutatingWebhookConfiguration{}
	if err := s.client.Get(ctx, client.ObjectKey{Name: name}, config); err != nil {
		return nil, fmt.Errorf("read MutatingWebhookConfiguration %s: %w", name, err)
	}
	for i := range config.Webhooks {
		if !strings.HasSuffix(config.Webhooks[i].Name, policy.WebhookSuffix) {
			continue
		}
		post, err := s.poster(config.Webhooks[i].ClientConfig)
		if err != nil {
			return nil, fmt.Errorf("ask the webhook of %s: %w", name, err)
		}
		s.note("settings: those of the webhook of %s in cluster %s", name, s.host)
		return &Webhook{Name: name, post: post}, nil
	}
	return nil, fmt.Errorf("MutatingWebhookConfiguration %s has no entry for an injector, %s", name, policy.WebhookSuffix)
}

// poster sends a body to the webhook: to its Service by way of the API server, which can
// reach it, or straight to its URL.
func (s *Source) poster(c admissionv1.WebhookClientConfig) (func(context.Context, []byte) ([]byte, error), error) {
	if c.Service == nil {
		return direct(c)
	}
	config, err := s.target.RESTConfig()
	if err != nil {
		return nil, err
	}
	hc, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	port, path := int32(443), ""
	if c.Service.Port != nil {
		port = *c.Service.Port
	}
	if c.Service.Path != nil {
		path = *c.Service.Path
	}
	url := fmt.Sprintf("%s/api/v1/namespaces/%s/services/https:%s:%d/proxy%s",
		strings.TrimSuffix(config.Host, "/"), c.Service.Namespace, c.Service.Name, port, path)
	if !strings.Contains(config.Host, "://") {
		url = "https://" + url
	}
	return poster{hc, url}.post, nil
}

func direct(c admissionv1.WebhookClientConfig) (func(context.Context, []byte) ([]byte, error), error) {
	if c.URL == nil {
		return nil, errors.New("it has neither a Service nor a URL")
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's roots: %w", err)
	}
	if len(c.CABundle) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(c.CABundle) {
			return nil, errors.New("its caBundle has no certificate")
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return poster{&http.Client{Transport: transport}, *c.URL}.post, nil
}

type poster struct {
	client *http.Client
	url    string
}

func (p poster) post(ctx context.Context, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", p.url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %.300s", p.url, response.Status, answer)
	}
	return answer, nil
}

// Ask sends a pod to the webhook as if it were to be created, as a dry run. A refusal is an
// error with the webhook's message.
func (w *Webhook) Ask(ctx context.Context, pod *corev1.Pod, namespace string) (Answer, error) {
	object, err := json.Marshal(pod)
	if err != nil {
		return Answer{}, fmt.Errorf("write the pod: %w", err)
	}
	review, err := json.Marshal(reviewOf(object, namespace))
	if err != nil {
		return Answer{}, fmt.Errorf("write the review: %w", err)
	}
	body, err := w.post(ctx, review)
	if err != nil {
		return Answer{}, fmt.Errorf("ask the webhook of %s: %w", w.Name, err)
	}
	var in admissionreview.AdmissionReview
	if err := json.Unmarshal(body, &in); err != nil || in.Response == nil {
		return Answer{}, fmt.Errorf("the webhook of %s answered no review: %.300s", w.Name, body)
	}
	r := in.Response
	if !r.Allowed {
		message := "without a message"
		if r.Result != nil && r.Result.Message != "" {
			message = r.Result.Message
		}
		return Answer{}, fmt.Errorf("refused by the webhook of %s: %s", w.Name, message)
	}
	answer := Answer{Warnings: r.Warnings, Reason: r.AuditAnnotations["skipped"] + r.AuditAnnotations["injected"]}
	if len(r.Patch) == 0 {
		if r.AuditAnnotations["injected"] != "" {
			answer.Pod = pod // injected before, and still the same
		}
		return answer, nil
	}
	answer.Pod, err = patched(object, r.Patch)
	return answer, err
}

func reviewOf(object []byte, namespace string) admissionreview.AdmissionReview {
	dry := true
	kind := metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}
	resource := metav1.GroupVersionResource{Version: "v1", Resource: "pods"}
	return admissionreview.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionreview.AdmissionRequest{
			UID: types.UID("dry-run"), Kind: kind, RequestKind: &kind, Resource: resource, RequestResource: &resource,
			Namespace: namespace, Operation: admissionreview.Create, DryRun: &dry, Object: runtime.RawExtension{Raw: object},
		},
	}
}

func patched(object, patch []byte) (*corev1.Pod, error) {
	steps, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, fmt.Errorf("read the webhook's patch: %w", err)
	}
	out, err := steps.Apply(object)
	if err != nil {
		return nil, fmt.Errorf("apply the webhook's patch: %w", err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(out, pod); err != nil {
		return nil, fmt.Errorf("read the patched pod: %w", err)
	}
	return pod, nil
}
