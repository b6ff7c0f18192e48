package params

import (
	"path"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

// Trust says which certificates are put into the proxy's files.
type Trust struct {
	// ConfigMap holds the roots of the control plane; "" where Bundle holds them.
	ConfigMap string
	// Bundle is the ClusterTrustBundle that holds the roots of the control plane.
	Bundle string
	// Secrets mounts the workload's secret of old, istio.SERVICEACCOUNT, where it exists.
	Secrets bool
	// Tracing is the directory of the root for a Lightstep satellite, "" for none.
	Tracing string
}

// RootConfigMap holds the control plane's roots in every namespace. Source: Istio, whose
// name other programs that publish them follow.
const RootConfigMap = "istio-ca-root-cert"

const (
	rootBundle          = "istio.io:istiod-ca:root-cert"
	clusterTrustBundles = "ENABLE_CLUSTER_TRUST_BUNDLE_API"
)

// trust resolves what does not depend on the pod.
func trust(v *Values) Trust {
	t := Trust{ConfigMap: firstNonEmpty(v.Global.TrustBundleName, RootConfigMap), Secrets: v.Global.MountMtlsCerts}
	if v.Pilot.env(clusterTrustBundles) == "true" {
		t.ConfigMap, t.Bundle = "", rootBundle
	}
	return t
}

// trust adds what the pod's proxy configuration says.
func (r *reader) trust(config *meshv1alpha1.ProxyConfig) Trust {
	t := r.Defaults.trust
	if r.Defaults.Values.Global.Proxy.Tracer != "lightstep" {
		return t
	}
	if file := config.GetTracing().GetTlsSettings().GetCaCertificates(); file != "" {
		t.Tracing = path.Dir(file)
	}
	return t
}
