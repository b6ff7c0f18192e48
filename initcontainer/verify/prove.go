package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/intent"
	"github.com/sluicemesh/sluice/initcontainer/model"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Disproof is the error for rules that do to some packets something else than is wanted.
type Disproof struct {
	Family      rule.Family
	Differences []Difference // at least one, the proven ones first
	More        int          // how many further kinds of packets differ
}

// Difference is one kind of packets to which the rules do what is not wanted.
type Difference struct {
	Packets string         // which, in words
	Example packet.Packet  // one of them
	Want    packet.Outcome // what the settings ask for
	Got     packet.Outcome // what the rules do
	Rule    string         // the rule that decided, with its place; "" where none did
	Foreign bool           // it is of others
	Unsure  bool           // it depends on conditions or targets that are not known
	Trace   []model.Step   // the way of Example
}

// remedy is for rules of others, whose purpose only the user knows.
const remedy = "; remove the rules of others (an init container of the pod, or a network plug-in, wrote them), " +
	"or exclude what they take from interception, by the pod's annotations traffic.sidecar.istio.io/exclude..."

// Error names each difference, and what to do about rules of others.
func (d *Disproof) Error() string {
	lines := make([]string, len(d.Differences))
	for i, x := range d.Differences {
		lines[i] = x.String()
	}
	if d.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d kinds more", d.More))
	}
	text := fmt.Sprintf("%s packets do not go where they should: %s", d.Family, strings.Join(lines, "; "))
	if slices.ContainsFunc(d.Differences, func(x Difference) bool { return x.Foreign }) {
		text += remedy
	}
	return text
}

// Certain reports whether some difference does not depend on anything unknown.
func (d *Disproof) Certain() bool {
	return !d.Differences[0].Unsure
}

// Exemplary reports whether there is an example, with what is wanted and happens. There is
// none where it is not packets that are objected to.
func (d Difference) Exemplary() bool { return d.Example.Source.IsValid() }

// String is the difference in one line.
func (d Difference) String() string {
	if !d.Exemplary() {
		return strings.TrimSuffix(d.Want.Because+": "+d.Rule, ": ")
	}
	verb := "is"
	if d.Unsure {
		verb = "may be"
	}
	text := fmt.Sprintf("%s %s %s, wanted: %s (%s)", d.Example, verb, d.Got, d.Want, d.Want.Because)
	switch {
	case d.Rule == "":
		text += "; no rule takes it"
	case d.Foreign:
		text += "; by a rule of others: " + d.Rule
	default:
		text += "; by " + d.Rule
	}
	return text
}

// maxDifferences is how many kinds of packets are named: more do not help who reads.
const maxDifferences = 16

// Prove returns nil when the rules of l do to every packet of family f that there can be
// what c wants, else a *Disproof. Rules of others count: one that takes a packet that
// is to be captured is a leak. What they drop, or do to packets that are to be left alone,
// is not interception's matter. c must pass its Validate.
//
// See packet.Space.Possible for which packets there can be, and package model for what is
// taken for granted of the kernel.
func Prove(c capture.Config, f rule.Family, l rule.Listing) error {
	p := newProof(c, f, l)
	p.own(c, l)
	for _, class := range p.space.Possible(f, p.marks, p.reserved) {
		if !p.model.Explore(class, p.compare) {
			if len(p.sure) == 0 { // not ended by differences: it has been given up
				p.unsure = append(p.unsure, Difference{
					Packets: "too many kinds to tell apart", Unsure: true,
					Want: packet.Outcome{Because: "the rules of others are too many to walk through"},
				})
			}
			break
		}
	}
	return p.result()
}

// proof compares a model with a wish, class by class.
type proof struct {
	family   rule.Family
	wish     *intent.Wish
	model    *model.Model
	space    *packet.Space
	marks    bool
	reserved uint32

	sure, unsure []Difference
	seen         map[kind]bool
	more         int
	asked        asked
}

// kind is what makes two differences worth two lines.
type kind struct {
	want, got packet.Outcome
	by        string
	unsure    bool
}

