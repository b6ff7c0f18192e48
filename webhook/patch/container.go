package patch

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
)

// changeContainer patches a container of the user's. What injection changes there is that
// probes and hooks become requests to the agent; anything else is compared as JSON.
func (p *Writer) changeContainer(at place, from, to *corev1.Container) {
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

// container writes a new container. Of an injected one, variables and mounts are most of it,
// and most of them are fragments.
func (p *Writer) container(c *corev1.Container) {
	p.rest = *c
	p.rest.Env, p.rest.VolumeMounts = nil, nil
	p.encode(&p.rest)
	if p.err != nil {
		return
	}
	p.out = p.out[:len(p.out)-len("}")]
	if len(c.Env) > 0 {
		p.raw(`,"env":[`)
		for i := range c.Env {
			if i > 0 {
				p.raw(",")
			}
			p.variable(&c.Env[i])
		}
		p.raw("]")
	}
	if len(c.VolumeMounts) > 0 {
		p.raw(`,"volumeMounts":`)
		p.mounts(c.VolumeMounts)
	}
	p.raw("}")
}

// variable writes a variable. The conversion stops compiling when Kubernetes adds a field.
func (p *Writer) variable(e *corev1.EnvVar) {
	v := struct {
		Name, Value string
		ValueFrom   *corev1.EnvVarSource
	}(*e)
	p.raw(`{"name":`)
	p.text(v.Name)
	if v.Value != "" {
		p.raw(`,"value":`)
		p.text(v.Value)
	}
	if v.ValueFrom != nil {
		p.raw(`,"valueFrom":`)
		if known, ok := p.known.sources[v.ValueFrom]; ok {
			p.raw(known)
		} else {
			p.encode(v.ValueFrom)
		}
	}
	p.raw("}")
}

func (p *Writer) mounts(list []corev1.VolumeMount) {
	if known, ok := p.known.mounts[mountsOf(list)]; ok {
		p.raw(known)
		return
	}
	p.encode(list)
}

// volume writes a new volume.
func (p *Writer) volume(v *corev1.Volume) {
	if known, ok := p.known.volumes[*v]; ok {
		p.raw(known)
		return
	}
	p.encode(v)
}
