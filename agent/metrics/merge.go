package metrics

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// The formats that an application's page may have.
const (
	textFormat = "text/plain; version=0.0.4; charset=utf-8"
	openPrefix = "application/openmetrics-text"
	endMark    = "# EOF"
	// maxPage bounds each of several application pages, which are held in memory.
	maxPage = 10 << 20
)

// Merger serves the agent's, Envoy's and the application's metrics as one page. A page
// that cannot be had is counted and left out; the answer never fails for it.
type Merger struct {
	Own    *Set
	Envoy  string   // URL of Envoy's page; empty: left out
	Apps   []string // URLs of the application's pages
	Client *http.Client
	Log    *slog.Logger
}

// page is one answer of a target.
type page struct {
	body     io.Reader
	format   string
	original io.Closer
}

// ServeHTTP answers a scrape: agent, Envoy, application, in this order, because the end
// mark of OpenMetrics has to be the last line.
func (m *Merger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.Own.Scrapes.Inc()
	ctx := r.Context()
	if s, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64); err == nil && s > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s*float64(time.Second)))
		defer cancel()
	}
	apps := m.applications(ctx, r.Header)
	defer func() {
		for _, p := range apps {
			p.original.Close()
		}
	}()
	format := agreed(apps)
	w.Header().Set("Content-Type", format)
	if err := m.Own.Write(w); err != nil {
		m.failed("agent", err)
	}
	m.copyEnvoy(ctx, w, r)
	for _, p := range apps {
		if err := copyLines(w, p.body); err != nil {
			m.failed("application", err)
		}
	}
	if strings.HasPrefix(format, openPrefix) {
		fmt.Fprintln(w, endMark)
	}
}

func (m *Merger) failed(kind string, err error) {
	m.Own.ScrapeFailures.WithLabelValues(kind).Inc()
	m.Log.Warn("metrics page left out", "kind", kind, "error", err)
}

// copyEnvoy appends Envoy's page; its query (usedonly, filter) is the caller's.
func (m *Merger) copyEnvoy(ctx context.Context, w io.Writer, r *http.Request) {
	if m.Envoy == "" {
		return
	}
	url := m.Envoy
	if r.URL.RawQuery != "" {
		url += "?" + r.URL.RawQuery
	}
	// Envoy also speaks protobuf, which cannot be appended to text.
	p, err := m.get(ctx, url, "text/plain", r.Header)
	if err == nil {
		defer p.original.Close()
		err = copyLines(w, p.body)
	}
	if err != nil {
		m.failed("envoy", err)
	}
}

// applications asks all application pages. A single one is streamed; several are read
// side by side, since the slowest decides.
func (m *Merger) applications(ctx context.Context, h http.Header) []page {
	accept := acceptable(h.Values("Accept"))
	if len(m.Apps) == 1 {
		p, err := m.get(ctx, m.Apps[0], accept, h)
		if err != nil {
			m.failed("application", err)
			return nil
		}
		return []page{p}
	}
	pages := make([]*page, len(m.Apps))
	var g errgroup.Group
	for i, url := range m.Apps {
		g.Go(func() error {
			p, err := m.get(ctx, url, accept, h)
			if err != nil {
				return fmt.Errorf("%s: %w", url, err)
			}
			defer p.original.Close()
			data, err := io.ReadAll(io.LimitReader(p.body, maxPage+1))
			if err == nil && len(data) > maxPage {
				err = fmt.Errorf("%s: page is larger than %d bytes", url, maxPage)
			}
			if err == nil {
				pages[i] = &page{body: bytes.NewReader(data), format: p.format, original: io.NopCloser(nil)}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		m.failed("application", err)
	}
	var out []page
	for _, p := range pages {
		if p != nil {
			out = append(out, *p)
		}
	}
	return out
}

// get asks for one page.
func (m *Merger) get(ctx context.Context, url, accept string, h http.Header) (page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return page{}, err
	}
	req.Header.Set("Accept", accept)
	for _, name := range []string{"User-Agent", "X-Prometheus-Scrape-Timeout-Seconds"} {
		if v := h.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	resp, err := m.Client.Do(req)
	if err != nil {
		return page{}, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return page{}, fmt.Errorf("status %s", resp.Status)
	}
	return page{resp.Body, resp.Header.Get("Content-Type"), resp.Body}, nil
}

// acceptable is what the application is asked for: the caller's list without formats that
// cannot be joined with text.
func acceptable(accept []string) string {
	var out []string
	for word := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		word = strings.TrimSpace(word)
		kind, _, _ := strings.Cut(word, ";")
		switch strings.TrimSpace(kind) {
		case "text/plain", "text/*", openPrefix:
			out = append(out, word)
		}
	}
	if len(out) == 0 {
		return "text/plain"
	}
	return strings.Join(out, ", ")
}

// agreed is the format of the answer: the application's when all its pages have the same.
func agreed(apps []page) string {
	if len(apps) == 0 {
		return textFormat
	}
	for _, p := range apps {
		if !strings.HasPrefix(p.format, openPrefix) || p.format != apps[0].format {
			return textFormat
		}
	}
	return apps[0].format
}

// copyLines copies a page without its end mark and ends it with a newline. Only one line
// is held, and of a longer one only a buffer.
func copyLines(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 64<<10)
	whole := true // the next piece starts a line
	for {
		piece, err := in.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if len(piece) > 0 && (!whole || string(bytes.TrimRight(piece, "\r\n")) != endMark) {
			if err == io.EOF {
				piece = append(bytes.Clone(piece), '\n')
			}
			if _, werr := w.Write(piece); werr != nil {
				return werr
			}
		}
		whole = !full
		if err == nil || full {
			continue
		}
		if err == io.EOF {
			return nil
		}
		return err
	}
}
