package render

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/ports"
	"github.com/sluicemesh/sluice/webhook/params"
)

// proxy is the container istio-proxy, the user's own version over the injected one.
func (w *writer) proxy() (corev1.Container, bool) {
	c, ok := w.merge(w.buildProxy(), w.UserProxy)
	if !ok {
		return c, false
	}
	w.settle(&c, w.Native)
	return c, true
}

// settle sets what must hold whatever the user wrote on a proxy of their own: where it
// lives is the injector's decision.
func (w *writer) settle(c *corev1.Container, native bool) {
	c.RestartPolicy = nil
	if native {
		always := corev1.ContainerRestartPolicyAlways
		c.RestartPolicy = &always
	}
	w.forceRoot(c)
	w.lateEnvironment(c)
	w.keepOthers(c)
}

func (w *writer) buildProxy() corev1.Container {
	role := "sidecar"
	if w.Template == params.Gateway {
		role = "router"
	}
	c := corev1.Container{
		Name:            meta.ProxyContainer,
		Image:           w.Images.Proxy,
		ImagePullPolicy: w.Images.PullPolicy,
		Args: []string{
			"proxy", role,
			"--domain", "$(POD_NAMESPACE).svc." + w.Mesh.ClusterDomain,
			"--proxyLogLevel=" + w.Logs.Proxy,
			"--proxyComponentLogLevel=" + w.Logs.Component,
			"--log_output_level=" + w.Logs.Agent,
		},
		Ports: []corev1.ContainerPort{
			{Name: "http-envoy-prom", ContainerPort: int32(ports.EnvoyPrometheus), Protocol: corev1.ProtocolTCP},
		},
		Env:             w.environment(),
		Resources:       *w.Proxy.Resources.DeepCopy(),
		VolumeMounts:    w.mounts(),
		Lifecycle:       w.lifecycle(),
		SecurityContext: w.proxySecurity(),
	}
	c.Args = w.proxyOptions(c.Args)
	w.healthProbes(&c)
	return c
}

// proxyOptions adds the arguments that are there only where they are asked for.
func (w *writer) proxyOptions(args []string) []string {
	if w.Proxy.STSPort != 0 {
		args = append(args, "--stsPort="+strconv.Itoa(int(w.Proxy.STSPort)))
	}
	args = w.logFormat(args)
	if w.Proxy.OutlierLogPath != "" {
		args = append(args, "--outlierLogPath="+w.Proxy.OutlierLogPath)
	}
	return args
}

// logFormat adds the argument that both programs know.
func (w *writer) logFormat(args []string) []string {
	if w.Logs.JSON {
		return append(args, "--log_as_json")
	}
	return args
}

// healthProbes lets the kubelet ask Envoy's own readiness listener, which is up only when
// Envoy has its first configuration.
func (w *writer) healthProbes(c *corev1.Container) {
	if w.Health.StatusPort == 0 {
		return
	}
	ready := func() corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: "/healthz/ready", Port: intstr.FromInt32(int32(ports.EnvoyHealth)),
		}}
	}
	if w.Health.Startup > 0 && w.Template == params.Sidecar {
		c.StartupProbe = &corev1.Probe{
			ProbeHandler: ready(), PeriodSeconds: 1, TimeoutSeconds: 3, FailureThreshold: w.Health.Startup,
		}
	}
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:        ready(),
		InitialDelaySeconds: w.Health.ReadyInitialDelay,
		PeriodSeconds:       w.Health.ReadyPeriod,
		TimeoutSeconds:      3,
		FailureThreshold:    w.Health.ReadyFail,
	}
}

// lifecycle: the mesh's own hooks win; a classic proxy that is waited for blocks the start
// of the next container; a native one outlives the application and is told to drain.
func (w *writer) lifecycle() *corev1.Lifecycle {
	run := func(words ...string) *corev1.LifecycleHandler {
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: words}}
	}
	switch {
	case w.Proxy.Lifecycle != nil:
		return w.Proxy.Lifecycle.DeepCopy()
	case w.Template == params.Gateway || w.Health.StatusPort == 0:
		return nil
	case w.Native:
		port := "--debug-port=" + strconv.Itoa(int(w.Health.StatusPort))
		return &corev1.Lifecycle{PreStop: run("pilot-agent", "request", port, "POST", "drain")}
	case w.Hold:
		return &corev1.Lifecycle{PostStart: run("pilot-agent", "wait")}
	}
	return nil
}
