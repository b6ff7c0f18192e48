// Package settings turns what a user asked for into what is to be installed.
//
// Settings are layers of IstioOperator objects: a profile, the user's files, then single
// assignments (--set). The package lays them over each other, refuses names that nothing
// reads, and gives typed Settings, from which it makes the values of each chart. It is pure:
// files are read and clusters asked by others. A mistake of the user's is a
// problem.Problem; all of them are found at once.
package settings

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The kind of object that settings are written as.
const (
	APIVersion = "install.istio.io/v1alpha1"
	Kind       = "IstioOperator"
)

// Settings is the spec of an IstioOperator object, as far as it is supported.
type Settings struct {
	// Profile is the name of the profile below the other layers.
	Profile string `json:"profile,omitempty"`
	// Hub and Tag are where the images come from: Hub/pilot:Tag and Hub/proxyv2:Tag.
	Hub string `json:"hub,omitempty"`
	Tag string `json:"tag,omitempty"`
	// Revision names the control plane; empty is the default revision.
	Revision string `json:"revision,omitempty"`
	// Namespace is the control plane's.
	Namespace string `json:"namespace,omitempty"`
	// Components says what is installed.
	Components Components `json:"components,omitzero"`
	// Values are those of the chart istiod, gateways.istio-{in,e}gressgateway, and as cni those
	// of the chart cni.
	Values map[string]any `json:"values,omitempty"`
	// MeshConfig has the fields of mesh.v1alpha1.MeshConfig.
	MeshConfig map[string]any `json:"meshConfig,omitempty"`
}

// Components are the parts of an installation.
type Components struct {
	Base            Component `json:"base"`
	Pilot           Component `json:"pilot"`
	CNI             CNI       `json:"cni"`
	IngressGateways []Gateway `json:"ingressGateways,omitempty"`
	EgressGateways  []Gateway `json:"egressGateways,omitempty"`
}

// Component is a part that exists at most once.
type Component struct {
	Enabled bool       `json:"enabled"`
	K8s     Kubernetes `json:"k8s,omitzero"`
}

// CNI is the network plug-in. Where it is enabled, injection leaves the rules to it.
type CNI struct {
	Enabled bool `json:"enabled"`
	// Namespace is empty for the control plane's.
	Namespace string     `json:"namespace,omitempty"`
	K8s       Kubernetes `json:"k8s,omitzero"`
}

// Gateway is one gateway; Name and Namespace tell it from others.
type Gateway struct {
	Name string `json:"name"`
	// Namespace is empty for the control plane's.
	Namespace string `json:"namespace,omitempty"`
	Enabled   bool   `json:"enabled"`
	// Label is put on the pods; app and istio replace those that follow from the name.
	Label map[string]string `json:"label,omitempty"`
	K8s   Kubernetes        `json:"k8s,omitzero"`
}

// Kubernetes holds the usual settings of a component's Kubernetes objects. A field that is
// not set leaves the chart's value.
type Kubernetes struct {
	Resources          *corev1.ResourceRequirements      `json:"resources,omitempty"`
	ReplicaCount       *int32                            `json:"replicaCount,omitempty"`
	HPASpec            *Autoscaling                      `json:"hpaSpec,omitempty"`
	PodDisruption      *policyv1.PodDisruptionBudgetSpec `json:"podDisruptionBudget,omitempty"`
	Env                []Env                             `json:"env,omitempty"`
	NodeSelector       map[string]string                 `json:"nodeSelector,omitempty"`
	Tolerations        []corev1.Toleration               `json:"tolerations,omitempty"`
	Affinity           *corev1.Affinity                  `json:"affinity,omitempty"`
	PodAnnotations     map[string]string                 `json:"podAnnotations,omitempty"`
	ServiceAnnotations map[string]string                 `json:"serviceAnnotations,omitempty"`
	Service            *Service                          `json:"service,omitempty"`
	Spread             []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
}

// Autoscaling bounds the number of replicas.
type Autoscaling struct {
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	MaxReplicas *int32 `json:"maxReplicas,omitempty"`
}

// Env is one environment variable of a component's container.
type Env struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Service is a gateway's Service. Ports replace the profile's as a whole.
type Service struct {
	Type                     corev1.ServiceType                  `json:"type,omitempty"`
	Ports                    []ServicePort                       `json:"ports,omitempty"`
	LoadBalancerIP           string                              `json:"loadBalancerIP,omitempty"`
	LoadBalancerClass        string                              `json:"loadBalancerClass,omitempty"`
	LoadBalancerSourceRanges []string                            `json:"loadBalancerSourceRanges,omitempty"`
	ExternalTrafficPolicy    corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
	ExternalIPs              []string                            `json:"externalIPs,omitempty"`
	IPFamilyPolicy           string                              `json:"ipFamilyPolicy,omitempty"`
	IPFamilies               []corev1.IPFamily                   `json:"ipFamilies,omitempty"`
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Name       string             `json:"name,omitempty"`
	Port       int32              `json:"port"`
	TargetPort intstr.IntOrString `json:"targetPort,omitzero"`
	NodePort   int32              `json:"nodePort,omitempty"`
	Protocol   corev1.Protocol    `json:"protocol,omitempty"`
}
