package kube

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// serve starts an API server of one handler and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	text, err := Access{Server: server.URL, CA: ca, Token: "secret"}.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	access, err := ParseKubeconfig(text)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(access)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPod(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/api/v1/namespaces/shop/pods/web" {
			http.Error(w, `{"message":"pods \"web\" is forbidden"}`, http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"metadata":{"name":"web","uid":"u1"},"spec":{"containers":[{"name":"app"}]}}`)
	})
	p, err := c.Pod(t.Context(), "shop", "web")
	if err != nil || p.Metadata.UID != "u1" || p.Spec.Containers[0].Name != "app" {
		t.Errorf("Pod = %+v, %v", p, err)
	}
	_, err = c.Pod(t.Context(), "shop", "other")
	if Code(err) != http.StatusForbidden || !strings.Contains(err.Error(), `get pod shop/other: the API server answers 403: pods "web" is forbidden`) {
		t.Errorf("refused: %v", err)
	}
}

func TestWrites(t *testing.T) {
	var got []string
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(body))
	})
	p := &pod.Pod{Metadata: pod.Metadata{Name: "web", Namespace: "shop", UID: "u1"}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, err := range []error{
		c.DeletePod(t.Context(), p), c.LabelPod(t.Context(), p, "a/b", "true"),
		c.Tell(t.Context(), p, Event{Warning: true, Reason: "R", Message: "m", Node: "n", Time: at}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		`DELETE /api/v1/namespaces/shop/pods/web application/json {"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u1"}}`,
		`PATCH /api/v1/namespaces/shop/pods/web application/merge-patch+json {"metadata":{"labels":{"a/b":"true"},"uid":"u1"}}`,
		`POST /api/v1/namespaces/shop/events application/json {"apiVersion":"v1","count":1,"firstTimestamp":"2026-01-02T03:04:05Z",` +
			`"involvedObject":{"apiVersion":"v1","kind":"Pod","name":"web","namespace":"shop","uid":"u1"},"kind":"Event",` +
			`"lastTimestamp":"2026-01-02T03:04:05Z","message":"m","metadata":{"generateName":"web.","namespace":"shop"},` +
			`"reason":"R","source":{"component":"istio-cni-node","host":"n"},"type":"Warning"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestFollow(t *testing.T) {
	ends := ""
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("fieldSelector") != "spec.nodeName=n1" {
			t.Errorf("selector %q", q.Get("fieldSelector"))
		}
		if q.Get("watch") == "" {
			fmt.Fprint(w, `{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`)
			return
		}
		if q.Get("resourceVersion") != "7" {
			t.Errorf("watch from %q", q.Get("resourceVersion"))
		}
		for _, event := range []string{"MODIFIED", "BOOKMARK", "DELETED", "ADDED"} {
			if err := json.NewEncoder(w).Encode(map[string]any{"type": event, "object": map[string]any{"metadata": map[string]string{"name": event}}}); err != nil {
				t.Error(err)
			}
		}
		fmt.Fprint(w, ends)
	})
	follow := func() ([]string, error) {
		var seen []string
		err := c.Follow(t.Context(), "n1", func(p *pod.Pod) { seen = append(seen, p.Metadata.Name) }, func() { seen = append(seen, "listed") })
		return seen, err
	}
	seen, err := follow()
	if diff := cmp.Diff([]string{"a", "b", "listed", "MODIFIED", "ADDED"}, seen); diff != "" || err != nil {
		t.Errorf("seen (-want +got), %v:\n%s", err, diff)
	}
	ends = `{"type":"ERROR","object":{"code":410,"message":"too old"}}`
	if _, err := follow(); Code(err) != http.StatusGone {
		t.Errorf("Follow: %v; want the server's error", err)
	}
}

func TestUntaint(t *testing.T) {
	taints, patch := "", ""
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"metadata":{"resourceVersion":"9"},"spec":{"taints":[%s]}}`, taints)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		patch = r.Method + " " + r.URL.Path + " " + string(body)
	})
	taints = `{"key":"a","effect":"NoSchedule","odd":1},{"key":"cni.istio.io/not-ready","effect":"NoSchedule"}`
	removed, err := c.Untaint(t.Context(), "n1", "cni.istio.io/not-ready")
	want := `PATCH /api/v1/nodes/n1 {"metadata":{"resourceVersion":"9"},"spec":{"taints":[{"key":"a","effect":"NoSchedule","odd":1}]}}`
	if err != nil || !removed || patch != want {
		t.Errorf("Untaint = %v, %v, told %s; want %s", removed, err, patch, want)
	}
	taints, patch = `{"key":"a"}`, ""
	if removed, err := c.Untaint(t.Context(), "n1", "cni.istio.io/not-ready"); err != nil || removed || patch != "" {
		t.Errorf("Untaint of a node without it = %v, %v, told %s", removed, err, patch)
	}
}

func TestStays(t *testing.T) {
	answer := ""
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, answer)
	})
	for text, want := range map[string]bool{
		"": false, `{"metadata":{"name":"d"}}`: true, `{"metadata":{"deletionTimestamp":"2026-01-02T03:04:05Z"}}`: false,
	} {
		answer = text
		if got, err := c.Stays(t.Context(), "istio-system", "istio-cni-node"); err != nil || got != want {
			t.Errorf("Stays of %q = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestEnds(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Pod(ctx, "a", "b"); err == nil {
		t.Error("a request outlived its context")
	}
	if _, err := New(Access{CA: []byte("none")}); err == nil {
		t.Error("a CA that is none was taken")
	}
	for _, text := range []string{"", "{}", `{"clusters":[{}]}`} {
		if _, err := ParseKubeconfig([]byte(text)); err == nil {
			t.Errorf("kubeconfig %q was taken", text)
		}
	}
}
