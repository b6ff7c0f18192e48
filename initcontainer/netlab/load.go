package netlab

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Wanted is a call and the name of the listener that it must reach, whatever happens.
type Wanted struct {
	Call
	Listener string
}

// Load is calls that go on while something changes.
type Load struct {
	Fresh []Wanted // made again and again
	Held  []Wanted // connected once, before the change begins; then spoken over again and again
}

// Tally counts what became of a load. Each complaint is a sentence.
type Tally struct {
	Reached  int      // fresh calls that reached the wanted listener
	Echoed   int      // round trips over held connections
	Leaks    []string // calls that somebody else answered
	Resets   []string // connections that were broken
	Failures []string // calls that nobody answered
}

// String is the counts and the first complaint of each kind.
func (t Tally) String() string {
	text := fmt.Sprintf("%d calls and %d round trips were right, %d leaked, %d were reset, %d failed",
		t.Reached, t.Echoed, len(t.Leaks), len(t.Resets), len(t.Failures))
	for _, list := range [][]string{t.Leaks, t.Resets, t.Failures} {
		if len(list) > 0 {
			text += "\n" + list[0]
		}
	}
	return text
}

// Clean reports whether nothing went wrong.
func (t Tally) Clean() bool { return len(t.Leaks)+len(t.Resets)+len(t.Failures) == 0 }

// Run keeps a load going while change runs, and returns the error of change. change may
// ask how many calls and round trips there have been. Calls of one owner are made one after
// the other, so a load is as many at a time as it has owners.
func (l *Lab) Run(load Load, change func(progress func() int) error) (Tally, error) {
	var r run
	seats := map[seat]*share{}
	for _, kind := range [][]Wanted{load.Fresh, load.Held} {
		for _, w := range kind {
			seats[seat{w.At, w.Owner}] = &share{run: &r}
		}
	}
	for _, w := range load.Fresh {
		s := seats[seat{w.At, w.Owner}]
		s.fresh = append(s.fresh, w)
	}
	for _, w := range load.Held {
		at := seat{w.At, w.Owner}
		err := l.threadAt(at).do(func() { seats[at].hold(w) })
		if err != nil {
			return Tally{}, err
		}
	}
	var g errgroup.Group
	for at, s := range seats {
		g.Go(func() error { return l.threadAt(at).do(s.work) })
	}
	err := change(func() int { return int(r.calls.Load()) })
	r.over.Store(true)
	return r.tally, errors.Join(err, g.Wait())
}

// run is what the threads of a load have in common.
type run struct {
	over  atomic.Bool
	calls atomic.Int64
	mu    sync.Mutex
	tally Tally
}

// note counts one call or round trip, and complains if there is something to say.
func (r *run) note(right *int, complaints *[]string, complaint string) {
	r.calls.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if complaint == "" {
		*right++
	} else {
		*complaints = append(*complaints, complaint)
	}
}

// share is the part of a load that one thread has.
type share struct {
	run   *run
	fresh []Wanted
	held  []held
}

type held struct {
	Wanted
	fd int
}

// hold opens a connection. One that goes wrong is counted and not held.
func (s *share) hold(w Wanted) {
	fd, err := w.open()
	if err != nil {
		s.blame(w, Reached{}, err)
		return
	}
	said, err := w.hear(fd)
	got := reached(said)
	if err != nil || got.Listener != w.Listener {
		s.blame(w, got, errors.Join(err, unix.Close(fd)))
		return
	}
	s.held = append(s.held, held{w, fd})
}

// work makes calls until the load is over.
func (s *share) work() {
	for !s.run.over.Load() {
		for _, w := range s.fresh {
			got, err := w.attempt()
			s.blame(w, got, err)
		}
		kept := s.held[:0]
		for _, h := range s.held {
			if s.echo(h) {
				kept = append(kept, h)
			}
		}
		s.held = kept
	}
	for _, h := range s.held {
		_ = unix.Close(h.fd) // nothing is lost with it
	}
}

// blame notes what became of a call.
func (s *share) blame(w Wanted, got Reached, err error) {
	r := s.run
	t := &r.tally
	what := fmt.Sprintf("%v from %v: ", w.To, w.Owner)
	switch {
	case isReset(err):
		r.note(&t.Reached, &t.Resets, what+err.Error())
	case err != nil:
		r.note(&t.Reached, &t.Failures, what+err.Error())
	case got.Listener != w.Listener:
		r.note(&t.Reached, &t.Leaks, what+"reached "+got.Listener+", want "+w.Listener)
	default:
		r.note(&t.Reached, nil, "")
	}
}

// echo makes one round trip and reports whether the connection still works.
func (s *share) echo(h held) bool {
	r := s.run
	err := again(func() error { _, err := unix.Write(h.fd, []byte(".")); return err })
	n, buffer := 0, []byte{0}
	if err == nil {
		err = again(func() (err error) { n, err = unix.Read(h.fd, buffer); return err })
	}
	switch {
	case isReset(err) || err == nil && n == 0:
		r.note(&r.tally.Echoed, &r.tally.Resets, fmt.Sprintf("held %v from %v: %v", h.To, h.Owner, err))
	case err != nil:
		r.note(&r.tally.Echoed, &r.tally.Failures, fmt.Sprintf("held %v from %v: %v", h.To, h.Owner, err))
	default:
		r.note(&r.tally.Echoed, nil, "")
		return true
	}
	_ = unix.Close(h.fd) // it is broken already
	return false
}

func isReset(err error) bool {
	return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}
