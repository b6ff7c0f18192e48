package accesslog_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/e2e/demo/accesslog"
)

const client = `[2026-11-21T10:11:12.131Z] "GET /headers?a=b HTTP/1.1" 200 - via_upstream - "-" 0 512 4 3 "-" ` +
	`"curl/7.88.1" "5f0c8a10-7a3b-9d0c-8f32-64bd0e1dd2a5" "httpbin:8000" "10.244.0.12:8080" ` +
	`outbound|8000||httpbin.default.svc.cluster.local 10.244.0.9:43210 10.96.10.20:8000 10.244.0.9:51000 - default`

const server = `[2026-11-21T10:11:12.132Z] "GET /headers?a=b HTTP/1.1" 200 - via_upstream - "-" 0 512 2 1 "-" ` +
	`"curl/7.88.1" "5f0c8a10-7a3b-9d0c-8f32-64bd0e1dd2a5" "httpbin:8000" "10.244.0.12:8080" ` +
	`inbound|8080|| 127.0.0.6:40001 10.244.0.12:8080 10.244.0.9:43210 outbound_.8000_._.httpbin.default.svc.cluster.local default`

const unrouted = `[2026-11-21T10:11:13.000Z] "GET /1status/200 HTTP/1.1" 404 NR route_not_found - "-" 0 0 0 - "172.18.0.1" ` +
	`"agent "quoted", said so" "11111111-2222-3333-4444-555555555555" "httpbin.example.com" "-" - - 10.244.0.5:8080 172.18.0.1:40000 - -`

const tcp = `[2026-11-21T10:11:14.000Z] "- - -" 0 UF,URX - - "delayed_connect_error:_111" 0 0 1 - "-" "-" "-" "-" ` +
	`"10.96.0.1:443" PassthroughCluster - 10.96.0.1:443 10.244.0.9:51002 - -`

func TestParse(t *testing.T) {
	tests := map[string]struct {
		line string
		want accesslog.Entry
	}{
		"client": {client, accesslog.Entry{
			Method: "GET", Path: "/headers?a=b", Protocol: "HTTP/1.1", Status: 200, Details: "via_upstream",
			Took: 4 * time.Millisecond, UserAgent: "curl/7.88.1", RequestID: "5f0c8a10-7a3b-9d0c-8f32-64bd0e1dd2a5",
			Authority: "httpbin:8000", UpstreamHost: "10.244.0.12:8080", UpstreamCluster: "outbound|8000||httpbin.default.svc.cluster.local",
			DownstreamRemote: "10.244.0.9:51000", Route: "default",
		}},
		"server": {server, accesslog.Entry{
			Method: "GET", Path: "/headers?a=b", Protocol: "HTTP/1.1", Status: 200, Details: "via_upstream",
			Took: 2 * time.Millisecond, UserAgent: "curl/7.88.1", RequestID: "5f0c8a10-7a3b-9d0c-8f32-64bd0e1dd2a5",
			Authority: "httpbin:8000", UpstreamHost: "10.244.0.12:8080", UpstreamCluster: "inbound|8080||",
			DownstreamRemote: "10.244.0.9:43210", ServerName: "outbound_.8000_._.httpbin.default.svc.cluster.local", Route: "default",
		}},
		"no route": {unrouted, accesslog.Entry{
			Method: "GET", Path: "/1status/200", Protocol: "HTTP/1.1", Status: 404, Flags: "NR", Details: "route_not_found",
			UserAgent: `agent "quoted", said so`, RequestID: "11111111-2222-3333-4444-555555555555",
			Authority: "httpbin.example.com", DownstreamRemote: "172.18.0.1:40000",
		}},
		"tcp": {tcp, accesslog.Entry{
			Flags: "UF,URX", Took: time.Millisecond, UpstreamHost: "10.96.0.1:443", UpstreamCluster: "PassthroughCluster",
			DownstreamRemote: "10.244.0.9:51002",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := accesslog.Parse(tt.line)
			if !ok {
				t.Fatalf("Parse(%q) found no entry", tt.line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Parse differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"empty":         "",
		"agent":         `time=2026-11-21T10:11:12Z level=INFO msg="envoy is ready" took=61ms`,
		"envoy":         `[2026-11-21 10:11:12.131][17][warning][config] gRPC config: initial fetch timed out`,
		"one short":     client[:len(client)-len(" default")],
		"one long":      client + " more",
		"status":        `[x] "GET / HTTP/1.1" abc - a - "-" 0 0 0 - "-" "-" "-" "-" "-" - - - - - -`,
		"short request": `[x] "GET" 200 - a - "-" 0 0 0 - "-" "-" "-" "-" "-" - - - - - -`,
		"two words":     `[x] "GET /" 200 - a - "-" 0 0 0 - "-" "-" "-" "-" "-" - - - - - -`,
	} {
		if got, ok := accesslog.Parse(line); ok {
			t.Errorf("%s: Parse(%q) = %+v; want no entry", name, line, got)
		}
	}
}

func TestRead(t *testing.T) {
	log := "starting\n" + client + "\r\nwarning: x\n" + unrouted + "\n"
	var paths []string
	for _, e := range accesslog.Read(log) {
		paths = append(paths, e.Path)
	}
	if diff := cmp.Diff([]string{"/headers?a=b", "/1status/200"}, paths); diff != "" {
		t.Errorf("Read differs (-want +got):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{client, server, unrouted, tcp, "", `[x] "`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if e, ok := accesslog.Parse(line); !ok && e != (accesslog.Entry{}) {
			t.Errorf("Parse(%q) gives %+v and no entry", line, e)
		}
	})
}
