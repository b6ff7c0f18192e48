package agent

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sluicemesh/sluice/agent/dns"
	"github.com/sluicemesh/sluice/agent/relay"
	"github.com/sluicemesh/sluice/internal/nametable"
)

// openDNS listens for DNS queries, if they are ours to answer.
func (a *agent) openDNS(ctx context.Context) (err error) {
	c := a.cfg.DNS
	if !c.Enabled {
		return nil
	}
	if a.dnsSockets, err = dns.Listen(ctx, c.Listen); err != nil {
		return err
	}
	a.metrics.CountDNS()
	a.names = dns.NewTable(dns.Place{Namespace: a.cfg.Node.Namespace, Domain: c.Domain, Search: c.Search})
	a.cfg.Log.Info("answering DNS queries", "addresses", c.Listen, "upstreams", c.Upstreams)
	return nil
}

func (a *agent) dnsConfig() dns.Config {
	c, m := a.cfg.DNS, a.metrics.DNS
	return dns.Config{
		Sockets: a.dnsSockets, Table: a.names, Upstreams: c.Upstreams, Parallel: c.Parallel, Timeout: c.Timeout,
		ForwardEarly: c.ForwardEarly, Log: a.cfg.Log,
		Counts: dns.Counts{
			Request: m.Requests.Inc, Forward: m.UpstreamRequests.Inc, Failure: m.UpstreamFailures.Inc,
			Duration: func(d time.Duration) { m.UpstreamDuration.Observe(d.Seconds()) },
		},
	}
}

// taps are the types that are for the agent and not for Envoy.
func (a *agent) taps() []relay.Tap {
	if a.names == nil {
		return nil
	}
	return []relay.Tap{{Type: nametable.Type, Apply: a.names.Apply}}
}

// ready reports nil when Envoy serves its configuration and DNS queries are answered.
func (a *agent) ready(ctx context.Context) error {
	if err := a.admin.Ready(ctx); err != nil {
		return err
	}
	if a.names != nil && !a.names.Ready() {
		return errors.New("the control plane has not sent the table of host names yet")
	}
	return nil
}

// namesPage shows the table; nil without one.
func (a *agent) namesPage() http.Handler {
	if a.names == nil {
		return nil
	}
	return a.names
}
