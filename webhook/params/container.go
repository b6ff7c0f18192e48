package params

import (
	"strings"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meta"
)

// container resolves how the proxy container runs.
func (r *reader) container(config *meshv1alpha1.ProxyConfig, p Params) Container {
	proxy := &r.Defaults.Values.Global.Proxy
	c := Container{
		Privileged:     proxy.Privileged,
		Seccomp:        proxy.SeccompProfile,
		Resources:      r.resources(),
		Lifecycle:      proxy.Lifecycle,
		STSPort:        r.Defaults.Values.Global.STS.Port,
		OutlierLogPath: proxy.OutlierLogPath,
	}
	if p.Template == Gateway {
		c.PodSecurity = r.Defaults.Values.Gateways.SecurityContext
		if s := r.Defaults.Values.Gateways.SeccompProfile; s != nil {
			c.Seccomp = s
		}
	}
	r.identity(&c, config, p)
	return c
}

// initial resolves the init container. Its name says what it does.
func (r *reader) initial() Init {
	values := &r.Defaults.Values
	i := Init{
		Name:           meta.InitContainer,
		CNI:            values.Pilot.CNI.Enabled,
		Privileged:     values.Global.Proxy.Privileged,
		ForceApply:     values.Global.ProxyInit.ForceApply,
		NativeNftables: values.Global.NativeNftables,
	}
	if i.CNI {
		i.Name = meta.ValidationContainer
		i.Multus = values.Pilot.CNI.Provider == "multus"
	}
	i.User = find(r.Pod, i.Name)
	return i
}

// resources reads the four annotations; any of them replaces all defaults.
func (r *reader) resources() corev1.ResourceRequirements {
	var out corev1.ResourceRequirements
	set := r.quantity(meta.ProxyCPU, corev1.ResourceCPU, &out.Requests)
	set = r.quantity(meta.ProxyMemory, corev1.ResourceMemory, &out.Requests) || set
	set = r.quantity(meta.ProxyCPULimit, corev1.ResourceCPU, &out.Limits) || set
	set = r.quantity(meta.ProxyMemoryLimit, corev1.ResourceMemory, &out.Limits) || set
	if !set {
		return r.Defaults.resources
	}
	r.ordered(meta.ProxyCPU, corev1.ResourceCPU, out)
	r.ordered(meta.ProxyMemory, corev1.ResourceMemory, out)
	return out
}

// ordered reports a request above its limit, which the API server would refuse without
// naming the annotation.
func (r *reader) ordered(key string, name corev1.ResourceName, in corev1.ResourceRequirements) {
	request, hasRequest := in.Requests[name]
	limit, hasLimit := in.Limits[name]
	if hasRequest && hasLimit && request.Cmp(limit) > 0 {
		r.bad(key, "request %s is greater than the limit %s", request.String(), limit.String())
	}
}

// images completes the image references.
func (r *reader) images(config *meshv1alpha1.ProxyConfig) Images {
	r.imageWords()
	global := &r.Defaults.Values.Global
	annotated := r.Pod.Annotations[meta.ProxyImageType]
	proxyType := firstNonEmpty(annotated, config.GetImage().GetImageType(), global.Variant)
	initType := firstNonEmpty(annotated, global.Variant)
	return Images{
		Proxy:       r.image(r.or(meta.ProxyImage, global.Proxy.Image), proxyType),
		Init:        r.image(r.or(meta.ProxyImage, global.ProxyInit.Image), initType),
		PullPolicy:  corev1.PullPolicy(global.ImagePullPolicy),
		PullSecrets: global.ImagePullSecrets,
	}
}

// image returns name verbatim when it has a slash, else hub, name and tag with the suffix
// of the image type in place of one that the tag has.
func (r *reader) image(name, imageType string) string {
	if strings.Contains(name, "/") {
		return name
	}
	tag := string(r.Defaults.Values.Global.Tag)
	if imageType != "" {
		tag = strings.TrimSuffix(strings.TrimSuffix(tag, "-distroless"), "-debug")
		if imageType != "default" {
			tag += "-" + imageType
		}
	}
	return string(r.Defaults.Values.Global.Hub) + "/" + name + ":" + tag
}
