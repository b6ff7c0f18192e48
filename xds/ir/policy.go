package ir

import (
	"time"

	"github.com/sluicemesh/sluice/internal/problem"
)

// TLSMode is how a client secures its connections to a service.
type TLSMode uint8

// The modes. AutoTLS: mesh mTLS to endpoints that accept it, plain text to the others.
const (
	AutoTLS TLSMode = iota
	DisableTLS
	SimpleTLS
	MutualTLS
	MeshMutualTLS // ISTIO_MUTUAL
)

// LoadBalancer is a load-balancing algorithm.
type LoadBalancer uint8

// The algorithms.
const (
	LeastRequest LoadBalancer = iota
	RoundRobin
	Random
	PassthroughLB
	RingHash
	Maglev
)

// HashOn says what a consistent-hash load balancer hashes. Exactly one field is set.
type HashOn struct {
	Header     string
	Cookie     string
	CookieTTL  *time.Duration
	CookiePath string
	SourceIP   bool
	QueryParam string
}

// TrafficPolicy is how a client talks to a service port. Nil pointers mean "not set".
type TrafficPolicy struct {
	LoadBalancer    LoadBalancer
	Hash            *HashOn // RingHash and Maglev
	MinimumRingSize uint64
	MaglevTableSize uint64

	TLS            TLSMode
	SNI            string
	SubjectAlts    []string
	CACertificates string // file path, "system" for the OS roots; empty = OS roots
	ClientCert     string
	PrivateKey     string
	SkipVerify     bool

	ConnectTimeout *time.Duration // nil: mesh default
	TCPKeepalive   *TCPKeepalive
	TCPIdleTimeout *time.Duration
	HTTPIdle       *time.Duration
	MaxConnections *uint32
	MaxPending     *uint32
	MaxRequests    *uint32
	MaxRetries     *uint32
	MaxReqPerConn  *uint32
	UpgradeHTTP2   bool
	UseClientProto bool

	Outlier *Outlier
}

// TCPKeepalive are the socket options of the same name.
type TCPKeepalive struct {
	Probes         uint32
	Time, Interval time.Duration
}

// Outlier is outlier detection.
type Outlier struct {
	Consecutive5xx     *uint32
	ConsecutiveGateway *uint32
	ConsecutiveLocal   *uint32
	SplitLocal         bool
	Interval           *time.Duration
	BaseEjection       *time.Duration
	MaxEjectionPercent *uint32
	MinHealthPercent   *uint32
}

// DestinationRule is one object: policies for a host.
type DestinationRule struct {
	Namespace, Name string
	Host            string // resolved to a full host name, may be a wildcard
	ExportTo        Visibility
	Policy          PolicySet
	Subsets         []Subset
	From            problem.Origin
}

// PolicySet is a policy with its overrides by port. A port entry replaces the whole policy.
type PolicySet struct {
	Default *TrafficPolicy
	Ports   map[uint16]TrafficPolicy
}

// Subset is a named part of a service's endpoints.
type Subset struct {
	Name   string
	Labels Labels
	// Policy for this subset: already merged over the rule's own, block by block.
	Policy PolicySet
}

// For returns the policy of a port, the zero policy when none is set.
func (s PolicySet) For(port uint16) TrafficPolicy {
	if p, ok := s.Ports[port]; ok {
		return p
	}
	if s.Default != nil {
		return *s.Default
	}
	return TrafficPolicy{}
}
