package serve

import (
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicemesh/sluice/internal/problem"
	"github.com/sluicemesh/sluice/internal/routetable"
	"github.com/sluicemesh/sluice/xds/envoy"
)

// logLength is how many changes of a class are remembered. A client that needs older ones
// has not answered for that many pushes and is asked to reconnect.
const logLength = 1024

// classState is everything one class has. The server's lock guards it.
type classState struct {
	conns map[*conn]struct{}
	whole bool // the first update has come
	types map[string]*typeResources
}

// typeResources are the resources of one type with the log of their changes.
type typeResources struct {
	revision  uint64 // of the last change
	resources map[string]*discoveryv3.Resource
	from      map[string][]problem.Origin // which objects a resource was made from
	log       []change                    // ascending revisions
	first     uint64                      // the log is complete for clients at this revision or later
}

// change is a name that was set or removed in a revision.
type change struct {
	revision uint64
	name     string
}

func newClassState() *classState {
	return &classState{conns: map[*conn]struct{}{}, types: map[string]*typeResources{}}
}

// of returns the resources of a type, empty ones if there are none.
func (s *classState) of(typeURL string) *typeResources {
	t := s.types[typeURL]
	if t == nil {
		t = &typeResources{resources: map[string]*discoveryv3.Resource{}, from: map[string][]problem.Origin{}}
		s.types[typeURL] = t
	}
	return t
}

// apply brings the state to the update's revision.
func (s *classState) apply(u envoy.Update) {
	if u.Whole {
		s.replace(u)
	}
	s.whole = true
	joined, names := map[string]bool{}, u.Whole // what is touched of what other clients get whole
	if have := s.types[joinedType]; have != nil && u.Whole {
		for name := range have.resources {
			joined[name] = true
		}
	}
	for _, r := range u.Changed {
		t := s.of(r.TypeURL)
		t.set(u.Revision, r.Name, encoded(r))
		t.from[r.Name] = r.From
		noteTable(joined, r.TypeURL, r.Name)
		names = names || r.TypeURL == envoy.NameTableType
	}
	for _, n := range u.Removed {
		s.of(n.TypeURL).remove(u.Revision, n.Name)
		noteTable(joined, n.TypeURL, n.Name)
		names = names || n.TypeURL == envoy.NameTableType
	}
	s.join(u.Revision, joined)
	if names {
		s.joinNames(u.Revision)
	}
	for _, t := range s.types {
		t.trim()
	}
}

// replace drops what the class had and Changed does not have.
func (s *classState) replace(u envoy.Update) {
	keep := map[envoy.Name]bool{}
	for _, r := range u.Changed {
		keep[envoy.Name{TypeURL: r.TypeURL, Name: r.Name}] = true
	}
	for typeURL, t := range s.types {
		if typeURL == joinedType || typeURL == joinedNames {
			continue
		}
		for name := range t.resources {
			if !keep[envoy.Name{TypeURL: typeURL, Name: name}] {
				t.remove(u.Revision, name)
			}
		}
	}
	for _, typeURL := range pushOrder {
		s.of(typeURL).revision = u.Revision
	}
}

// joinedType holds route tables joined with their virtual hosts, for clients that take no
// virtual hosts of their own. It never goes over the wire under this name.
const joinedType = "joined:" + envoy.RouteType

// joinedNames holds the table of host names as one resource, for clients that take it so.
const joinedNames = "joined:" + envoy.NameTableType

func noteTable(tables map[string]bool, typeURL, name string) {
	switch typeURL {
	case envoy.RouteType:
		tables[name] = true
	case envoy.VirtualHostType:
		if table, _, ok := routetable.SplitHostName(name); ok {
			tables[table] = true
		}
	}
}

// join rebuilds the named tables from their shells and hosts. It does nothing while no
// client of the class needs whole tables.
func (s *classState) join(revision uint64, tables map[string]bool) {
	if _, wanted := s.types[joinedType]; !wanted {
		return
	}
	out := s.of(joinedType)
	out.revision = revision
	hosts := s.hostsByTable(tables)
	for table := range tables {
		shell := s.of(envoy.RouteType).resources[table]
		if shell == nil {
			out.remove(revision, table)
			continue
		}
		names := hosts[table]
		slices.Sort(names)
		bodies := make([][]byte, len(names))
		versions := shell.Version
		for i, name := range names {
			r := s.of(envoy.VirtualHostType).resources[name]
			bodies[i] = r.Resource.Value
			versions += r.Version
		}
		out.set(revision, table, &discoveryv3.Resource{
			Name: table, Version: shortHash(versions),
			Resource: &anypb.Any{TypeUrl: envoy.RouteType, Value: routetable.Join(shell.Resource.Value, bodies)},
		})
	}
}

