package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicemesh/sluice/e2e/cluster"
	"github.com/sluicemesh/sluice/e2e/stage"
)

// st is the scene that all tests of this package play on, one after another.
var st *stage.Stage

// clusterConfig is the tests' own cluster, apart from the demo's.
var clusterConfig = cluster.Config{Name: "sluice-test"}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Minute)
	defer cancel()
	if err := prepare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "prepare the scene:", err)
		dump(ctx)
		return 1
	}
	code := m.Run()
	if code != 0 {
		dump(ctx)
	}
	if os.Getenv("SLUICE_KEEP") == "" && os.Getenv("CLUSTER") != "current" {
		down := clusterConfig
		down.Log = os.Stderr
		if err := cluster.Down(ctx, down); err != nil {
			fmt.Fprintln(os.Stderr, "remove the cluster:", err)
			return 1
		}
	}
	return code
}

func prepare(ctx context.Context) error {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	st, err = stage.Prepare(ctx, stage.Config{Cluster: clusterConfig, Root: root, Log: os.Stderr})
	if err != nil {
		return err
	}
	if _, err := st.Kubectl(ctx, "label", "namespace", "default", "istio-injection=enabled", "--overwrite"); err != nil {
		return err
	}
	if err := st.Apply(ctx, "default", "samples/sleep/sleep.yaml", "samples/demoapp/demoappv10.yaml", "samples/httpbin/httpbin.yaml"); err != nil {
		return err
	}
	if err := st.RestartOutdated(ctx, "default"); err != nil {
		return err
	}
	return st.Rollout(ctx, "default", "deploy/sleep", "deploy/demoappv10", "deploy/httpbin")
}

// dump shows what a person would look at after a failure.
func dump(ctx context.Context) {
	if st == nil {
		return
	}
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"-n", "istio-system", "logs", "-l", "app=istiod", "--tail=80"},
		{"-n", "default", "logs", "deploy/sleep", "-c", "istio-proxy", "--tail=40"},
	} {
		out, err := st.Kubectl(ctx, args...)
		fmt.Fprintf(os.Stderr, "--- kubectl %s\n%s", strings.Join(args, " "), out)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// must fails the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, half a minute at most.
func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	must(t, stage.Eventually(t.Context(), 30*time.Second, check))
}

// apply applies manifests for the length of the test.
func apply(t *testing.T, namespace string, manifests ...string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := st.Delete(ctx, namespace, manifests...); err != nil {
			t.Error(err)
		}
	})
	must(t, st.Apply(t.Context(), namespace, manifests...))
}

// kubectl runs kubectl and returns what it printed, without the last line feed.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := st.Kubectl(t.Context(), args...)
	must(t, err)
	return strings.TrimSpace(out)
}

// reply is what an HTTP server answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// get asks a gateway for a host and path, from outside the cluster.
func get(ctx context.Context, address, host, path string, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return reply{}, err
	}
	req.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body)}, err
}

// wantStatus is a check that a gateway answers with a status.
func wantStatus(address, host, path string, status int) func(context.Context) error {
	return func(ctx context.Context) error {
		r, err := get(ctx, address, host, path)
		if err == nil && r.status != status {
			err = fmt.Errorf("%s%s answered %d, want %d: %s", host, path, r.status, status, r.body)
		}
		return err
	}
}

// ingress is the address of the ingress gateway.
func ingress(t *testing.T) string {
	t.Helper()
	var address string
	eventually(t, func(ctx context.Context) (err error) {
		address, err = st.GatewayAddress(ctx, "istio-ingressgateway")
		return err
	})
	return address
}

// clusterStatus is one cluster of Envoy's GET /clusters?format=json.
type clusterStatus struct {
	Name  string `json:"name"`
	Hosts []struct {
		Address struct {
			Socket struct {
				Address string `json:"address"`
				Port    int    `json:"port_value"`
			} `json:"socket_address"`
		} `json:"address"`
	} `json:"host_statuses"`
}

// endpoints lists the addresses a proxy has for a cluster, sorted; nil without the cluster.
func endpoints(ctx context.Context, namespace, target, cluster string) ([]string, error) {
	out, err := st.Admin(ctx, namespace, target, "GET", "/clusters?format=json")
	if err != nil {
		return nil, err
	}
	var all struct {
		Clusters []clusterStatus `json:"cluster_statuses"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("clusters of %s: %w", target, err)
	}
	for _, c := range all.Clusters {
		if c.Name != cluster {
			continue
		}
		found := []string{}
		for _, h := range c.Hosts {
			found = append(found, fmt.Sprintf("%s:%d", h.Address.Socket.Address, h.Address.Socket.Port))
		}
		slices.Sort(found)
		return found, nil
	}
	return nil, nil
}

// podAddresses lists the addresses of the running pods with a label, with a port, sorted.
func podAddresses(ctx context.Context, namespace, label string, port int) ([]string, error) {
	out, err := st.Kubectl(ctx, "-n", namespace, "get", "pods", "-l", label, "--field-selector=status.phase=Running",
		"-o", `jsonpath={range .items[*]}{.status.podIP} {.metadata.deletionTimestamp}{"\n"}{end}`)
	if err != nil {
		return nil, err
	}
	found := []string{}
	for line := range strings.Lines(out) {
		// A pod that is going away has a second word: the time it was deleted.
		if words := strings.Fields(line); len(words) == 1 {
			found = append(found, fmt.Sprintf("%s:%d", words[0], port))
		}
	}
	slices.Sort(found)
	return found, nil
}