func newProof(c capture.Config, f rule.Family, l rule.Listing, more ...*packet.Set) *proof {
	tproxy := c.Mode == capture.TProxy
	p := &proof{family: f, wish: intent.New(c, f), seen: map[kind]bool{}}
	p.model = model.New(l, f, model.Routing{Mark: c.TProxyMark, Marked: tproxy})
	sets := append(p.wish.Sets(), p.model.Sets()...)
	if tproxy {
		p.reserved = c.TProxyMark + 1
		reserved := packet.Marked(p.reserved)
		sets = append(sets, &reserved)
	}
	p.space = packet.NewSpace(f, append(sets, more...))
	p.marks = tproxy || p.model.Marks()
	p.model.Bind(p.space)
	p.asked.space = p.space
	return p
}

// own notes rules of interception that must not be there, whatever packets meet them: all,
// where nothing is to be captured, and those that are not understood in full.
func (p *proof) own(c capture.Config, l rule.Listing) {
	places := slices.SortedFunc(maps.Keys(l.Rules), func(a, b rule.Place) int { return cmp.Compare(a.String(), b.String()) })
	for _, place := range places {
		for _, r := range l.Rules[place] {
			switch {
			case !r.Owned():
			case c.Mode == capture.None:
				p.object(place, r, "mode NONE has no rules")
			case !understood(r):
				p.object(place, r, "interception writes only rules that it understands")
			}
		}
	}
}

func (p *proof) object(at rule.Place, r rule.Rule, why string) {
	if len(p.sure) >= maxDifferences {
		p.more++
		return
	}
	p.sure = append(p.sure, Difference{
		Packets: "those that meet this rule", Rule: at.String() + " " + r.String(),
		Want: packet.Outcome{Because: why},
	})
}

func understood(r rule.Rule) bool {
	for _, m := range r.Match {
		if m.Key == rule.Other {
			return false
		}
	}
	return r.Target.Action != rule.Foreign
}

// compare asks what is wanted of the packets of a way, part by part, and notes where
// that is something else.
func (p *proof) compare(w model.Way) bool {
	p.asked.todo = append(p.asked.todo[:0], w.Class)
	for len(p.asked.todo) > 0 {
		n := len(p.asked.todo) - 1
		p.asked.class, p.asked.todo = p.asked.todo[n], p.asked.todo[:n]
		want := p.wish.Of(&p.asked)
		if !w.Outcome.Satisfies(want) && !foreignMatter(w, want) {
			p.differ(w, want)
		}
	}
	return len(p.sure) < maxDifferences*4
}

// foreignMatter reports whether a difference is between others and the user alone.
func foreignMatter(w model.Way, want packet.Outcome) bool {
	return w.Foreign() && (w.Outcome.Verdict == packet.Dropped || want.Verdict == packet.Alone)
}

func (p *proof) differ(w model.Way, want packet.Outcome) {
	k := kind{want: want, got: w.Outcome, by: w.By(), unsure: w.Unsure}
	if p.seen[k] {
		return
	}
	p.seen[k] = true
	list := &p.sure
	if w.Unsure {
		list = &p.unsure
	}
	if len(*list) >= maxDifferences {
		p.more++
		return
	}
	*list = append(*list, Difference{
		Packets: p.asked.class.String(), Example: p.asked.class.Example(), Want: want, Got: w.Outcome,
		Rule: k.by, Foreign: w.Foreign(), Unsure: w.Unsure,
	})
}

func (p *proof) result() error {
	list := slices.Concat(p.sure, p.unsure)
	if len(list) == 0 {
		return nil
	}
	if n := len(list) - maxDifferences; n > 0 {
		p.more += n
		list = list[:maxDifferences]
	}
	for i := range list {
		if list[i].Exemplary() {
			p.trace(&list[i])
		}
	}
	return &Disproof{Family: p.family, Differences: list, More: p.more}
}

// trace adds the way of a difference's example, and by it the rule that decided.
func (p *proof) trace(d *Difference) {
	for _, w := range p.model.Trace(p.space.Only(d.Example)) {
		if w.Outcome == d.Got {
			d.Rule, d.Trace = w.By(), w.Steps
			return
		}
	}
}

// asked is a class of packets as a view: where neither all nor none of it lies in a set, the
// part that does answers and the rest is put aside.
type asked struct {
	space *packet.Space
	class packet.Class
	todo  []packet.Class
}

// Is reports whether the class, or what is left of it, lies in s.
func (a *asked) Is(s *packet.Set) bool {
	b := a.space.Bits(s)
	some, all := a.class.Meets(b)
	if some && !all {
		a.todo = append(a.todo, a.class.Minus(b))
		a.class = a.class.And(b)
	}
	return some
}
