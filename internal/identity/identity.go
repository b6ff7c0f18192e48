// Package identity writes and reads SPIFFE identities of workloads and the names of
// the secrets that carry them. It is pure.
package identity

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Names of the secrets that the agent serves over SDS to its own Envoy.
const (
	WorkloadSecret = "default" // leaf certificate and key of this workload
	RootSecret     = "ROOTCA"  // trust bundle of the mesh
)

// DefaultTrustDomain is used where the mesh configuration names none.
const DefaultTrustDomain = "cluster.local"

// TokenAudience is the audience of the projected token that proves a pod's service account.
const TokenAudience = "istio-ca"

// Identity is one workload's identity in the mesh.
type Identity struct {
	TrustDomain    string
	Namespace      string
	ServiceAccount string
}

// String is the SPIFFE ID, "spiffe://TD/ns/NAMESPACE/sa/ACCOUNT".
func (i Identity) String() string {
	return "spiffe://" + i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount
}

// Parse reads a SPIFFE ID of the form that String writes. It returns an error that
// quotes the input for any other form.
func Parse(id string) (Identity, error) {
	sid, err := spiffeid.FromString(id)
	if err != nil {
		return Identity{}, fmt.Errorf("parse identity %q: %w", id, err)
	}
	parts := strings.Split(strings.TrimPrefix(sid.Path(), "/"), "/")
	if len(parts) != 4 || parts[0] != "ns" || parts[2] != "sa" {
		return Identity{}, fmt.Errorf("parse identity %q: path is not /ns/NAMESPACE/sa/ACCOUNT", id)
	}
	return Identity{TrustDomain: sid.TrustDomain().Name(), Namespace: parts[1], ServiceAccount: parts[3]}, nil
}

// FromServiceAccountUser reads the user name of a Kubernetes service account,
// "system:serviceaccount:NAMESPACE:ACCOUNT", as TokenReview reports it.
func FromServiceAccountUser(trustDomain, user string) (Identity, error) {
	parts := strings.Split(user, ":")
	if len(parts) != 4 || parts[0] != "system" || parts[1] != "serviceaccount" || parts[2] == "" || parts[3] == "" {
		return Identity{}, fmt.Errorf("user %q is not a service account", user)
	}
	return Identity{TrustDomain: trustDomain, Namespace: parts[2], ServiceAccount: parts[3]}, nil
}
