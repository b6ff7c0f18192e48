package cluster

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/e2e/cluster/podnet"
	"github.com/sluicemesh/sluice/e2e/cluster/settings"
)

func opened(t *testing.T, config Config) session {
	t.Helper()
	t.Setenv("SLUICE_CACHE", t.TempDir())
	s, err := open(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenFillsIn(t *testing.T) {
	got := opened(t, Config{}).config
	want := Config{Name: "sluice", Nodes: 1, IPFamily: "ipv4", NodeImage: "auto"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Setenv("SLUICE_CACHE", t.TempDir())
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Name: "Sluice"}, "cluster name \"Sluice\""},
		{Config{Name: "../x"}, "cluster name"},
		{Config{Name: strings.Repeat("a", 41)}, "at most 40"},
		{Config{Nodes: -1}, "-1 nodes: use 1 to 16"},
		{Config{Nodes: 17}, "17 nodes: use 1 to 16"},
		{Config{IPFamily: "v4"}, "ip family \"v4\": use ipv4, ipv6 or dual"},
		{Config{NodeImage: "own"}, "node image \"own\": use pull, build or auto"},
	} {
		if _, err := open(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("open(%+v) = %v; want an error with %q", c.config, err, c.want)
		}
	}
}

func TestModuleIsFoundFromBelow(t *testing.T) {
	want, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if got := moduleDir(); got != want {
		t.Errorf("moduleDir = %q; want %q", got, want)
	}
	t.Chdir(t.TempDir())
	if got := moduleDir(); got != "" {
		t.Errorf("moduleDir outside = %q; want none", got)
	}
	if err := opened(t, Config{}).buildable(); err == nil {
		t.Error("buildable outside the module = nil")
	}
}

func TestStateIsKept(t *testing.T) {
	s := opened(t, Config{})
	if _, found, err := s.readState("a"); found || err != nil {
		t.Fatalf("readState of nothing = %t, %v", found, err)
	}
	a := state{Name: "a", Nodes: 2, IPFamily: settings.Dual, Image: "i", Built: true, Kubeconfig: "/k", Pool: 3, Ready: true}
	b := state{Name: "b", Nodes: 1, IPFamily: settings.IPv4}
	for _, st := range []state{b, a} {
		if err := s.writeState(st); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.states()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]state{a, b}, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if err := os.WriteFile(s.statePath("b"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.states(); err == nil || !strings.Contains(err.Error(), s.statePath("b")) {
		t.Errorf("states with a broken file = %v; want an error that names it", err)
	}
}

func TestPoolRangesFollowFamily(t *testing.T) {
	for family, want := range map[settings.Family][]string{
		settings.IPv4: {"198.18.2.0/24"},
		settings.IPv6: {"fd5a:1ce0:1:2::/112"},
		settings.Dual: {"198.18.2.0/24", "fd5a:1ce0:1:2::/112"},
	} {
		var got []string
		for _, each := range (state{Pool: 2, IPFamily: family}).poolRanges() {
			got = append(got, each.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("poolRanges of %s (-want +got):\n%s", family, diff)
		}
	}
}

func TestDescribe(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	node.Spec.PodCIDRs = []string{"10.244.0.0/24", "fd00::/64"}
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "172.18.0.2"},
		{Type: corev1.NodeHostName, Address: "n"},
		{Type: corev1.NodeInternalIP, Address: "fc00::2"},
	}
	want := podnet.Node{
		Name:      "n",
		Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.2"), netip.MustParseAddr("fc00::2")},
		Pods:      []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24"), netip.MustParsePrefix("fd00::/64")},
	}
	got, err := describe(node)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("describe (-want +got):\n%s", diff)
	}
	node.Spec.PodCIDRs = []string{"ten"}
	if _, err := describe(node); err == nil {
		t.Error("describe of a garbled range = nil error")
	}
}

func TestStored(t *testing.T) {
	lines := []string{
		"REF TYPE DIGEST SIZE PLATFORMS LABELS",
		"example.com/a:v1 application/vnd.oci.image.manifest.v1+json sha256:aa 1.1 MiB linux/amd64 -",
		"",
	}
	if got := stored(lines)["example.com/a:v1"]; got != "sha256:aa" {
		t.Errorf("stored digest = %q; want sha256:aa", got)
	}
}

func TestCurrentClusterIsLoadedByItsOwnTool(t *testing.T) {
	for _, c := range []struct {
		cluster Cluster
		want    string
		fails   bool
	}{
		{Cluster{name: "sluice"}, "sluice", false},
		{Cluster{name: "kind-dev", current: true}, "dev", false},
		{Cluster{name: "prod", current: true}, "", true},
	} {
		got, err := c.cluster.kindName()
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("kindName of %+v = %q, %v; want %q", c.cluster, got, err, c.want)
		}
	}
}

func TestProbeIsBelievedForAWhile(t *testing.T) {
	s := opened(t, Config{})
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if _, valid := s.probed(at); valid {
		t.Error("an answer before the first question")
	}
	if err := os.WriteFile(s.probePath(), []byte(`{"at":"2026-05-01T12:00:00Z","reachable":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if reachable, valid := s.probed(at.Add(9 * time.Minute)); !reachable || !valid {
		t.Errorf("after 9 minutes: %t, %t; want true, true", reachable, valid)
	}
	if _, valid := s.probed(at.Add(11 * time.Minute)); valid {
		t.Error("after 11 minutes the answer is still believed")
	}
}

func TestBusy(t *testing.T) {
	s := opened(t, Config{})
	release, err := s.store.Lock(t.Context(), lockName("other"))
	if err != nil {
		t.Fatal(err)
	}
	if busy, err := s.busy(); err != nil || !busy {
		t.Errorf("busy while another cluster is made = %t, %v; want true", busy, err)
	}
	release()
	if busy, err := s.busy(); err != nil || busy {
		t.Errorf("busy afterwards = %t, %v; want false", busy, err)
	}
}

func TestFindNeedsAReadyCluster(t *testing.T) {
	t.Setenv("CLUSTER", "")
	s := opened(t, Config{})
	if err := s.writeState(state{Name: "sluice", Nodes: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "run up first") {
		t.Errorf("Find of a half made cluster = %v; want an error that says what to do", err)
	}
}

func TestPollReportsTheLastAnswer(t *testing.T) {
	err := poll(t.Context(), time.Millisecond, notYet)
	if err == nil || !strings.Contains(err.Error(), "last: not yet") {
		t.Errorf("poll = %v; want the last answer in it", err)
	}
}

func notYet(context.Context) error { return errors.New("not yet") }

// The user's own cluster is neither looked for among ours nor removed.
func TestCurrentClusterStays(t *testing.T) {
	t.Setenv("CLUSTER", "current")
	t.Setenv("KUBECONFIG", "/a:/b")
	s := opened(t, Config{})
	if err := s.writeState(state{Name: "sluice", Nodes: 1}); err != nil {
		t.Fatal(err)
	}
	if err := Down(t.Context(), Config{}); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.readState("sluice"); !found || err != nil {
		t.Errorf("Down removed our cluster: %t, %v", found, err)
	}
	want := "KUBECONFIG names 2 files: name the one of the cluster to use"
	if _, err := Up(t.Context(), Config{}); err == nil || err.Error() != want {
		t.Errorf("Up = %v; want %s", err, want)
	}
}