func (s *classState) hostsByTable(tables map[string]bool) map[string][]string {
	hosts := map[string][]string{}
	for name := range s.of(envoy.VirtualHostType).resources {
		if table, _, ok := routetable.SplitHostName(name); ok && tables[table] {
			hosts[table] = append(hosts[table], name)
		}
	}
	return hosts
}

// joinNames rebuilds the table of host names. It does nothing while no client of the class
// needs it whole. Its one resource has no name, as in Istio, and is there even when the table
// is empty: such a client waits for it.
func (s *classState) joinNames(revision uint64) {
	if _, wanted := s.types[joinedNames]; !wanted {
		return
	}
	out, parts := s.of(joinedNames), s.of(envoy.NameTableType)
	out.revision = revision
	var body []byte
	for _, name := range parts.sortedNames() {
		body = append(body, parts.resources[name].Resource.Value...)
	}
	out.set(revision, "", &discoveryv3.Resource{
		Version: shortHash(string(body)), Resource: &anypb.Any{TypeUrl: envoy.NameTableType, Value: body},
	})
}

// want starts keeping what source holds, for the first client that needs it.
func (s *classState) want(source string) {
	if _, have := s.types[source]; have {
		return
	}
	switch source {
	case joinedType:
		s.wantJoined()
	case joinedNames:
		s.of(source)
		s.joinNames(s.of(envoy.NameTableType).revision)
	}
}

// wantJoined starts keeping whole route tables.
func (s *classState) wantJoined() {
	out := s.of(joinedType)
	out.revision = s.of(envoy.RouteType).revision
	tables := map[string]bool{}
	for name := range s.of(envoy.RouteType).resources {
		tables[name] = true
	}
	s.join(out.revision, tables)
}

// encoded is r as the delta protocol carries it; the body is shared, not copied.
func encoded(r *envoy.Resource) *discoveryv3.Resource {
	return &discoveryv3.Resource{Name: r.Name, Version: r.Version, Resource: &anypb.Any{TypeUrl: r.TypeURL, Value: r.Body}}
}

func (t *typeResources) set(revision uint64, name string, r *discoveryv3.Resource) {
	if have := t.resources[name]; have != nil && have.Version == r.Version {
		return
	}
	t.resources[name] = r
	t.note(revision, name)
}

func (t *typeResources) remove(revision uint64, name string) {
	if t.resources[name] == nil {
		return
	}
	delete(t.resources, name)
	delete(t.from, name)
	t.note(revision, name)
}

func (t *typeResources) note(revision uint64, name string) {
	t.revision = revision
	t.log = append(t.log, change{revision, name})
}

// trim keeps the log at its length. Revisions are dropped whole.
func (t *typeResources) trim() {
	if len(t.log) <= 2*logLength {
		return
	}
	cut := len(t.log) - logLength
	for cut < len(t.log) && t.log[cut].revision == t.log[cut-1].revision {
		cut++
	}
	t.first = t.log[cut-1].revision
	t.log = slices.Clone(t.log[cut:])
}

// since returns the names that changed after a revision, each once, in the order of their
// last change. ok is false when the log does not reach back that far.
func (t *typeResources) since(revision uint64) (names []string, ok bool) {
	if revision < t.first {
		return nil, false
	}
	from, _ := slices.BinarySearchFunc(t.log, revision+1, func(c change, r uint64) int {
		switch {
		case c.revision < r:
			return -1
		case c.revision > r:
			return 1
		}
		return 0
	})
	seen := map[string]bool{}
	for _, c := range slices.Backward(t.log[from:]) {
		if !seen[c.name] {
			seen[c.name] = true
			names = append(names, c.name)
		}
	}
	slices.Reverse(names)
	return names, true
}

// sortedNames lists all names, sorted.
func (t *typeResources) sortedNames() []string {
	names := make([]string, 0, len(t.resources))
	for name := range t.resources {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
