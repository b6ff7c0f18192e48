package config

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxyless(t *testing.T) {
	const file = "GRPC_XDS_BOOTSTRAP=/etc/istio/proxy/grpc-bootstrap.json"
	for _, c := range []struct {
		name  string
		env   []string
		want  Proxyless
		store bool
		mode  fs.FileMode
		merge bool
		part  string // of what is reported as ignored
	}{
		{"with envoy", nil, Proxyless{}, true, 0o600, true, ""},
		{"bootstrap beside envoy", []string{file}, Proxyless{}, true, 0o600, true, "GRPC_XDS_BOOTSTRAP"},
		{
			"as injected", []string{"DISABLE_ENVOY=true", "ISTIO_META_GENERATOR=grpc", file, "KUBERNETES_SERVICE_HOST=10.96.0.1"},
			Proxyless{true, "/etc/istio/proxy/grpc-bootstrap.json"}, false, 0o644, false, "",
		},
		{"default file", []string{"DISABLE_ENVOY=true"}, Proxyless{true, "etc/istio/proxy/grpc-bootstrap.json"}, false, 0o600, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := load(t, Flags{Role: "sidecar"}, Source{Root: t.TempDir(), Environ: injected(append(c.env, "OUTPUT_CERTS=/var/lib/istio/data")...)})
			if diff := cmp.Diff(c.want, got.Proxyless); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Node.Store != c.store || got.Status.MergeEnvoy != c.merge {
				t.Errorf("store %t, envoy's metrics %t", got.Node.Store, got.Status.MergeEnvoy)
			}
			if got.Cert.OutputDir != "/var/lib/istio/data" || got.Cert.OutputMode != c.mode {
				t.Errorf("certificates to %s with mode %v", got.Cert.OutputDir, got.Cert.OutputMode)
			}
			if ignored := strings.Join(got.Ignored, "\n"); (ignored != "") != (c.part != "") || !strings.Contains(ignored, c.part) {
				t.Errorf("ignored: %q, want %q", ignored, c.part)
			}
		})
	}
}
