package capture

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var equal = []cmp.Option{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

func envOf(m map[string]string) func(string) string {
	return func(k string) string { return m[k] }
}

func TestParseDefaultPod(t *testing.T) {
	args := []string{
		"istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "",
		"-b", "*", "-d", "15090,15021,15020", "--log_output_level=default:info",
	}
	got, opt, err := Parse(args, envOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		OutboundPort: 15001, InboundPort: 15006, TunnelPort: 15008,
		ProxyUIDs: []uint32{1337}, ProxyGIDs: []uint32{1337}, Mode: Redirect,
		OutboundRanges: Ranges{All: true}, InboundPorts: Ports{All: true},
		InboundExcludePorts: []uint16{15090, 15021, 15020},
		OwnerGroups:         Groups{All: true}, Loopback: netip.MustParsePrefix("127.0.0.1/32"),
		TProxyMark: 1337, TProxyTable: 133,
	}
	if diff := cmp.Diff(want, got, equal...); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Options{LogLevel: "info", LogTarget: "stdout", ProbePort: 15002, ProbeTimeout: 5 * time.Second}, opt); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestParseValues(t *testing.T) {
	builtin := Config{
		OutboundPort: 15001, InboundPort: 15006, TunnelPort: 15008,
		ProxyUIDs: []uint32{1337}, ProxyGIDs: []uint32{1337}, Mode: Redirect,
		OwnerGroups: Groups{All: true}, Loopback: netip.MustParsePrefix("127.0.0.1/32"),
		TProxyMark: 1337, TProxyTable: 133,
	}
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want func(*Config, *Options)
	}{
		{"nothing", nil, nil, func(*Config, *Options) {}},
		{"long flags", []string{"--envoy-port=1", "--inbound-capture-port", "2", "--inbound-tunnel-port=3"}, nil,
			func(c *Config, _ *Options) { c.OutboundPort, c.InboundPort, c.TunnelPort = 1, 2, 3 }},
		{"gid follows uid", []string{"-u", "5, 6"}, nil,
			func(c *Config, _ *Options) { c.ProxyUIDs, c.ProxyGIDs = []uint32{5, 6}, []uint32{5, 6} }},
		{"gid of its own", []string{"-u", "5", "-g", "7"}, nil,
			func(c *Config, _ *Options) { c.ProxyUIDs, c.ProxyGIDs = []uint32{5}, []uint32{7} }},
		{"environment", nil, map[string]string{"ISTIO_SERVICE_CIDR": "10.0.0.0/8,fd00::/8", "PROXY_UID": "9"},
			func(c *Config, _ *Options) {
				c.OutboundRanges.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
				c.ProxyUIDs, c.ProxyGIDs = []uint32{9}, []uint32{9}
			}},
		{"flag beats environment", []string{"-i", ""}, map[string]string{"ISTIO_SERVICE_CIDR": "*"}, func(*Config, *Options) {}},
		{"tproxy", []string{"-m", "TPROXY"}, nil, func(c *Config, _ *Options) { c.Mode = TProxy }},
		{"interfaces", []string{"-c", "net1, eth0.7", "-k", ",docker0,"}, nil, func(c *Config, _ *Options) {
			c.ExcludeInterfaces, c.VirtualInterfaces = []string{"net1", "eth0.7"}, []string{"docker0"}
		}},
		{"drop invalid", nil, map[string]string{"INVALID_DROP": "true"}, func(c *Config, _ *Options) { c.DropInvalid = true }},
		{"owner groups", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": "202, 203"},
			func(c *Config, _ *Options) { c.OwnerGroups = Groups{List: []uint32{202, 203}} }},
		{"no owner group", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": ","},
			func(c *Config, _ *Options) { c.OwnerGroups = Groups{} }},
		{"owner groups excluded", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "888"},
			func(c *Config, _ *Options) { c.OwnerGroupsExcluded = []uint32{888} }},
		{"loopback", nil, map[string]string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "127.0.0.1/8"},
			func(c *Config, _ *Options) { c.Loopback = netip.MustParsePrefix("127.0.0.0/8") }},
		{"validation", []string{"--run-validation", "--skip-rule-apply", "--iptables-probe-port=7", "--probe-timeout=1s"}, nil,
			func(_ *Config, o *Options) {
				o.Validate, o.SkipApply, o.ProbePort, o.ProbeTimeout = true, true, 7, time.Second
			}},
		{"tracing", nil, map[string]string{"IPTABLES_TRACE_LOGGING": "true"}, func(_ *Config, o *Options) {
			o.Notes = []string{"iptables-trace-logging has no effect"}
		}},
		{"dns", nil, map[string]string{"ISTIO_META_DNS_CAPTURE": "true"}, func(c *Config, _ *Options) { c.RedirectDNS = true }},
		{"dns by the flag's variable", nil, map[string]string{"REDIRECT_DNS": "1", "ISTIO_META_DNS_CAPTURE": "false"},
			func(c *Config, _ *Options) { c.RedirectDNS = true }},
		{"dns off by flag", []string{"--redirect-dns=false"}, map[string]string{"ISTIO_META_DNS_CAPTURE": "true"}, func(*Config, *Options) {}},
		{"all dns", []string{"--redirect-dns", "--capture-all-dns"}, nil,
			func(c *Config, _ *Options) { c.RedirectDNS, c.CaptureAllDNS = true, true }},
		{"program for none", []string{"--native-nftables", "--force-iptables-binary=nft"}, nil, func(_ *Config, o *Options) {
			o.NativeNftables, o.Flavour = true, "nft"
			o.Notes = []string{"force-iptables-binary has no effect: native-nftables uses no program"}
		}},
		{"all dns alone", nil, map[string]string{"CAPTURE_ALL_DNS": "true"}, func(c *Config, o *Options) {
			c.CaptureAllDNS = true
			o.Notes = []string{"capture-all-dns has no effect: redirect-dns is not set"}
		}},
		{"tproxy numbers", []string{"-t", "0x7"}, map[string]string{"ISTIO_INBOUND_TPROXY_ROUTE_TABLE": "300"},
			func(c *Config, _ *Options) { c.TProxyMark, c.TProxyTable = 7, 300 }},
		{"nftables", nil, map[string]string{"NATIVE_NFTABLES": "true"}, func(_ *Config, o *Options) { o.NativeNftables = true }},
		{"cni", []string{"--cni-mode", "--network-namespace=/proc/7/ns/net"}, nil,
			func(_ *Config, o *Options) { o.CNIMode, o.NetworkNamespace = true, "/proc/7/ns/net" }},
		{"clean", []string{"istio-clean-iptables", "-u", "5"}, nil, func(c *Config, o *Options) {
			c.ProxyUIDs, c.ProxyGIDs, o.CleanupOnly = []uint32{5}, []uint32{5}, true
		}},
		{"explain", []string{"--explain"}, map[string]string{"EXPLAIN": "perhaps"}, func(_ *Config, o *Options) { o.Explain = true }},
		{"user", nil, map[string]string{"ENVOY_USER": "bob"}, func(c *Config, _ *Options) {
			c.ProxyUIDs, c.ProxyGIDs = []uint32{7000}, []uint32{7000}
		}},
		{"user beside an id", []string{"-u", "5"}, map[string]string{"ENVOY_USER": "bob"}, func(c *Config, _ *Options) {
			c.ProxyUIDs, c.ProxyGIDs = []uint32{5}, []uint32{5}
		}},
		{"unknown user", nil, map[string]string{"ENVOY_USER": "eve"}, func(_ *Config, o *Options) {
			o.Notes = []string{`ENVOY_USER has no effect: there is no user "eve" here, the proxy is user 1337`}
		}},
		{"groups by name", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": "java, 203"},
			func(c *Config, _ *Options) { c.OwnerGroups = Groups{List: []uint32{202, 203}} }},
		{"both lists of groups", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": "1", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "java"},
			func(c *Config, o *Options) {
				c.OwnerGroups, c.OwnerGroupsExcluded = Groups{List: []uint32{1}}, []uint32{202}
				o.Notes = []string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE has no effect: ISTIO_OUTBOUND_OWNER_GROUPS lists whom to capture"}
			}},
		{"dry run to a file", []string{"-n"}, map[string]string{"DRY_RUN_FILE_PATH": "/tmp/x"},
			func(_ *Config, o *Options) { o.DryRun, o.DryRunFile = true, "/tmp/x" }},
		{"log target", []string{"--log_target=/tmp/x", "--log_caller=all"}, nil, func(_ *Config, o *Options) {
			o.Notes = []string{`log_target "/tmp/x" has no effect: logs go to stdout or stderr`, "log_caller has no effect"}
		}},
		{"log to stderr", []string{"--log_target", "stderr"}, nil, func(_ *Config, o *Options) { o.LogTarget = "stderr" }},
		{"flag beats an unknown mode", []string{"-m", "NONE"}, map[string]string{"ISTIO_INBOUND_INTERCEPTION_MODE": "UNKNOWN"},
			func(c *Config, _ *Options) { c.Mode = None }},
		{"envoy-port has no variable", nil, map[string]string{"ENVOY_PORT": "1"}, func(*Config, *Options) {}},
		{"dry run", []string{"-n"}, nil, func(_ *Config, o *Options) { o.DryRun = true }},
		{"cleanup by variable", nil, map[string]string{"CLEANUP_ONLY": "1"}, func(_ *Config, o *Options) { o.CleanupOnly = true }},
		{"flavour", []string{"--force-iptables-binary=legacy"}, nil, func(_ *Config, o *Options) { o.Flavour = "legacy" }},
		{"implied options", []string{"--reconcile", "--force-apply"}, map[string]string{"ISTIO_DUAL_STACK": "true"}, func(_ *Config, o *Options) { o.DualStack = true }},
		{"built-in values", []string{"--redirect-dns=false", "-t", "1337", "-f", "--restore-format=true", "--log_target=stdout"},
			map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": "*", "IPTABLES_TRACE_LOGGING": "false"}, func(*Config, *Options) {}},
		{"logs", []string{"--log_output_level=ads:debug,default:warn", "--log_as_json"}, nil,
			func(_ *Config, o *Options) { o.LogLevel, o.LogJSON = "warn", true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantConfig, wantOptions := builtin, Options{LogLevel: "info", LogTarget: "stdout", ProbePort: 15002, ProbeTimeout: 5 * time.Second}
			tt.want(&wantConfig, &wantOptions)
			config, options, err := ParseWith(tt.args, envOf(tt.env), Names{one("bob", 7000), one("java", 202)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantConfig, config, equal...); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wantOptions, options); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

// one knows a single name.
func one(name string, id uint32) func(string) (uint32, bool) {
	return func(n string) (uint32, bool) { return id, n == name }
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want []string // each must be in the message
	}{
		{"unknown mode", []string{"-m", "redirect", "-b", "70000"}, nil,
			[]string{`--istio-inbound-interception-mode: "redirect" is not an interception mode`, `--istio-inbound-ports: "70000"`}},
		{"tproxy mark", []string{"-t", "0"}, nil, []string{"--istio-inbound-tproxy-mark", `"0"`}},
		{"tproxy mark without a successor", []string{"-t", "4294967295"}, nil, []string{`"4294967295"`, "4294967294"}},
		{"tproxy table", []string{"-r", "0"}, nil, []string{"--istio-inbound-tproxy-route-table", `"0"`}},
		{"tproxy table of the system", []string{"-r", "254"}, nil, []string{`"254"`}},
		{"interfaces", []string{"-c", "net1,eth 0", "-k", "0eth"}, nil,
			[]string{"--istio-exclude-interfaces", `"eth 0"`, "--kube-virt-interfaces", `"0eth"`}},
		{"long interface", []string{"-c", "abcdefghijklmnop"}, nil, []string{`"abcdefghijklmnop"`, "15"}},
		{"dns", nil, map[string]string{"ISTIO_META_DNS_CAPTURE": "on"}, []string{"ISTIO_META_DNS_CAPTURE", `"on"`}},
		{"drop invalid", nil, map[string]string{"INVALID_DROP": "yes"}, []string{"INVALID_DROP", `"yes"`}},
		{"probe", []string{"--iptables-probe-port=0", "--probe-timeout=soon"}, nil, []string{"--iptables-probe-port", `"soon"`}},
		{"probe without time", []string{"--probe-timeout=0s"}, nil, []string{"--probe-timeout", `"0s"`}},
		{"owner groups", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": "java", "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "ftp"},
			[]string{"ISTIO_OUTBOUND_OWNER_GROUPS", `"java"`, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", `"ftp"`, "write its number"}},
		{"many groups", nil, map[string]string{"ISTIO_OUTBOUND_OWNER_GROUPS": strings.Repeat("1,", 65)}, []string{"64"}},
		{"loopback", nil, map[string]string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "10.0.0.0/8"},
			[]string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", `"10.0.0.0/8"`}},
		{"wide loopback", nil, map[string]string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": "127.0.0.0/7"}, []string{`"127.0.0.0/7"`}},
		{"unparsable variable", nil, map[string]string{"DRY_RUN": "perhaps"}, []string{"DRY_RUN", `"perhaps"`}},
		{"bad range", []string{"-i", "10.0.0.0/8,banana"}, nil, []string{"--istio-service-cidr", `"banana"`}},
		{"star exclusion", []string{"-x", "*"}, nil, []string{"--istio-service-exclude-cidr", `"*"`}},
		{"bad ports", []string{"-b", "80,http", "-d", "70000", "-q", "*", "-o", "-1"}, nil,
			[]string{`"http"`, `"70000"`, "--istio-outbound-ports", `"*"`, `"-1"`}},
		{"port 0", []string{"-p", "0"}, nil, []string{"--envoy-port", `"0"`}},
		{"same ports", []string{"-p", "15006"}, nil, []string{"15006"}},
		{"owners", []string{"-u", "istio-proxy", "-g", "4294967295"}, nil, []string{`"istio-proxy"`, `"4294967295"`}},
		{"flavour", []string{"--force-iptables-binary=nftables"}, nil, []string{`"nftables"`}},
		{"log level", []string{"--log_output_level=default:loud"}, nil, []string{`"loud"`}},
		{"unknown flag", []string{"--istio-no-such-thing"}, nil, []string{"istio-no-such-thing"}},
		{"word", []string{"istio-iptables", "istio-iptables"}, nil, []string{`"istio-iptables"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := Parse(tt.args, envOf(tt.env))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
		})
	}
}

func TestParseHelp(t *testing.T) {
	_, _, err := Parse([]string{"--help"}, envOf(nil))
	var help *HelpRequested
	if !errors.As(err, &help) {
		t.Fatalf("error %v, want HelpRequested", err)
	}
	for _, want := range []string{"-i, --istio-service-cidr", "-n, --dry-run", "--cleanup-only"} {
		if !strings.Contains(help.Usage, want) {
			t.Errorf("usage does not show %q", want)
		}
	}
}

func TestParseReadsArgs(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 15006))
	for range 3000 {
		want := randomConfig(rng)
		args := want.Args()
		got, _, err := Parse(args, envOf(nil))
		if err != nil {
			t.Fatalf("Parse(%q): %v", args, err)
		}
		if diff := cmp.Diff(want, got, equal...); diff != "" {
			t.Fatalf("Parse(%q) (-want +got):\n%s", args, diff)
		}
	}
}

func randomConfig(rng *rand.Rand) Config {
	c := Config{
		OutboundPort: uint16(1 + rng.IntN(30000)), InboundPort: uint16(30001 + rng.IntN(30000)),
		TunnelPort: 15008, Mode: []Mode{Redirect, TProxy, None}[rng.IntN(3)],
		OwnerGroups: Groups{All: true}, Loopback: netip.MustParsePrefix("127.0.0.1/32"),
		DropInvalid:           rng.IntN(3) == 0,
		RedirectDNS:           rng.IntN(3) == 0,
		CaptureAllDNS:         rng.IntN(3) == 0,
		TProxyMark:            1337,
		TProxyTable:           133,
		ExcludeInterfaces:     some(rng, 0, func() string { return randomName(rng) }),
		VirtualInterfaces:     some(rng, 0, func() string { return randomName(rng) }),
		ProxyUIDs:             some(rng, 1, rng.Uint32),
		OutboundExcludeRanges: some(rng, 0, func() netip.Prefix { return randomPrefix(rng) }),
		InboundExcludePorts:   some(rng, 0, func() uint16 { return uint16(rng.Uint32()) }),
		OutboundPorts:         some(rng, 0, func() uint16 { return uint16(rng.Uint32()) }),
		OutboundExcludePorts:  some(rng, 0, func() uint16 { return uint16(rng.Uint32()) }),
	}
	c.ProxyGIDs = c.ProxyUIDs
	if rng.IntN(2) == 0 {
		c.ProxyGIDs = some(rng, 1, rng.Uint32)
	}
	if rng.IntN(3) == 0 {
		c.TProxyMark, c.TProxyTable = 1+rng.Uint32N(1<<32-2), 1+rng.IntN(252)
	}
	if rng.IntN(3) == 0 {
		c.TunnelPort = uint16(1 + rng.IntN(65535))
	}
	if c.OutboundRanges.All = rng.IntN(3) == 0; !c.OutboundRanges.All {
		c.OutboundRanges.Prefixes = some(rng, 0, func() netip.Prefix { return randomPrefix(rng) })
	}
	if c.InboundPorts.All = rng.IntN(3) == 0; !c.InboundPorts.All {
		c.InboundPorts.List = some(rng, 0, func() uint16 { return uint16(rng.Uint32()) })
	}
	return c
}

func randomName(rng *rand.Rand) string {
	return "eth"[:1+rng.IntN(3)] + strings.Repeat("0.-_aZ", 2)[:rng.IntN(13)]
}

func some[T any](rng *rand.Rand, least int, one func() T) []T {
	out := make([]T, least+rng.IntN(4))
	for i := range out {
		out[i] = one()
	}
	return out
}

func randomPrefix(rng *rand.Rand) netip.Prefix {
	if rng.IntN(2) == 0 {
		v := rng.Uint32()
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), rng.IntN(33))
	}
	var b [16]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), rng.IntN(129))
}

func FuzzParse(f *testing.F) {
	f.Add("istio-iptables\n-p\n15001\n-i\n*\n-x\n\n-b\n*\n-d\n15090,15021", "10.0.0.0/8")
	f.Add("-u\n1,2\n-g\n3\n-q\n80\n-o\n22, 25,", "::1/128,,")
	f.Add("--redirect-dns", "*")
	f.Add("-m\nTPROXY\n-c\neth0, net1\n-k\ndocker0,", "*")
	f.Add("-np\n1", "banana")
	f.Add("-t\n0x10\n-r\n256\n--capture-all-dns", "")
	f.Fuzz(func(t *testing.T, words, cidr string) {
		env := envOf(map[string]string{"ISTIO_SERVICE_CIDR": cidr})
		config, _, err := Parse(strings.Split(words, "\n"), env)
		if err != nil {
			return
		}
		// Whatever is accepted can be written down and means the same again.
		again, _, err := Parse(config.Args(), envOf(nil))
		if err != nil {
			t.Fatalf("Parse(%q) of an accepted configuration: %v", config.Args(), err)
		}
		if diff := cmp.Diff(config, again, equal...); diff != "" {
			t.Fatalf("Parse(Args) (-want +got):\n%s", diff)
		}
	})
}
