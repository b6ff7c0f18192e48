package params

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/problem"
)

// defaults are those of a mesh that nobody configured.
func defaults(t testing.TB) *Defaults {
	t.Helper()
	values, err := ParseValues("", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	d, err := Prepare(meshconfig.Default(), values, Install{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve resolves a pod with these annotations.
func resolve(d *Defaults, annotations map[string]string) (Params, []problem.Problem) {
	return Resolve(Input{
		Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: annotations},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/web:1"}}},
		},
		Defaults: d, Native: true,
	})
}

// TestAnnotations: each annotation with what it changes, its empty and its odd values.
func TestAnnotations(t *testing.T) {
	const s, tr, rd = "sidecar.istio.io/", "traffic.sidecar.istio.io/", "readiness.status.sidecar.istio.io/"
	prefix := netip.MustParsePrefix
	d := defaults(t)
	for _, c := range []struct {
		key, value string
		get        func(Params) any
		want       any
		problem    string // "" for none; with "!" in front it refuses the pod
	}{
		{s + "interceptionMode", "NONE", mode, capture.None, ""},
		{s + "interceptionMode", "TPROXY", mode, capture.TProxy, ""},
		{s + "interceptionMode", "", mode, capture.Redirect, `!"" is not an interception mode`},
		{s + "interceptionMode", "none", mode, capture.Redirect, `!"none" is not an interception mode, write REDIRECT, TPROXY or NONE`},
		{s + "proxyImage", "example.com/a:b", image, "example.com/a:b", ""},
		{s + "proxyImage", "", image, "ghcr.io/sluicemesh/proxyv2:1.0.0", ""},
		{s + "proxyImage", "a\tb", image, "ghcr.io/sluicemesh/a\tb:1.0.0", "!is not an image"},
		{s + "proxyImageType", "distroless", image, "ghcr.io/sluicemesh/proxyv2:1.0.0-distroless", ""},
		{s + "proxyImageType", "", image, "ghcr.io/sluicemesh/proxyv2:1.0.0", ""},
		{s + "proxyCPU", "1500m", request(corev1.ResourceCPU), "1500m", ""},
		{s + "proxyCPU", " 1", request(corev1.ResourceCPU), "0", "!is not a quantity"},
		{s + "proxyMemory", "1e6", request(corev1.ResourceMemory), "1e6", ""},
		{s + "proxyMemoryLimit", "64Mi", limit(corev1.ResourceMemory), "64Mi", ""},
		{s + "proxyCPULimit", "-1", limit(corev1.ResourceCPU), "0", "!is not a quantity"},
		{s + "logLevel", "trace", level, "trace", ""},
		{s + "logLevel", "info, rbac:debug", level, "info,rbac:debug", ""},
		{s + "logLevel", "", level, "warning", ""},
		{s + "logLevel", "INFO", level, "INFO", `!"INFO" is not a log level`},
		{s + "componentLogLevel", "rbac:off, misc:err", componentsLevel, "rbac:off,misc:err", ""},
		{s + "componentLogLevel", "rbac", componentsLevel, "rbac", `!"rbac" is not COMPONENT:LEVEL`},
		{s + "agentLogLevel", "all:debug", agentLevelOf, "all:debug", ""},
		{s + "agentLogLevel", "all:loud", agentLevelOf, "all:loud", `!"all:loud" is not SCOPE:LEVEL`},
		{s + "nativeSidecar", "false", native, false, ""},
		{s + "nativeSidecar", "no", native, true, "taken as true"},
		{s + "rewriteAppHTTPProbers", "F", rewrite, false, ""},
		{s + "rewriteAppHTTPProbers", "no", rewrite, true, "the default true holds"},
		{"status.sidecar.istio.io/port", "0", status, uint16(0), ""},
		{"status.sidecar.istio.io/port", "65535", status, uint16(65535), ""},
		{"status.sidecar.istio.io/port", "65536", status, uint16(65535), "!is not a port, write a number from 0 to 65535"},
		{"status.sidecar.istio.io/port", "", status, uint16(0), "!is not a port"},
		{rd + "initialDelaySeconds", "7", func(p Params) any { return p.Health.ReadyInitialDelay }, int32(7), ""},
		{rd + "periodSeconds", "1.5", func(p Params) any { return p.Health.ReadyPeriod }, int32(15), "!is not a number from 0 to 2147483647"},
		{rd + "failureThreshold", "4294967296", func(p Params) any { return p.Health.ReadyFail }, int32(4), "!is not a number"},
		{rd + "applicationPorts", "80", status, uint16(15020), "has no effect"},
		{tr + "includeOutboundIPRanges", "*", outbound, capture.Ranges{All: true}, ""},
		{tr + "includeOutboundIPRanges", " * ", outbound, capture.Ranges{All: true}, ""},
		{tr + "includeOutboundIPRanges", "", outbound, capture.Ranges{}, ""},
		{tr + "includeOutboundIPRanges", "10.0.0.0/8 , ::1", outbound, capture.Ranges{Prefixes: []netip.Prefix{prefix("10.0.0.0/8"), prefix("::1/128")}}, ""},
		{tr + "includeOutboundIPRanges", "*,10.0.0.0/8", outbound, capture.Ranges{}, `!"*" is not an IP range`},
		{tr + "excludeOutboundIPRanges", "10.0.0.1", func(p Params) any { return p.Capture.OutboundExcludeRanges }, []netip.Prefix{prefix("10.0.0.1/32")}, ""},
		{tr + "excludeOutboundIPRanges", "10.0.0.0-10.0.0.9", func(p Params) any { return p.Capture.OutboundExcludeRanges }, []netip.Prefix(nil), "!is not an IP range"},
		{tr + "includeInboundPorts", "80, 81,", inbound, capture.Ports{List: []uint16{80, 81}}, ""},
		{tr + "includeInboundPorts", "", inbound, capture.Ports{}, ""},
		{tr + "includeInboundPorts", "*", inbound, capture.Ports{All: true}, ""},
		{tr + "includeInboundPorts", "80-90", inbound, capture.Ports{}, `!"80-90" is not a port`},
		{tr + "excludeInboundPorts", "9090", func(p Params) any { return p.Capture.InboundExcludePorts }, []uint16{15090, 15021, 9090, 15020}, ""},
		{tr + "excludeInboundPorts", "15020", func(p Params) any { return p.Capture.InboundExcludePorts }, []uint16{15090, 15021, 15020}, ""},
		{tr + "includeOutboundPorts", "53, 443", func(p Params) any { return p.Capture.OutboundPorts }, []uint16{53, 443}, ""},
		{tr + "includeOutboundPorts", "*", func(p Params) any { return p.Capture.OutboundPorts }, []uint16(nil), `!"*" is not a port`},
		{tr + "excludeOutboundPorts", "x", func(p Params) any { return p.Capture.OutboundExcludePorts }, []uint16(nil), `!"x" is not a port`},
		{tr + "excludeInterfaces", "net1 ,net2", func(p Params) any { return p.Capture.ExcludeInterfaces }, []string{"net1", "net2"}, ""},
		{tr + "excludeInterfaces", "9net", func(p Params) any { return p.Capture.ExcludeInterfaces }, []string(nil), "!is not the name of an interface"},
		{tr + "kubevirtInterfaces", "k6t-eth0", virtual, []string{"k6t-eth0"}, ""},
		{"istio.io/reroute-virtual-interfaces", "docker0", virtual, []string{"docker0"}, ""},
		{"istio.io/reroute-virtual-interfaces", "sixteencharsname", virtual, []string(nil), "!is not the name of an interface"},
		{"prometheus.istio.io/merge-metrics", "false", func(p Params) any { return p.Metrics.Port }, uint16(0), ""},
		{"prometheus.istio.io/merge-metrics", "", func(p Params) any { return p.Metrics.Port }, uint16(0), "!is neither true nor false"},
		{"prometheus.istio.io/secure-port", "15091", status, uint16(15020), ""},
		{"prometheus.istio.io/secure-port", "0", status, uint16(15020), "is not a port"},
		{"prometheus.io/port", "15090", func(p Params) any { return p.Metrics.App.Port }, "15090", "!port 15090 belongs to the proxy"},
		{"proxy.istio.io/config", "concurrency: 0", told, `{"concurrency":0}`, ""},
		{"proxy.istio.io/config", "{interceptionMode: NONE}", mode, capture.None, ""},
		{"proxy.istio.io/config", "{statusPort: 0}", told, `{"statusPort":0}`, ""},
		{"proxy.istio.io/config", "{drainDuration: 45s}", told, `{}`, ""},
		{"proxy.istio.io/config", "{statNameLength: 7}", told, `{"statNameLength":7}`, "statNameLength has no effect in this version of Sluice"},
		{"proxy.istio.io/config", "{proxyBootstrapTemplatePath: /a}", told, `{"proxyBootstrapTemplatePath":"/a"}`, "!proxyBootstrapTemplatePath is not supported"},
		{"proxy.istio.io/config", "{nonsense: 1}", told, `{}`, "unknown field nonsense"},
		{"proxy.istio.io/config", "{concurrency: -1}", told, `{"concurrency":-1}`, "!concurrency: -1 is less than 0"},
		{"proxy.istio.io/config", "{concurrency: x}", told, `{}`, `!concurrency: invalid value for int32 field value: "x"`},
		{s + "discoveryAddress", "a:1", told, `{}`, ""},
		{s + "discoveryAddress", "a", told, `{}`, "is not HOST:PORT"},
		{s + "statsFlushInterval", "1", told, `{}`, "is not a duration"},
		{s + "statsInclusionRegexps", "a.*,{pod_ip}_.*", told, `{}`, ""},
		{s + "statsInclusionRegexps", "*a", told, `{}`, "!missing argument to repetition operator"},
		{s + "statsCompression", "brotli", told, `{}`, "has no effect"},
		{s + "statsHistogramBins", "100", told, `{}`, "has no effect"},
		{s + "capNetBindService", "1", func(p Params) any { return p.Proxy.UID }, int64(1337), "taken as false"},
		{s + "bootstrapOverride", "", func(p Params) any { return p.Extra }, (*Extra)(nil), ""},
		{s + "bootstrapoverride", "a", told, `{}`, "did you mean sidecar.istio.io/bootstrapOverride?"},
		{"sidecar.istio.io/proxyCpuLimits", "1", told, `{}`, "did you mean sidecar.istio.io/proxyCPULimit?"},
		{"example.com/proxyCPU", "much", told, `{}`, ""},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			p, problems := resolve(d, map[string]string{c.key: c.value})
			if diff := cmp.Diff(c.want, c.get(p), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			message, fatal := strings.CutPrefix(c.problem, "!")
			switch {
			case c.problem == "" && len(problems) > 0:
				t.Errorf("problems = %v; want none", problems)
			case c.problem != "" && (len(problems) != 1 || problems[0].Fatal != fatal || !strings.Contains(problems[0].Message, message)):
				t.Errorf("problems = %v; want %q alone", problems, c.problem)
			case c.problem != "" && problems[0].Path != "metadata.annotations["+c.key+"]":
				t.Errorf("path = %s", problems[0].Path)
			}
		})
	}
}

func mode(p Params) any            { return p.Capture.Mode }
func image(p Params) any           { return p.Images.Proxy }
func level(p Params) any           { return p.Logs.Proxy }
func componentsLevel(p Params) any { return p.Logs.Component }
func agentLevelOf(p Params) any    { return p.Logs.Agent }
func native(p Params) any          { return p.Native }
func rewrite(p Params) any         { return p.Health.Rewrite }
func status(p Params) any          { return p.Health.StatusPort }
func outbound(p Params) any        { return p.Capture.OutboundRanges }
func inbound(p Params) any         { return p.Capture.InboundPorts }
func virtual(p Params) any         { return p.Capture.VirtualInterfaces }
func told(p Params) any            { return p.Mesh.ProxyConfig }

func request(name corev1.ResourceName) func(Params) any {
	return func(p Params) any { q := p.Proxy.Resources.Requests[name]; return q.String() }
}

func limit(name corev1.ResourceName) func(Params) any {
	return func(p Params) any { q := p.Proxy.Resources.Limits[name]; return q.String() }
}

// TestGreatAnnotations: what is wrong many times is told a few times.
func TestGreatAnnotations(t *testing.T) {
	var unknown strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&unknown, "field%d: 1\n", i)
	}
	_, problems := resolve(defaults(t), map[string]string{
		"traffic.sidecar.istio.io/excludeOutboundPorts": strings.Repeat("x,", 50_000),
		"proxy.istio.io/config":                         unknown.String(),
	})
	if len(problems) != 21 {
		t.Errorf("%d problems", len(problems))
	}
	many := map[string]string{}
	for i := range 5000 {
		many["sidecar.istio.io/unknown"+strings.Repeat("x", i%40)+string(rune('a'+i%26))] = ""
	}
	if _, problems = resolve(defaults(t), many); len(problems) != 11 {
		t.Errorf("%d problems of unknown names", len(problems))
	}
}

