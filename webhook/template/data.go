package template

import (
	"google.golang.org/protobuf/proto"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Data is what a template sees as its dot. The names of the fields are Istio's, and a
// contract: users' templates are written with them.
type Data struct {
	TypeMeta       metav1.TypeMeta    // kind and apiVersion of the workload
	DeploymentMeta DeploymentMeta     // the workload
	ObjectMeta     *metav1.ObjectMeta // of the pod, without what an earlier injection added
	Spec           *corev1.PodSpec    // likewise
	ProxyConfig    *meshv1alpha1.ProxyConfig
	MeshConfig     *meshv1alpha1.MeshConfig
	Values         map[string]any // the chart's values, with defaults
	Revision       string
	NativeSidecars bool // the proxy belongs into initContainers
	ProxyImage     string
	ProxyInitImage string
	ProxyUID       int64
	ProxyGID       int64
	// InboundTrafficPolicyMode is "localhost" or "passthrough".
	InboundTrafficPolicyMode string
	// CompliancePolicy is the control plane's, empty for none.
	CompliancePolicy string
}

// DeploymentMeta names a workload.
type DeploymentMeta struct {
	Name, Namespace string
}

// clone is what a template may do with as it likes: methods that write can be called from
// a template's text.
func (d Data) clone() *Data {
	d.ObjectMeta = d.ObjectMeta.DeepCopy()
	d.Spec = d.Spec.DeepCopy()
	if d.ProxyConfig != nil {
		d.ProxyConfig = proto.Clone(d.ProxyConfig).(*meshv1alpha1.ProxyConfig)
	}
	if d.MeshConfig != nil {
		d.MeshConfig = proto.Clone(d.MeshConfig).(*meshv1alpha1.MeshConfig)
	}
	d.Values = runtime.DeepCopyJSON(d.Values)
	return &d
}
