package serve

import (
	"context"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicemesh/sluice/internal/nodemeta"
	"github.com/sluicemesh/sluice/xds/envoy"
)

// keptNames bounds how many resource names of an answer are remembered for the case that
// the client rejects it.
const keptNames = 64

// record is what became of the answers of one type on one stream.
type record struct {
	sentNonce  string
	sentAt     time.Time
	sentNames  []string // of the last answer, at most keptNames
	ackedNonce string
	ackedAt    time.Time
	rejected   *Rejection // nil after the next acknowledgement
}

// Rejection is a proxy's refusal of an answer.
type Rejection struct {
	At      time.Time
	Message string   // Envoy's own words
	Names   []string // resources of the rejected answer, at most 64
}

// note reads the acknowledgement in a request, if it is one. The server's lock is held.
func (c *conn) note(typeURL, nonce string, detail *statuspb.Status) {
	if nonce == "" {
		return
	}
	t := c.state(typeURL)
	if nonce != t.record.sentNonce {
		return // of an answer that another one has overtaken
	}
	now := c.server.cfg.Now()
	if detail == nil {
		t.record.ackedNonce, t.record.ackedAt, t.record.rejected = nonce, now, nil
		c.server.cfg.Metrics.convergence.WithLabelValues(short(typeURL)).Observe(now.Sub(t.record.sentAt).Seconds())
		return
	}
	t.record.rejected = &Rejection{At: now, Message: detail.GetMessage(), Names: t.record.sentNames}
	c.server.cfg.Metrics.rejected(typeURL)
	c.server.cfg.Log.Warn("proxy rejected resources", "proxy", c.node.ID(), "type", typeURL,
		"names", t.record.sentNames, "error", detail.GetMessage())
}

// sent remembers an answer that goes out. The server's lock is held.
func (c *conn) sent(typeURL, nonce string, names []string) {
	t := c.state(typeURL)
	if len(names) > keptNames {
		names = names[:keptNames]
	}
	t.record.sentNonce, t.record.sentAt, t.record.sentNames = nonce, c.server.cfg.Now(), slices.Clone(names)
	c.server.cfg.Metrics.pushes.WithLabelValues(short(typeURL)).Inc()
}

// identify reads the node of the first request and puts the stream into its class.
func (c *conn) identify(node *corev3.Node) error {
	c.server.mu.Lock()
	attached := c.attached
	c.server.mu.Unlock()
	if attached {
		return nil
	}
	if node == nil {
		return status.Error(codes.InvalidArgument, "the first request of a stream must carry a node")
	}
	n, err := nodemeta.FromProto(node)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return c.server.attach(c, n)
}

// served refuses types that this server does not have.
func served(typeURL string) error {
	if slices.Contains(pushOrder[:], typeURL) {
		return nil
	}
	return status.Error(codes.InvalidArgument, missing(typeURL).Error())
}

// deltaCallbacks sees every message of a delta stream before the handler does.
type deltaCallbacks struct{ c *conn }

func (deltaCallbacks) OnDeltaStreamOpen(context.Context, int64, string) error { return nil }
func (deltaCallbacks) OnDeltaStreamClosed(int64, *corev3.Node)                {}

func (d deltaCallbacks) OnStreamDeltaRequest(_ int64, req *discoveryv3.DeltaDiscoveryRequest) error {
	if err := served(req.GetTypeUrl()); err != nil {
		return err
	}
	if err := d.c.identify(req.GetNode()); err != nil {
		return err
	}
	d.c.server.mu.Lock()
	defer d.c.server.mu.Unlock()
	d.c.note(req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail())
	return nil
}

func (d deltaCallbacks) OnStreamDeltaResponse(_ int64, _ *discoveryv3.DeltaDiscoveryRequest, resp *discoveryv3.DeltaDiscoveryResponse) {
	names := make([]string, 0, min(len(resp.Resources), keptNames))
	for _, r := range resp.Resources[:min(len(resp.Resources), keptNames)] {
		names = append(names, r.Name)
	}
	d.c.server.mu.Lock()
	defer d.c.server.mu.Unlock()
	d.c.sent(resp.TypeUrl, resp.Nonce, names)
}

// sotwCallbacks is deltaCallbacks for the state-of-the-world protocol.
type sotwCallbacks struct{ c *conn }

func (sotwCallbacks) OnStreamOpen(context.Context, int64, string) error { return nil }
func (sotwCallbacks) OnStreamClosed(int64, *corev3.Node)                {}

func (s sotwCallbacks) OnStreamRequest(_ int64, req *discoveryv3.DiscoveryRequest) error {
	if err := served(req.GetTypeUrl()); err != nil {
		return err
	}
	if req.GetTypeUrl() == envoy.VirtualHostType {
		return status.Error(codes.InvalidArgument, "virtual hosts are served by the delta protocol only")
	}
	if err := s.c.identify(req.GetNode()); err != nil {
		return err
	}
	s.c.server.mu.Lock()
	defer s.c.server.mu.Unlock()
	s.c.note(req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail())
	return nil
}

func (s sotwCallbacks) OnStreamResponse(_ context.Context, _ int64, _ *discoveryv3.DiscoveryRequest, resp *discoveryv3.DiscoveryResponse) {
	s.c.server.mu.Lock()
	defer s.c.server.mu.Unlock()
	s.c.sent(resp.TypeUrl, resp.Nonce, nil)
}
