package envoy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Admin is a client of Envoy's admin interface. It is safe for concurrent use.
type Admin struct {
	base   string
	client *http.Client
}

// NewAdmin returns a client for the admin interface at host:port, "127.0.0.1:15000".
func NewAdmin(address string) *Admin {
	return &Admin{base: "http://" + address, client: &http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{MaxIdleConns: 1, IdleConnTimeout: 30 * time.Second, DialContext: (&net.Dialer{}).DialContext},
	}}
}

// Close drops idle connections.
func (a *Admin) Close() { a.client.CloseIdleConnections() }

// Do sends one request and returns the body of a 200 answer; the caller closes it.
func (a *Admin) do(ctx context.Context, method, pathQuery string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+pathQuery, nil)
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", pathQuery, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("envoy admin: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("envoy admin %s: status %s", pathQuery, resp.Status)
	}
	return resp.Body, nil
}

// Drain makes the listeners finish what they have and tell clients to go. Inbound only
// lets the application call out until its end; skipExit keeps Envoy running after it.
func (a *Admin) Drain(ctx context.Context, inboundOnly, skipExit bool) error {
	path := "/drain_listeners?graceful"
	if skipExit {
		path += "&skip_exit"
	}
	if inboundOnly {
		path += "&inboundonly"
	}
	body, err := a.do(ctx, http.MethodPost, path)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// Stats returns the counters and gauges whose names match the expression and that were
// written at least once.
func (a *Admin) Stats(ctx context.Context, filter string) (map[string]uint64, error) {
	body, err := a.do(ctx, http.MethodGet, "/stats?usedonly&filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return parseStats(body)
}

// parseStats reads lines "name: value"; other values than numbers (histograms) are left out.
func parseStats(r io.Reader) (map[string]uint64, error) {
	out := map[string]uint64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		i := strings.LastIndex(lines.Text(), ": ")
		if i < 0 {
			continue
		}
		if v, err := strconv.ParseUint(lines.Text()[i+2:], 10, 64); err == nil {
			out[lines.Text()[:i]] = v
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read envoy statistics: %w", err)
	}
	return out, nil
}

// Names of the statistics that readiness depends on.
const (
	readyFilter    = `^(server\.state|listener_manager\.workers_started|cluster_manager\.cds\.(update_success|update_rejected)|listener_manager\.lds\.(update_success|update_rejected))$`
	cdsSuccess     = "cluster_manager.cds.update_success"
	cdsRejected    = "cluster_manager.cds.update_rejected"
	ldsSuccess     = "listener_manager.lds.update_success"
	ldsRejected    = "listener_manager.lds.update_rejected"
	serverState    = "server.state" // 0 live, 1 draining, 2 pre-initialising, 3 initialising
	workersStarted = "listener_manager.workers_started"
)

// Ready returns nil when Envoy has its first configuration and serves it, else the reason
// why not.
func (a *Admin) Ready(ctx context.Context) error {
	s, err := a.Stats(ctx, readyFilter)
	if err != nil {
		return err
	}
	if s[cdsSuccess] == 0 || s[ldsSuccess] == 0 {
		if s[cdsRejected]+s[ldsRejected] > 0 {
			return fmt.Errorf("configuration rejected: clusters %d times, listeners %d times", s[cdsRejected], s[ldsRejected])
		}
		return fmt.Errorf("no configuration yet: clusters received %t, listeners received %t; is the control plane reachable", s[cdsSuccess] > 0, s[ldsSuccess] > 0)
	}
	state, known := s[serverState]
	if known && state != 0 {
		return fmt.Errorf("envoy is not live: state %d", state)
	}
	if s[workersStarted] != 1 {
		return fmt.Errorf("envoy's workers have not started")
	}
	return nil
}

// ActiveConnections sums the downstream connections of the listeners that carry users'
// traffic; ok is false when Envoy reports none of them.
func (a *Admin) ActiveConnections(ctx context.Context, except []string) (sum uint64, ok bool, err error) {
	s, err := a.Stats(ctx, `^listener\..*downstream_cx_active$`)
	if err != nil {
		return 0, false, err
	}
	sum, ok = countConnections(s, except)
	return sum, ok, nil
}

// countConnections leaves out the workers' shares, the admin listener, listeners inside
// the process and those that hold one of the except words, such as "15021".
func countConnections(stats map[string]uint64, except []string) (sum uint64, ok bool) {
next:
	for name, v := range stats {
		if !strings.HasSuffix(name, "downstream_cx_active") || strings.Contains(name, "worker_") ||
			strings.HasPrefix(name, "listener.admin.") || strings.Contains(name, "envoy_internal_") {
			continue
		}
		for _, word := range except {
			if strings.Contains(name, word) {
				continue next
			}
		}
		sum, ok = sum+v, true
	}
	return sum, ok
}
