// Package config reads what the agent is told: flags, environment, the downward API files
// and the mesh file. It yields one immutable Config, checked once and as a whole.
//
// It is the only package of the agent that reads the environment or those files. Names
// and defaults are Istio's; a value that cannot be used is an error that names it, and all
// of them are reported together.
package config

import (
	"io/fs"
	"net/netip"
	"time"

	meshv1alpha1 "istio.io/api/mesh/v1alpha1"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// EnvoyVersion is the Envoy release that this agent is built for and ships with.
const EnvoyVersion = "1.40.0"

// Flags are the command line of "proxy sidecar|router".
type Flags struct {
	Role              string
	Domain            string
	MeshConfigFile    string
	ServiceCluster    string
	ProxyLogLevel     string
	ComponentLogLevel string
	Concurrency       int
	TemplateFile      string
	OutlierLogPath    string
	LogAsJSON         bool
	LogLevel          string
}

// Source is where Load reads from. Root is put before absolute and relative paths alike;
// it is empty except in tests.
type Source struct {
	Environ    []string // "NAME=value"
	Root       string   // prefix of every file that is read
	Interfaces []Interface
	UID        int // of the agent itself
	// Version of the agent, sent to the control plane unless ISTIO_META_ISTIO_VERSION is set.
	Version string
}

// Interface is one network interface of the pod.
type Interface struct {
	Name  string
	Addrs []netip.Addr
}

// Config is everything the agent needs to run.
type Config struct {
	Role  nodemeta.Role
	Node  nodemeta.Node
	Proxy *meshv1alpha1.ProxyConfig

	Bootstrap bootstrap.Params
	Envoy     Envoy
	Discovery Discovery
	Cert      Cert
	Proxyless Proxyless
	DNS       DNS
	Status    Status
	Drain     Drain
	Log       Log

	// Ignored says which settings could not be used and were left out, a sentence each.
	Ignored []string
}

// Envoy says how the proxy process is started.
type Envoy struct {
	Binary            string
	ConfigFile        string // where the bootstrap is written
	CustomConfig      string // file of the user's that is used instead; empty: none
	Override          string // file that Envoy merges over the bootstrap; empty: none
	HostAddress       string // of the node, as in a URL; stands for $(HOST_IP) in Override; may be empty
	LogLevel          string
	ComponentLogLevel string
	Concurrency       int // 0: all cores
	DrainTime         time.Duration
	SkipDeprecated    bool
	LocalV6           bool // Envoy's own address is IPv6
	FileFlush         time.Duration
	FileFlushMinKB    uint32 // 0: Envoy's default
}

// Proxyless says what the agent does where the application is its own proxy, through gRPC.
type Proxyless struct {
	Enabled   bool   // no Envoy is started
	Bootstrap string // file that gRPC reads; only with Enabled
}

// Discovery says how the control plane is reached.
type Discovery struct {
	Address    string // host:port
	Plaintext  bool
	ServerName string
	RootFile   string
	TokenFile  string
	ClusterID  string
	Headers    map[string]string
	Socket     string // Unix socket on which Envoy, or gRPC, is served
}

// DNS says how the pod's DNS queries are answered.
type DNS struct {
	Enabled bool
	Listen  []netip.AddrPort
	// Domain is what follows the namespace in the names of Services, "svc.cluster.local";
	// Search is the pod's first search domain, empty without one.
	Domain, Search string
	Upstreams      []string // name servers for all other names, "ip:port"
	Parallel       bool     // ask all of them at once
	Timeout        time.Duration
	// ForwardEarly: pass queries on as long as there is no table, because other programs than
	// the application's depend on the server.
	ForwardEarly bool
}

// Cert says which certificate is asked for, and where.
type Cert struct {
	Disabled   bool // no certificate authority is asked
	Identity   string
	Address    string // host:port
	Plaintext  bool
	ServerName string
	RootFile   string
	TTL        time.Duration
	GraceRatio float64
	Jitter     float64
	Signer     string
	Headers    map[string]string
	Socket     string // Unix socket on which Envoy gets its secrets
	// OutputDir is where copies are kept in files, empty for none. OutputMode is theirs.
	OutputDir  string
	OutputMode fs.FileMode
}

// Status says what the agent's own HTTP server does.
type Status struct {
	Port           uint16
	AdminPort      uint16
	PrometheusPort uint16
	Probers        map[string]Prober
	ProbeHost      string // address of the application, as the kubelet would use it
	Scrape         *Scrape
	LocalMetrics   bool // metrics for loopback peers only
	MergeEnvoy     bool
	Profiling      bool
}

// Drain says how the proxy is stopped.
type Drain struct {
	Wait        time.Duration // after listeners are told to drain
	ExitOnZero  bool          // wait for active connections to end instead
	Minimum     time.Duration // before connections are counted
	InboundOnly bool
}

// Log says how the agent logs.
type Log struct {
	JSON  bool
	Level string // debug, info, warn, error, none
}
