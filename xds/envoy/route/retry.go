package route

import (
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	previousprioritiesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

const (
	retryOnStatus    = "retriable-status-codes"
	defaultAttempts  = 2
	hostAttempts     = 5 // picks of another host before a used one is taken again
	priorityInterval = 2 // attempts after which priorities are weighed anew
)

// defaultRetryOn are the conditions under which a request surely did not reach the
// application, or the answer says that it may be sent again. Source: Istio's default.
func defaultRetryOn() []string {
	return []string{"connect-failure", "refused-stream", "unavailable", "cancelled", retryOnStatus}
}

// retries returns a retry policy: the mesh's for nil, none for zero attempts. hashed says
// that requests stick to hosts: a retry must then not be led away from the one it tried.
func retries(r *ir.Retries, hashed bool) *routev3.RetryPolicy {
	if r == nil {
		r = &ir.Retries{Attempts: defaultAttempts}
	}
	if r.Attempts == 0 {
		return nil
	}
	out := &routev3.RetryPolicy{
		NumRetries:                    wrapperspb.UInt32(r.Attempts),
		PerTryTimeout:                 pack.Duration(r.PerTry),
		HostSelectionRetryMaxAttempts: hostAttempts,
	}
	setRetryOn(out, r.On)
	if !hashed && (r.IgnorePrevious == nil || *r.IgnorePrevious) {
		out.RetryHostPredicate = []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: pack.Any(&previoushostsv3.PreviousHostsPredicate{}),
			},
		}}
	}
	if r.Backoff != nil {
		out.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: pack.Duration(r.Backoff)}
	}
	if r.RemoteLocality {
		out.RetryPriority = &routev3.RetryPolicy_RetryPriority{
			Name: "envoy.retry_priorities.previous_priorities",
			ConfigType: &routev3.RetryPolicy_RetryPriority_TypedConfig{
				TypedConfig: pack.Any(&previousprioritiesv3.PreviousPrioritiesConfig{UpdateFrequency: priorityInterval}),
			},
		}
	}
	return out
}

// setRetryOn sets the conditions. Numbers among them are status codes.
func setRetryOn(out *routev3.RetryPolicy, on []string) {
	if len(on) == 0 {
		on = defaultRetryOn()
	}
	var words []string
	for _, word := range on {
		if code, err := strconv.ParseUint(word, 10, 32); err == nil {
			out.RetriableStatusCodes = append(out.RetriableStatusCodes, uint32(code))
			continue
		}
		words = append(words, word)
	}
	if len(out.RetriableStatusCodes) > 0 && !slices.Contains(words, retryOnStatus) {
		words = append(words, retryOnStatus)
	}
	out.RetryOn = strings.Join(words, ",")
}
