// Package progress tells a waiting person what a long run is doing.
//
// It prints one line when a step starts, one every ten seconds while it lasts, and one with the time taken when
// it ends. It must not decide anything and must not hide an error: what a step returns is returned to the caller.
// Steps come in from the caller, lines go out to one writer.
package progress

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// every is the time between two lines of one step: short enough to show life, long enough for a readable CI log.
const every = 10 * time.Second

// Printer writes progress lines. It is safe for concurrent use. The zero value is not usable; see New.
type Printer struct {
	mu  sync.Mutex
	out io.Writer
}

// New returns a printer that writes to out, which the caller owns. A nil out discards every line.
func New(out io.Writer) *Printer {
	if out == nil {
		out = io.Discard
	}
	return &Printer{out: out}
}

// Say prints one line. Errors of the writer are dropped: a closed terminal must not end a build.
func (p *Printer) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}

// Step runs do, printing what it is and how long it takes. It returns the error of do unchanged.
func (p *Printer) Step(ctx context.Context, what string, do func(context.Context) error) error {
	start := time.Now()
	p.Say("• %s", what)
	done := make(chan struct{})
	var ticking errgroup.Group
	ticking.Go(func() error {
		p.tick(what, start, done)
		return nil
	})
	err := do(ctx)
	close(done)
	_ = ticking.Wait() // the ticker returns nil; waiting keeps its line from following ours
	if err != nil {
		p.Say("✗ %s: failed after %s", what, Elapsed(time.Since(start)))
		return err
	}
	p.Say("✓ %s: %s", what, Elapsed(time.Since(start)))
	return nil
}

func (p *Printer) tick(what string, start time.Time, done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			p.Say("  %s … %s", what, Elapsed(time.Since(start)))
		}
	}
}

// Elapsed renders a duration for people: tenths of a second below a minute, whole seconds above.
func Elapsed(d time.Duration) string {
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
