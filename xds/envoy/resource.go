// Package envoy holds the unit that is built, cached, versioned, sent and explained: one
// encoded Envoy resource. The builders live in its subpackages.
package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sluicemesh/sluice/internal/nametable"
	"github.com/sluicemesh/sluice/internal/problem"
)

// Type URLs of the resources.
const (
	ClusterType     = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType    = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType    = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType       = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	VirtualHostType = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
	NameTableType   = nametable.Type // for the agent: the host names of one service
)

// Resource is one encoded resource, shared by every proxy that sees it. It is never
// modified.
type Resource struct {
	TypeURL string
	Name    string
	// Version is a hash of Body: equal versions mean equal bytes.
	Version string
	// Body is the deterministic encoding of the message.
	Body []byte
	// From are the objects that caused the resource, shown by debug and with a rejection.
	From []problem.Origin
}

// Encode makes the resource of a message. A virtual host is encoded with the name
// "<route table>/<virtual host>"; every other message with its own name. It panics if m
// cannot be encoded, which only a malformed string can cause.
func Encode(typeURL, name string, m proto.Message, from ...problem.Origin) *Resource {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("encode %s %s: %v", typeURL, name, err))
	}
	return EncodeBytes(typeURL, name, body, from...)
}

// EncodeBytes makes the resource of a message that is encoded already, always in the same
// way. body is kept.
func EncodeBytes(typeURL, name string, body []byte, from ...problem.Origin) *Resource {
	sum := sha256.Sum256(body)
	return &Resource{TypeURL: typeURL, Name: name, Version: hex.EncodeToString(sum[:8]), Body: body, From: from}
}

// Equal reports whether two resources would be the same to a proxy.
func Equal(a, b *Resource) bool {
	return a == b || a != nil && b != nil && a.TypeURL == b.TypeURL && a.Name == b.Name && a.Version == b.Version
}
