package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicemesh/sluice/internal/identity"
	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/class"
	"github.com/sluicemesh/sluice/xds/envoy"
)

// conn is one stream. It is the cache that go-control-plane's handler of this stream asks,
// so a watch always belongs to a known proxy. The server's lock guards everything below it.
type conn struct {
	server    *Server
	id        int64
	ctx       context.Context // ends with the stream, or with cancel
	cancel    context.CancelCauseFunc
	identity  *identity.Identity // nil on the plaintext address
	connected time.Time

	attached bool
	node     nodemeta.Node
	class    class.Class
	types    map[string]*typeState
}

// typeState is one type on one stream.
type typeState struct {
	pending *pending // the open watch, nil while an answer is under way
	// revision is what a wildcard client has been sent everything up to; synced says that
	// it has been sent anything at all.
	revision uint64
	synced   bool
	record   record
}

// pending is a watch that waits for something to send. Exactly one of delta and sotw is set.
type pending struct {
	delta        *discoveryv3.DeltaDiscoveryRequest
	deltaOut     chan cache.DeltaResponse
	sotw         *discoveryv3.DiscoveryRequest
	sotwOut      chan cache.Response
	subscription cache.Subscription
}

// closed is the error a stream ends with: the reason we ended it for, or the handler's.
func (c *conn) closed(err error) error {
	if cause := context.Cause(c.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// CreateDeltaWatch answers a delta request at once if there is something to send, or keeps
// it until there is.
func (c *conn) CreateDeltaWatch(req *discoveryv3.DeltaDiscoveryRequest, sub cache.Subscription, out chan cache.DeltaResponse) (func(), error) {
	return c.watch(req.GetTypeUrl(), &pending{delta: req, deltaOut: out, subscription: sub})
}

// CreateWatch is CreateDeltaWatch for the state-of-the-world protocol.
func (c *conn) CreateWatch(req *discoveryv3.DiscoveryRequest, sub cache.Subscription, out chan cache.Response) (func(), error) {
	return c.watch(req.GetTypeUrl(), &pending{sotw: req, sotwOut: out, subscription: sub})
}

// Fetch is not offered: proxies stream.
func (c *conn) Fetch(context.Context, *discoveryv3.DiscoveryRequest) (cache.Response, error) {
	return nil, status.Error(codes.Unimplemented, "fetch is not served, open a stream")
}

func (c *conn) watch(typeURL string, p *pending) (func(), error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.attached {
		return nil, status.Error(codes.InvalidArgument, "the first request of a stream must carry a node")
	}
	t := c.state(typeURL)
	t.pending = p
	if state := s.classes[c.class]; state.whole {
		state.want(c.source(typeURL))
		c.offerType(state, typeURL)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.pending == p {
			t.pending = nil
		}
	}, nil
}

func (c *conn) state(typeURL string) *typeState {
	t := c.types[typeURL]
	if t == nil {
		t = &typeState{}
		c.types[typeURL] = t
	}
	return t
}

// source is where this client's resources of a type are found: one that is no agent of ours
// gets route tables with their virtual hosts inside, and all host names in one resource.
func (c *conn) source(typeURL string) string {
	switch {
	case c.node.Store:
	case typeURL == envoy.RouteType:
		return joinedType
	case typeURL == envoy.NameTableType:
		return joinedNames
	}
	return typeURL
}

// offer sends what the class's last update changed for this stream.
func (c *conn) offer(state *classState) {
	for _, typeURL := range pushOrder {
		if t := c.types[typeURL]; t != nil && t.pending != nil {
			state.want(c.source(typeURL))
			c.offerType(state, typeURL)
		}
	}
}

// offerType answers the open watch of one type if there is something to send. The channel
// has room: each watch is answered at most once and a type has one watch.
func (c *conn) offerType(state *classState, typeURL string) {
	t := c.types[typeURL]
	res := state.of(c.source(typeURL))
	var sent bool
	switch {
	case t.pending.sotw != nil:
		sent = c.answerSotw(t, res)
	case t.pending.subscription.IsWildcard() && t.synced:
		sent = c.answerChanges(t, res)
	default:
		sent = c.answerDiff(t, res)
	}
	if sent {
		t.pending = nil
	}
}

// answerChanges sends a wildcard client what changed since its revision.
func (c *conn) answerChanges(t *typeState, res *typeResources) bool {
	if t.revision == res.revision {
		return false
	}
	names, ok := res.since(t.revision)
	if !ok {
		c.cancel(errBehind)
		return false
	}
	t.revision = res.revision
	if len(names) == 0 {
		return false
	}
	out := &discoveryv3.DeltaDiscoveryResponse{}
	for _, name := range names {
		if r := res.resources[name]; r != nil {
			out.Resources = append(out.Resources, r)
		} else {
			out.RemovedResources = append(out.RemovedResources, name)
		}
	}
	c.sendDelta(t, res.revision, out, nil)
	return true
}

// answerDiff compares name by name with what the client has: for clients that subscribe by
// name, and for the first answer of a stream, where a reconnecting client says what it has.
// The first answer is sent even when it is empty: it tells the client that this is all.
func (c *conn) answerDiff(t *typeState, res *typeResources) bool {
	sub := t.pending.subscription
	known := sub.ReturnedResources()
	next := map[string]string{}
	out := &discoveryv3.DeltaDiscoveryResponse{}
	consider := func(name string) {
		version, has := known[name]
		r := res.resources[name]
		switch {
		case r == nil && has:
			out.RemovedResources = append(out.RemovedResources, name)
		case r == nil:
			// A name that does not exist is answered as removed once, so that the client
			// stops waiting for it.
			out.RemovedResources = append(out.RemovedResources, name)
			next[name] = ""
		case version == r.Version:
			next[name] = version
		default:
			out.Resources = append(out.Resources, r)
			next[name] = r.Version
		}
	}
	for _, name := range wanted(sub, res) {
		if version, has := known[name]; has && version == "" && res.resources[name] == nil {
			next[name] = "" // already answered as absent
			continue
		}
		consider(name)
	}
	first := !t.synced
	t.synced, t.revision = true, res.revision
	if sub.IsWildcard() {
		next = nil // kept by revision from here on
	}
	if !first && len(out.Resources) == 0 && len(out.RemovedResources) == 0 {
		return false
	}
	c.sendDelta(t, res.revision, out, next)
	return true
}

// wanted lists the names a subscription is about, sorted: those subscribed, and for a
// wildcard all there are and all the client has.
func wanted(sub cache.Subscription, res *typeResources) []string {
	names := map[string]bool{}
	for name := range sub.SubscribedResources() {
		names[name] = true
	}
	if sub.IsWildcard() {
		for name := range res.resources {
			names[name] = true
		}
		for name := range sub.ReturnedResources() {
			names[name] = true
		}
	}
	return sortedKeys(names)
}

func (c *conn) sendDelta(t *typeState, revision uint64, out *discoveryv3.DeltaDiscoveryResponse, next map[string]string) {
	out.TypeUrl = t.pending.delta.GetTypeUrl()
	out.SystemVersionInfo = strconv.FormatUint(revision, 10)
	if next == nil {
		next = map[string]string{}
	}
	t.pending.deltaOut <- &deltaAnswer{request: t.pending.delta, response: out, returned: next}
}

// answerSotw sends all resources of the subscription when any of them changed.
func (c *conn) answerSotw(t *typeState, res *typeResources) bool {
	if t.synced && t.revision == res.revision && t.pending.sotw.GetVersionInfo() != "" && sameNames(t.pending.subscription) {
		return false
	}
	names := res.sortedNames()
	if !t.pending.subscription.IsWildcard() {
		names = sortedKeys(t.pending.subscription.SubscribedResources())
	}
	out := &discoveryv3.DiscoveryResponse{TypeUrl: t.pending.sotw.GetTypeUrl()}
	returned, versions := map[string]string{}, ""
	for _, name := range names {
		r := res.resources[name]
		if r == nil {
			returned[name] = "" // answered, as absent: its acknowledgement asks for nothing
			continue
		}
		out.Resources = append(out.Resources, r.Resource)
		returned[name] = r.Version
		versions += name + "=" + r.Version + ";"
	}
	out.VersionInfo = shortHash(versions)
	unchanged := t.synced && out.VersionInfo == t.pending.sotw.GetVersionInfo() && sameNames(t.pending.subscription)
	t.synced, t.revision = true, res.revision
	if unchanged {
		return false
	}
	t.pending.sotwOut <- &sotwAnswer{request: t.pending.sotw, response: out, returned: returned}
	return true
}

// sameNames reports whether every subscribed name has been returned already.
func sameNames(sub cache.Subscription) bool {
	returned := sub.ReturnedResources()
	for name := range sub.SubscribedResources() {
		if _, ok := returned[name]; !ok {
			return false
		}
	}
	return true
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
