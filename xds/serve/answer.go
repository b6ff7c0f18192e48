package serve

import (
	"context"
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// deltaAnswer is a finished delta response as go-control-plane's handler takes it.
type deltaAnswer struct {
	request  *discoveryv3.DeltaDiscoveryRequest
	response *discoveryv3.DeltaDiscoveryResponse
	returned map[string]string
}

func (a *deltaAnswer) GetDeltaDiscoveryResponse() (*discoveryv3.DeltaDiscoveryResponse, error) {
	return a.response, nil
}
func (a *deltaAnswer) GetDeltaRequest() *discoveryv3.DeltaDiscoveryRequest { return a.request }
func (a *deltaAnswer) GetSystemVersion() (string, error)                   { return a.GetResponseVersion(), nil }
func (a *deltaAnswer) GetResponseVersion() string                          { return a.response.SystemVersionInfo }
func (a *deltaAnswer) GetNextVersionMap() map[string]string                { return a.returned }
func (a *deltaAnswer) GetReturnedResources() map[string]string             { return a.returned }
func (a *deltaAnswer) GetContext() context.Context                         { return nil }

// sotwAnswer is a finished state-of-the-world response.
type sotwAnswer struct {
	request  *discoveryv3.DiscoveryRequest
	response *discoveryv3.DiscoveryResponse
	returned map[string]string
}

func (a *sotwAnswer) GetDiscoveryResponse() (*discoveryv3.DiscoveryResponse, error) {
	return a.response, nil
}
func (a *sotwAnswer) GetRequest() *discoveryv3.DiscoveryRequest { return a.request }
func (a *sotwAnswer) GetVersion() (string, error)               { return a.GetResponseVersion(), nil }
func (a *sotwAnswer) GetResponseVersion() string                { return a.response.VersionInfo }
func (a *sotwAnswer) GetReturnedResources() map[string]string   { return a.returned }
func (a *sotwAnswer) GetContext() context.Context               { return nil }

// sortedKeys returns the keys of a set, sorted.
func sortedKeys[V any](set map[string]V) []string {
	return slices.Sorted(maps.Keys(set))
}
