package ir

import (
	"time"

	"github.com/sluicemesh/sluice/internal/problem"
)

// MeshGateway is the reserved gateway name of sidecars.
const MeshGateway = "mesh"

// VirtualService is one object: routes for hosts.
type VirtualService struct {
	Namespace, Name string
	Hosts           []string // resolved to full host names; wildcards kept
	Gateways        []string // "mesh" or "<namespace>/<name>"; never empty
	ExportTo        Visibility
	HTTP            []Route // in the order of evaluation
	TCP             []StreamRoute
	TLS             []StreamRoute
	From            problem.Origin
}

// StringMatch matches a string. Exactly one of the fields is set; the zero value matches
// nothing and must not be used. Present matches any value.
type StringMatch struct {
	Exact, Prefix, Regex string
	// PathPrefix is a prefix that ends at a path segment.
	PathPrefix string
	Present    bool
}

// KeyMatch matches the value of a named header or query parameter.
type KeyMatch struct {
	Key    string
	Match  StringMatch
	Invert bool // true: the match must not hold (a missing header counts as empty)
}

// Match is the run-time part of a route's condition; everything set must hold.
type Match struct {
	URI        *StringMatch
	IgnoreCase bool // of URI, exact and prefix only
	Method     *StringMatch
	Authority  *StringMatch
	Scheme     *StringMatch
	Headers    []KeyMatch // sorted by key
	Query      []KeyMatch // sorted by key
}

// CatchAll reports whether m holds for every request.
func (m Match) CatchAll() bool {
	all := m.URI == nil || (m.URI.Prefix == "/" && !m.IgnoreCase) || (m.URI.PathPrefix == "/")
	return all && m.Method == nil && m.Authority == nil && m.Scheme == nil && len(m.Headers) == 0 && len(m.Query) == 0
}

// SourceMatch is the static part of a route's condition: it is decided when routes are
// selected for a proxy, not at run time. Empty fields hold for every proxy.
type SourceMatch struct {
	Gateways  []string // replaces the VirtualService's own list when not empty
	Port      uint16   // of the listener or gateway server; 0 = any
	Labels    Labels
	Namespace string
}

// Route is one rule: an alternative per match of the user's rule, in order.
type Route struct {
	Name   string // rule name, joined with the match's name by a dot; may be empty
	Source SourceMatch
	Match  Match

	// Exactly one of Backends, Redirect and Direct is set.
	Backends []Backend
	Redirect *Redirect
	Direct   *DirectResponse

	Rewrite  *Rewrite
	Timeout  *time.Duration // nil: none
	Retries  *Retries       // nil: mesh default
	Fault    *Fault
	CORS     *CORS
	Mirrors  []Mirror
	Request  HeaderOps
	Response HeaderOps
}

// Backend is one weighted destination.
type Backend struct {
	Host   string // full host name
	Subset string
	Port   uint16 // 0: the only port of the service, or the listener's port
	// Weight relative to the other backends of the route; a single backend may have 0.
	Weight   uint32
	Request  HeaderOps
	Response HeaderOps
}

// Redirect answers with a redirect. Empty fields keep what the request has.
type Redirect struct {
	Authority, Scheme string
	Path              string // replaces the whole path
	PrefixRewrite     string // replaces the matched prefix
	Port              uint32 // 0: keep
	DerivePort        bool   // drop the port: the default of the scheme
	Code              uint32 // 301, 302, 303, 307 or 308
}

// DirectResponse answers without a backend.
type DirectResponse struct {
	Status uint32
	Body   []byte
}

// Rewrite changes the request before it is sent.
type Rewrite struct {
	URI       string // replaces the matched prefix, or the whole path
	RegexFrom string // uriRegexRewrite
	RegexTo   string
	Authority string
}

// Retries is a retry policy. Attempts 0 switches retries off.
type Retries struct {
	Attempts       uint32
	PerTry         *time.Duration
	On             []string // conditions, status codes included as text
	Backoff        *time.Duration
	RemoteLocality bool
	IgnorePrevious *bool // nil: true
}

// Fault injects failures. Percentages are 0 to 100.
type Fault struct {
	Delay        *time.Duration
	DelayPercent float64
	AbortHTTP    uint32 // status; 0 none
	AbortGRPC    string // status name; empty none
	AbortPercent float64
}

// CORS is a cross-origin policy.
type CORS struct {
	Origins         []StringMatch
	Methods         []string
	Headers         []string
	Expose          []string
	MaxAge          *time.Duration
	Credentials     *bool
	IgnoreUnmatched bool // unmatchedPreflights: IGNORE
}

// Mirror sends a copy of the request elsewhere.
type Mirror struct {
	Host    string
	Subset  string
	Port    uint16
	Percent float64 // 0 to 100
}

// HeaderOps change headers: set replaces or adds, add appends, remove deletes.
// Host (":authority" or "host") as a key of Set or Add is a host rewrite.
type HeaderOps struct {
	Set, Add []Header // sorted by name
	Remove   []string
}

// Header is one header.
type Header struct{ Name, Value string }

// StreamRoute is one rule for TCP or TLS connections.
type StreamRoute struct {
	Source   SourceMatch
	SNI      []string // TLS only
	Subnets  []string // destination CIDRs
	Backends []Backend
}
