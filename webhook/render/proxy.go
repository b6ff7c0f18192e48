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
	w.lateEnvironment(c)
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
		VolumeMounts:    mounts(),
		Lifecycle:       w.lifecycle(),
		SecurityContext: w.proxySecurity(),
	}
	c.Args = w.logFormat(c.Args)
	w.healthProbes(&c)
	return c
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

// proxySecurity is the same for sidecars and gateways: the gateway binds low ports by the
// pod's sysctl, not by a capability.
func (w *writer) proxySecurity() *corev1.SecurityContext {
	privileged, escalation := w.Proxy.Privileged, w.Proxy.Privileged
	readOnly, nonRoot := true, w.Proxy.UID != 0
	uid, gid := w.Proxy.UID, w.Proxy.GID
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &escalation,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		Privileged:               &privileged,
		ReadOnlyRootFilesystem:   &readOnly,
		RunAsGroup:               &gid,
		RunAsNonRoot:             &nonRoot,
		RunAsUser:                &uid,
		SeccompProfile:           w.Proxy.Seccomp.DeepCopy(),
	}
}

// initial is the container istio-init, if rules are wanted.
func (w *writer) initial() ([]corev1.Container, bool) {
	if !w.hasInit() {
		return nil, true
	}
	c, ok := w.merge(w.buildInit(), w.UserInit)
	return []corev1.Container{c}, ok
}

func (w *writer) buildInit() corev1.Container {
	privileged, escalation := w.Proxy.Privileged, w.Proxy.Privileged
	readOnly, nonRoot := false, false
	var root int64
	group := root
	return corev1.Container{
		Name:            meta.InitContainer,
		Image:           w.Images.Init,
		ImagePullPolicy: w.Images.PullPolicy,
		Args:            w.logFormat(append(w.Capture.Args(), "--log_output_level="+w.Logs.Agent)),
		Env:             metadataEnv(w.Mesh.Metadata),
		Resources:       *w.Proxy.Resources.DeepCopy(),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: &escalation,
			Capabilities:             &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}, Drop: []corev1.Capability{"ALL"}},
			Privileged:               &privileged,
			ReadOnlyRootFilesystem:   &readOnly,
			RunAsGroup:               &group,
			RunAsNonRoot:             &nonRoot,
			RunAsUser:                &root,
			SeccompProfile:           w.Proxy.Seccomp.DeepCopy(),
		},
	}
}

// podSecurity lets a gateway bind ports below 1024 without a capability.
func (w *writer) podSecurity() {
	if w.Template != params.Gateway {
		return
	}
	current := w.out.Spec.SecurityContext
	if w.Proxy.PodSecurity != nil {
		if current == nil || isEmpty(current) {
			w.out.Spec.SecurityContext = w.Proxy.PodSecurity.DeepCopy()
		}
		return
	}
	const lowPorts = "net.ipv4.ip_unprivileged_port_start"
	next := current.DeepCopy()
	if next == nil {
		next = &corev1.PodSecurityContext{}
	}
	for _, s := range next.Sysctls {
		if s.Name == lowPorts {
			return
		}
	}
	next.Sysctls = append(next.Sysctls, corev1.Sysctl{Name: lowPorts, Value: "0"})
	w.out.Spec.SecurityContext = next
}

// isEmpty reports the empty context that the API server writes into every pod.
func isEmpty(c *corev1.PodSecurityContext) bool { return encode(c) == "{}" }
