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

// keptNames bounds how many resource names of an answer are remembered for the client's
// verdict on it.
const keptNames = 64

// record is what became of the answers of one type on one stream.
type record struct {
	sentNonce  string
	sentAt     time.Time
	sentNames  []string // changed and removed in the last answer, at most keptNames
	sentWhole  bool     // the last answer was about more than sentNames
	ackedNonce string
	ackedAt    time.Time
	rejected   []Rejection // those that stand, oldest first
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
		t.record.ackedNonce, t.record.ackedAt = nonce, now
		t.record.accept()
		c.server.cfg.Metrics.convergence.WithLabelValues(short(typeURL)).Observe(now.Sub(t.record.sentAt).Seconds())
		return
	}
	res := c.server.classes[c.class].of(typeURL)
	names := blamed(detail.GetMessage(), t.record.sentNames, res)
	r := Rejection{At: now, Message: detail.GetMessage(), Names: names, Origins: res.origins(names)}
	t.record.reject(r)
	c.server.cfg.Metrics.rejected(typeURL)
	c.server.cfg.Log.Warn("proxy rejected resources", "proxy", c.node.ID(), "type", typeURL,
		"names", names, "origin", r.Origins, "error", r.Message)
}

// sent remembers an answer that goes out, whole if it was about more than names. The
// server's lock is held.
func (c *conn) sent(typeURL, nonce string, names []string, whole bool) {
	t := c.state(typeURL)
	t.record.sentNonce, t.record.sentAt, t.record.sentNames, t.record.sentWhole = nonce, c.server.cfg.Now(), names, whole
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
	return status.Errorf(codes.InvalidArgument, "type %s is not served", typeURL)
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
	total := len(resp.Resources) + len(resp.RemovedResources)
	names := make([]string, 0, min(total, keptNames))
	for _, r := range resp.Resources[:min(len(resp.Resources), keptNames)] {
		names = append(names, r.Name)
	}
	names = append(names, resp.RemovedResources[:min(len(resp.RemovedResources), keptNames-len(names))]...)
	d.c.server.mu.Lock()
	defer d.c.server.mu.Unlock()
	d.c.sent(resp.TypeUrl, resp.Nonce, names, len(names) < total)
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
	s.c.sent(resp.TypeUrl, resp.Nonce, nil, true)
}
