package pod

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/problem"
)

// injected is a pod as the injector leaves it; change makes another of it.
func injected(change func(*Pod)) *Pod {
	id := int64(1337)
	p := &Pod{
		Metadata: Metadata{
			Name: "web", Namespace: "shop", UID: "u1",
			Annotations: map[string]string{
				"sidecar.istio.io/status":                          "{}",
				"sidecar.istio.io/interceptionMode":                "REDIRECT",
				"traffic.sidecar.istio.io/includeOutboundIPRanges": "*",
				"traffic.sidecar.istio.io/includeInboundPorts":     "*",
				"traffic.sidecar.istio.io/excludeInboundPorts":     "15020",
			},
		},
		Spec: Spec{
			InitContainers: []Container{{Name: "istio-validation", Args: []string{
				"istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*",
				"-d", "15090,15021,15020", "--log_output_level=default:info", "--run-validation", "--skip-rule-apply",
			}}},
			Containers: []Container{{Name: "app"}, {
				Name: "istio-proxy", Args: []string{"proxy", "sidecar", "--domain"},
				SecurityContext: &Security{RunAsUser: &id, RunAsGroup: &id},
			}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

func proxy(p *Pod) *Container { return p.container("istio-proxy") }

func annotate(key, value string) func(*Pod) {
	return func(p *Pod) { p.Metadata.Annotations[key] = value }
}

func environment(pairs ...string) func(*Pod) {
	return func(p *Pod) {
		for i := 0; i+1 < len(pairs); i += 2 {
			proxy(p).Env = append(proxy(p).Env, EnvVar{pairs[i], pairs[i+1]})
		}
	}
}

func TestLeftAlone(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Pod)
		want   string
	}{
		{"host network", func(p *Pod) { p.Spec.HostNetwork = true }, "node's network"},
		{"static", annotate("kubernetes.io/config.mirror", "x"), "static pod"},
		{"istio-init", func(p *Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, Container{Name: "istio-init"}) }, "istio-init"},
		{"no proxy", func(p *Pod) { p.Spec.Containers = p.Spec.Containers[:1] }, "no container istio-proxy"},
		{"no Envoy", environment("DISABLE_ENVOY", "true"), "without Envoy"},
		{"gateway", func(p *Pod) { proxy(p).Args[1] = "router" }, "not a sidecar"},
		{"no arguments", func(p *Pod) { proxy(p).Args = nil }, "not a sidecar"},
		{"label", func(p *Pod) { p.Metadata.Labels = map[string]string{"sidecar.istio.io/inject": "false"} }, "says no"},
		{"annotation", annotate("sidecar.istio.io/inject", "F"), "says no"},
		{"not injected", func(p *Pod) { delete(p.Metadata.Annotations, "sidecar.istio.io/status") }, "not injected"},
		{"mode NONE", annotate("sidecar.istio.io/interceptionMode", "NONE"), "NONE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, problems := Decide(injected(tt.change))
			if len(problems) > 0 || !strings.Contains(d.Skip, tt.want) || d.Skip == "" {
				t.Errorf("Decide = %q, %v; want skipped as %q", d.Skip, problems, tt.want)
			}
			if (d.Capture.Mode == capture.None) != (tt.want == "NONE") {
				t.Errorf("mode %q is told where the pod is left alone as %q", d.Capture.Mode, tt.want)
			}
		})
	}
}

