// Package kube asks the Kubernetes API server the few things that the network plug-in and
// its installer must know of pods, and tells it the few they have to say.
//
// It is plain HTTP and JSON: the plug-in is started for every pod of a node and must be up
// at once, and the installer runs on every node and must be small. It caches nothing and
// retries nothing; who calls it decides what a failure means.
package kube

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
	"net/url"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// Access is how the API server is reached.
type Access struct {
	Server string // "https://10.96.0.1:443"
	CA     []byte // PEM; what the server's certificate must be signed by
	Token  string // of the service account
}

// Client makes requests with one Access. It is safe for concurrent use.
type Client struct {
	access Access
	http   *http.Client
}

// Timeouts of one request, a watch excepted.
const (
	dialTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
)

// New returns a client. It is an error if the CA is no certificate. Close it when done.
func New(a Access) (*Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CA) {
		return nil, errors.New("the CA of the API server is no PEM certificate")
	}
	return &Client{access: a, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: requestTimeout,
		IdleConnTimeout:       time.Minute,
	}}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the error of a request that the API server refused.
type Status struct {
	Code    int    // of HTTP
	Message string // the server's, may be empty
}

// Error says what the server said.
func (s *Status) Error() string {
	if s.Message == "" {
		return fmt.Sprintf("the API server answers %d %s", s.Code, http.StatusText(s.Code))
	}
	return fmt.Sprintf("the API server answers %d: %s", s.Code, s.Message)
}

// Code is the HTTP status of an error that is a Status, 0 for others.
func Code(err error) int {
	var s *Status
	if errors.As(err, &s) {
		return s.Code
	}
	return 0
}

// Pod returns one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*pod.Pod, error) {
	p := &pod.Pod{}
	if err := c.get(ctx, podPath(namespace, name), p); err != nil {
		return nil, fmt.Errorf("get pod %s/%s: %w", namespace, name, err)
	}
	return p, nil
}

// DeletePod deletes a pod, if it is still the one of the UID.
func (c *Client) DeletePod(ctx context.Context, p *pod.Pod) error {
	body := map[string]any{
		"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": map[string]string{"uid": p.Metadata.UID},
	}
	if err := c.send(ctx, http.MethodDelete, podPath(p.Metadata.Namespace, p.Metadata.Name), "application/json", body); err != nil {
		return fmt.Errorf("delete pod %s/%s: %w", p.Metadata.Namespace, p.Metadata.Name, err)
	}
	return nil
}

// LabelPod sets a label of a pod.
func (c *Client) LabelPod(ctx context.Context, p *pod.Pod, key, value string) error {
	body := map[string]any{"metadata": map[string]any{"labels": map[string]string{key: value}, "uid": p.Metadata.UID}}
	if err := c.send(ctx, http.MethodPatch, podPath(p.Metadata.Namespace, p.Metadata.Name), mergePatch, body); err != nil {
		return fmt.Errorf("label pod %s/%s: %w", p.Metadata.Namespace, p.Metadata.Name, err)
	}
	return nil
}

const mergePatch = "application/merge-patch+json"

// Event is something to tell the users of a pod.
type Event struct {
	Warning         bool
	Reason, Message string // an UpperCamel code, and a sentence
	Node            string // where it happened
	Time            time.Time
}

// reporter is who events come from.
const reporter = "istio-cni-node"

// Tell records an event of a pod.
func (c *Client) Tell(ctx context.Context, p *pod.Pod, e Event) error {
	kind := "Normal"
	if e.Warning {
		kind = "Warning"
	}
	at := e.Time.UTC().Format(time.RFC3339)
	body := map[string]any{
		"apiVersion": "v1", "kind": "Event", "type": kind, "reason": e.Reason, "message": e.Message, "count": 1,
		"metadata": map[string]string{"generateName": p.Metadata.Name + ".", "namespace": p.Metadata.Namespace},
		"involvedObject": map[string]string{
			"apiVersion": "v1", "kind": "Pod", "namespace": p.Metadata.Namespace, "name": p.Metadata.Name, "uid": p.Metadata.UID,
		},
		"source":         map[string]string{"component": reporter, "host": e.Node},
		"firstTimestamp": at, "lastTimestamp": at,
	}
	path := "/api/v1/namespaces/" + url.PathEscape(p.Metadata.Namespace) + "/events"
	if err := c.send(ctx, http.MethodPost, path, "application/json", body); err != nil {
		return fmt.Errorf("record an event of pod %s/%s: %w", p.Metadata.Namespace, p.Metadata.Name, err)
	}
	return nil
}

// Stays reports whether a DaemonSet exists and is not about to go.
func (c *Client) Stays(ctx context.Context, namespace, name string) (bool, error) {
	var d struct {
		Metadata pod.Metadata `json:"metadata"`
	}
	err := c.get(ctx, "/apis/apps/v1/namespaces/"+url.PathEscape(namespace)+"/daemonsets/"+url.PathEscape(name), &d)
	if Code(err) == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get DaemonSet %s/%s: %w", namespace, name, err)
	}
	return d.Metadata.DeletionTimestamp == "", nil
}

// Untaint takes the taints of a key off a node; removed reports whether there was one.
func (c *Client) Untaint(ctx context.Context, name, key string) (removed bool, err error) {
	path := "/api/v1/nodes/" + url.PathEscape(name)
	var node struct {
		Metadata pod.Metadata `json:"metadata"`
		Spec     struct {
			Taints []json.RawMessage `json:"taints"`
		} `json:"spec"`
	}
	if err := c.get(ctx, path, &node); err != nil {
		return false, fmt.Errorf("get node %s: %w", name, err)
	}
	keep := []json.RawMessage{}
	for _, taint := range node.Spec.Taints {
		var t struct {
			Key string `json:"key"`
		}
		if err := json.Unmarshal(taint, &t); err != nil {
			return false, fmt.Errorf("read the taints of node %s: %w", name, err)
		}
		if t.Key != key {
			keep = append(keep, taint)
		}
	}
	if len(keep) == len(node.Spec.Taints) {
		return false, nil
	}
	// The patch replaces the whole list: it must be still the one that was read.
	body := map[string]any{
		"metadata": map[string]string{"resourceVersion": node.Metadata.ResourceVersion},
		"spec":     map[string]any{"taints": keep},
	}
	if err := c.send(ctx, http.MethodPatch, path, mergePatch, body); err != nil {
		return false, fmt.Errorf("untaint node %s: %w", name, err)
	}
	return true, nil
}

func podPath(namespace, name string) string {
	return "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods/" + url.PathEscape(name)
}

// get reads an object into out.
func (c *Client) get(ctx context.Context, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the API server's answer: %w", err)
	}
	return nil
}

// send writes an object and drops the answer.
func (c *Client) send(ctx context.Context, method, path, contentType string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, method, path, contentType, text)
	if err != nil {
		return err
	}
	drain(resp.Body)
	return resp.Body.Close()
}

// do makes a request; the answer is one of success.
func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.access.Server, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.access.Token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", reporter)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	defer drain(resp.Body)
	refused := &Status{Code: resp.StatusCode}
	var said struct {
		Message string `json:"message"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&said) == nil {
		refused.Message = said.Message
	}
	return nil, refused
}

// drain lets the connection be used again.
func drain(body io.Reader) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 1<<16)) // what is lost is a connection
}
