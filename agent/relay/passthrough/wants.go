package passthrough

import (
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
)

// wants is what one client asks for, by type URL.
type wants map[string]*want

// want is one type's state.
type want struct {
	answered bool
	names    map[string]bool // true: an answer came since, with or without it
}

// ask notes names; true means that one of them is new.
func (w wants) ask(typ string, names []string) bool {
	have := w[typ]
	if have == nil {
		have = &want{names: map[string]bool{}}
		w[typ] = have
	}
	fresh := false
	next := make(map[string]bool, len(names))
	for _, name := range names {
		settled, known := have.names[name]
		next[name] = settled
		fresh = fresh || !known
	}
	have.names = next
	return fresh
}

// answer notes a response and returns the names that it lacks, each once.
func (w wants) answer(in *discoveryv3.DiscoveryResponse) (missing []string) {
	have := w[in.GetTypeUrl()]
	if have == nil {
		return nil
	}
	have.answered = true
	got := map[string]bool{}
	for _, r := range in.GetResources() {
		got[resourceName(r.GetValue())] = true
	}
	for name, settled := range have.names {
		if !settled && !got[name] {
			missing = append(missing, name)
		}
		have.names[name] = true
	}
	return missing
}

// unanswered lists the types without any answer, in order.
func (w wants) unanswered() []string {
	var out []string
	for typ, have := range w {
		if !have.answered {
			out = append(out, typ)
		}
	}
	slices.Sort(out)
	return out
}

// resourceName reads the name out of an encoded resource: field 1 of all that gRPC asks for
// (listener, route table, cluster and, as the cluster's name, endpoints).
func resourceName(body []byte) string {
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return ""
		}
		body = body[n:]
		if field == 1 && kind == protowire.BytesType {
			name, n := protowire.ConsumeBytes(body)
			if n < 0 {
				return ""
			}
			return string(name)
		}
		if n = protowire.ConsumeFieldValue(field, kind, body); n < 0 {
			return ""
		}
		body = body[n:]
	}
	return ""
}
