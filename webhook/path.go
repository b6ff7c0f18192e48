package webhook

import (
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/webhook/params"
)

// injectPath is where the API server sends its reviews; settings may follow.
const injectPath = "/inject"

// ParsePath reads the settings in the request's path: /inject/cluster/c1/net/n1, where any
// other key becomes a variable of the proxy, or the deprecated /inject/:ENV:k=v:ENV:k=v.
func ParsePath(path string) params.Path {
	rest := strings.TrimSuffix(strings.TrimPrefix(path, injectPath), "/")
	rest = strings.TrimPrefix(rest, "/")
	env := map[string]string{}
	if strings.HasPrefix(rest, ":ENV:") {
		for pair := range strings.SplitSeq(rest[len(":ENV:"):], ":ENV:") {
			if key, value, ok := strings.Cut(pair, "="); ok && key != "" {
				env[key] = value
			}
		}
	} else {
		pathPairs(rest, env)
	}
	out := params.Path{Cluster: env[meta.EnvClusterID], Network: env[meta.EnvNetwork]}
	delete(env, meta.EnvClusterID)
	delete(env, meta.EnvNetwork)
	if len(env) > 0 {
		out.Env = env
	}
	return out
}

// pathPairs reads alternating keys and values; an odd last key is ignored.
func pathPairs(rest string, env map[string]string) {
	words := strings.Split(rest, "/")
	for i := 0; i+1 < len(words); i += 2 {
		value := strings.ReplaceAll(words[i+1], "--slash--", "/")
		switch words[i] {
		case "":
		case "cluster":
			env[meta.EnvClusterID] = value
		case "net":
			env[meta.EnvNetwork] = value
		default:
			env[strings.ToUpper(words[i])] = value
		}
	}
}
