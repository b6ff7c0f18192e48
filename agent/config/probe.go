package config

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/ports"
)

// Prober is an application's own probe or lifecycle hook, as the injector recorded it in
// ISTIO_KUBE_APP_PROBERS. Exactly one of the handlers is set; ports are numbers.
type Prober struct {
	HTTPGet        *HTTPGet   `json:"httpGet,omitempty"`
	TCPSocket      *TCPSocket `json:"tcpSocket,omitempty"`
	GRPC           *GRPC      `json:"grpc,omitempty"`
	TimeoutSeconds int        `json:"timeoutSeconds,omitempty"` // 0 means 1
}

// HTTPGet is a probe over HTTP.
type HTTPGet struct {
	Path        string   `json:"path,omitempty"`
	Port        uint16   `json:"port"`
	Host        string   `json:"host,omitempty"`
	Scheme      string   `json:"scheme,omitempty"` // HTTP or HTTPS; empty is HTTP
	HTTPHeaders []Header `json:"httpHeaders,omitempty"`
}

// Header is one header of a probe.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPSocket is a probe that only connects.
type TCPSocket struct {
	Port uint16 `json:"port"`
	Host string `json:"host,omitempty"`
}

// GRPC is a probe by grpc.health.v1.
type GRPC struct {
	Port    uint16 `json:"port"`
	Service string `json:"service,omitempty"`
}

var proberPath = regexp.MustCompile(`^/app-(health/[^/]+/(livez|readyz|startupz)|lifecycle/[^/]+/(prestopz|poststartz))$`)

// parseProbers reads the map path → prober.
func parseProbers(text string) (map[string]Prober, error) {
	if text == "" {
		return nil, nil
	}
	var out map[string]Prober
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, err
	}
	for path, p := range out {
		if !proberPath.MatchString(path) {
			return nil, fmt.Errorf("path %q is neither /app-health/CONTAINER/{livez,readyz,startupz} nor /app-lifecycle/CONTAINER/{prestopz,poststartz}", path)
		}
		n := 0
		for _, set := range []bool{p.HTTPGet != nil, p.TCPSocket != nil, p.GRPC != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			return nil, fmt.Errorf("path %q has %d handlers, want one of httpGet, tcpSocket, grpc", path, n)
		}
	}
	return out, nil
}

// Scrape says where the application serves its metrics. Empty Targets means that only the
// agent's and Envoy's are served.
type Scrape struct{ Targets []Target }

// Target is one page of metrics on the application's loopback.
type Target struct {
	Port uint16
	Path string
}

// scrapeJSON is the form in which the injector writes ISTIO_PROMETHEUS_ANNOTATIONS.
type scrapeJSON struct {
	Scrape  string `json:"scrape"`
	Path    string `json:"path"`
	Port    string `json:"port"`
	Targets []struct {
		Path string `json:"path"`
		Port string `json:"port"`
	} `json:"targets"`
}

// parseScrape reads the application's scrape settings; nil means none.
func parseScrape(text string) (*Scrape, error) {
	if text == "" {
		return nil, nil
	}
	var in scrapeJSON
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, err
	}
	out := &Scrape{}
	if scrape, err := strconv.ParseBool(in.Scrape); err != nil || !scrape {
		return out, nil
	}
	if len(in.Targets) == 0 {
		t, err := parseTarget(in.Port, in.Path)
		out.Targets = []Target{t}
		return out, err
	}
	for _, raw := range in.Targets {
		t, err := parseTarget(raw.Port, raw.Path)
		if err != nil {
			return nil, err
		}
		out.Targets = append(out.Targets, t)
	}
	return out, nil
}

// parseTarget checks one target: the mesh's own ports would make the scrape call itself.
func parseTarget(port, path string) (Target, error) {
	t := Target{Port: 80, Path: "/metrics"}
	if path != "" {
		t.Path = "/" + strings.TrimPrefix(path, "/")
	}
	if port == "" {
		return t, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Target{}, fmt.Errorf("port %q is not a number from 1 to 65535", port)
	}
	t.Port = uint16(n)
	for _, p := range ports.All() {
		if p.Number == t.Port && p.Number >= ports.EnvoyAdmin && (strings.HasPrefix(p.Owner, "envoy") || strings.HasPrefix(p.Owner, "sluice-agent")) {
			return Target{}, fmt.Errorf("port %d belongs to the proxy", t.Port)
		}
	}
	return t, nil
}
