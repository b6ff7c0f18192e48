package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"github.com/sluicemesh/sluice/agent/relay/store"
	"github.com/sluicemesh/sluice/internal/nametable"
)

// Place says where in the cluster the pod is, as its names show it. All of it is lower case
// and without trailing dot.
type Place struct {
	Namespace string
	// Domain is what follows the namespace in the names of Services, "svc.cluster.local".
	Domain string
	// Search is the first search domain of the pod, empty without one.
	Search string
}

// Table maps host names to addresses. It is safe for concurrent use. Each Apply takes effect
// as a whole.
//
// What clients may write instead of a full name (short names, names completed by a search
// domain) is worked out when it is asked for: the table holds each host once.
type Table struct {
	place Place
	local string // Domain without its first label: "cluster.local"

	mu    sync.RWMutex
	hosts map[string]host     // by name or wildcard
	other map[string][]string // resource → its hosts, where they are not the resource's name alone
	known bool
}

// host is what is known of one name, packed: there may be ten thousand.
type host struct {
	ips   string // IPv4 addresses of 4 bytes, then IPv6 addresses of 16
	four  uint32 // bytes of ips that are IPv4
	short uint16 // length of the short name at the start of the name; 0: none
	kube  bool   // of registry Kubernetes
}

// Answer is what a name means.
type Answer struct {
	// Canonical is the host that the addresses belong to when the name asked for is that
	// host completed by the search domain; else empty.
	Canonical string
	// V4 and V6 are the addresses, 4 and 16 bytes each.
	V4, V6 string
}

// NewTable returns a table that has not received anything yet.
func NewTable(p Place) *Table {
	_, local, _ := strings.Cut(p.Domain, ".")
	return &Table{place: p, local: local, hosts: map[string]host{}, other: map[string][]string{}}
}

// Ready reports whether the table has been filled once. Before that nothing may be said of
// a name, because a client would believe it for long.
func (t *Table) Ready() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.known
}

// Apply takes one response of the control plane: resources that are new or changed, each an
// encoded NameTable, and the names of those that are gone. If one cannot be read, the error
// says which and nothing changes. A host without any address that can be read is left out.
func (t *Table) Apply(set []*store.Resource, removed []string) error {
	tables := make([][]nametable.Entry, len(set))
	for i, r := range set {
		var err error
		if tables[i], err = nametable.Parse(r.Body); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = true
	for _, name := range removed {
		t.remove(name)
	}
	for i, r := range set {
		t.remove(r.Name)
		t.add(r.Name, tables[i])
	}
	return nil
}

// remove takes away the hosts of a resource.
func (t *Table) remove(resource string) {
	hosts, several := t.other[resource]
	if !several {
		delete(t.hosts, resource)
		return
	}
	delete(t.other, resource)
	for _, name := range hosts {
		delete(t.hosts, name)
	}
}

// add enters the hosts of a resource.
func (t *Table) add(resource string, entries []nametable.Entry) {
	alone := len(entries) == 1 && entries[0].Host == resource
	for _, e := range entries {
		name := fold(e.Host)
		h := t.pack(e, name)
		if h.ips == "" {
			continue
		}
		if alone && name == resource {
			name = resource // shares its memory
		} else {
			t.other[resource] = append(t.other[resource], name)
		}
		t.hosts[name] = h
	}
}

func (t *Table) pack(e nametable.Entry, name string) host {
	var four, six []byte
	for _, text := range e.Addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		if ip = ip.Unmap(); ip.Is4() {
			four = append(four, ip.AsSlice()...)
		} else {
			six = append(six, ip.AsSlice()...)
		}
	}
	h := host{ips: string(append(four, six...)), four: uint32(len(four)), kube: e.Registry == nametable.Kubernetes}
	if h.kube && e.ShortName != "" && name == fold(e.ShortName)+"."+fold(e.Namespace)+"."+t.place.Domain {
		h.short = uint16(len(e.ShortName))
	}
	return h
}

// fold is a name in lower case without trailing dot.
func fold(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Lookup returns what name means; name is lower case and without trailing dot. found is
// false for a name that the mesh does not know.
//
// The order is: the full name; a short name of a Service; one of these completed by the
// search domain; wildcards, the longest first, with or without the search domain.
func (t *Table) Lookup(name string) (a Answer, found bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h, ok := t.direct(name); ok {
		return h.answer(""), true
	}
	before, searched := t.unsearched(name)
	if searched {
		if h, ok := t.direct(before); ok {
			return h.answer(before), true
		}
	}
	for rest := name; ; {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			return Answer{}, false
		}
		if h, ok := t.wildcard(parent); ok {
			return h.answer(""), true
		}
		if under, ok := t.unsearched(parent); ok && searched {
			if h, ok := t.wildcard(under); ok {
				return h.answer(before), true
			}
		}
		rest = parent
	}
}

// direct finds a full name, or the short name of a Service: "name.namespace.svc",
// "name.namespace", and "name" in the pod's own namespace.
func (t *Table) direct(name string) (host, bool) {
	if h, ok := t.hosts[name]; ok {
		return h, true
	}
	if h, ok := t.short(name, t.local, ""); ok {
		return h, true
	}
	if h, ok := t.short(name, t.place.Domain, ""); ok {
		return h, true
	}
	return t.short(name, t.place.Namespace, t.place.Domain)
}

// short finds the Service whose full name is name with one or two parts appended. Hosts
// that are no Services of this cluster have no short names.
func (t *Table) short(name, middle, end string) (host, bool) {
	var room [256]byte
	full := append(append(append(room[:0], name...), '.'), middle...)
	if end != "" {
		full = append(append(full, '.'), end...)
	}
	h, ok := t.hosts[string(full)]
	return h, ok && h.short > 0
}

// wildcard finds the host "*.parent".
func (t *Table) wildcard(parent string) (host, bool) {
	var room [256]byte
	h, ok := t.hosts[string(append(append(room[:0], "*."...), parent...))]
	return h, ok
}

// unsearched takes the search domain off a name, once. Resolver libraries also complete a full
// name that has few dots and ends in the domain already: an answer to that saves the name
// servers three queries that can only fail.
func (t *Table) unsearched(name string) (string, bool) {
	before, ok := strings.CutSuffix(name, t.place.Search)
	if t.place.Search == "" || !ok || len(before) < 2 || before[len(before)-1] != '.' {
		return "", false
	}
	return before[:len(before)-1], true
}

func (h host) answer(canonical string) Answer {
	return Answer{Canonical: canonical, V4: h.ips[:h.four], V6: h.ips[h.four:]}
}

// Entries returns the table as it was received, in no order. The result is new.
func (t *Table) Entries() []nametable.Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]nametable.Entry, 0, len(t.hosts))
	for name, h := range t.hosts {
		e := nametable.Entry{Host: name, Registry: nametable.External, Addresses: h.texts()}
		if h.kube {
			e.Registry = nametable.Kubernetes
		}
		if h.short > 0 {
			e.ShortName = name[:h.short]
			e.Namespace, _, _ = strings.Cut(name[h.short+1:], ".")
		}
		out = append(out, e)
	}
	return out
}

func (h host) texts() []string {
	var out []string
	for size, rest := 4, h.ips[:h.four]; ; size, rest = 16, h.ips[h.four:] {
		for ; len(rest) > 0; rest = rest[size:] {
			ip, _ := netip.AddrFromSlice([]byte(rest[:size]))
			out = append(out, ip.String())
		}
		if size == 16 {
			return out
		}
	}
}
