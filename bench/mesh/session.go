package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sluicemesh/sluice/bench/change"
	"github.com/sluicemesh/sluice/bench/figure"
	"github.com/sluicemesh/sluice/bench/lines"
	"github.com/sluicemesh/sluice/bench/machine"
	"github.com/sluicemesh/sluice/bench/memory"
	"github.com/sluicemesh/sluice/bench/scene"
	"github.com/sluicemesh/sluice/bench/startup"
)

// Namespaces of the measurements; they are removed afterwards.
const (
	injected = "sluice-bench-injected"
	plain    = "sluice-bench-plain"
	crowd    = "sluice-bench-crowd"
)

const proc = "/proc"

// session is what was asked for.
type session struct {
	out                                  io.Writer
	scene                                scene.Config
	rounds, changes, services, endpoints int
	quiet                                int // percent
}

// measurement takes figures on a cluster, in the namespaces.
type measurement func(context.Context, *scene.Scene, *machine.Quiet) ([]figure.Table, error)

func (s *session) up(ctx context.Context) error {
	_, err := scene.Open(ctx, s.scene)
	return err
}

func (s *session) down(ctx context.Context) error {
	return scene.Down(ctx, s.scene.Name, s.scene.Log)
}

func (s *session) all(ctx context.Context) error {
	return s.measure(ctx, s.timePods, s.lookAtProxies)
}

func (s *session) startup(ctx context.Context) error { return s.measure(ctx, s.timePods) }

func (s *session) proxy(ctx context.Context) error { return s.measure(ctx, s.lookAtProxies) }

// measure prints the machine's facts and each measurement's tables with how busy the machine was.
func (s *session) measure(ctx context.Context, measurements ...measurement) (err error) {
	if s.rounds < 1 || s.changes < 1 || s.changes > 65_000 || s.services < 0 || s.endpoints < 0 || s.quiet < 0 {
		return errors.New("--rounds and --changes must be at least 1, --changes at most 65000, --services, --endpoints and --quiet not negative")
	}
	if s.services*s.endpoints > 1<<16 {
		return fmt.Errorf("%d Services with %d endpoints each: there are addresses for 65536 endpoints", s.services, s.endpoints)
	}
	facts, err := machine.Read(proc)
	if err != nil {
		return err
	}
	sc, err := scene.Open(ctx, s.scene)
	if err != nil {
		return err
	}
	for name, withProxies := range map[string]bool{injected: true, plain: false, crowd: false} {
		remove, err := sc.Namespace(ctx, name, withProxies)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	fmt.Fprintf(s.out, "Machine: %s. %s.\n\n", facts, time.Now().UTC().Format(time.DateTime+" MST"))
	for _, m := range measurements {
		if err := s.print(ctx, sc, m); err != nil {
			return err
		}
	}
	return nil
}

func readLoad() (machine.Load, error) { return machine.ReadLoad(proc) }

func (s *session) print(ctx context.Context, sc *scene.Scene, m measurement) error {
	before, err := readLoad()
	if err != nil {
		return err
	}
	q := machine.Quiet{Read: readLoad, Below: float64(s.quiet) / 100}
	tables, err := m(ctx, sc, &q)
	if err != nil {
		return err
	}
	after, err := readLoad()
	if err != nil {
		return err
	}
	notes := []string{after.Since(before)}
	if q.Waits > 0 {
		notes = append(notes, fmt.Sprintf("samples waited until the machine was at most %d %% busy; %d of %d waits gave up", s.quiet, q.Missed, q.Waits))
	}
	for _, t := range tables {
		t.Notes = append(t.Notes, notes...)
		fmt.Fprint(s.out, t)
	}
	return nil
}

func (s *session) timePods(ctx context.Context, sc *scene.Scene, q *machine.Quiet) ([]figure.Table, error) {
	r, err := startup.Measure(ctx, sc, startup.Config{Rounds: s.rounds, Injected: injected, Plain: plain, Before: q.Wait})
	if err != nil {
		return nil, err
	}
	return r.Tables(), nil
}

// lookAtProxies has one client with a proxy, beside the gateways, in a mesh of some size, and a
// newcomer that starts into it: the client's Envoy was asked for dumps, which cost it memory.
func (s *session) lookAtProxies(ctx context.Context, sc *scene.Scene, q *machine.Quiet) ([]figure.Table, error) {
	const client, newcomer = "client", "newcomer"
	if err := sc.RunPod(ctx, injected, sc.Sleeper(client)); err != nil {
		return nil, err
	}
	if err := sc.Services(ctx, crowd, s.services, s.endpoints); err != nil {
		return nil, err
	}
	changes, err := change.Measure(ctx, sc, change.Config{
		Changes: s.changes, Namespace: injected, Client: client, Crowd: crowd, Services: s.services, Before: q.Wait,
	})
	if err != nil {
		return nil, err
	}
	if err := sc.RunPod(ctx, injected, sc.Sleeper(newcomer)); err != nil {
		return nil, err
	}
	sizes, err := memory.Measure(ctx, sc, plain)
	if err != nil {
		return nil, err
	}
	return []figure.Table{changes.Table(), sizes.Table()}, nil
}

// lines counts the working directory.
func (s *session) lines(context.Context) error {
	counts, err := lines.Of(os.DirFS("."))
	if err != nil {
		return err
	}
	t := figure.Table{Title: "Lines of Go, not blank", Head: []string{"folder", "without tests", "tests", "together"}}
	var code, test int
	for _, c := range counts {
		t.Rows = append(t.Rows, []string{c.Folder, fmt.Sprint(c.Code), fmt.Sprint(c.Test), fmt.Sprint(c.Code + c.Test)})
		code, test = code+c.Code, test+c.Test
	}
	t.Rows = append(t.Rows, []string{"all", fmt.Sprint(code), fmt.Sprint(test), fmt.Sprint(code + test)})
	fmt.Fprint(s.out, t)
	return nil
}
