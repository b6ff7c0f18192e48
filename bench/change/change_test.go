package change

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const dump = `{
 "configs": [
  {
   "endpoint_config": {
    "cluster_name": "outbound|80||target.ns.svc.cluster.local",
    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "socket_address": {
           "address": "198.18.0.1",
           "port_value": 8080
    }}}}]}]
   }
  }
 ]
}`

func TestDump(t *testing.T) {
	if !holds(dump, "198.18.0.1") || holds(dump, "198.18.0.10") || holds(dump, "198.18.0") {
		t.Error("holds must find the whole address and no other")
	}
	if got := clusters(dump); got != 1 {
		t.Errorf("clusters = %d, want 1", got)
	}
	if got := clusters("{}\n"); got != 0 {
		t.Errorf("clusters of nothing = %d", got)
	}
}

func TestEndpointsAsksForOneCluster(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.URL.Path != "/config_dump" || !q.Has("include_eds") || q.Get("name_regex") != `.*target\.ns\.svc.*` {
			http.Error(w, "asked "+r.URL.String(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte(dump)) // the client's reading is what is tested
	}))
	defer server.Close()
	a := &admin{address: strings.TrimPrefix(server.URL, "http://"), client: server.Client()}
	got, err := a.endpoints(t.Context(), "target.ns.svc")
	if err != nil || got != dump {
		t.Errorf("endpoints = %q, %v", got, err)
	}
	if got, err := a.endpoints(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("endpoints of an Envoy that refuses = %q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.await(ctx, "target.ns.svc", func(string) bool { return false }); err == nil {
		t.Error("await returned though what was wanted never came")
	}
}

func TestTable(t *testing.T) {
	const ms = time.Millisecond
	got := Result{
		Services: 5,
		Sights:   []Sight{{Answered: 2 * ms, Watched: 3 * ms, NotYet: 4 * ms, Shown: 7 * ms}},
		Polls:    []time.Duration{2 * ms, 1 * ms},
	}.Table()
	var medians []string
	for _, row := range got.Rows {
		medians = append(medians, row[1]+": "+row[3])
	}
	want := []string{"1: 2.00", "1: 3.00", "1: 7.00", "1: 4.00", "1: 4.00", "2: 1.00"}
	if diff := cmp.Diff(want, medians); diff != "" {
		t.Errorf("n and medians (-want +got):\n%s", diff)
	}
}
