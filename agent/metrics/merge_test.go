package metrics

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// site serves one page and remembers the request.
type site struct {
	format, body string
	status       int
	accept       string
	query        string
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.accept, s.query = r.Header.Get("Accept"), r.URL.RawQuery
	w.Header().Set("Content-Type", s.format)
	if s.status != 0 {
		w.WriteHeader(s.status)
	}
	fmt.Fprint(w, s.body)
}

const (
	text = "text/plain; version=0.0.4; charset=utf-8"
	open = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name, accept string
		envoy        site
		apps         []site
		format, tail string // what follows the agent's own lines
		askedApp     string
	}{
		{name: "no application", envoy: site{format: text, body: "e 1\n"}, format: text, tail: "e 1\n"},
		{name: "text without newline", accept: "text/plain", envoy: site{body: "e 1"}, apps: []site{{format: text, body: "a 1"}}, format: text, tail: "e 1\na 1\n", askedApp: "text/plain"},
		{name: "openmetrics ends once", accept: "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,application/vnd.google.protobuf;q=0.9",
			envoy: site{body: "e 1\n"}, apps: []site{{format: open, body: "a 1\n# EOF\n"}}, format: open, tail: "e 1\na 1\n# EOF\n",
			askedApp: "application/openmetrics-text;version=1.0.0;q=0.5, text/plain;q=0.2"},
		{name: "anything means text", accept: "*/*", envoy: site{body: "e 1\n"}, apps: []site{{format: text, body: "a 1\n"}}, format: text, tail: "e 1\na 1\n", askedApp: "text/plain"},
		{name: "several agree", envoy: site{body: "e 1\n"}, apps: []site{{format: open, body: "a 1\n# EOF"}, {format: open, body: "b 1\n# EOF\n"}}, format: open, tail: "e 1\na 1\nb 1\n# EOF\n", askedApp: "text/plain"},
		{name: "several differ", envoy: site{body: "e 1\n"}, apps: []site{{format: open, body: "a 1\n# EOF\n"}, {format: text, body: "b 1\n"}}, format: text, tail: "e 1\na 1\nb 1\n", askedApp: "text/plain"},
		{name: "failures are left out", envoy: site{status: 500, body: "e"}, apps: []site{{format: text, status: 404, body: "a"}}, format: text, tail: "", askedApp: "text/plain"},
		{name: "end mark inside a line stays", envoy: site{body: "x # EOF\n"}, format: text, tail: "x # EOF\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			own := New()
			m := &Merger{Own: own, Client: http.DefaultClient, Log: slog.New(slog.DiscardHandler)}
			envoy := httptest.NewServer(&c.envoy)
			defer envoy.Close()
			m.Envoy = envoy.URL
			for i := range c.apps {
				srv := httptest.NewServer(&c.apps[i])
				defer srv.Close()
				m.Apps = append(m.Apps, srv.URL)
			}
			req := httptest.NewRequest(http.MethodGet, "/stats/prometheus?usedonly", nil)
			req.Header.Set("Accept", c.accept)
			rec := httptest.NewRecorder()
			m.ServeHTTP(rec, req)
			if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != c.format {
				t.Errorf("status %d, format %q, want %q", rec.Code, rec.Header().Get("Content-Type"), c.format)
			}
			body := rec.Body.String()
			if !strings.HasSuffix(body, c.tail) || !strings.Contains(body, "istio_agent_scrapes_total 1\n") {
				t.Errorf("tail = %q, want %q", body[max(0, len(body)-60):], c.tail)
			}
			if strings.Count(body, "\n"+endMark+"\n") > 1 {
				t.Error("more than one end mark")
			}
			if c.envoy.accept != "text/plain" || c.envoy.query != "usedonly" {
				t.Errorf("envoy was asked for %q %q", c.envoy.accept, c.envoy.query)
			}
			for _, a := range c.apps {
				if a.accept != c.askedApp {
					t.Errorf("application was asked for %q, want %q", a.accept, c.askedApp)
				}
			}
		})
	}
}

func TestOnePageIsStreamed(t *testing.T) {
	line := strings.Repeat("x", 200) + " 1\n"
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 50_000 { // 10 MB
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	}))
	defer app.Close()
	m := &Merger{Own: New(), Apps: []string{app.URL}, Client: http.DefaultClient, Log: slog.New(slog.DiscardHandler)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := &counter{header: http.Header{}}
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	runtime.ReadMemStats(&after)
	if w.n < 10_000_000 {
		t.Errorf("only %d bytes came through", w.n)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 2<<20 {
		t.Errorf("allocated %d bytes for a page of 10 MB, want it streamed", got)
	}
}

type counter struct {
	header http.Header
	n      int
}

func (c *counter) Header() http.Header         { return c.header }
func (c *counter) WriteHeader(int)             {}
func (c *counter) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }
