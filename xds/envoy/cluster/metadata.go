package cluster

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluicemesh/sluice/xds/ir"
	"github.com/sluicemesh/sluice/xds/names"
)

// metadataKey is where metrics, logs and tools look for the mesh's view of a cluster.
const metadataKey = "istio"

// Owner names a service.
type Owner struct{ Host, Name, Namespace string }

// OwnerOf returns the name of a service; one without a short name goes by its host.
func OwnerOf(s ir.Service) Owner {
	name := s.Name
	if name == "" {
		name = s.ID.Host
	}
	return Owner{Host: s.ID.Host, Name: name, Namespace: s.ID.Namespace}
}

// metadata tells which services a cluster is, and of an outbound one which
// DestinationRule shaped it.
func metadata(owners []Owner, o Outbound) *corev3.Metadata {
	services := make([]*structpb.Value, 0, len(owners))
	for _, w := range owners {
		services = append(services, structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"host":      structpb.NewStringValue(w.Host),
			"name":      structpb.NewStringValue(w.Name),
			"namespace": structpb.NewStringValue(w.Namespace),
		}}))
	}
	fields := map[string]*structpb.Value{"services": structpb.NewListValue(&structpb.ListValue{Values: services})}
	if o.Rule.Name != "" {
		fields["config"] = structpb.NewStringValue(names.DestinationRulePath(o.Rule.Namespace, o.Rule.Name))
	}
	if o.Subset != nil {
		fields["subset"] = structpb.NewStringValue(o.Subset.Name)
	}
	if o.Service.MeshExternal {
		fields["external"] = structpb.NewBoolValue(true)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{metadataKey: {Fields: fields}}}
}
