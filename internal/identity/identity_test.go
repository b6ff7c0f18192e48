package identity

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, id := range []string{
		"spiffe://cluster.local/ns/default/sa/sleep",
		"spiffe://example.org/ns/istio-system/sa/istio-ingressgateway-service-account",
	} {
		got, err := Parse(id)
		if err != nil {
			t.Fatalf("Parse(%q) = %v", id, err)
		}
		if got.String() != id {
			t.Errorf("Parse(%q).String() = %q", id, got.String())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, id := range []string{"", "cluster.local/ns/a/sa/b", "spiffe://td", "spiffe://td/ns/a", "spiffe://td/sa/a/ns/b", "spiffe://td/ns/a/sa/b/c", "https://td/ns/a/sa/b"} {
		if got, err := Parse(id); err == nil {
			t.Errorf("Parse(%q) = %+v, want an error", id, got)
		} else if !strings.Contains(err.Error(), `"`+id+`"`) {
			t.Errorf("Parse(%q) error %q does not quote the input", id, err)
		}
	}
}

func TestFromServiceAccountUser(t *testing.T) {
	got, err := FromServiceAccountUser("cluster.local", "system:serviceaccount:default:sleep")
	if err != nil || got != (Identity{"cluster.local", "default", "sleep"}) {
		t.Errorf("FromServiceAccountUser = %+v, %v", got, err)
	}
	for _, user := range []string{"", "admin", "system:node:n1", "system:serviceaccount:default", "system:serviceaccount::x"} {
		if _, err := FromServiceAccountUser("cluster.local", user); err == nil {
			t.Errorf("FromServiceAccountUser(%q) gave no error", user)
		}
	}
}
