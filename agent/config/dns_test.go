package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const cluster = "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"

func listen(addrs ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range addrs {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestDNS(t *testing.T) {
	captured := DNS{
		Enabled: true, Listen: listen("127.0.0.1:15053"), Domain: "svc.cluster.local", Search: "default.svc.cluster.local",
		Upstreams: []string{"10.96.0.10:53"}, Timeout: 5 * time.Second,
	}
	change := func(fn func(*DNS)) DNS {
		d := captured
		fn(&d)
		return d
	}
	for _, c := range []struct {
		name   string
		role   string
		env    []string
		files  map[string]string
		uid    int
		domain string
		want   DNS
	}{
		{name: "off", want: DNS{}},
		{name: "captured", env: []string{"ISTIO_META_DNS_CAPTURE=true"}, want: captured},
		{name: "gateway is not captured", role: "router", env: []string{"ISTIO_META_DNS_CAPTURE=true"}, want: DNS{}},
		{name: "server of a gateway", role: "router", env: []string{"ISTIO_META_ENABLE_DNS_SERVER=true"}, want: captured},
		{name: "without envoy", env: []string{"ISTIO_META_DNS_CAPTURE=true", "DISABLE_ENVOY=true"}, want: DNS{}},
		{
			name: "policy", env: []string{"ISTIO_META_DNS_CAPTURE=true", "DNS_FORWARD_PARALLEL=true", "DNS_FORWARD_TIMEOUT=2s"},
			want: change(func(d *DNS) { d.Parallel, d.Timeout = true, 2*time.Second }),
		},
		{
			name: "both families", env: []string{"ISTIO_META_DNS_CAPTURE=true"},
			files: map[string]string{"etc/resolv.conf": "nameserver fd00::a\nnameserver 10.96.0.10\nsearch Default.svc.Example.org. a b\n"}, domain: "default.svc.Example.org",
			want: change(func(d *DNS) {
				d.Listen, d.Upstreams = listen("127.0.0.1:15053", "[::1]:15053"), []string{"[fd00::a]:53", "10.96.0.10:53"}
				d.Domain, d.Search = "svc.example.org", "default.svc.example.org"
			}),
		},
		{
			name: "no resolv.conf", env: []string{"ISTIO_META_DNS_CAPTURE=true"}, files: map[string]string{"etc/hosts": ""},
			want: change(func(d *DNS) { d.Search, d.Upstreams = "", nil }),
		},
		{
			name: "address", env: []string{"ISTIO_META_DNS_CAPTURE=true", "DNS_PROXY_ADDR=0.0.0.0:9053"},
			want: change(func(d *DNS) { d.Listen = listen("0.0.0.0:9053") }),
		},
		{
			name: "name server of the machine", env: []string{"ISTIO_META_DNS_CAPTURE=true", "DNS_PROXY_ADDR=127.0.0.1:53"},
			files: map[string]string{"etc/resolv.conf": "nameserver 127.0.0.1\n", "var/lib/istio/resolv.conf": "nameserver 192.0.2.1\n"},
			want: change(func(d *DNS) {
				d.Listen, d.Upstreams, d.Search, d.ForwardEarly = listen("127.0.0.1:53"), []string{"192.0.2.1:53"}, "", true
			}),
		},
		{
			name: "port 53 without the right", env: []string{"ISTIO_META_DNS_CAPTURE=true", "DNS_PROXY_ADDR=localhost:53"}, uid: 1337,
			want: captured,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.files == nil {
				c.files = map[string]string{"etc/resolv.conf": cluster}
			}
			if c.role == "" {
				c.role = "sidecar"
			}
			got := load(t, Flags{Role: c.role, Domain: c.domain}, Source{Environ: injected(c.env...), Root: root(t, c.files), UID: c.uid})
			if diff := cmp.Diff(c.want, got.DNS, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if ignored := len(got.Ignored) > 0; ignored != (c.uid != 0) {
				t.Errorf("ignored: %v", got.Ignored)
			}
		})
	}
}

func TestDNSMistakes(t *testing.T) {
	for value, want := range map[string]string{
		"DNS_PROXY_ADDR=localhost":          `"localhost" is not host:port`,
		"DNS_PROXY_ADDR=dns.example.org:53": `"dns.example.org" is neither localhost nor an IP address`,
		"DNS_PROXY_ADDR=127.0.0.1:0":        `"127.0.0.1:0" is not host:port`,
		"DNS_FORWARD_TIMEOUT=0s":            "leaves no time",
		"DNS_FORWARD_TIMEOUT=soon":          `"soon" is not a duration`,
		"DNS_FORWARD_PARALLEL=maybe":        "neither true nor false",
	} {
		_, err := Load(Flags{Role: "sidecar"}, Source{Environ: injected("ISTIO_META_DNS_CAPTURE=true", value)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", value, err, want)
		}
	}
}
