// Package picture draws for a terminal what happened to a request.
//
// It is pure: a Result and a palette in, text out. It draws what was observed and makes
// nothing up: an arrow says "mTLS" because the receiving proxy logged it.
package picture

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicemesh/sluice/e2e/demo/journey"
)

// Result is one request and what became of it.
type Result struct {
	Request    string // "GET http://httpbin:8000/headers"
	Status     int    // as the caller saw it
	Took       time.Duration
	Answer     string // what of the answer is worth showing, a line; may be empty
	Journey    journey.Journey
	Identities journey.Identities // zero if the application was told none
	Failure    string             // why this is not what was expected; empty if it is
}

// Palette says how to set words apart. The zero value writes plain text.
type Palette struct{ Good, Bad, Strong, Faint, Reset string }

// Colours is the palette of a terminal.
func Colours() Palette {
	return Palette{Good: "\x1b[32m", Bad: "\x1b[31m", Strong: "\x1b[1m", Faint: "\x1b[2m", Reset: "\x1b[0m"}
}

func (p Palette) good(s string) string   { return p.Good + s + p.Reset }
func (p Palette) bad(s string) string    { return p.Bad + s + p.Reset }
func (p Palette) strong(s string) string { return p.Strong + s + p.Reset }
func (p Palette) faint(s string) string  { return p.Faint + s + p.Reset }

// Title draws the heading of a scene, with lines that say what it shows.
func (p Palette) Title(title, why string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", p.strong("▌ "+title))
	for line := range strings.Lines(why) {
		fmt.Fprintf(&b, "  %s\n", p.faint(strings.TrimRight(line, "\n")))
	}
	return b.String()
}

// Draw draws a request: a headline, its way, and what each proxy wrote about it.
func (p Palette) Draw(r Result) string {
	var b strings.Builder
	mark := p.good("✓")
	if r.Failure != "" {
		mark = p.bad("✗")
	}
	fmt.Fprintf(&b, "\n  %s %s → %s in %s\n", mark, r.Request, p.strong(fmt.Sprint(r.Status)), r.Took.Round(100*time.Microsecond))
	if len(r.Journey.Hops) > 0 {
		fmt.Fprintf(&b, "      %s\n", p.way(r.Journey))
	}
	for _, h := range r.Journey.Hops {
		p.note(&b, who(h), says(h))
	}
	if r.Identities.Client != "" {
		p.note(&b, "client's identity", r.Identities.Client)
		p.note(&b, "server's identity", r.Identities.Server)
	}
	if len(r.Journey.Hops) > 0 {
		p.note(&b, "x-request-id", requestIDs(r.Journey))
	}
	if r.Answer != "" {
		p.note(&b, "answer", r.Answer)
	}
	if r.Failure != "" {
		p.note(&b, "not as expected", p.bad(r.Failure))
	}
	return b.String()
}

func (p Palette) note(b *strings.Builder, name, text string) {
	fmt.Fprintf(b, "      %s %s\n", p.faint(fmt.Sprintf("%-17s", name)), text)
}

// way draws the stations and the links between them.
func (p Palette) way(j journey.Journey) string {
	var b strings.Builder
	switch {
	case j.ClientPod == "":
		b.WriteString(p.strong(j.Client))
	case j.Hops[0].Link == journey.Captured:
		b.WriteString(p.strong(j.ClientPod))
	default:
		b.WriteString(p.strong(j.ClientPod) + " (no proxy)")
	}
	for _, h := range j.Hops {
		b.WriteString(p.arrow(h.Link))
		if h.Pod.Gateway {
			b.WriteString(p.strong(h.Pod.App))
		} else {
			b.WriteString("proxy")
		}
	}
	if j.Server != "" {
		b.WriteString(p.arrow(journey.Captured) + p.strong(server(j)))
	}
	return b.String()
}

// server names who answered: a pod, or the host that was asked for and its address.
func server(j journey.Journey) string {
	if j.Server == j.ServerApp || j.Hops[len(j.Hops)-1].Inbound() {
		return j.Server
	}
	return j.ServerApp + " (" + j.Server + ")"
}

func (p Palette) arrow(l journey.Link) string {
	switch l {
	case journey.Captured:
		return " ─▶ "
	case journey.Plain:
		return " ── " + p.faint("plain text") + " ──▶ "
	case journey.TLS:
		return " ══ TLS ══▶ "
	case journey.MutualTLS:
		return p.good(" ══ mTLS ══▶ ")
	}
	return " ? "
}

// requestIDs lists the ids under which the proxies logged the request, in the order of the way.
func requestIDs(j journey.Journey) string {
	var ids []string
	for _, h := range j.Hops {
		if !slices.Contains(ids, h.Entry.RequestID) {
			ids = append(ids, h.Entry.RequestID)
		}
	}
	return strings.Join(ids, " → ")
}

// who names the proxy of a hop by its part in the journey.
func who(h journey.Hop) string {
	switch {
	case h.Pod.Gateway && strings.Contains(h.Pod.App, "egress"):
		return "egress gateway"
	case h.Pod.Gateway:
		return "gateway"
	case h.Inbound():
		return "server's proxy"
	}
	return "client's proxy"
}

// says is what the proxy of a hop logged.
func says(h journey.Hop) string {
	e := h.Entry
	text := fmt.Sprintf("%d ", e.Status)
	switch {
	case e.UpstreamHost == "":
		text += "by itself: " + e.Details
	case h.Inbound():
		text += e.UpstreamCluster + " from " + e.DownstreamRemote
	default:
		text += e.UpstreamCluster + " → " + e.UpstreamHost
	}
	if e.Flags != "" {
		text += " [" + e.Flags + "]"
	}
	if e.ServerName != "" {
		text += ", SNI " + e.ServerName
	}
	return text
}
