// Package terminal shows the progress of long steps.
//
// On a terminal one line is redrawn in place while a step runs; elsewhere each change is a
// line of its own, so that logs of pipelines stay readable. The package knows nothing of
// what the steps do.
package terminal

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Printer writes steps. It is for one goroutine.
type Printer struct {
	out         io.Writer
	interactive bool
}

// New writes to out; steps are redrawn in place if out is a terminal.
func New(out io.Writer) *Printer {
	f, ok := out.(*os.File)
	return &Printer{out: out, interactive: ok && term.IsTerminal(int(f.Fd()))}
}

// Step is one running step.
type Step struct {
	printer *Printer
	title   string
	detail  string
	frame   int
}

// Start begins a step.
func (p *Printer) Start(title string) *Step {
	s := &Step{printer: p, title: title}
	s.draw()
	return s
}

// Update says what the step is at. Calling it with the same detail moves the spinner only.
func (s *Step) Update(detail string) {
	changed := detail != s.detail
	s.detail = detail
	if s.printer.interactive || changed {
		s.draw()
	}
}

// At is Update for details of which each lasts but a moment: only a terminal shows them.
func (s *Step) At(detail string) {
	if s.printer.interactive {
		s.Update(detail)
	}
}

// Done ends the step well; text replaces the line.
func (s *Step) Done(text string) { s.end("✔ " + text) }

// Fail ends the step badly.
func (s *Step) Fail(text string) { s.end("✘ " + text) }

func (s *Step) end(text string) {
	if s.printer.interactive {
		fmt.Fprint(s.printer.out, "\r\x1b[K")
	}
	fmt.Fprintln(s.printer.out, text)
}

// draw writes the running line.
func (s *Step) draw() {
	line := s.title
	if s.detail != "" {
		line += ": " + s.detail
	}
	if !s.printer.interactive {
		fmt.Fprintln(s.printer.out, "- "+line)
		return
	}
	frames := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	fmt.Fprintf(s.printer.out, "\r\x1b[K%c %s", frames[s.frame%len(frames)], s.fit(line))
	s.frame++
}

// fit cuts a line to the terminal's width, as a wrapped line cannot be redrawn.
func (s *Step) fit(line string) string {
	f, ok := s.printer.out.(*os.File)
	if !ok {
		return line
	}
	width, _, err := term.GetSize(int(f.Fd()))
	runes := []rune(line)
	if err != nil || width < 8 || len(runes) <= width-3 {
		return line
	}
	return string(runes[:width-4]) + "…"
}
