package stage

import "testing"

const plainCorefile = ".:53 {\n    errors\n    kubernetes cluster.local {\n        ttl 30\n    }\n    forward . /etc/resolv.conf\n}\n"

const siteCorefile = ".:53 {\n    errors\n    hosts {\n        10.96.0.7 edition.cnn.com\n        fallthrough\n    }\n" +
	"    kubernetes cluster.local {\n        ttl 30\n    }\n    forward . /etc/resolv.conf\n}\n"

const movedCorefile = ".:53 {\n    errors\n    hosts {\n        fd00::7 edition.cnn.com\n        fallthrough\n    }\n" +
	"    kubernetes cluster.local {\n        ttl 30\n    }\n    forward . /etc/resolv.conf\n}\n"

func TestResolving(t *testing.T) {
	for _, tt := range []struct{ name, in, address, want string }{
		{"new", plainCorefile, "10.96.0.7", siteCorefile},
		{"unchanged", siteCorefile, "10.96.0.7", siteCorefile},
		{"moved", siteCorefile, "fd00::7", movedCorefile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := resolving(tt.in, tt.address)
			if err != nil || got != tt.want {
				t.Errorf("resolving = %v\n%s\nwant\n%s", err, got, tt.want)
			}
		})
	}
	if got, err := resolving(".:53 {\n}\n", "10.96.0.7"); err == nil {
		t.Errorf("a configuration without a kubernetes block gave %q", got)
	}
}
