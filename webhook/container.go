package webhook

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// changeContainer patches a container of the user's. What injection changes there is that
// probes and hooks become requests to the agent; anything else is left to the library.
func (p *patcher) changeContainer(at place, from, to *corev1.Container) {
	rest := *to
	rest.ReadinessProbe = withHandler(to.ReadinessProbe, from.ReadinessProbe)
	rest.LivenessProbe = withHandler(to.LivenessProbe, from.LivenessProbe)
	rest.StartupProbe = withHandler(to.StartupProbe, from.StartupProbe)
	rest.Lifecycle = from.Lifecycle
	handlers := [...]struct {
		path     string
		from, to *corev1.ProbeHandler
	}{
		{"/readinessProbe", probeHandler(from.ReadinessProbe), probeHandler(to.ReadinessProbe)},
		{"/livenessProbe", probeHandler(from.LivenessProbe), probeHandler(to.LivenessProbe)},
		{"/startupProbe", probeHandler(from.StartupProbe), probeHandler(to.StartupProbe)},
		{"/lifecycle/postStart", postStart(from.Lifecycle), postStart(to.Lifecycle)},
		{"/lifecycle/preStop", preStop(from.Lifecycle), preStop(to.Lifecycle)},
	}
	simple := reflect.DeepEqual(&rest, from)
	for _, h := range handlers {
		simple = simple && redirected(h.from, h.to)
	}
	if !simple {
		p.element(at, from, to)
		return
	}
	for _, h := range handlers {
		if h.from == nil || reflect.DeepEqual(h.from, h.to) {
			continue
		}
		if h.from.TCPSocket != nil {
			p.step("remove", at.below(h.path+"/tcpSocket"))
		}
		if h.from.GRPC != nil {
			p.step("remove", at.below(h.path+"/grpc"))
		}
		p.step("add", at.below(h.path+"/httpGet"))
		p.encode(h.to.HTTPGet)
	}
}

func (at place) below(field string) place {
	at.field = field
	return at
}

// redirected reports whether from to to is no change or one that a request replaces.
func redirected(from, to *corev1.ProbeHandler) bool {
	if from == nil || to == nil {
		return from == to
	}
	return to.HTTPGet != nil && from.Exec == nil || reflect.DeepEqual(from, to)
}

// withHandler is p with the handler of from, so that only the timings are left to compare.
func withHandler(p, from *corev1.Probe) *corev1.Probe {
	if p == nil || from == nil || p == from {
		return p
	}
	out := *p
	out.ProbeHandler = from.ProbeHandler
	return &out
}

func probeHandler(p *corev1.Probe) *corev1.ProbeHandler {
	if p == nil {
		return nil
	}
	return &p.ProbeHandler
}

func postStart(l *corev1.Lifecycle) *corev1.ProbeHandler {
	if l == nil {
		return nil
	}
	return hookHandler(l.PostStart)
}

func preStop(l *corev1.Lifecycle) *corev1.ProbeHandler {
	if l == nil {
		return nil
	}
	return hookHandler(l.PreStop)
}

// hookHandler is a hook in the shape of a probe; injection does not touch those that sleep.
func hookHandler(h *corev1.LifecycleHandler) *corev1.ProbeHandler {
	if h == nil {
		return nil
	}
	return &corev1.ProbeHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}
}

// container writes a new container.
func (p *patcher) container(c *corev1.Container) { p.encode(c) }
