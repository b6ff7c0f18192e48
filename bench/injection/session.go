package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sluicemesh/sluice/bench/figure"
	"github.com/sluicemesh/sluice/bench/machine"
)

// crowd is how many clients ask at once.
const crowd = 8

// session is the servers and what was seen of them.
type session struct {
	plan
	log      io.Writer
	quiet    *machine.Quiet
	subjects []*subject
}

// start starts all servers and sends each enough for its memory and code to be warm.
func (s *session) start(ctx context.Context) error {
	for _, p := range peers() {
		subject, err := launch(ctx, p)
		if err != nil {
			return err
		}
		s.subjects = append(s.subjects, subject)
		if _, err := subject.inTurn(ctx, review{"5 kB", usual, 1}, 200); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) stop() {
	for _, subject := range s.subjects {
		if err := subject.close(); err != nil {
			fmt.Fprintf(s.log, "injection: %s: %v\n", subject.peer, err)
		}
	}
}

func (s *session) tables(ctx context.Context) ([]figure.Table, error) {
	var out []figure.Table
	for _, take := range []func(context.Context) ([]figure.Table, error){s.turns, s.crowds, s.rated} {
		tables, err := take(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, tables...)
	}
	return out, nil
}

// sample is what was seen of one server with one kind of load.
type sample struct {
	times []time.Duration
	used  usage
	took  time.Duration
	calls int
}

// during runs a load and adds what the server used for it.
func (s *session) during(ctx context.Context, subject *subject, into *sample, load func() ([]time.Duration, error)) error {
	if err := s.quiet.Wait(ctx); err != nil {
		return err
	}
	before, err := subject.usage()
	if err != nil {
		return err
	}
	start := time.Now()
	times, err := load()
	if err != nil {
		return fmt.Errorf("%s: %w", subject.peer, err)
	}
	into.took += time.Since(start)
	after, err := subject.usage()
	if err != nil {
		return err
	}
	used := after.since(before)
	into.used.CPU += used.CPU
	into.used.Allocs += used.Allocs
	into.used.Bytes += used.Bytes
	into.used.RSS, into.used.PeakRSS = used.RSS, used.PeakRSS
	into.times = append(into.times, times...)
	into.calls += len(times) + 1 // and the probe
	return nil
}

// turns measures one review at a time, all servers and sizes in turn.
func (s *session) turns(ctx context.Context) ([]figure.Table, error) {
	reviews, err := reviewsOf()
	if err != nil {
		return nil, err
	}
	seen := map[string]*sample{}
	key := func(r review, p peer) string { return r.name + ", " + string(p) }
	for round := range s.rounds {
		fmt.Fprintf(s.log, "injection: one at a time, round %d of %d\n", round+1, s.rounds)
		for _, r := range reviews {
			for _, subject := range s.subjects {
				into, ok := seen[key(r, subject.peer)]
				if !ok {
					into = &sample{}
					seen[key(r, subject.peer)] = into
				}
				load := func() ([]time.Duration, error) { return subject.inTurn(ctx, r, max(s.reviews/r.share, 10)) }
				if err := s.during(ctx, subject, into, load); err != nil {
					return nil, err
				}
			}
		}
	}
	t := figure.Table{
		Title: "One review at a time, kept alive",
		Head:  []string{"review, server", "n", "p50, ms", "p90, ms", "p99, ms", "max, ms", "CPU, ms", "allocations", "kB", "RSS, MiB"},
		Notes: []string{
			"times are the client's, HTTPS and both ends' work included; CPU, allocations, bytes and memory are the server's, a review",
			"classic: the same injection with encoding/json and a patch from comparing both pods; floor: decodes review and pod with encoding/json and does nothing",
		},
	}
	for _, r := range reviews {
		for _, subject := range s.subjects {
			t.Rows = append(t.Rows, seen[key(r, subject.peer)].row(key(r, subject.peer)))
		}
	}
	return []figure.Table{t}, nil
}

func (s *sample) row(name string) []string {
	sum, per := figure.Of(s.times), max(s.calls, 1)
	return []string{
		name, fmt.Sprint(sum.N), micro(sum.P50), micro(sum.P90), micro(sum.P99), micro(sum.Max),
		micro(s.used.CPU / time.Duration(per)), fmt.Sprint(s.used.Allocs / uint64(per)),
		fmt.Sprintf("%.1f", float64(s.used.Bytes)/float64(per)/1000), figure.MiB(s.used.RSS),
	}
}

// micro writes a duration in milliseconds, to the microsecond.
func micro(d time.Duration) string {
	return fmt.Sprintf("%.3f", float64(d)/float64(time.Millisecond))
}

// crowds measures the throughput of several clients at once.
func (s *session) crowds(ctx context.Context) ([]figure.Table, error) {
	if s.crowd <= 0 {
		return nil, nil
	}
	t := figure.Table{
		Title: fmt.Sprintf("%d clients at once, 5 kB", crowd),
		Head:  []string{"server", "n", "reviews a second", "p50, ms", "p99, ms", "max, ms", "CPU, ms", "RSS, MiB"},
		Notes: []string{"the clients use the same cores"},
	}
	r := review{"5 kB", usual, 1}
	for _, subject := range s.subjects {
		fmt.Fprintf(s.log, "injection: %d clients, %s\n", crowd, subject.peer)
		var seen sample
		if err := s.during(ctx, subject, &seen, func() ([]time.Duration, error) { return subject.atOnce(ctx, r, crowd, s.crowd) }); err != nil {
			return nil, err
		}
		sum := figure.Of(seen.times)
		t.Rows = append(t.Rows, []string{
			string(subject.peer), fmt.Sprint(sum.N), fmt.Sprintf("%.0f", float64(sum.N)/seen.took.Seconds()),
			micro(sum.P50), micro(sum.P99), micro(sum.Max), micro(seen.used.CPU / time.Duration(seen.calls)), figure.MiB(seen.used.RSS),
		})
	}
	return []figure.Table{t}, nil
}

// rated measures at fixed rates.
func (s *session) rated(ctx context.Context) ([]figure.Table, error) {
	if s.open <= 0 || len(s.rates) == 0 {
		return nil, nil
	}
	t := figure.Table{
		Title: fmt.Sprintf("At a rate, 5 kB, %s each", s.open),
		Head:  []string{"rate, server", "n", "p50, ms", "p99, ms", "max, ms", "p50 from sending", "p99 from sending", "CPU, ms", "peak RSS, MiB"},
		Notes: []string{
			"reviews are sent at fixed times whether those before are answered or not; times run from when a review was due, so that waiting counts (no coordinated omission)",
			"from sending: without what the client's timer was late",
		},
	}
	r := review{"5 kB", usual, 1}
	for _, rate := range s.rates {
		for _, subject := range s.subjects {
			fmt.Fprintf(s.log, "injection: %d a second, %s\n", rate, subject.peer)
			var all []arrival
			var seen sample
			if err := s.during(ctx, subject, &seen, func() (times []time.Duration, err error) {
				all, err = subject.atRate(ctx, r, rate, s.open)
				return times, err
			}); err != nil {
				return nil, err
			}
			t.Rows = append(t.Rows, ratedRow(fmt.Sprintf("%d/s, %s", rate, subject.peer), all, seen.used))
		}
	}
	return []figure.Table{t}, nil
}

func ratedRow(name string, all []arrival, used usage) []string {
	due, sent := make([]time.Duration, len(all)), make([]time.Duration, len(all))
	for i, a := range all {
		due[i], sent[i] = a.answered.Sub(a.due), a.answered.Sub(a.sent)
	}
	d, f := figure.Of(due), figure.Of(sent)
	return slices.Concat([]string{name, fmt.Sprint(d.N), micro(d.P50), micro(d.P99), micro(d.Max), micro(f.P50), micro(f.P99)},
		[]string{micro(used.CPU / time.Duration(len(all)+1)), figure.MiB(used.PeakRSS)})
}
