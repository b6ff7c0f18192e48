package render

import (
	corev1 "k8s.io/api/core/v1"
)

// giveWay takes out of the injected container what the user's version says in another form:
// of a probe's handlers, a hook's and a variable's sources only one may stand, and a merge
// by fields would leave both. What it changes is copied first, injected parts are shared.
func giveWay(injected, user *corev1.Container) {
	injected.ReadinessProbe = probeFor(injected.ReadinessProbe, user.ReadinessProbe)
	injected.LivenessProbe = probeFor(injected.LivenessProbe, user.LivenessProbe)
	injected.StartupProbe = probeFor(injected.StartupProbe, user.StartupProbe)
	if own, users := injected.Lifecycle, user.Lifecycle; own != nil && users != nil {
		hooks := *own
		hooks.PostStart, hooks.PreStop = hookFor(own.PostStart, users.PostStart), hookFor(own.PreStop, users.PreStop)
		injected.Lifecycle = &hooks
	}
	injected.Env = variablesFor(injected.Env, user.Env)
}

// probeFor keeps the timings of the injected probe where the user's has a handler.
func probeFor(injected, user *corev1.Probe) *corev1.Probe {
	if injected == nil || user == nil || user.ProbeHandler == (corev1.ProbeHandler{}) {
		return injected
	}
	p := *injected
	h := &p.ProbeHandler
	if user.HTTPGet == nil {
		h.HTTPGet = nil
	}
	if user.Exec == nil {
		h.Exec = nil
	}
	if user.TCPSocket == nil {
		h.TCPSocket = nil
	}
	if user.GRPC == nil {
		h.GRPC = nil
	}
	return &p
}

func hookFor(injected, user *corev1.LifecycleHandler) *corev1.LifecycleHandler {
	if injected == nil || user == nil || *user == (corev1.LifecycleHandler{}) {
		return injected
	}
	h := *injected
	if user.HTTPGet == nil {
		h.HTTPGet = nil
	}
	if user.Exec == nil {
		h.Exec = nil
	}
	if user.TCPSocket == nil {
		h.TCPSocket = nil
	}
	if user.Sleep == nil {
		h.Sleep = nil
	}
	return &h
}

// variablesFor empties the injected variables to which the user gives a value or a source;
// their places in the order stay.
func variablesFor(injected, user []corev1.EnvVar) []corev1.EnvVar {
	at := finder(injected, variableName)
	copied := false
	for i := range user {
		k := at(user[i].Name)
		if k < 0 || user[i].Value == "" && user[i].ValueFrom == nil {
			continue
		}
		if !copied {
			injected, copied = append([]corev1.EnvVar(nil), injected...), true
		}
		injected[k] = corev1.EnvVar{Name: user[i].Name}
	}
	return injected
}

func variableName(e *corev1.EnvVar) string { return e.Name }
