package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/webhook/patch"
)

const (
	// maxBody is the greatest review that is read. A pod has at most 1.5 MiB in etcd; a
	// review may hold it twice.
	maxBody = 6 << 20
	// maxRoom bounds the bodies that are in memory at once. The memory for a review is some
	// times its body.
	maxRoom = 32 << 20
	// maxKept is the greatest buffer that is kept for another review.
	maxKept = 256 << 10
	// bodyTime is how long a body may take, and how long one waits for room. The API server
	// gives up after ten seconds unless it is told otherwise, after thirty at most.
	bodyTime = 10 * time.Second
)

// buffers is the memory of one review, from reading it to its answer.
type buffers struct {
	body   bytes.Buffer
	patch  patch.Writer
	answer bytes.Buffer
	room   int64 // taken from the pool's
}

// bufferPool lends buffers. It bounds what all of them hold.
type bufferPool struct {
	pool sync.Pool
	room *semaphore.Weighted
}

func newBufferPool() *bufferPool {
	return &bufferPool{room: semaphore.NewWeighted(maxRoom)}
}

// failure is why there is no review to answer.
type failure struct {
	reason string
	status int
	text   string
}

// read takes the request's body into buffers, which have to be released.
func (p *bufferPool) read(w http.ResponseWriter, r *http.Request) (*buffers, *failure) {
	if r.ContentLength > maxBody {
		return nil, &failure{badRequest, http.StatusRequestEntityTooLarge, "body is larger than 6 MiB"}
	}
	size := r.ContentLength
	if size < 0 {
		size = maxBody
	}
	if !p.wait(r.Context(), size) {
		return nil, &failure{busy, http.StatusServiceUnavailable, "too many large reviews at once"}
	}
	b := p.get()
	b.room = size
	// Somebody who sends slowly must not keep the room. Where the connection has no deadlines
	// there is nothing to keep.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	b.body.Grow(int(max(r.ContentLength, 0)) + bytes.MinRead)
	_, err := b.body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil && b.body.Len() > 0 {
		return b, nil
	}
	p.release(b)
	switch tooLarge := new(http.MaxBytesError); {
	case errors.As(err, &tooLarge):
		return nil, &failure{badRequest, http.StatusRequestEntityTooLarge, "body is larger than 6 MiB"}
	case err != nil:
		return nil, &failure{badRequest, http.StatusBadRequest, "read body: " + err.Error()}
	}
	return nil, &failure{badRequest, http.StatusBadRequest, "no body found"}
}

// get returns empty buffers, which have to be released.
func (p *bufferPool) get() *buffers {
	if b, ok := p.pool.Get().(*buffers); ok {
		return b
	}
	return &buffers{}
}

// wait reports whether there is room for a body; it waits for it, but not for long.
func (p *bufferPool) wait(ctx context.Context, size int64) bool {
	if p.room.TryAcquire(size) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, bodyTime)
	defer cancel()
	return p.room.Acquire(ctx, size) == nil
}

// release gives the buffers back; nothing of them may be used afterwards.
func (p *bufferPool) release(b *buffers) {
	p.room.Release(b.room)
	b.room = 0
	b.body.Reset()
	b.patch.Forget()
	if max(b.body.Cap(), b.patch.Kept(), b.answer.Cap()) <= maxKept {
		p.pool.Put(b)
	}
}

// write writes an answered review. The patch is response.Patch; it is not encoded again.
func (b *buffers) write(kind metav1.TypeMeta, response *admissionv1.AdmissionResponse) ([]byte, error) {
	a := &b.answer
	a.Reset()
	bare := *response
	bare.Patch = nil
	if err := json.NewEncoder(a).Encode(admissionv1.AdmissionReview{TypeMeta: kind, Response: &bare}); err != nil {
		return nil, fmt.Errorf("encode admission review: %w", err)
	}
	if response.Patch != nil {
		a.Truncate(a.Len() - len("}}\n"))
		a.WriteString(`,"patch":"`)
		a.Grow(base64.StdEncoding.EncodedLen(len(response.Patch)) + len(`"}}`))
		a.Write(base64.StdEncoding.AppendEncode(a.AvailableBuffer(), response.Patch))
		a.WriteString(`"}}`)
	}
	return a.Bytes(), nil
}
