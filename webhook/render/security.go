package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/webhook/params"
)

// proxySecurity is the same for sidecars and gateways: the gateway binds low ports by the
// pod's sysctl, not by a capability.
func (w *writer) proxySecurity() *corev1.SecurityContext {
	return security(account{w.Proxy.UID, w.Proxy.GID}, access{
		add: w.Proxy.Capabilities, privileged: w.Proxy.Privileged, readOnly: true, seccomp: w.Proxy.Seccomp,
	})
}

// initSecurity lets the init container write rules. The one that checks the rules of a
// plugin needs no right at all, but must be who the proxy is: the rules treat it alike.
func (w *writer) initSecurity() *corev1.SecurityContext {
	if w.Init.CNI {
		as := account{int64(w.Capture.ProxyUIDs[0]), int64(w.Capture.ProxyGIDs[0])}
		return security(as, access{privileged: w.Init.Privileged, readOnly: true, seccomp: w.Proxy.Seccomp})
	}
	return security(account{0, 0}, access{
		add: []corev1.Capability{"NET_ADMIN", "NET_RAW"}, privileged: w.Init.Privileged, seccomp: w.Proxy.Seccomp,
	})
}

// account is who a container runs as.
type account struct{ uid, gid int64 }

// access is what a container may do.
type access struct {
	add        []corev1.Capability // beside none
	privileged bool
	readOnly   bool // of the root file system
	seccomp    *corev1.SeccompProfile
}

func security(as account, may access) *corev1.SecurityContext {
	privileged, escalation := may.privileged, may.privileged
	readOnly, nonRoot := may.readOnly, as.uid != 0
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &escalation,
		Capabilities:             &corev1.Capabilities{Add: slices.Clone(may.add), Drop: []corev1.Capability{"ALL"}},
		Privileged:               &privileged,
		ReadOnlyRootFilesystem:   &readOnly,
		RunAsGroup:               &as.gid,
		RunAsNonRoot:             &nonRoot,
		RunAsUser:                &as.uid,
		SeccompProfile:           may.seccomp.DeepCopy(),
	}
}

// forceRoot undoes a user of the pod author's where the proxy must be root.
func (w *writer) forceRoot(c *corev1.Container) {
	if !w.Proxy.ForceRoot {
		return
	}
	if c.SecurityContext == nil { // a text template's
		c.SecurityContext = &corev1.SecurityContext{}
	}
	var root int64
	nonRoot := false
	c.SecurityContext.RunAsUser, c.SecurityContext.RunAsNonRoot = &root, &nonRoot
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
