package ir

import "time"

// OutboundMode is what happens to traffic for hosts the mesh does not know.
type OutboundMode uint8

// The modes.
const (
	AllowAny OutboundMode = iota
	RegistryOnly
)

// Mesh are the mesh-wide settings that reach proxies. It is comparable.
type Mesh struct {
	TrustDomain      string
	RootNamespace    string
	ClusterDomain    string // "cluster.local"
	Outbound         OutboundMode
	AutoMTLS         bool
	ConnectTimeout   time.Duration
	DetectionTimeout time.Duration
	DNSRefresh       time.Duration
	// AccessLogFile is the file each proxy logs requests to, "/dev/stdout"; empty: none.
	AccessLogFile   string
	AccessLogFormat string // text format, empty: Istio's default
	AccessLogJSON   bool
	OutboundPort    uint16
	InboundPort     uint16
}
