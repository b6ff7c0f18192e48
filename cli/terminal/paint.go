package terminal

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Paint colours words. Its zero value leaves them as they are.
type Paint struct{ on bool }

// When a terminal is coloured, as users write it.
const (
	ColorAuto   = "auto"   // if it is a terminal and the user's environment does not say no
	ColorAlways = "always" // in pipes and files, too
	ColorNever  = "never"
)

// NewPaint returns the colours for out; never says that the user's environment forbids them
// (NO_COLOR), which an explicit "always" overrules.
func NewPaint(when string, out io.Writer, never bool) (Paint, error) {
	switch when {
	case ColorAlways:
		return Paint{on: true}, nil
	case ColorNever:
		return Paint{}, nil
	case ColorAuto:
		f, ok := out.(*os.File)
		return Paint{on: !never && ok && term.IsTerminal(int(f.Fd()))}, nil
	}
	return Paint{}, fmt.Errorf("--color is %q: write auto, always or never", when)
}

// Good is for what is added or as it should be.
func (p Paint) Good(s string) string { return p.code("32", s) }

// Bad is for what is removed or wrong.
func (p Paint) Bad(s string) string { return p.code("31", s) }

// Changed is for what is different, or worth a look.
func (p Paint) Changed(s string) string { return p.code("33", s) }

// Title is for headings.
func (p Paint) Title(s string) string { return p.code("1", s) }

// Quiet is for what matters less.
func (p Paint) Quiet(s string) string { return p.code("2", s) }

func (p Paint) code(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