// FuzzTraffic: no text panics, and what is accepted reaches the init container as it is.
func FuzzTraffic(f *testing.F) {
	for _, seed := range [][3]string{
		{"*", "80,443", "eth0"}, {"10.0.0.0/8, fd00::/8", "*", "net1, net2"}, {"", "", ""}, {"10.0.0.1,", "0,65535", "k6t-eth0"},
		{"::ffff:10.0.0.1/96", " 1 ", "a.b_c-d"}, {"fe80::1%eth0", "+1", "-j"}, {"10.1/16", "1e3", "a\x00b"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	d := defaults(f)
	f.Fuzz(func(t *testing.T, ranges, ports, interfaces string) {
		const tr = "traffic.sidecar.istio.io/"
		p, problems := resolve(d, map[string]string{
			tr + "includeOutboundIPRanges": ranges, tr + "excludeOutboundIPRanges": ranges,
			tr + "includeInboundPorts": ports, tr + "excludeInboundPorts": ports, tr + "includeOutboundPorts": ports,
			tr + "excludeOutboundPorts": ports, tr + "excludeInterfaces": interfaces, tr + "kubevirtInterfaces": interfaces,
		})
		if problem.AnyFatal(problems) {
			return
		}
		for _, arg := range p.Capture.Args() {
			if strings.ContainsAny(arg, " \t\n\x00") {
				t.Errorf("argument %q has blanks", arg)
			}
		}
		got, _, err := capture.Parse(p.Capture.Args(), func(string) string { return "" })
		if err != nil {
			t.Fatalf("the init container refuses %q: %v", p.Capture.Args(), err)
		}
		if diff := cmp.Diff(p.Capture.Args(), got.Args()); diff != "" {
			t.Error(diff)
		}
	})
}

// FuzzAnnotation: no value of any annotation panics, and none is refused without its name.
func FuzzAnnotation(f *testing.F) {
	d := defaults(f)
	keys := d.names.annotationNames
	for _, seed := range []string{"", "1", "-1", "1Gi", "{}", "[]", "[{}]", "{\"a\": {}}", "true", "debug", "a:b", "http:/x", "9090:/x,1", "10s", "null", "\xff", "((", "sidecar"} {
		for i := range keys {
			f.Add(uint8(i), seed)
		}
	}
	f.Fuzz(func(t *testing.T, key uint8, value string) {
		name := keys[int(key)%len(keys)]
		_, problems := resolve(d, map[string]string{name: value})
		for _, p := range problems {
			if p.Message == "" || p.Reason == "" || !strings.Contains(p.Path, name) {
				t.Errorf("%s=%q: %s", name, value, p)
			}
		}
	})
}
