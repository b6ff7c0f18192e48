package render

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// UnresolvedPort is the reason of the warning about a probe that names a port which its
// container does not declare.
const UnresolvedPort = "UnresolvedPort"

// prober is one probe or hook as the user wrote it, ports resolved: the value of one path
// in ISTIO_KUBE_APP_PROBERS, which the agent reads.
type prober struct {
	HTTPGet        *corev1.HTTPGetAction   `json:"httpGet,omitempty"`
	TCPSocket      *corev1.TCPSocketAction `json:"tcpSocket,omitempty"`
	GRPC           *corev1.GRPCAction      `json:"grpc,omitempty"`
	TimeoutSeconds int32                   `json:"timeoutSeconds,omitempty"`
}

// probes sends the probes and HTTP hooks of the user's containers to the agent, which
// passes them on: the application's own port wants mutual TLS, which the kubelet has not.
func (w *writer) probes() {
	if !w.Health.Rewrite || w.Health.StatusPort == 0 {
		return
	}
	w.probers = map[string]prober{}
	for i := range w.out.Spec.Containers {
		w.containerProbes(&w.out.Spec.Containers[i], "spec.containers")
	}
	for i := range w.out.Spec.InitContainers {
		w.containerProbes(&w.out.Spec.InitContainers[i], "spec.initContainers")
	}
}

func (w *writer) containerProbes(c *corev1.Container, path string) {
	path += "[" + c.Name + "]"
	health := "/app-health/" + c.Name
	c.ReadinessProbe = w.probe(c.ReadinessProbe, c.Ports, health+"/readyz", path+".readinessProbe")
	c.LivenessProbe = w.probe(c.LivenessProbe, c.Ports, health+"/livez", path+".livenessProbe")
	c.StartupProbe = w.probe(c.StartupProbe, c.Ports, health+"/startupz", path+".startupProbe")
	if c.Lifecycle == nil {
		return
	}
	hooks := "/app-lifecycle/" + c.Name
	c.Lifecycle = &corev1.Lifecycle{
		PostStart:  w.hook(c.Lifecycle.PostStart, c.Ports, hooks+"/poststartz", path+".lifecycle.postStart"),
		PreStop:    w.hook(c.Lifecycle.PreStop, c.Ports, hooks+"/prestopz", path+".lifecycle.preStop"),
		StopSignal: c.Lifecycle.StopSignal,
	}
}

// probe returns the probe that the kubelet is given: a new one, or p itself when it stays.
func (w *writer) probe(p *corev1.Probe, declared []corev1.ContainerPort, at, path string) *corev1.Probe {
	if p == nil {
		return nil
	}
	original := prober{HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket, GRPC: p.GRPC, TimeoutSeconds: p.TimeoutSeconds}
	get := w.redirect(original, declared, at, path)
	if get == nil {
		return p
	}
	out := *p
	out.ProbeHandler = corev1.ProbeHandler{HTTPGet: get}
	return &out
}

// hook is probe for a lifecycle handler.
func (w *writer) hook(h *corev1.LifecycleHandler, declared []corev1.ContainerPort, at, path string) *corev1.LifecycleHandler {
	if h == nil {
		return nil
	}
	get := w.redirect(prober{HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket}, declared, at, path)
	if get == nil {
		return h
	}
	return &corev1.LifecycleHandler{HTTPGet: get}
}

// redirect records the original under the agent's path and returns the request to the
// agent in its place, nil when the original stays as it is.
func (w *writer) redirect(o prober, declared []corev1.ContainerPort, at, path string) *corev1.HTTPGetAction {
	get := &corev1.HTTPGetAction{Path: at, Port: intstr.FromInt32(int32(w.Health.StatusPort))}
	var port intstr.IntOrString
	switch {
	case o.HTTPGet != nil:
		port = o.HTTPGet.Port
		get.Host, get.HTTPHeaders, get.Scheme = o.HTTPGet.Host, o.HTTPGet.HTTPHeaders, o.HTTPGet.Scheme
		if get.Scheme == corev1.URISchemeHTTPS {
			get.Scheme = corev1.URISchemeHTTP
		}
	case o.TCPSocket != nil:
		port = o.TCPSocket.Port
	case o.GRPC != nil:
		port = intstr.FromInt32(o.GRPC.Port)
	default:
		return nil
	}
	number, ok := resolve(port, declared)
	if !ok {
		w.report(path, UnresolvedPort, false, "port "+strconv.Quote(port.StrVal)+
			" is not declared by the container: the probe is left as it is and does not work with strict mutual TLS")
		return nil
	}
	if number == int32(w.Health.StatusPort) || number < 1 || number > 65535 {
		// The agent's own port; or no port at all, which the API server is to refuse.
		return nil
	}
	w.probers[at] = o.at(number)
	return get
}

// at is a copy of o whose port is a number.
func (o prober) at(port int32) prober {
	if o.HTTPGet != nil {
		get := *o.HTTPGet
		get.Port = intstr.FromInt32(port)
		o.HTTPGet = &get
	}
	if o.TCPSocket != nil {
		tcp := *o.TCPSocket
		tcp.Port = intstr.FromInt32(port)
		o.TCPSocket = &tcp
	}
	return o
}

// resolve finds the number of a port the way the kubelet does: by the name that the
// container declares, else as a number in text.
func resolve(port intstr.IntOrString, declared []corev1.ContainerPort) (int32, bool) {
	if port.Type == intstr.Int {
		return port.IntVal, true
	}
	for _, p := range declared {
		if p.Name == port.StrVal {
			return p.ContainerPort, true
		}
	}
	n, err := strconv.ParseInt(port.StrVal, 10, 32)
	return int32(n), err == nil
}
