package render

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// environment is the contract with the agent, in the order that users know.
func (w *writer) environment() []corev1.EnvVar {
	env := make([]corev1.EnvVar, 0, 32)
	set := func(name, value string) { env = append(env, corev1.EnvVar{Name: name, Value: value}) }
	from := func(name, of string) { env = append(env, corev1.EnvVar{Name: name, ValueFrom: sharedSources[of]}) }
	if w.Health.Localhost {
		set(meta.EnvLocalhostProbes, "true")
	}
	set(meta.EnvCertProvider, w.Mesh.CertProvider)
	set(meta.EnvCAAddress, w.Mesh.CAAddress)
	from(meta.EnvPodName, "metadata.name")
	from(meta.EnvPodNamespace, "metadata.namespace")
	from(meta.EnvInstanceIP, "status.podIP")
	from(meta.EnvServiceAccount, "spec.serviceAccountName")
	from(meta.EnvHostIP, "status.hostIP")
	from(meta.EnvCPULimit, "limits.cpu")
	set(meta.EnvProxyConfig, w.Mesh.ProxyConfig)
	if w.Mesh.ProxyConfigOverride != "" {
		set(meta.EnvProxyConfigOverride, w.Mesh.ProxyConfigOverride)
	}
	set(meta.EnvPodPorts, podPorts(w.out.Spec.Containers))
	set(meta.EnvAppContainers, appContainers(w.out.Spec.Containers))
	from(meta.EnvMemoryLimit, "limits.memory")
	if w.Mesh.Compliance != "" {
		set(meta.EnvCompliance, w.Mesh.Compliance)
	}
	if w.Mesh.Compliance == "fips-140-3" {
		set(meta.EnvGoDebug, "fips140=only")
	}
	set(meta.EnvClusterID, w.Mesh.Cluster)
	from(meta.EnvNodeName, "spec.nodeName")
	set(meta.EnvInterceptionMode, w.Mesh.Interception)
	if w.Mesh.Network != "" {
		set(meta.EnvNetwork, w.Mesh.Network)
	}
	set(meta.EnvWorkloadName, first(w.out.Labels[meta.WorkloadName], w.Workload.Name))
	set(meta.EnvOwner, w.owner())
	if w.Extra != nil && w.Extra.Bootstrap != "" {
		set(meta.EnvBootstrapOverride, bootstrapDir+"/custom_bootstrap.json")
	}
	set(meta.EnvMeshID, w.Mesh.ID)
	set(meta.EnvTrustDomain, w.Mesh.TrustDomain)
	if w.Extra != nil {
		env = append(env, w.Extra.Env...)
	}
	return append(env, metadataEnv(w.Mesh.Metadata)...)
}

// lateEnvironment adds what must hold whatever the user wrote on a proxy of their own.
func (w *writer) lateEnvironment(c *corev1.Container) {
	for _, name := range slices.Sorted(maps.Keys(w.PathEnv)) {
		setEnv(c, name, w.PathEnv[name])
	}
	if !w.Metrics.App.IsZero() && w.Metrics.Port != 0 {
		setEnv(c, meta.EnvPrometheusAnnotations, encode(w.Metrics.App))
	}
	if len(w.probers) > 0 {
		setEnv(c, meta.EnvAppProbers, encode(w.probers))
	}
}

// setEnv puts a variable at the end, in place of others of the name.
func setEnv(c *corev1.Container, name, value string) {
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == name })
	c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
}

// podPorts is the JSON list of the ports that the pod's own containers declare.
func podPorts(containers []corev1.Container) string {
	all := []corev1.ContainerPort{}
	for i := range containers {
		all = append(all, containers[i].Ports...)
	}
	if len(all) == 0 {
		return "[]"
	}
	return encode(all)
}

// appContainers lists the pod's own containers.
func appContainers(containers []corev1.Container) string { return strings.Join(names(containers), ",") }

// owner is the reference of the workload. A pod from a file may get its namespace later,
// so the kubelet fills it in then.
func (w *writer) owner() string {
	namespace := first(w.Workload.Namespace, "$("+meta.EnvPodNamespace+")")
	return "kubernetes://apis/" + w.Workload.APIVersion + "/namespaces/" + namespace + "/" +
		strings.ToLower(w.Workload.Kind) + "s/" + w.Workload.Name
}

// metadataEnv is proxyMetadata by name.
func metadataEnv(m map[string]string) []corev1.EnvVar {
	var env []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(m)) {
		env = append(env, corev1.EnvVar{Name: name, Value: m[name]})
	}
	return env
}
