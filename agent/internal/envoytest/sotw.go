package envoytest

import (
	"context"
	"slices"
	"strconv"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// receive passes the messages of a stream to a channel that is closed at its end.
func receive[T any](ctx context.Context, recv func() (T, error)) <-chan T {
	in := make(chan T)
	go func() {
		defer close(in)
		for {
			msg, err := recv()
			if err != nil {
				return
			}
			select {
			case in <- msg:
			case <-ctx.Done():
				return
			}
		}
	}()
	return in
}

// asked is what a state-of-the-world client asks for of one type, and what it was told.
type asked struct {
	names   []string
	version string
	told    bool
}

// StreamAggregatedResources answers each type with the resources that are asked for by
// name, and again when the names or the state change.
func (p *Plane) StreamAggregatedResources(ads grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	in := receive(ads.Context(), ads.Recv)
	types, nonce := map[string]*asked{}, 0
	for {
		p.mu.Lock()
		changed, version := p.changed, strconv.Itoa(p.version)
		var out []*discoveryv3.DiscoveryResponse
		for typ, a := range types {
			if a.told && a.version == version {
				continue
			}
			a.told, a.version = true, version
			nonce++
			r := &discoveryv3.DiscoveryResponse{TypeUrl: typ, VersionInfo: version, Nonce: strconv.Itoa(nonce)}
			for _, name := range a.names {
				if res := p.state[typ][name]; res != nil {
					r.Resources = append(r.Resources, res.GetResource())
				}
			}
			out = append(out, r)
		}
		p.mu.Unlock()
		for _, r := range out {
			if err := ads.Send(r); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case msg, ok := <-in:
			if !ok {
				return nil
			}
			p.mu.Lock()
			p.states = append(p.states, msg)
			p.mu.Unlock()
			if a := types[msg.GetTypeUrl()]; a == nil || !slices.Equal(a.names, msg.GetResourceNames()) {
				types[msg.GetTypeUrl()] = &asked{names: msg.GetResourceNames()}
			}
		}
	}
}

// States are all state-of-the-world requests so far.
func (p *Plane) States() []*discoveryv3.DiscoveryRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.states)
}
