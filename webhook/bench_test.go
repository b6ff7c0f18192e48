package webhook

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// benchReview is a review of the usual pod, changed by edit.
func benchReview(t testing.TB, edit func(*corev1.Pod)) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/review.json")
	if err != nil {
		t.Fatal(err)
	}
	if edit == nil {
		return body
	}
	var review map[string]json.RawMessage
	var request map[string]json.RawMessage
	pod := &corev1.Pod{}
	for _, step := range []struct {
		from []byte
		to   any
	}{{body, &review}, {nil, &request}, {nil, pod}} {
		data := step.from
		switch step.to.(type) {
		case *map[string]json.RawMessage:
			if data == nil {
				data = review["request"]
			}
		case *corev1.Pod:
			data = request["object"]
		}
		if err := json.Unmarshal(data, step.to); err != nil {
			t.Fatal(err)
		}
	}
	edit(pod)
	request["object"] = encoded(t, pod)
	review["request"] = encoded(t, request)
	return encoded(t, review)
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// benchPods are the sizes of pods that are quoted.
func benchPods() []struct {
	name string
	edit func(*corev1.Pod)
} {
	ports := func(n int) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			c := &pod.Spec.Containers[0]
			c.Ports = nil
			for i := range n {
				c.Ports = append(c.Ports, corev1.ContainerPort{Name: fmt.Sprintf("p%d", i), ContainerPort: int32(8000 + i), Protocol: corev1.ProtocolTCP})
			}
			for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
				p.HTTPGet.Port = intstr.FromInt32(8000)
			}
		}
	}
	env := func(n, size int) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			c := &pod.Spec.Containers[0]
			for i := range n {
				c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", i), Value: strings.Repeat("v", size)})
			}
		}
	}
	return []struct {
		name string
		edit func(*corev1.Pod)
	}{
		{"pod=usual", nil},
		{"ports=0", ports(0)},
		{"ports=5", ports(5)},
		{"ports=15", ports(15)},
		{"env=200", env(200, 20)},
		{"size=64kB", env(1000, 20)},
		{"size=1MB", env(8000, 85)},
	}
}

// BenchmarkInject answers one review, bytes to bytes.
func BenchmarkInject(b *testing.B) {
	for _, pod := range benchPods() {
		b.Run(pod.name, func(b *testing.B) {
			body := benchReview(b, pod.edit)
			h := testHandler(b)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				answerOnce(b, h, body)
			}
			checkInjected(b, h)
		})
	}
}

// BenchmarkInjectParallel is BenchmarkInject on all cores.
func BenchmarkInjectParallel(b *testing.B) {
	for _, pod := range benchPods() {
		b.Run(pod.name, func(b *testing.B) {
			body := benchReview(b, pod.edit)
			h := testHandler(b)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					answerOnce(b, h, body)
				}
			})
			checkInjected(b, h)
		})
	}
}

func answerOnce(b *testing.B, h *handler, body []byte) {
	buf := h.buffers.get()
	buf.body.Write(body)
	if _, err := h.answer(buf, "/inject"); err != nil {
		b.Error(err)
	}
	h.buffers.release(buf)
}

func checkInjected(b *testing.B, h *handler) {
	b.Helper()
	if n := count(h.metrics.success.WithLabelValues("PolicyEnabled")); n != float64(b.N) {
		b.Fatalf("%v of %d pods were injected", n, b.N)
	}
}
