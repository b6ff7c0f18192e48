package meshconfig

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

func TestUnread(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"{statNameLength: 189, concurrency: 2}", nil},
		{"{tracing: {sampling: 1}, statNameLength: 90, zipkinAddress: 'a:1'}", []string{"statNameLength", "tracing", "zipkinAddress"}},
		{"{connectionSettings: {globalDownstreamConnectionLimit: 5}}", nil},
		{"{connectionSettings: {profile: EDGE, globalDownstreamConnectionLimit: 5}}", []string{"connectionSettings.profile"}},
	} {
		over, err := ParseProxyConfig(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, Unread(over.Config)); diff != "" {
			t.Errorf("Unread(%s): %s", c.text, diff)
		}
	}
	if got := Unread(DefaultProxyConfig()); got != nil {
		t.Errorf("of the defaults: %v", got)
	}
	if got := Unread(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	fields := (&meshv1alpha1.ProxyConfig{}).ProtoReflect().Descriptor().Fields()
	for _, name := range unread() {
		if fields.ByName(name) == nil {
			t.Errorf("ProxyConfig has no field %s", name)
		}
	}
}
