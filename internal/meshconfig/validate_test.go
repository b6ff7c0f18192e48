package meshconfig

import (
	"strings"
	"testing"
)

func TestValidateProxyConfig(t *testing.T) {
	if err := ValidateProxyConfig(DefaultProxyConfig()); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for _, c := range []struct{ text, want string }{
		{"{concurrency: 0, statusPort: 0, drainDuration: 1s, terminationDrainDuration: 0s, tracing: {sampling: 100, datadog: {address: '$(HOST_IP):8126'}}}", ""},
		{"{proxyStatsMatcher: {inclusionRegexps: ['^a.*b$']}, image: {imageType: my_own.1}, proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}", ""},
		{"concurrency: -1", "concurrency: -1 is less than 0"},
		{"statusPort: 65536", "statusPort: 65536 is not a port, write a number from 0 to 65535"},
		{"statusPort: -1", "statusPort: -1 is not a port, write a number from 0 to 65535"},
		{"proxyAdminPort: 0", "proxyAdminPort: 0 is not a port, write a number from 1 to 65535"},
		{"statNameLength: -1", "statNameLength: -1 is less than 0"},
		{"drainDuration: 0.5s", "drainDuration: 500ms is less than 1s"},
		{"drainDuration: -1s", "drainDuration: -1s is negative"},
		{"terminationDrainDuration: -1s", "terminationDrainDuration: -1s is negative"},
		{"fileFlushInterval: -1s", "fileFlushInterval: -1s is negative"},
		{"envoyAccessLogService: {address: a:1, tcpKeepalive: {time: -1s}}", "envoyAccessLogService.tcpKeepalive.time: -1s is negative"},
		{"discoveryAddress: istiod", `discoveryAddress: "istiod" is not HOST:PORT`},
		{"discoveryAddress: ''", `discoveryAddress: "" is not HOST:PORT`},
		{"discoveryAddress: istiod:0", `discoveryAddress: "istiod:0" is not HOST:PORT`},
		{"statsdUdpAddress: statsd", `statsdUdpAddress: "statsd" is not HOST:PORT`},
		{"envoyMetricsService: {}", `envoyMetricsService.address: "" is not HOST:PORT`},
		{"tracing: {sampling: 101}", "tracing.sampling: 101 is not a percentage, write a number from 0 to 100"},
		{"tracing: {sampling: NaN}", "tracing.sampling: NaN is not a percentage, write a number from 0 to 100"},
		{"tracing: {zipkin: {address: zipkin}}", `tracing.zipkin.address: "zipkin" is not HOST:PORT`},
		{"proxyStatsMatcher: {inclusionRegexps: [ok, '(']}", "proxyStatsMatcher.inclusionRegexps[1]: error parsing regexp: missing closing ): `(`"},
		{"image: {imageType: 'a b'}", `image.imageType: "a b" is not the end of an image tag, write distroless, debug or default`},
		{"proxyMetadata: {'A=B': x}", `proxyMetadata: "A=B" is not the name of an environment variable`},
		{"caCertificatesPem: [x]", "caCertificatesPem[0]: is not a PEM block"},
		{"configPath: ''", "configPath: is empty, leave it out for the default"},
		{"{concurrency: -1, statusPort: -1}", "statusPort: -1 is not a port, write a number from 0 to 65535\nconcurrency: -1 is less than 0"},
	} {
		over, err := ParseProxyConfig(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		got := ""
		if err := ValidateProxyConfig(MergeProxyConfig(DefaultProxyConfig(), over)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q; want %q", c.text, got, c.want)
		}
	}
}

// FuzzParseProxyConfig: no text panics, and what is accepted survives a merge and a check.
func FuzzParseProxyConfig(f *testing.F) {
	for _, seed := range []string{
		"", "null", "concurrency: 2", "{a: [{b: {}}]}", "tracing: {customTags: {x: {literal: {value: y}}}}", "statusPort: 1e3",
		"proxyHeaders: {forwardedClientCert: SANITIZE}", "controlPlaneAuthPolicy: NONE", "{interceptionMode: 1.5}", "- a", "a: &a [*a]",
		"caCertificatesPem: ['-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----']", "connectionSettings: {profile: EDGE}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		over, err := ParseProxyConfig(text)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "parse proxy config:" {
				t.Errorf("%q is refused without a reason", text)
			}
			return
		}
		merged := MergeProxyConfig(DefaultProxyConfig(), over)
		if again := MergeProxyConfig(merged, over); again.String() != merged.String() && !strings.Contains(again.String(), "NaN") {
			// Strings may differ in blanks, by intention of the library.
			if strings.Join(strings.Fields(again.String()), " ") != strings.Join(strings.Fields(merged.String()), " ") {
				t.Errorf("laying %q over twice differs:\n%v\n%v", text, merged, again)
			}
		}
		_ = ValidateProxyConfig(merged)
	})
}
