package packet

import "fmt"

// Verdict is where a packet goes.
type Verdict uint8

// The verdicts.
const (
	Alone      Verdict = iota // where its sender wanted
	Redirected                // to a port of this host; its connection with it, destination rewritten
	Diverted                  // to the listener on a port of this host, addresses unchanged
	Dropped                   // nowhere
	Taken                     // elsewhere, by a rule of others
)

// Bearing is whether a packet bears the mark by which it is routed to this host whatever
// its destination.
type Bearing uint8

// The bearings.
const (
	Plain  Bearing = iota // it does not
	Inward                // it does
	Either                // it goes to this host anyway; only as a wish
)

// Outcome is what interception did to a packet, or is to do.
type Outcome struct {
	Verdict Verdict
	Port    uint16  // of Redirected and Diverted
	Bearing Bearing // when the packet leaves, or reaches a socket; only with TPROXY
	Inbound bool    // its connection bears the mark of inbound ones; only with TPROXY
	Zone    uint16  // conntrack zone in which its connection is looked up
	Because string  // of a wish: why, in a few words for people
}

// Satisfies reports whether o, which happened, is as wanted.
func (o Outcome) Satisfies(want Outcome) bool {
	if o.Verdict != want.Verdict || o.Port != want.Port || o.Zone != want.Zone {
		return false
	}
	if o.Verdict == Dropped || o.Verdict == Taken {
		return true
	}
	return o.Inbound == want.Inbound && (want.Bearing == Either || o.Bearing == want.Bearing)
}

// String is the outcome in words, such as "redirected to 15001".
func (o Outcome) String() string {
	var text string
	switch o.Verdict {
	case Alone:
		text = "left alone"
	case Redirected:
		text = fmt.Sprintf("redirected to %d", o.Port)
	case Diverted:
		text = fmt.Sprintf("diverted to %d", o.Port)
	case Dropped:
		text = "dropped"
	case Taken:
		text = "taken elsewhere"
	}
	if o.Bearing == Inward && o.Verdict != Dropped {
		text += ", marked for this host"
	}
	if o.Inbound && o.Verdict != Dropped {
		text += ", connection marked inbound"
	}
	if o.Zone != 0 {
		text += fmt.Sprintf(", conntrack zone %d", o.Zone)
	}
	return text
}
