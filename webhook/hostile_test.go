package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// hostilePod is a pod made to be slow, of a size n.
type hostilePod struct {
	name string
	n    int
	make func(n int) any
}

// hostilePods are as large as the API server accepts them, or larger.
func hostilePods() []hostilePod {
	app := func() *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "i"}}},
		}
	}
	env := func(n int) []corev1.EnvVar {
		var out []corev1.EnvVar
		for i := range n {
			out = append(out, corev1.EnvVar{Name: fmt.Sprintf("V%d", i), Value: "x"})
		}
		return out
	}
	return []hostilePod{
		{"variables", 10_000, func(n int) any {
			pod := app()
			pod.Spec.Containers[0].Env = env(n)
			return pod
		}},
		{"variables of the user's proxy", 10_000, func(n int) any {
			pod := app()
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "istio-proxy", Image: "auto", Env: env(n)})
			return pod
		}},
		{"mounts and ports of the user's proxy", 5_000, func(n int) any {
			pod := app()
			c := corev1.Container{Name: "istio-proxy", Image: "auto"}
			for i := range n {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: fmt.Sprintf("/m%d", i)})
				c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: int32(i + 1)})
			}
			pod.Spec.Containers = append(pod.Spec.Containers, c)
			return pod
		}},
		{"containers", 1_000, func(n int) any { return manyContainers(app(), n) }},
		{"volumes", 1_000, func(n int) any {
			pod := app()
			for i := range n {
				pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", i)})
			}
			return pod
		}},
		{"pull secrets", 10_000, func(n int) any {
			pod := app()
			for i := range n {
				pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: fmt.Sprintf("s%d", i)})
			}
			return pod
		}},
		{"unknown annotations", 4_000, func(n int) any {
			pod := app()
			for i := range n {
				pod.Annotations[fmt.Sprintf("sidecar.istio.io/unknownAnnotationNumber%d", i)] = "x"
			}
			return pod
		}},
		{"one annotation", 800_000, func(n int) any {
			pod := app()
			pod.Annotations["example.com/data"] = strings.Repeat("<", n)
			return pod
		}},
		{"ports in an annotation", 40_000, annotated(app, "traffic.sidecar.istio.io/excludeInboundPorts", func(i int) string { return fmt.Sprint(i%65535 + 1) })},
		{"ranges in an annotation", 16_000, annotated(app, "traffic.sidecar.istio.io/excludeOutboundIPRanges",
			func(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i/256%256, i%256) })},
		{"bad ports in an annotation", 40_000, annotated(app, "traffic.sidecar.istio.io/excludeInboundPorts", func(i int) string { return fmt.Sprint("x", i) })},
		{"scrape targets", 20_000, annotated(app, "prometheus.istio.io/scrape-targets", func(i int) string { return fmt.Sprintf("%d:/m", i%60000+1) })},
		{"templates", 40_000, annotated(app, "inject.istio.io/templates", func(i int) string { return fmt.Sprint("t", i) })},
		{"volumes in an annotation", 4_000, func(n int) any {
			pod := app()
			var volumes []corev1.Volume
			var mounts []corev1.VolumeMount
			for i := range n {
				volumes = append(volumes, corev1.Volume{Name: fmt.Sprintf("v%d", i)})
				mounts = append(mounts, corev1.VolumeMount{Name: fmt.Sprintf("v%d", i), MountPath: fmt.Sprintf("/m%d", i)})
			}
			pod.Annotations["sidecar.istio.io/userVolume"] = text(volumes)
			pod.Annotations["sidecar.istio.io/userVolumeMount"] = text(mounts)
			return pod
		}},
		{"status of an injection", 10_000, func(n int) any {
			pod := manyContainers(app(), 1000)
			var names []string
			for i := range n {
				names = append(names, fmt.Sprintf("n%d", i))
			}
			pod.Annotations["sidecar.istio.io/status"] = text(map[string]any{"containers": names, "volumes": names})
			return pod
		}},
		{"deep JSON", 9_000, func(n int) any {
			return json.RawMessage(`{"metadata":{"name":"web"},"spec":{"containers":[{"name":"app"}],"new":` +
				strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) + `}}`)
		}},
		{"deep YAML", 5_000, annotated(app, "proxy.istio.io/config", func(int) string { return "{a: [" })},
	}
}

// annotated is a pod with a list of n words in an annotation.
func annotated(pod func() *corev1.Pod, key string, word func(int) string) func(int) any {
	return func(n int) any {
		words := make([]string, n)
		for i := range words {
			words[i] = word(i)
		}
		out := pod()
		out.Annotations[key] = strings.Join(words, ",")
		return out
	}
}

func manyContainers(pod *corev1.Pod, n int) *corev1.Pod {
	for i := range n {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", i), Image: "i", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: int32(8000 + i)}},
			LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}}},
		})
	}
	return pod
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// TestHostilePods: each is answered, with a patch or a refusal, and with so many words that somebody
// reads them.
func TestHostilePods(t *testing.T) {
	h := testHandler(t)
	for _, p := range hostilePods() {
		t.Run(p.name, func(t *testing.T) {
			response := answered(t, h, encoded(t, p.make(p.n)))
			if response.Allowed != (response.Patch != nil) {
				t.Errorf("allowed %v, patch of %d bytes", response.Allowed, len(response.Patch))
			}
			if r := response.Result; r != nil && strings.Count(r.Message, "\n") > maxListed {
				t.Errorf("the refusal has %d lines", strings.Count(r.Message, "\n"))
			}
			if len(response.Warnings) > maxListed+1 {
				t.Errorf("%d warnings", len(response.Warnings))
			}
		})
	}
}

// BenchmarkHostile shows which of the pods take more time than their size explains: each is
// taken at its size and at half of it.
func BenchmarkHostile(b *testing.B) {
	for _, p := range hostilePods() {
		for _, n := range []int{p.n / 2, p.n} {
			b.Run(fmt.Sprintf("%s/n=%d", strings.ReplaceAll(p.name, " ", "_"), n), func(b *testing.B) {
				body := []byte(`{"request":{"uid":"u","namespace":"shop","object":` + string(encoded(b, p.make(n))) + `}}`)
				h := testHandler(b)
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					answerOnce(b, h, body)
				}
			})
		}
	}
}
