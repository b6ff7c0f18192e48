// Package journey follows one request through the proxies it passed, by what each of them
// wrote into its access log.
//
// It is pure: pods and log lines in, a Journey out. It assumes nothing about where a
// request should have gone: the next proxy is the one at the address that the last one
// says it chose, and its line is the one with the same x-request-id. A gateway may give a
// request an id of its own; there the user agent, which no other request has, tells.
package journey

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sluicemesh/sluice/e2e/demo/accesslog"
)

// ErrNotLogged says that a proxy's line is not there yet: proxies write their logs with a
// delay of up to a second.
var ErrNotLogged = errors.New("not in the access log")

// longest is more proxies than any request of the demonstration passes.
const longest = 8

// Link says how a request came to a proxy.
type Link int

// The links.
const (
	Captured  Link = iota // from the proxy's own pod, by the interception rules
	Plain                 // over the network, without TLS
	TLS                   // over the network, TLS with a server name of the client's choice
	MutualTLS             // over the network, TLS to the mesh's own server name: both ends show a certificate
)

// Hop is one proxy that a request passed.
type Hop struct {
	Pod   Pod
	Link  Link // how the request came to it
	Entry accesslog.Entry
}

// Inbound reports whether the proxy handed the request to its own pod.
func (h Hop) Inbound() bool { return inbound(h.Entry.UpstreamCluster) }

// Journey is the way of one request.
type Journey struct {
	Client string // the caller: app of a pod, or the name of a place outside
	// ClientPod is the name of the calling pod; empty for a caller outside.
	ClientPod string
	Hops      []Hop
	// Server is who answered after the last hop: the name of a pod or an address. It is
	// empty where the last proxy answered by itself.
	Server string
	// ServerApp is the app of the pod, or the host that was asked for.
	ServerApp string
}

// Start says where to look for the first line of a request.
type Start struct {
	Client Pod    // the calling pod; without a name for a caller outside the cluster
	Caller string // what to call a caller outside
	Mark   string // user agent of the request, used by no other
	First  []Pod  // the pods whose proxy may have seen it first
}

// Follow finds the way of a request. lines gives the access log of a pod's proxy. An error
// that wraps ErrNotLogged goes away when the proxies have written their logs.
func Follow(s Start, pods []Pod, lines func(Pod) ([]accesslog.Entry, error)) (Journey, error) {
	j := Journey{Client: s.Caller}
	if s.Client.Name != "" {
		j.Client, j.ClientPod = s.Client.App, s.Client.Name
	}
	pod, entry, err := first(s, lines)
	if err != nil {
		return j, err
	}
	for range longest {
		hop := Hop{Pod: pod, Entry: entry, Link: link(entry)}
		if len(j.Hops) == 0 && pod.Name == s.Client.Name && pod.Namespace == s.Client.Namespace {
			hop.Link = Captured
		}
		j.Hops = append(j.Hops, hop)
		switch {
		case entry.UpstreamHost == "":
			return j, nil
		case hop.Inbound():
			j.Server, j.ServerApp = pod.Name, pod.App
			return j, nil
		}
		next, known := at(pods, entry.UpstreamHost)
		switch {
		case !known:
			j.Server, j.ServerApp = entry.UpstreamHost, entry.Authority
			return j, nil
		case next.Proxy == "":
			j.Server, j.ServerApp = next.Name, next.App
			return j, nil
		}
		id := entry.RequestID
		pod = next
		entry, err = find(pod, lines, func(e accesslog.Entry) bool {
			if pod.Gateway {
				return e.RequestID == id || e.UserAgent == s.Mark
			}
			return e.RequestID == id && (inbound(e.UpstreamCluster) || e.UpstreamHost == "")
		})
		if err != nil {
			return j, err
		}
	}
	return j, fmt.Errorf("request %s passed more than %d proxies", entry.RequestID, longest)
}

// first finds the line of the first proxy.
func first(s Start, lines func(Pod) ([]accesslog.Entry, error)) (pod Pod, e accesslog.Entry, err error) {
	err = fmt.Errorf("%w of any pod: there is none to look at", ErrNotLogged)
	for _, pod = range s.First {
		e, err = find(pod, lines, func(e accesslog.Entry) bool { return e.UserAgent == s.Mark })
		if !errors.Is(err, ErrNotLogged) {
			return pod, e, err
		}
	}
	return pod, e, err
}

// find returns the last line of a proxy that matches: retries write several.
func find(p Pod, lines func(Pod) ([]accesslog.Entry, error), matches func(accesslog.Entry) bool) (accesslog.Entry, error) {
	all, err := lines(p)
	if err != nil {
		return accesslog.Entry{}, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if matches(all[i]) {
			return all[i], nil
		}
	}
	return accesslog.Entry{}, fmt.Errorf("%w of pod %s.%s", ErrNotLogged, p.Name, p.Namespace)
}

// link reads from the line of the receiving proxy how the request came to it.
func link(e accesslog.Entry) Link {
	switch {
	case e.ServerName == "":
		return Plain
	case strings.HasPrefix(e.ServerName, "outbound_."):
		return MutualTLS
	}
	return TLS
}

func inbound(cluster string) bool {
	return strings.HasPrefix(cluster, "inbound|") || cluster == "InboundPassthroughCluster"
}

// Shape is the journey in one line, to compare with what is expected: apps, "proxy" for
// each sidecar, and between them ">" within a pod, "-" for plain text, "+" for TLS and "="
// for mutual TLS: "sleep > proxy = proxy > httpbin".
func (j Journey) Shape() string {
	var b strings.Builder
	b.WriteString(j.Client)
	for _, h := range j.Hops {
		b.WriteString([]string{Captured: " > ", Plain: " - ", TLS: " + ", MutualTLS: " = "}[h.Link])
		if h.Pod.Gateway {
			b.WriteString(h.Pod.App)
		} else {
			b.WriteString("proxy")
		}
	}
	switch {
	case j.Server == "":
	case j.Hops[len(j.Hops)-1].Inbound():
		b.WriteString(" > " + j.ServerApp)
	default:
		b.WriteString(" - " + j.ServerApp)
	}
	return b.String()
}
