package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicemesh/sluice/bench/figure"
)

// route is a way of a connection through the rules.
type route struct {
	name     string
	fromPeer bool           // else from the pod
	owner    int            // of the client's socket
	to       netip.AddrPort // as the client calls it
	listener netip.AddrPort // where it arrives
	atPeer   bool           // where the listener is; else in the pod
	direct   netip.AddrPort // what the client calls where there are no rules, to arrive there
	tproxy   bool           // with rules of mode TPROXY
}

func routes() []route {
	at := netip.MustParseAddrPort
	outbound, inbound := at("127.0.0.1:15001"), at("0.0.0.0:15006")
	local, remote := at("127.0.0.1:8080"), at(peer4+":8080")
	return []route{
		{name: "sent, captured", owner: appID, to: at(remote4 + ":80"), listener: outbound, direct: outbound},
		{name: "received, captured", fromPeer: true, owner: appID, to: at(pod4 + ":8080"), listener: inbound, direct: at(pod4 + ":15006")},
		{name: "received, captured with TPROXY", fromPeer: true, owner: appID, to: at(pod4 + ":8080"), listener: inbound, direct: at(pod4 + ":15006"), tproxy: true},
		{name: "sent by the proxy, left alone", owner: proxyID, to: remote, listener: remote, atPeer: true, direct: remote},
		{name: "over loopback, left alone", owner: appID, to: local, listener: local, direct: local},
	}
}

// bare is the namespace without rules.
const bare = "none"

// ground is one namespace with its rules, and listeners for one route.
type ground struct {
	backend  string
	route    route
	place    *place
	listener int
}

func (s *session) newGround(backend string, r route) (g *ground, err error) {
	g = &ground{backend: backend, route: r, listener: -1}
	if g.place, err = newPlace(false); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if backend != bare {
		mode := defaultPod
		if r.tproxy {
			mode = tproxy
		}
		c := newSetting(mode, false)
		err := in(g.place.pod, func() error {
			_, err := execute([][]string{slices.Concat([]string{s.tools.init}, forced(backend), c.args)})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	where := g.place.pod
	if r.atPeer {
		where = g.place.peer
	}
	return g, in(where, func() (err error) {
		g.listener, err = listen(r.listener)
		return err
	})
}

func (g *ground) close() error {
	err := g.place.close()
	if g.listener >= 0 {
		err = errors.Join(err, unix.Close(g.listener))
	}
	return err
}

// cost is a sample of a ground.
type cost struct{ connection, trip time.Duration }

// sample measures as the route's client.
func (g *ground) sample(p plan) (c cost, err error) {
	where, to := g.place.pod, g.route.to
	if g.route.fromPeer {
		where = g.place.peer
	}
	if g.backend == bare {
		to = g.route.direct
	}
	err = in(where, func() error {
		if err := errors.Join(pin(), become(g.route.owner)); err != nil {
			return err
		}
		if c.connection, err = connections(to, g.listener, p.connections); err != nil {
			return err
		}
		c.trip, err = roundTrips(to, g.listener, p.trips)
		return err
	})
	if err != nil {
		return cost{}, fmt.Errorf("%s, rules by %s: %w", g.route.name, g.backend, err)
	}
	return c, nil
}

// costs measures connections that meet the rules.
func (s *session) costs(ctx context.Context) (tables []figure.Table, err error) {
	if s.connections == 0 {
		return nil, nil
	}
	backends := slices.Concat([]string{bare}, s.backends)
	var grounds []*ground
	defer func() {
		for _, g := range grounds {
			err = errors.Join(err, g.close())
		}
	}()
	for _, r := range routes() {
		for _, b := range backends {
			g, err := s.newGround(b, r)
			if err != nil {
				return nil, err
			}
			grounds = append(grounds, g)
		}
	}
	seen := map[*ground][]cost{}
	err = s.each(ctx, "connections", func(round int) error {
		for _, g := range turned(grounds, round) {
			c, err := g.sample(s.plan)
			if err != nil {
				return err
			}
			if round > 0 {
				seen[g] = append(seen[g], c)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return s.costTables(backends, grounds, seen), nil
}

func (s *session) costTables(backends []string, grounds []*ground, seen map[*ground][]cost) []figure.Table {
	connection := figure.Table{
		Title: fmt.Sprintf("A new connection: connect, accept, close; medians of %d", s.rounds),
		Notes: []string{
			"without rules the client calls the listener where it is; with them it calls what it wants, and arrives at the same listener",
			"×: the median over the rounds of the ratio to the same round without rules",
			"one thread has both ends and keeps to one core, so a time is the work of the kernel for both",
			fmt.Sprintf("a sample is %d connections, closed with a reset, then %d round trips of one byte each way; the fastest of %d parts of it counts", s.connections, s.trips, batches),
		},
	}
	trip := figure.Table{Title: "A round trip of one byte; medians of " + fmt.Sprint(s.rounds)}
	head := []string{"connection", "no rules, µs"}
	for _, b := range backends[1:] {
		head = append(head, b+", µs", "×")
	}
	connection.Head, trip.Head = head, head
	for row := range slices.Chunk(grounds, len(backends)) {
		connection.Rows = append(connection.Rows, cells(row, seen, func(c cost) time.Duration { return c.connection }))
		trip.Rows = append(trip.Rows, cells(row, seen, func(c cost) time.Duration { return c.trip }))
	}
	return []figure.Table{connection, trip}
}

// cells is a row of one route; the first ground of it is without rules.
func cells(grounds []*ground, seen map[*ground][]cost, of func(cost) time.Duration) []string {
	row := []string{grounds[0].route.name}
	without := times(seen[grounds[0]], of)
	for i, g := range grounds {
		with := times(seen[g], of)
		row = append(row, fmt.Sprintf("%.2f", float64(figure.Of(with).P50)/float64(time.Microsecond)))
		if i > 0 {
			row = append(row, fmt.Sprintf("%.2f", medianRatio(with, without)))
		}
	}
	return row
}

func times(costs []cost, of func(cost) time.Duration) []time.Duration {
	out := make([]time.Duration, len(costs))
	for i, c := range costs {
		out[i] = of(c)
	}
	return out
}

// medianRatio compares the samples of the same rounds. It is one that was seen, like the
// percentiles of package figure.
func medianRatio(with, without []time.Duration) float64 {
	ratios := make([]float64, len(with))
	for i := range with {
		ratios[i] = float64(with[i]) / float64(without[i])
	}
	slices.Sort(ratios)
	return ratios[(len(ratios)-1)/2]
}
