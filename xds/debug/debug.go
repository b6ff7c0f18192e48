// Package debug shows what the control plane holds: who is connected, what each proxy was
// sent and accepted, and which mistakes stand in users' objects.
//
// The pages answer callers on this host only (a port-forward is one): they reveal the
// whole mesh and prove nobody's identity. They hold no secrets.
package debug

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/xds/envoy"
	"github.com/sluicemesh/sluice/xds/serve"
)

// Pages are handlers by path.
type Pages = map[string]http.Handler

// Source is what the pages read.
type Source interface {
	Status() []serve.ProxyStatus
	Resources(id, typeURL string) (map[string][]byte, bool)
}

// Handlers returns the pages: /version for everyone, /debug/* for this host.
func Handlers(src Source, problems func() []problem.Problem, version string) Pages {
	return Pages{
		"/version":             http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(version)) }),
		"/debug/syncz":         local(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, src.Status()) }),
		"/debug/problems":      local(func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, problems()) }),
		"/debug/config_dump":   local(func(w http.ResponseWriter, r *http.Request) { configDump(w, r, src) }),
		"/debug/pprof/":        local(pprof.Index),
		"/debug/pprof/profile": local(pprof.Profile),
		"/debug/pprof/trace":   local(pprof.Trace),
		"/debug/pprof/symbol":  local(pprof.Symbol),
		"/debug/pprof/cmdline": local(pprof.Cmdline),
	}
}

// local refuses callers that are not on this host.
func local(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			http.Error(w, "debug pages answer this host only: use kubectl port-forward", http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

// configDump writes all that a proxy's class has, by type and name. The query parameter
// proxyID names the proxy by node ID or as pod.namespace.
func configDump(w http.ResponseWriter, r *http.Request, src Source) {
	id := r.URL.Query().Get("proxyID")
	out := map[string]map[string]json.RawMessage{}
	for _, typeURL := range []string{envoy.ClusterType, envoy.EndpointType, envoy.ListenerType, envoy.RouteType, envoy.VirtualHostType} {
		resources, found := src.Resources(id, typeURL)
		if !found {
			http.Error(w, "no proxy "+id+" is connected to this replica; proxyID is a node ID or pod.namespace", http.StatusNotFound)
			return
		}
		byName := map[string]json.RawMessage{}
		for name, body := range resources {
			text, err := decode(typeURL, body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			byName[name] = text
		}
		out[typeURL] = byName
	}
	writeJSON(w, out)
}

// decode renders an encoded resource as JSON, nested messages included.
func decode(typeURL string, body []byte) (json.RawMessage, error) {
	m, err := (&anypb.Any{TypeUrl: typeURL, Value: body}).UnmarshalNew()
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(m)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // a caller that went away is not our error
}
