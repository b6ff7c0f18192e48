package params

import (
	"math"
	"slices"
	"strconv"
	"strings"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meta"
)

// proxyID is the user and the group of the proxy where nobody says otherwise.
const proxyID = int64(capture.DefaultProxyID)

// Fields of the user's own proxy, for messages.
const (
	securityPath = "spec.containers[" + meta.ProxyContainer + "].securityContext"
	userPath     = securityPath + ".runAsUser"
)

// identity resolves who the proxy runs as and which capabilities it has. What needs a
// capability needs user 0 with it: other users lose theirs when the program starts.
func (r *reader) identity(c *Container, config *meshv1alpha1.ProxyConfig, p Params) {
	c.UID, c.GID = r.platformIDs()
	trace := config.ProxyMetadata[meta.EnvTraceLogging] == "true"
	c.ForceRoot = p.Capture.Mode == capture.TProxy
	if c.ForceRoot || trace {
		c.Capabilities = append(c.Capabilities, "NET_ADMIN")
	}
	bind := r.or(meta.NetBindService, string(r.Defaults.Values.Global.Proxy.NetBindService)) == "true"
	if bind {
		c.Capabilities = append(c.Capabilities, "NET_BIND_SERVICE")
	}
	if c.ForceRoot || bind {
		c.UID, c.GID = 0, proxyID
	}
	if trace {
		c.UID, c.Privileged = 0, true
	}
	if p.UserProxy == nil || p.UserProxy.SecurityContext == nil {
		return
	}
	if id := p.UserProxy.SecurityContext.RunAsUser; id != nil && *id != c.UID {
		if c.ForceRoot {
			r.report(userPath, NoEffect, false, "the proxy runs as user 0 in interception mode TPROXY: remove runAsUser")
		} else {
			c.UID = *id
		}
	}
	if id := p.UserProxy.SecurityContext.RunAsGroup; id != nil {
		c.GID = *id
	}
}

// owners returns the ids by which the kernel tells the proxy's own traffic apart: those
// that the container really has.
func (r *reader) owners(c Container) (uids, gids []uint32) {
	uids, gids, err := capture.Owners(c.UID, c.GID)
	if err != nil {
		r.report(securityPath, UnsafeIdentity, true, err.Error())
	}
	return uids, gids
}

// sharedIdentity warns of containers that pass for the proxy: their traffic leaves the
// mesh. Init containers do so on purpose, when they need the network before the proxy.
func (r *reader) sharedIdentity(c capture.Config) {
	if c.Mode == capture.None || len(c.ProxyUIDs) == 0 {
		return
	}
	pod := r.Pod.Spec.SecurityContext
	for i := range r.Pod.Spec.Containers {
		container := &r.Pod.Spec.Containers[i]
		if container.Name == meta.ProxyContainer {
			continue
		}
		user, group := runAs(pod, container.SecurityContext)
		switch {
		case user != nil && *user == int64(c.ProxyUIDs[0]):
			r.shared(container.Name, "runAsUser", *user, "user")
		case group != nil && *group == int64(c.ProxyGIDs[0]):
			r.shared(container.Name, "runAsGroup", *group, "group")
		}
	}
}

func (r *reader) shared(container, field string, id int64, what string) {
	r.report("spec.containers["+container+"].securityContext."+field, SharedIdentity, false,
		strconv.FormatInt(id, 10)+" is the proxy's own "+what+": what the container sends bypasses the mesh, give it another "+what)
}

// runAs returns the user and the group of a container, nil where the image decides.
func runAs(pod *corev1.PodSecurityContext, own *corev1.SecurityContext) (user, group *int64) {
	if pod != nil {
		user, group = pod.RunAsUser, pod.RunAsGroup
	}
	if own != nil && own.RunAsUser != nil {
		user = own.RunAsUser
	}
	if own != nil && own.RunAsGroup != nil {
		group = own.RunAsGroup
	}
	return user, group
}

// userProxy returns the user's own proxy. On OpenShift it may have got the ids of the
// application from the platform, like every container that names none; they are dropped,
// so that the proxy can be told apart.
func (r *reader) userProxy() *corev1.Container {
	own := find(r.Pod, meta.ProxyContainer)
	if own == nil || !r.Defaults.openShift || own.SecurityContext == nil || own.SecurityContext.RunAsUser == nil {
		return own
	}
	for i := range r.Pod.Spec.Containers {
		c := &r.Pod.Spec.Containers[i]
		if c.Name == meta.ProxyContainer || c.SecurityContext == nil || c.SecurityContext.RunAsUser == nil ||
			*c.SecurityContext.RunAsUser != *own.SecurityContext.RunAsUser {
			continue
		}
		out, security := *own, *own.SecurityContext
		security.RunAsUser, security.RunAsGroup = nil, nil
		out.SecurityContext = &security
		return &out
	}
	return own
}

// platformIDs are the ids that the platform leaves to the proxy: on OpenShift the last of
// those that the namespace may use, since applications get the first.
func (r *reader) platformIDs() (uid, gid int64) {
	if !r.Defaults.openShift {
		return proxyID, proxyID
	}
	uid = r.lastID(meta.OpenShiftUIDs, proxyID)
	if _, ok := r.NamespaceAnnotations[meta.OpenShiftGroups]; ok {
		return uid, r.lastID(meta.OpenShiftGroups, proxyID)
	}
	return uid, uid
}

// lastID is the end of the first range of an annotation of the namespace.
func (r *reader) lastID(key string, otherwise int64) int64 {
	text, ok := r.NamespaceAnnotations[key]
	if !ok {
		return otherwise
	}
	block, _, _ := strings.Cut(text, ",")
	if last, ok := lastOf(strings.TrimSpace(block)); ok {
		return last
	}
	r.report("namespace "+annotation(key), InvalidAnnotation, true,
		strconv.Quote(text)+" is not a range of ids, write START/SIZE or START-END")
	return otherwise
}

// lastOf reads START/SIZE or START-END; id 0 is none that a proxy can have.
func lastOf(block string) (last int64, ok bool) {
	at := strings.IndexAny(block, "/-")
	if at < 0 {
		return 0, false
	}
	start, err1 := strconv.ParseUint(block[:at], 10, 31)
	n, err2 := strconv.ParseUint(block[at+1:], 10, 31)
	if err1 != nil || err2 != nil || n == 0 {
		return 0, false
	}
	last = int64(n)
	if block[at] == '/' {
		last = int64(start+n) - 1
	}
	return last, last >= int64(start) && last > 0 && last <= math.MaxInt32
}

// dns warns of a pod whose name server may not know the control plane.
func (r *reader) dns() {
	known := []corev1.DNSPolicy{"", corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet}
	if policy := r.Pod.Spec.DNSPolicy; !slices.Contains(known, policy) {
		r.report("spec.dnsPolicy", ClusterDNS, false, "with "+string(policy)+
			" the proxy may not find the control plane by name: write ClusterFirst, or a nameserver of the cluster into dnsConfig")
	}
}
