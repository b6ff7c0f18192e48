package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

// FuzzReview: whatever bytes are posted, the answer is a review with the right UID or an
// error, and never a panic. What it injects is a pod, and injecting that again changes
// nothing.
func FuzzReview(f *testing.F) {
	data, err := os.ReadFile("testdata/review.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, "/inject")
	for seed := range uint64(20) {
		pod := encoded(f, randomPod(rand.New(rand.NewPCG(seed, 5))))
		f.Add(reviewOf(pod), "/inject")
	}
	for _, p := range hostilePods() {
		f.Add(reviewOf(encoded(f, p.make(20))), "/inject")
	}
	f.Add([]byte(`{"request":{"uid":"u","object":{"spec":7}}}`), "/inject/:ENV:a=b:ENV:=:ENV:c")
	f.Add([]byte(`{"request":null}`), "/inject/cluster//net")
	f.Add([]byte(`{"request":{"uid":"u","object":{"metadata":{"annotations":{"sidecar.istio.io/status":"{}"}},"spec":{"containers":[{},{}]}}}}`), "/")
	h := testHandler(f)
	f.Fuzz(func(t *testing.T, body []byte, path string) {
		answer, err := answerBytes(h, body, path)
		if n := count(h.metrics.failure.WithLabelValues(internalBug)); n != 0 {
			t.Fatal("the injector panicked")
		}
		if err != nil {
			return
		}
		var out admissionv1.AdmissionReview
		if err := json.Unmarshal(answer, &out); err != nil || out.Response == nil {
			t.Fatalf("answer %s: %v", answer, err)
		}
		in, _ := decode(body)
		if out.Response.UID != in.Request.UID {
			t.Errorf("answer for %q to review %q", out.Response.UID, in.Request.UID)
		}
		if out.Response.Patch != nil {
			checkAgain(t, h, in, path, out.Response.Patch)
		}
	})
}

// reviewOf is a review of the object.
func reviewOf(object []byte) []byte {
	return bytes.Join([][]byte{[]byte(`{"request":{"uid":"u1","namespace":"shop","object":`), object, []byte(`}}`)}, nil)
}

// checkAgain applies a patch to the pod as an API server would have sent it, and sends the
// result again.
func checkAgain(t *testing.T, h *handler, in *review, path string, patch []byte) {
	t.Helper()
	decoded, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatalf("patch %s: %v", patch, err)
	}
	object, err := decoded.Apply(encoded(t, in.Request.Object.pod()))
	if err != nil {
		t.Fatalf("apply %s: %v", patch, err)
	}
	if err := json.Unmarshal(object, &corev1.Pod{}); err != nil {
		t.Fatalf("the patched object is no pod: %v", err)
	}
	answer, err := answerBytes(h, bytes.Join([][]byte{
		[]byte(`{"request":{"uid":"u1","namespace":`), encoded(t, in.Request.Namespace), []byte(`,"object":`), object, []byte(`}}`),
	}, nil), path)
	if err != nil {
		t.Fatal(err)
	}
	var again admissionv1.AdmissionReview
	if err := json.Unmarshal(answer, &again); err != nil {
		t.Fatal(err)
	}
	if !again.Response.Allowed || again.Response.Patch != nil {
		t.Errorf("the second injection of %s: %s %v", object, again.Response.Patch, again.Response.Result)
	}
}

// TestBodiesHaveRoom: bodies wait while those in memory are as large as allowed, and are
// refused when nothing is given back for long.
func TestBodiesHaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newBufferPool()
		request := func() *http.Request {
			return httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/inject", strings.NewReader(strings.Repeat("x", maxBody)))
		}
		var held []*buffers
		for range maxRoom / maxBody {
			b, failed := pool.read(httptest.NewRecorder(), request())
			if failed != nil {
				t.Fatalf("a body in the room is refused: %v", failed)
			}
			held = append(held, b)
		}
		start := time.Now()
		if _, failed := pool.read(httptest.NewRecorder(), request()); failed == nil || failed.status != http.StatusServiceUnavailable || failed.reason != busy {
			t.Errorf("one more body: %v; want a refusal", failed)
		}
		if waited := time.Since(start); waited != bodyTime {
			t.Errorf("it waited %s; want %s", waited, bodyTime)
		}
		time.AfterFunc(time.Second, func() { pool.release(held[0]) })
		if _, failed := pool.read(httptest.NewRecorder(), request()); failed != nil {
			t.Errorf("a body that waited for a second: %v", failed)
		}
	})
}

// TestBuffersAreNotKept: the memory of a large review is not kept for small ones.
func TestBuffersAreNotKept(t *testing.T) {
	pool := newBufferPool()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/inject", strings.NewReader(strings.Repeat("x", 2*maxKept)))
	large, failed := pool.read(httptest.NewRecorder(), r)
	if failed != nil {
		t.Fatal(failed)
	}
	pool.release(large)
	if pool.get() == large {
		t.Error("a large buffer is lent again")
	}
}

// slowBody is a connection's body that does not come: it lets the clock go on.
type slowBody struct{ deadline <-chan time.Time }

func (s slowBody) Read([]byte) (int, error) {
	<-s.deadline
	return 0, os.ErrDeadlineExceeded
}

// deadlines is an http.ResponseWriter whose connection has deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	at chan time.Time
}

func (d deadlines) SetReadDeadline(t time.Time) error {
	time.AfterFunc(time.Until(t), func() { d.at <- t })
	return nil
}

// TestSlowBody: somebody who sends no body does not keep the room for long.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := newBufferPool()
		w := deadlines{httptest.NewRecorder(), make(chan time.Time, 1)}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/inject", io.NopCloser(slowBody{w.at}))
		r.ContentLength = maxBody
		start := time.Now()
		if _, failed := pool.read(w, r); failed == nil || failed.status != http.StatusBadRequest {
			t.Errorf("the body is taken: %v", failed)
		}
		if took := time.Since(start); took != bodyTime {
			t.Errorf("it was waited for %s; want %s", took, bodyTime)
		}
		if !pool.room.TryAcquire(maxRoom) {
			t.Error("the room is not free again")
		}
	})
}

// TestServeOverHTTP: over a real connection, kept alive, a length is sent and the next
// review is answered after a body that was refused.
func TestServeOverHTTP(t *testing.T) {
	server := httptest.NewServer(testHandler(t))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, body := range []string{string(reviewOf([]byte(`{"spec":{"containers":[{"name":"a"}]}}`))), "nonsense", string(reviewOf([]byte(`{}`)))} {
		response, err := client.Post(server.URL+"/inject", jsonType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(data)) != response.ContentLength {
			t.Errorf("%d bytes, announced %d", len(data), response.ContentLength)
		}
		response.Body.Close()
		if ok := body != "nonsense"; ok != (response.StatusCode == http.StatusOK) {
			t.Errorf("%.60s: %s", body, response.Status)
		}
	}
}
