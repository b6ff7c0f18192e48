// Package accesslog reads the lines that proxies write for requests in Istio's default text
// format.
//
// It is pure: the text of a log in, entries out. Lines of other programs, of Envoy's own log
// and of other formats are not entries and are passed over.
package accesslog

import (
	"strconv"
	"strings"
	"time"
)

// Entry is one line: a request that a proxy has dealt with, or a TCP connection. A field
// that the proxy wrote as "-" is empty.
type Entry struct {
	Method, Path, Protocol string // empty for TCP
	Status                 int    // 0 where there was no answer, and for TCP
	Flags                  string // Envoy's response flags: "NR", "UF", …
	Details                string // Envoy's response code details: "via_upstream", …
	Took                   time.Duration
	UserAgent              string
	RequestID              string
	Authority              string
	UpstreamHost           string // address:port that the proxy chose
	UpstreamCluster        string // "outbound|8080||demoapp.default.svc.cluster.local"
	DownstreamRemote       string // address:port of the caller
	ServerName             string // SNI of the caller's TLS; empty for plain text
	Route                  string
}

// The places of a line, in order. Source: Istio's default access log format.
const (
	startTime = iota
	request
	responseCode
	responseFlags
	responseDetails
	terminationDetails
	transportFailure
	bytesReceived
	bytesSent
	duration
	upstreamTime
	forwardedFor
	userAgent
	requestID
	authority
	upstreamHost
	upstreamCluster
	upstreamLocal
	downstreamLocal
	downstreamRemote
	serverName
	routeName
	places
)

// Read returns the entries in the log of a proxy, in the order in which they were written.
func Read(log string) []Entry {
	var found []Entry
	for line := range strings.Lines(log) {
		if e, ok := Parse(strings.TrimRight(line, "\r\n")); ok {
			found = append(found, e)
		}
	}
	return found
}

// Parse reads one line. ok is false for anything but an access-log line.
func Parse(line string) (e Entry, ok bool) {
	words, ok := split(line)
	if !ok {
		return Entry{}, false
	}
	status, err := strconv.Atoi(words[responseCode])
	if err != nil {
		return Entry{}, false
	}
	milliseconds, err := strconv.Atoi(words[duration])
	if err != nil {
		return Entry{}, false
	}
	first := strings.SplitN(words[request], " ", 2)
	last := strings.LastIndexByte(words[request], ' ')
	if len(first) != 2 || last <= len(first[0]) {
		return Entry{}, false
	}
	return Entry{
		Method:           value(first[0]),
		Path:             value(words[request][len(first[0])+1 : last]),
		Protocol:         value(words[request][last+1:]),
		Status:           status,
		Flags:            value(words[responseFlags]),
		Details:          value(words[responseDetails]),
		Took:             time.Duration(milliseconds) * time.Millisecond,
		UserAgent:        value(words[userAgent]),
		RequestID:        value(words[requestID]),
		Authority:        value(words[authority]),
		UpstreamHost:     value(words[upstreamHost]),
		UpstreamCluster:  value(words[upstreamCluster]),
		DownstreamRemote: value(words[downstreamRemote]),
		ServerName:       value(words[serverName]),
		Route:            value(words[routeName]),
	}, true
}

// value undoes the dash that stands for nothing.
func value(word string) string {
	if word == "-" {
		return ""
	}
	return word
}

// split cuts a line at its spaces; [], "" hold a word together. Envoy does not escape
// quotes inside a word, so a word ends at a quote that a space or the end follows.
func split(line string) ([]string, bool) {
	words := make([]string, 0, places)
	for rest := line; ; {
		closing := " "
		switch {
		case strings.HasPrefix(rest, `"`):
			rest, closing = rest[1:], `" `
		case len(words) == startTime && strings.HasPrefix(rest, "["):
			rest, closing = rest[1:], "] "
		}
		word, after, found := strings.Cut(rest, closing)
		if !found {
			words = append(words, rest)
			return words, len(words) == places
		}
		words, rest = append(words, word), after
	}
}
