// Package intent says what is wanted: what becomes of each packet under given settings,
// as users are told.
//
// It is one list of decisions, written from the description of the options, and knows
// nothing of tables, chains or plans, so that proving rules against it means something.
// Where Istio's rules contradict their own description, the description holds (the
// documentation lists where). It is pure.
package intent

import (
	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/ports"

	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// Of is what c wants for packet p of family f. c must pass its Validate.
func Of(c capture.Config, f rule.Family, p packet.View) packet.Outcome {
	return New(c, f).Of(p)
}

// Of is what is wanted for packet p.
func (w *Wish) Of(p packet.View) packet.Outcome {
	if w.config.Mode == capture.None {
		return left("mode NONE")
	}
	var out packet.Outcome
	if p.Is(&w.sent) {
		out = w.ofSent(p)
	} else {
		out = w.ofArrived(p)
	}
	if w.queries && p.Is(&w.udp) {
		out.Zone = w.zone(p)
	}
	return out
}

// ofSent is what is wanted for what a process of the pod, or its kernel, sends. What it
// sends over lo reaches the pod again: see ofArrived for the reasons.
func (w *Wish) ofSent(p packet.View) packet.Outcome {
	out := left("later packet: its connection goes where its first packet went")
	overLo := p.Is(&w.overLo)
	switch {
	case w.config.DropInvalid && p.Is(&w.invalid) && overLo && !p.Is(&w.excludedOut):
		return packet.Outcome{Verdict: packet.Dropped, Because: "fits no connection (--drop-invalid)"}
	case w.tproxy && p.Is(&w.tcp) && overLo && w.callsSelf(p):
		out = w.divert(p, "proxy's call to its own pod")
	case p.Is(&w.first):
		out = w.outbound(p)
	}
	w.bookkeeping(p, &out)
	return out
}

// bookkeeping is what mode TPROXY does besides: the proxy calls the application from the
// client's address and marks that. The connection keeps the mark and gives it to the
// answers, which are routed to this host by it: the client's address is not of this host.
func (w *Wish) bookkeeping(p packet.View, out *packet.Outcome) {
	if !w.tproxy {
		return
	}
	inbound := p.Is(&w.tcp) && !p.Is(&w.invalid)
	marked := p.Is(&w.bearsMark)
	out.Inbound = p.Is(&w.ofInbound) || inbound && marked
	switch {
	case marked || inbound && out.Inbound:
		out.Bearing = packet.Inward
		if !marked && p.Is(&w.overLo) {
			out.Bearing = packet.Either
		}
	case p.Is(&w.overLo):
		out.Bearing = packet.Either
	default:
		out.Bearing = packet.Plain
	}
}

// callsSelf reports whether p is the proxy's own connection to its pod, as when the
// application calls a Service that it is a part of: it must pass the inbound listener.
func (w *Wish) callsSelf(p packet.View) bool {
	switch {
	case p.Is(&w.excludedOut), p.Is(&w.excludedPorts), p.Is(&w.source), !w.fromProxy(p):
		return false
	case w.tproxy && (p.Is(&w.bearsMark) || w.probes(p)):
		return false
	case w.dns && p.Is(&w.toQuery):
		return false
	}
	return !p.Is(&w.localhost) && !p.Is(&w.tunnel)
}

// probes reports whether p is the connection by which an unprivileged container finds out
// whether rules are in force. It goes over lo.
func (w *Wish) probes(p packet.View) bool { return p.Is(&w.toSource) && p.Is(&w.toProbe) }

func (w *Wish) fromProxy(p packet.View) bool { return p.Is(&w.users) || p.Is(&w.groups) }

// outbound is what is wanted for a connection that the pod opens.
func (w *Wish) outbound(p packet.View) packet.Outcome {
	tcp := p.Is(&w.tcp)
	carriesPorts := tcp || p.Is(&w.udp)
	overLo := p.Is(&w.overLo)
	query := w.dns && carriesPorts && p.Is(&w.toQuery)
	switch {
	case !carriesPorts:
		return left("neither TCP nor UDP")
	case p.Is(&w.excludedOut):
		return left("excluded interface (-c)")
	case p.Is(&w.excludedPorts):
		return left("excluded port (-o)")
	case overLo && p.Is(&w.source):
		return left("proxy to application, by its source address")
	case w.fromProxy(p):
		return w.ofProxy(p, tcp && overLo)
	case !p.Is(&w.members):
		return left("owner group not included (ISTIO_OUTBOUND_OWNER_GROUPS)")
	case p.Is(&w.outsiders):
		return left("owner group excluded (ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE)")
	case query && w.queries && p.Is(&w.toServers):
		return redirect(ports.AgentDNS, "DNS query")
	case !tcp:
		return left("UDP")
	case overLo && !w.opensLoopback && !query:
		return left("within the pod")
	case p.Is(&w.localhost):
		return left("localhost")
	}
	return w.destination(p)
}

// ofProxy is what is wanted for a connection that the proxy opens, over lo by TCP or else.
func (w *Wish) ofProxy(p packet.View, local bool) packet.Outcome {
	switch {
	case local && w.probesMatter && w.probes(p):
		return redirect(w.config.InboundPort, "check of the rules")
	case local && !w.tproxy && w.callsSelf(p):
		return redirect(w.config.InboundPort, "proxy's call to its own pod")
	}
	return left("sent by the proxy")
}

// destination is the user's choice among destinations.
func (w *Wish) destination(p packet.View) packet.Outcome {
	switch {
	case p.Is(&w.excludedRanges):
		return left("excluded range (-x)")
	case p.Is(&w.includedPorts):
		return redirect(w.config.OutboundPort, "included port (-q)")
	case w.config.OutboundRanges.All || p.Is(&w.includedRanges):
		return redirect(w.config.OutboundPort, "included range (-i)")
	}
	return left("range not included (-i)")
}

// ofArrived is what is wanted for what reaches the pod from elsewhere.
func (w *Wish) ofArrived(p packet.View) packet.Outcome {
	out := w.inbound(p)
	out.Inbound = w.tproxy && p.Is(&w.ofInbound)
	return out
}

func (w *Wish) inbound(p packet.View) packet.Outcome {
	switch {
	case w.config.DropInvalid && p.Is(&w.invalid) && !p.Is(&w.excludedIn):
		return packet.Outcome{Verdict: packet.Dropped, Because: "fits no connection (--drop-invalid)"}
	case !p.Is(&w.tcp):
		return left("not TCP")
	case p.Is(&w.guests):
		return w.ofGuest(p)
	case p.Is(&w.excludedIn):
		return left("excluded interface (-c)")
	case p.Is(&w.tunnel):
		return left("tunnel port (-e)")
	case !w.config.InboundPorts.All && !p.Is(&w.inboundPorts):
		return left("port not included (-b)")
	case w.config.InboundPorts.All && p.Is(&w.inboundExcluded):
		return left("excluded port (-d)")
	case w.tproxy:
		return w.divert(p, "included port (-b)")
	case p.Is(&w.first):
		return redirect(w.config.InboundPort, "included port (-b)")
	}
	return left("later packet: its connection goes where its first packet went")
}

// ofGuest is what is wanted for what a virtual machine or container in the pod sends: as
// for the pod's own processes, as far as that can be told.
func (w *Wish) ofGuest(p packet.View) packet.Outcome {
	switch {
	case !p.Is(&w.first):
		return left("later packet: its connection goes where its first packet went")
	case p.Is(&w.excludedPorts):
		return left("excluded port (-o)")
	}
	return w.destination(p)
}

// divert is what is wanted for packets of a connection that the proxy is to accept with
// its addresses as they are: the first ones go to the listener, the later ones find the
// connection's socket if they are routed to this host.
func (w *Wish) divert(p packet.View, why string) packet.Outcome {
	switch {
	case p.Is(&w.opener):
		return packet.Outcome{Bearing: packet.Inward, Because: why}
	case p.Is(&w.answer):
		return left("answer to what the pod sent")
	}
	return packet.Outcome{Verdict: packet.Diverted, Port: w.config.InboundPort, Bearing: packet.Inward, Because: why}
}

// zone keeps apart, in connection tracking, queries of processes to the agent (2) from
// queries of the agent to servers (1), which may have the same addresses and ports. What
// comes back over lo is tracked already.
func (w *Wish) zone(p packet.View) uint16 {
	if !p.Is(&w.sent) {
		if p.Is(&w.fromQuery) && p.Is(&w.fromServers) {
			return zoneOfServers
		}
		return 0
	}
	proxy := w.fromProxy(p)
	switch {
	case proxy && p.Is(&w.toQuery):
		return zoneOfServers
	case proxy && p.Is(&w.fromAgent), p.Is(&w.toQuery) && p.Is(&w.toServers):
		return zoneOfAgent
	}
	return 0
}

// The conntrack zones of queries.
const (
	zoneOfServers uint16 = 1
	zoneOfAgent   uint16 = 2
)

func left(why string) packet.Outcome { return packet.Outcome{Because: why} }

func redirect(port uint16, why string) packet.Outcome {
	return packet.Outcome{Verdict: packet.Redirected, Port: port, Because: why}
}
