package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicemesh/sluice/bench/figure"
)

// setting is what the rules are for.
type setting struct {
	mode string // one of modeNames
	ipv6 bool   // both families; else the pod has only IPv4
	args []string
}

func (c setting) name() string {
	if c.ipv6 {
		return c.mode + ", IPv4 + IPv6"
	}
	return c.mode + ", IPv4"
}

// Modes, as --modes names them.
const (
	defaultPod = "default"
	dnsCapture = "dns"
	tproxy     = "tproxy"
)

func modeNames() []string { return []string{defaultPod, dnsCapture, tproxy} }

func newSetting(mode string, ipv6 bool) setting {
	args := []string{"-i", "*", "-b", "*", "-d", "15090,15021,15020"}
	switch mode {
	case dnsCapture:
		args = append(args, "--redirect-dns", "--capture-all-dns")
	case tproxy:
		args = append(args, "-m", "TPROXY")
	}
	return setting{mode, ipv6, args}
}

func (s *session) settings() []setting {
	var out []setting
	for _, ipv6 := range []bool{false, true} {
		for _, mode := range s.modes {
			out = append(out, newSetting(mode, ipv6))
		}
	}
	return out
}

// step is one run in the namespace of a subject, after the steps before it.
type step struct {
	name     string
	commands [][]string
}

// subject is what is run in a namespace of its own.
type subject struct {
	setting setting
	steps   []step
}

// subjects lists everything that is timed: what writes rules, then the bare cost of processes.
func (s *session) subjects() ([]subject, error) {
	var out []subject
	for _, c := range s.settings() {
		for _, backend := range s.backends {
			program := slices.Concat([]string{s.tools.init}, forced(backend), c.args)
			again := slices.Concat(program, []string{"--cleanup-only"})
			out = append(out, subject{c, []step{
				{backend, [][]string{program}}, {backend + ", run again", [][]string{program}}, {backend + ", cleanup", [][]string{again}},
			}})
			plain, err := s.tools.plain(backend, c)
			if err != nil {
				return nil, err
			}
			if plain != nil {
				out = append(out, subject{c, []step{{backend + ": bare " + bareName(backend), plain}}})
			}
		}
	}
	process := setting{mode: "process"}
	for _, p := range []step{
		{"true", [][]string{{s.tools.true}}}, {"Go program that does nothing", [][]string{{s.tools.nothing}}},
		{"sluice-init --help", [][]string{{s.tools.init, "--help"}}},
	} {
		out = append(out, subject{process, []step{p}})
	}
	return out, nil
}

func bareName(backend string) string {
	if backend == byNftables {
		return "nft -f"
	}
	return "restore"
}

// seen is what was measured of one step.
type seen struct {
	wall, cpu []time.Duration
	outline   outline // of all its commands: processes in sum, the largest peak
}

// starts measures from the start of programs to their end.
func (s *session) starts(ctx context.Context) ([]figure.Table, error) {
	subjects, err := s.subjects()
	if err != nil {
		return nil, err
	}
	all := map[string]*seen{}
	at := func(sub subject, st step) *seen {
		key := sub.setting.name() + "/" + st.name
		if all[key] == nil {
			all[key] = &seen{}
		}
		return all[key]
	}
	err = s.each(ctx, "starts", func(round int) error {
		for _, sub := range turned(subjects, round) {
			err := sub.each(ctx, func(st step) error {
				u, err := execute(st.commands)
				if into := at(sub, st); err == nil && round > 0 {
					into.wall, into.cpu = append(into.wall, u.wall), append(into.cpu, u.cpu)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, sub := range subjects {
		err := sub.each(ctx, func(st step) error { return at(sub, st).outlined(st.commands) })
		if err != nil {
			return nil, err
		}
	}
	return s.startTables(subjects, at), nil
}

// outlined counts instead of timing.
func (r *seen) outlined(commands [][]string) error {
	for _, argv := range commands {
		o, err := count(argv)
		if err != nil {
			return err
		}
		r.outline.processes += o.processes
		r.outline.peak = max(r.outline.peak, o.peak)
	}
	return nil
}

// each calls fn for the steps, in the pod of a new place.
func (sub subject) each(ctx context.Context, fn func(step) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	where, err := newPlace(sub.setting.ipv6)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, where.close()) }()
	return in(where.pod, func() error {
		for _, st := range sub.steps {
			if err := fn(st); err != nil {
				return fmt.Errorf("%s, %s: %w", sub.setting.name(), st.name, err)
			}
		}
		return nil
	})
}

func (s *session) startTables(subjects []subject, at func(subject, step) *seen) []figure.Table {
	var tables []figure.Table
	for i, sub := range subjects {
		if i == 0 || sub.setting.name() != subjects[i-1].setting.name() {
			tables = append(tables, figure.Table{
				Title: "Exec → rules verified, fresh namespace: " + sub.setting.name(),
				Head:  []string{"program", "n", "p50, ms", "p90, ms", "CPU p50, ms", "CPU p90, ms", "processes", "peak RSS, MiB"},
			})
		}
		t := &tables[len(tables)-1]
		for _, st := range sub.steps {
			r := at(sub, st)
			wall, cpu := figure.Of(r.wall), figure.Of(r.cpu)
			t.Rows = append(t.Rows, []string{
				st.name, fmt.Sprint(wall.N), figure.Millis(wall.P50), figure.Millis(wall.P90),
				figure.Millis(cpu.P50), figure.Millis(cpu.P90), fmt.Sprint(r.outline.processes), figure.MiB(r.outline.peak),
			})
		}
	}
	last := &tables[len(tables)-1]
	last.Title = "The bare cost of a process"
	last.Notes = []string{
		fmt.Sprintf("sluice-init is a file of %s MiB", figure.MiB(s.tools.size)),
		"times run from before the program is started to its end; CPU is that of the kernel and the programs, children included",
		"bare: the tool alone loads the rules that sluice-init left in the kernel, and verifies nothing; one process a family, whose times are added",
		"processes: how many programs are run, the first included; without those that are forked and run none",
		"processes and peak memory are counted in a run of their own under a tracer; the peak is that of the program itself",
	}
	return tables
}
