package change

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/bench/scene"
	"github.com/sluicemesh/sluice/internal/ports"
)

// admin is the administration port of one Envoy, asked over one connection that is kept.
type admin struct {
	address string
	client  *http.Client
	stop    func()
}

// openAdmin forwards the port of a pod; close ends that.
func openAdmin(ctx context.Context, s *scene.Scene, namespace, pod string) (*admin, error) {
	address, stop, err := s.Forward(ctx, namespace, pod, ports.EnvoyAdmin)
	if err != nil {
		return nil, err
	}
	return &admin{
		address: address, stop: stop,
		client: &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 10 * time.Second},
	}, nil
}

func (a *admin) close() {
	a.client.CloseIdleConnections()
	a.stop()
}

// endpoints is the dump of what Envoy balances to in the clusters whose names hold a text.
func (a *admin) endpoints(ctx context.Context, name string) (string, error) {
	query := url.Values{
		"include_eds": {""},
		"resource":    {"dynamic_endpoint_configs"},
		"name_regex":  {".*" + regexp.QuoteMeta(name) + ".*"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.address+"/config_dump?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for its endpoints: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("ask Envoy for its endpoints: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask Envoy for its endpoints: %s: %s", resp.Status, text)
	}
	return string(text), nil
}

// holds reports whether a dump has an endpoint with an address.
func holds(dump, address string) bool { return strings.Contains(dump, `"address": "`+address+`"`) }

// clusters is how many clusters a dump is of.
func clusters(dump string) int { return strings.Count(dump, `"cluster_name": "`) }

// await asks until a dump is as wanted.
func (a *admin) await(ctx context.Context, name string, wanted func(dump string) bool) error {
	limited, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		dump, err := a.endpoints(limited, name)
		if err == nil && wanted(dump) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it has %d clusters of that name", clusters(dump))
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("the client's Envoy does not show what is wanted of %q within %s: %w", name, settleLimit, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}
