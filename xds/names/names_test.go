package names

import (
	"net/netip"
	"testing"
)

const reviews = "reviews.default.svc.cluster.local"

// The spelling is a contract with users' dashboards and scripts.
func TestSpelling(t *testing.T) {
	for got, want := range map[string]string{
		Outbound{Port: 9080, Host: reviews}.String():                     "outbound|9080||reviews.default.svc.cluster.local",
		Outbound{Port: 80, Subset: "v1", Host: "*.example.com"}.String(): "outbound|80|v1|*.example.com",
		Outbound{Port: 9080, Host: reviews}.SNI():                        "outbound_.9080_._.reviews.default.svc.cluster.local",
		Outbound{Port: 80, Subset: "v1", Host: "a.b"}.SNI():              "outbound_.80_.v1_.a.b",
		Inbound(8080):                                   "inbound|8080||",
		InboundVirtualHost(80):                          "inbound|http|80",
		AltStat("outbound|80||a"):                       "outbound|80||a;",
		VirtualHost(reviews, 9080):                      "reviews.default.svc.cluster.local:9080",
		BlackholeVirtualHost(8080):                      "blackhole:8080",
		PortRoute(8080):                                 "8080",
		GatewayRoute(8080, ""):                          "http.8080",
		GatewayRoute(8080, "10.0.0.1"):                  "http.8080.10.0.0.1",
		VirtualServicePath("default", "reviews"):        "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews",
		DestinationRulePath("a", "b"):                   "/apis/networking.istio.io/v1/namespaces/a/destination-rule/b",
		Listener(netip.MustParseAddr("0.0.0.0"), 80):    "0.0.0.0_80",
		Listener(netip.MustParseAddr("10.1.2.3"), 443):  "10.1.2.3_443",
		Listener(netip.MustParseAddr("::"), 80):         "::_80",
		Listener(netip.MustParseAddr("fd00::1"), 15001): "fd00::1_15001",
		OutboundStat("0.0.0.0_80"):                      "outbound_0.0.0.0_80;",
		InboundStat("0.0.0.0_8080"):                     "inbound_0.0.0.0_8080;",
		PassthroughCluster:                              "PassthroughCluster",
		BlackHoleCluster:                                "BlackHoleCluster",
		InboundPassthroughCluster:                       "InboundPassthroughCluster",
		VirtualOutbound:                                 "virtualOutbound",
		VirtualInbound:                                  "virtualInbound",
		OutboundBlackholeChain:                          "virtualOutbound-blackhole",
		OutboundCatchAllChain:                           "virtualOutbound-catchall-tcp",
		InboundBlackholeChain:                           "virtualInbound-blackhole",
		InboundCatchAllHTTP:                             "virtualInbound-catchall-http",
		PassthroughFilterChain:                          "PassthroughFilterChain",
		AllowAnyVirtualHost:                             "allow_any",
		BlockAllVirtualHost:                             "block_all",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	refuse := func(kind, name string, ok bool) {
		t.Helper()
		if ok {
			t.Errorf("%s(%q) is ok", kind, name)
		}
	}
	for _, name := range []string{"", "outbound|80|a", "outbound|080||a", "outbound|70000||a", "outbound|+1||a", "outbound|80||", "outbound|80||a|b", "inbound|80||", "outbound_.80_._.a"} {
		_, ok := ParseOutbound(name)
		refuse("ParseOutbound", name, ok)
	}
	for _, name := range []string{"", "outbound|80||a", "outbound_.x_._.a", "outbound_.80_.a"} {
		_, ok := ParseSNI(name)
		refuse("ParseSNI", name, ok)
	}
	for _, name := range []string{"", "inbound|80", "inbound|80|x|", "inbound|-1||", "inbound|http|80", "outbound|80||"} {
		_, ok := ParseInbound(name)
		refuse("ParseInbound", name, ok)
	}
	for _, name := range []string{"", ":80", "a", "a:", "a:080", "allow_any"} {
		_, _, ok := ParseVirtualHost(name)
		refuse("ParseVirtualHost", name, ok)
	}
	for _, name := range []string{"", "http.", "http.x", "http.80.", "https.80", "8080"} {
		_, _, ok := ParseGatewayRoute(name)
		refuse("ParseGatewayRoute", name, ok)
	}
	for _, name := range []string{"", "virtualOutbound", "0.0.0.0", "0.0.0.0_", "0.0.0_80", "0:0::_80", "[::]_80", "0.0.0.0_080"} {
		_, _, ok := ParseListener(name)
		refuse("ParseListener", name, ok)
	}
}

// What is read can be written again, and gives the same text.
func FuzzRoundTrip(f *testing.F) {
	for _, name := range []string{
		"outbound|80|v1|a.b.svc.cluster.local", "outbound_.80_.v1_.a.b", "inbound|8080||", "a.b:80", "http.8080",
		"http.8080.10.0.0.1", "0.0.0.0_80", "fd00::1_443", "::ffff:1.2.3.4_80", "outbound|0||*", "outbound_.0_._._.x", "x", "",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		check := func(kind string, ok bool, again string) {
			if ok && again != name {
				t.Errorf("%s: %q is written again as %q", kind, name, again)
			}
		}
		if o, ok := ParseOutbound(name); ok {
			check("outbound", ok, o.String())
			if back, ok := ParseSNI(o.SNI()); ok && back != o {
				t.Errorf("SNI of %+v is read as %+v", o, back)
			}
		}
		if o, ok := ParseSNI(name); ok {
			check("sni", ok, o.SNI())
		}
		if p, ok := ParseInbound(name); ok {
			check("inbound", ok, Inbound(p))
		}
		if h, p, ok := ParseVirtualHost(name); ok {
			check("virtual host", ok, VirtualHost(h, p))
		}
		if p, bind, ok := ParseGatewayRoute(name); ok {
			check("gateway route", ok, GatewayRoute(p, bind))
		}
		if a, p, ok := ParseListener(name); ok {
			check("listener", ok, Listener(a, p))
		}
	})
}
