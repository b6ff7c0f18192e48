package meshconfig

import (
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

// TestJSON: the same message is the same text, without blanks, with keys in order.
func TestJSON(t *testing.T) {
	for range 20 {
		got, err := JSON(&meshv1alpha1.ProxyConfig{
			Concurrency: wrapperspb.Int32(2), ProxyMetadata: map[string]string{"B": "b c", "A": "<a>"},
		})
		if want := `{"concurrency":2,"proxyMetadata":{"A":"<a>","B":"b c"}}`; err != nil || got != want {
			t.Fatalf("JSON = %s, %v; want %s", got, err, want)
		}
	}
}
