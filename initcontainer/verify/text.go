package verify

import (
	"fmt"
	"io"
	"strings"

	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Write prints the differences, each with the way of one packet.
func (d *Disproof) Write(w io.Writer) {
	for i, x := range d.Differences {
		if !x.Exemplary() {
			fmt.Fprintf(w, "%s %d: %s\n", d.Family, i+1, x)
			continue
		}
		fmt.Fprintf(w, "%s %d: %s\n", d.Family, i+1, x.verb())
		fmt.Fprintf(w, "  packets  %s\n  example  %s\n", x.Packets, x.Example)
		fmt.Fprintf(w, "  happens  %s\n  wanted   %s: %s\n", x.Got, x.Want, x.Want.Because)
		if x.Rule != "" {
			fmt.Fprintf(w, "  rule     %s\n", x.Rule)
		}
		fmt.Fprintln(w, "  way")
		WriteSteps(w, "    ", x.Trace)
	}
	if d.More > 0 {
		fmt.Fprintf(w, "%s: and %d kinds of packets more\n", d.Family, d.More)
	}
}

func (d Difference) verb() string {
	switch {
	case d.Unsure:
		return "cannot tell"
	case d.Foreign:
		return "taken by a rule of others"
	}
	return "goes astray"
}

// Write prints the packet's way, what becomes of it and what was intended.
func (t Tracing) Write(w io.Writer) {
	fmt.Fprintln(w, t.Packet)
	for i, way := range t.Ways {
		if len(t.Ways) > 1 {
			fmt.Fprintf(w, "way %d, if it is so:\n", i+1)
		}
		WriteSteps(w, "  ", way.Steps)
		fmt.Fprintf(w, "happens  %s\n", way.Outcome)
	}
	fmt.Fprintf(w, "wanted   %s: %s\n", t.Want, t.Want.Because)
	if !t.Agrees() {
		fmt.Fprintln(w, "differs")
	}
}

// WriteSteps prints the steps of a way in lines that begin with indent: rules that match
// with "+", those that do not with "-", and what the kernel does in between with "·".
func WriteSteps(w io.Writer, indent string, steps []model.Step) {
	var last rule.Place
	for _, s := range steps {
		if s.Rule != "" && s.Place != last {
			fmt.Fprintf(w, "%s%s\n", indent, s.Place)
			last = s.Place
		}
		sign, text := "·", s.Note
		if s.Rule != "" {
			sign, text = "-", strings.TrimPrefix(s.Rule, "-A "+string(s.Place.Chain)+" ")
			if s.Matched {
				sign = "+"
			}
			if s.Note != "" {
				text += " (" + s.Note + ")"
			}
		} else if s.Place != (rule.Place{}) {
			text = s.Place.String() + ": " + text
		}
		fmt.Fprintf(w, "%s  %s %s\n", indent, sign, text)
	}
}