func TestCaptured(t *testing.T) {
	root, group, other := int64(0), int64(1337), int64(2002)
	usual := func() capture.Config {
		c := capture.Default()
		c.InboundExcludePorts = []uint16{15090, 15021, 15020}
		return c
	}
	tests := []struct {
		name   string
		change func(*Pod)
		want   func(*capture.Config)
	}{
		{"usual", nil, nil},
		{"the label wins over the annotation", func(p *Pod) {
			p.Metadata.Labels = map[string]string{"sidecar.istio.io/inject": "true"}
			p.Metadata.Annotations["sidecar.istio.io/inject"] = "false"
		}, nil},
		{"native sidecar", func(p *Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, *proxy(p))
			p.Spec.Containers = p.Spec.Containers[:1]
		}, nil},
		{"without validation", func(p *Pod) { p.Spec.InitContainers = nil }, nil},
		{"nothing but the status", func(p *Pod) {
			p.Metadata.Annotations = map[string]string{"sidecar.istio.io/status": "{}"}
			p.Spec.InitContainers = nil
		}, nil},
		{"annotations", func(p *Pod) {
			a := p.Metadata.Annotations
			a["traffic.sidecar.istio.io/includeOutboundIPRanges"] = "10.0.0.0/8"
			a["traffic.sidecar.istio.io/excludeInboundPorts"] = "22,15020"
			a["traffic.sidecar.istio.io/excludeOutboundPorts"] = "25"
		}, func(c *capture.Config) {
			c.OutboundRanges = capture.Ranges{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			c.InboundExcludePorts = []uint16{15090, 15021, 15020, 22}
			c.OutboundExcludePorts = []uint16{25}
		}},
		{"empty is nothing", annotate("traffic.sidecar.istio.io/includeOutboundIPRanges", ""),
			func(c *capture.Config) { c.OutboundRanges = capture.Ranges{} }},
		{"TPROXY", func(p *Pod) {
			p.Metadata.Annotations["sidecar.istio.io/interceptionMode"] = "TPROXY"
			proxy(p).SecurityContext = &Security{RunAsUser: &root, RunAsGroup: &group}
		}, func(c *capture.Config) { c.Mode = capture.TProxy }},
		{"own ids", func(p *Pod) { proxy(p).SecurityContext = &Security{RunAsUser: &other, RunAsGroup: &group} },
			func(c *capture.Config) { c.ProxyUIDs = []uint32{2002} }},
		{"ids of the pod", func(p *Pod) {
			p.Spec.SecurityContext, proxy(p).SecurityContext = &Security{RunAsUser: &other}, nil
		}, func(c *capture.Config) { c.ProxyUIDs, c.ProxyGIDs = []uint32{2002}, []uint32{2002} }},
		{"ports of the mesh", func(p *Pod) {
			p.Spec.InitContainers[0].Args = []string{"istio-iptables", "-p", "16001", "-z", "16006", "-d", "15090,15021,16020"}
			p.Metadata.Annotations["traffic.sidecar.istio.io/excludeInboundPorts"] = "16020"
		}, func(c *capture.Config) {
			c.OutboundPort, c.InboundPort = 16001, 16006
			c.InboundExcludePorts = []uint16{15090, 15021, 15020, 16020}
		}},
		{"owner groups, loopback and invalid packets", environment(
			"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "202", "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.0/8", "INVALID_DROP", "true"),
			func(c *capture.Config) {
				c.OwnerGroupsExcluded, c.DropInvalid = []uint32{202}, true
				c.Loopback = netip.MustParsePrefix("127.0.0.0/8")
			}},
		{"DNS, of all servers", environment("ISTIO_META_DNS_CAPTURE", "true"),
			func(c *capture.Config) { c.RedirectDNS, c.CaptureAllDNS = true, true }},
		{"no DNS", environment("ISTIO_META_DNS_CAPTURE", "false", "ISTIO_META_DNS_AUTO_ALLOCATE", "true"), nil},
		{"the last of two variables counts", environment("INVALID_DROP", "maybe", "INVALID_DROP", "true"),
			func(c *capture.Config) { c.DropInvalid = true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, problems := Decide(injected(tt.change))
			if len(problems) > 0 || d.Skip != "" {
				t.Fatalf("Decide = %q, %v; want a capture", d.Skip, problems)
			}
			want := usual()
			if tt.want != nil {
				tt.want(&want)
			}
			prefixes := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
			if diff := cmp.Diff(want, d.Capture, cmpopts.EquateEmpty(), prefixes); diff != "" {
				t.Errorf("captured (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	root, negative := int64(0), int64(-1)
	tests := []struct {
		name   string
		change func(*Pod)
		want   []string
	}{
		{"two annotations", func(p *Pod) {
			p.Metadata.Annotations["traffic.sidecar.istio.io/includeInboundPorts"] = "http,80,90-91"
			p.Metadata.Annotations["traffic.sidecar.istio.io/excludeOutboundIPRanges"] = "*"
		}, []string{
			`Pod shop/web: metadata.annotations[traffic.sidecar.istio.io/excludeOutboundIPRanges]: "*" is not an IP range`,
			`metadata.annotations[traffic.sidecar.istio.io/includeInboundPorts]: "http" is not a port`, `"90-91" is not a port`,
		}},
		{"mode", annotate("sidecar.istio.io/interceptionMode", "tproxy"), []string{`"tproxy" is not an interception mode`}},
		{"variable", environment("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "10.0.0.0/8"), []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "[InvalidSetting]"}},
		{"root", func(p *Pod) { proxy(p).SecurityContext = &Security{RunAsUser: &root, RunAsGroup: &root} }, []string{"[UnsafeIdentity]"}},
		{"negative", func(p *Pod) { proxy(p).SecurityContext = &Security{RunAsUser: &negative} }, []string{"[UnsafeIdentity]"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Decide(injected(tt.change))
			text := problem.Join(problems)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("problems do not say %q:\n%s", want, text)
				}
			}
		})
	}
}

func TestFailed(t *testing.T) {
	ended := func(code int) State { return State{&Terminated{code}} }
	tests := []struct {
		name string
		is   ContainerStatus
		want bool
	}{
		{"ended so", ContainerStatus{State: ended(126)}, true},
		{"waits for its restart", ContainerStatus{LastState: ended(126)}, true},
		{"succeeded since", ContainerStatus{State: ended(0), LastState: ended(126)}, false},
		{"failed otherwise", ContainerStatus{State: ended(1)}, false},
		{"runs for the first time", ContainerStatus{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.is.Name, tt.is.RestartCount = "istio-validation", 3
			p := &Pod{Status: Status{InitContainerStatuses: []ContainerStatus{{Name: "other", State: ended(126)}, tt.is}}}
			if restarts, failed := p.Failed("istio-validation", 126); failed != tt.want || restarts != 3 {
				t.Errorf("Failed = %d, %v; want 3, %v", restarts, failed, tt.want)
			}
		})
	}
}

// FuzzDecide: no pod makes it panic, and what it captures can be captured.
func FuzzDecide(f *testing.F) {
	for _, p := range []*Pod{injected(nil), injected(environment("INVALID_DROP", "true"))} {
		text, err := json.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := &Pod{}
		if json.Unmarshal([]byte(text), p) != nil {
			t.Skip()
		}
		d, problems := Decide(p)
		if d.Skip == "" && len(problems) == 0 {
			if err := d.Capture.Validate(); err != nil {
				t.Errorf("decided on what cannot be: %v", err)
			}
		}
	})
}
