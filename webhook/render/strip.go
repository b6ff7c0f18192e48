package render

import (
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/webhook/params"
)

// InvalidStatus is the reason of the problem of an annotation that only injection writes
// and that cannot be read.
const InvalidStatus = "InvalidStatus"

// Strip returns the pod as it was before an earlier injection: without the containers,
// volumes and secrets that its status annotation lists, with the user's own containers,
// probes and metrics annotations back. A pod that was not injected is returned itself.
// Labels stay: they count as the user's from then on. With a problem the pod is nil.
func Strip(pod *corev1.Pod) (*corev1.Pod, []problem.Problem) {
	text, ok := pod.Annotations[meta.Status]
	if !ok {
		return pod, nil
	}
	var s status
	if p := read(pod, meta.Status, text, &s); p != nil {
		return nil, p
	}
	var o overrides
	if text, ok := pod.Annotations[meta.Overrides]; ok {
		if p := read(pod, meta.Overrides, text, &o); p != nil {
			return nil, p
		}
	}
	out := shallow(pod)
	delete(out.Annotations, meta.Status)
	delete(out.Annotations, meta.Overrides)
	restoreAnnotations(out, s)
	if proxy := injectedProxy(out, s); proxy != nil {
		restoreProbes(out, proxy)
		restoreMetrics(out, proxy)
	}
	spec := &out.Spec
	spec.Containers = append(without(spec.Containers, s.Containers, containerName), o.Containers...)
	spec.InitContainers = append(without(spec.InitContainers, s.InitContainers, containerName), o.InitContainers...)
	spec.Volumes = without(spec.Volumes, s.Volumes, volumeName)
	spec.ImagePullSecrets = without(spec.ImagePullSecrets, s.ImagePullSecrets, secretName)
	return out, nil
}

// restoreAnnotations takes back those that the status lists, unless someone changed them
// since.
func restoreAnnotations(pod *corev1.Pod, s status) {
	for key, record := range s.Annotations {
		if len(record) == 0 || pod.Annotations[key] != record[0] {
			continue
		}
		delete(pod.Annotations, key)
		if len(record) > 1 {
			pod.Annotations[key] = record[1]
		}
	}
}

// read decodes an annotation that only injection writes.
func read(pod *corev1.Pod, key, text string, v any) []problem.Problem {
	if err := json.Unmarshal([]byte(text), v); err == nil {
		return nil
	}
	return []problem.Problem{{
		Origin: params.Origin(pod, ""), Path: "metadata.annotations[" + key + "]", Reason: InvalidStatus, Fatal: true,
		Message: "is not the JSON that injection writes: remove the annotation",
	}}
}

// without returns a new list without the named elements, nil when nothing is left.
func without[T any](list []T, drop []string, name func(*T) string) []T {
	dropped := finder(drop, itself)
	var out []T
	for i := range list {
		if dropped(name(&list[i])) < 0 {
			out = append(out, list[i])
		}
	}
	return out
}

// injectedProxy finds the proxy that the status lists.
func injectedProxy(pod *corev1.Pod, s status) *corev1.Container {
	if !slices.Contains(s.Containers, meta.ProxyContainer) && !slices.Contains(s.InitContainers, meta.ProxyContainer) {
		return nil
	}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == meta.ProxyContainer {
				return &list[i]
			}
		}
	}
	return nil
}

// restoreProbes puts back the probes that go through the agent. A probe that someone
// changed since stays as it is now.
func restoreProbes(pod *corev1.Pod, proxy *corev1.Container) {
	var saved map[string]prober
	if json.Unmarshal([]byte(envValue(proxy, meta.EnvAppProbers)), &saved) != nil {
		return
	}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			c := &list[i]
			for _, p := range []**corev1.Probe{&c.ReadinessProbe, &c.LivenessProbe, &c.StartupProbe} {
				*p = restoreProbe(*p, saved)
			}
			if c.Lifecycle != nil {
				l := *c.Lifecycle
				l.PostStart, l.PreStop = restoreHook(l.PostStart, saved), restoreHook(l.PreStop, saved)
				c.Lifecycle = &l
			}
		}
	}
}

func restoreProbe(p *corev1.Probe, saved map[string]prober) *corev1.Probe {
	if p == nil || p.HTTPGet == nil {
		return p
	}
	o, ok := saved[p.HTTPGet.Path]
	if !ok {
		return p
	}
	out := *p
	out.ProbeHandler = corev1.ProbeHandler{HTTPGet: o.HTTPGet, TCPSocket: o.TCPSocket, GRPC: o.GRPC}
	return &out
}

func restoreHook(h *corev1.LifecycleHandler, saved map[string]prober) *corev1.LifecycleHandler {
	if h == nil || h.HTTPGet == nil {
		return h
	}
	o, ok := saved[h.HTTPGet.Path]
	if !ok {
		return h
	}
	return &corev1.LifecycleHandler{HTTPGet: o.HTTPGet, TCPSocket: o.TCPSocket}
}

// restoreMetrics puts back the application's metrics annotations.
func restoreMetrics(pod *corev1.Pod, proxy *corev1.Container) {
	var app params.Scrape
	if json.Unmarshal([]byte(envValue(proxy, meta.EnvPrometheusAnnotations)), &app) != nil {
		return
	}
	for key, value := range map[string]string{
		meta.PrometheusScrape: app.Scrape, meta.PrometheusPort: app.Port, meta.PrometheusPath: app.Path,
	} {
		delete(pod.Annotations, key)
		if value != "" {
			pod.Annotations[key] = value
		}
	}
}

func envValue(c *corev1.Container, name string) string {
	for i := range c.Env {
		if c.Env[i].Name == name {
			return c.Env[i].Value
		}
	}
	return ""
}
