package params

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/meta"
)

// Install says which control plane injects.
type Install struct {
	Revision      string // "default" or empty for the default revision
	Namespace     string // where the control plane runs
	ClusterDomain string // suffix of cluster names, "cluster.local" when empty
	Platform      string // "openshift", or anything else for none that matters
}

// Defaults is what holds for every pod of the mesh: configuration and values, with
// everything worked out that does not depend on the pod. It is not modified after Prepare.
type Defaults struct {
	Mesh     *meshv1alpha1.MeshConfig
	Values   Values
	Revision string // never empty
	// Notes are settings that are accepted and do not do what they say, each as a sentence
	// that begins with the path.
	Notes []string
	// Annotations are put on every injected pod, over its own; the caller of Prepare sets
	// them. Deprecated in Istio.
	Annotations map[string]string

	caAddress       string
	clusterDomain   string
	resources       corev1.ResourceRequirements
	proxyConfigJSON string // of mesh.defaultConfig
	statusPort      uint16
	openShift       bool
	otel            bool   // traces follow OpenTelemetry's names
	compliance      string // COMPLIANCE_POLICY, "" for none
	trust           Trust
	builtin         *meshv1alpha1.ProxyConfig
	names           names // that mean something
}

// Prepare works out the defaults. It keeps mesh and values. The error says which setting
// of the mesh configuration or the values cannot be used.
func Prepare(mesh *meshv1alpha1.MeshConfig, values Values, install Install) (*Defaults, error) {
	d := &Defaults{
		Mesh:          mesh,
		Values:        values,
		Revision:      firstNonEmpty(install.Revision, values.Revision, "default"),
		clusterDomain: firstNonEmpty(values.Global.Proxy.ClusterDomain, install.ClusterDomain, "cluster.local"),
		resources:     values.Global.Proxy.Resources.requirements(),
		builtin:       meshconfig.DefaultProxyConfig(),
		names:         knownNames(),
	}
	service := "istiod"
	if d.Revision != "default" {
		service += "-" + d.Revision
	}
	d.Notes = values.notes()
	for _, field := range meshconfig.Unread(mesh.DefaultConfig) {
		d.Notes = append(d.Notes, "mesh config: defaultConfig."+field+" has no effect in this version of Sluice")
	}
	d.openShift = firstNonEmpty(install.Platform, values.Global.Platform) == "openshift"
	d.compliance = values.Pilot.env(meta.EnvCompliance)
	d.otel = otelNames(mesh)
	d.trust = trust(&values)
	own := service + "." + firstNonEmpty(install.Namespace, values.Global.IstioNamespace) + ".svc:15012"
	d.caAddress = firstNonEmpty(values.Global.CAAddress, own)
	if err := meshconfig.ValidateProxyConfig(mesh.DefaultConfig); err != nil {
		return nil, fmt.Errorf("mesh config: %w", settingError("defaultConfig", err))
	}
	if err := errors.Join(values.logs(), values.ranges(), listenPorts(mesh)); err != nil {
		return nil, err
	}
	d.statusPort = uint16(mesh.DefaultConfig.StatusPort)
	// The chart always writes statusPort, so only another value than Istio's says something.
	if v := values.Global.Proxy.StatusPort; v != nil && int32(*v) != d.builtin.StatusPort {
		d.statusPort = *v
	}
	// Where the mesh names no control plane, proxies belong to the one that injects them.
	if mesh.DefaultConfig.DiscoveryAddress == d.builtin.DiscoveryAddress && own != d.builtin.DiscoveryAddress {
		d.Mesh = proto.Clone(mesh).(*meshv1alpha1.MeshConfig)
		d.Mesh.DefaultConfig.DiscoveryAddress = own
	}
	config := clone(d.Mesh.DefaultConfig)
	config.StatusPort = int32(d.statusPort)
	text, err := d.differences(config)
	if err != nil {
		return nil, fmt.Errorf("mesh config: %w", err)
	}
	d.proxyConfigJSON = text
	return d, nil
}

// listenPorts checks where captured traffic goes; 0 is the default.
func listenPorts(mesh *meshv1alpha1.MeshConfig) error {
	for _, p := range []struct {
		name string
		n    int32
	}{{"proxyListenPort", mesh.ProxyListenPort}, {"proxyInboundListenPort", mesh.ProxyInboundListenPort}} {
		if p.n < 0 || p.n > 65535 {
			return fmt.Errorf("mesh config: %s: %d is not a port", p.name, p.n)
		}
	}
	return nil
}

// differences writes config as JSON without the fields that equal the built-in ones; this
// is what the agent lays over the same built-in ones. A field that is zero where the
// built-in one is not is written as zero. config is modified.
func (d *Defaults) differences(config *meshv1alpha1.ProxyConfig) (string, error) {
	m, base := config.ProtoReflect(), d.builtin.ProtoReflect()
	var zeros strings.Builder
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		switch {
		case !base.Has(fd):
		case m.Has(fd) && m.Get(fd).Equal(base.Get(fd)):
			m.Clear(fd)
		case !m.Has(fd) && fd.Enum() != nil:
			fmt.Fprintf(&zeros, ",%q:%q", fd.JSONName(), fd.Enum().Values().ByNumber(0).Name())
		case !m.Has(fd) && fd.Kind() == protoreflect.Int32Kind:
			fmt.Fprintf(&zeros, ",%q:0", fd.JSONName())
		}
	}
	text, err := meshconfig.JSON(config)
	if err != nil || zeros.Len() == 0 {
		return text, err
	}
	return strings.Replace(strings.TrimSuffix(text, "}")+zeros.String()+"}", "{,", "{", 1), nil
}

// clone is a proxy config that the caller may modify.
func clone(c *meshv1alpha1.ProxyConfig) *meshv1alpha1.ProxyConfig {
	return proto.Clone(c).(*meshv1alpha1.ProxyConfig)
}

func firstNonEmpty(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
