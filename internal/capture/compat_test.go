package capture

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestArgumentsOfIstio: what Istio's injectors, CNI agent and virtual machine scripts of
// versions 1.20 to 1.28 write is accepted when the image is swapped, and means the same.
func TestArgumentsOfIstio(t *testing.T) {
	const pod = `-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x "" -b * -d 15090,15021,15020 --log_output_level=default:info`
	tests := []struct {
		name, args, env string
		want            func(*Config, *Options)
	}{
		{"1.20 default", "istio-iptables " + pod, "", nil},
		{"1.20 with lists", `istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i 10.0.0.0/8,172.20.0.0/16 -x 10.1.0.0/16 -b 8080,9090 ` +
			`-d 15090,15021,22,15020 -q 3306 -o 53,5432 -k docker0 -c net1 --log_output_level=all:debug`, "",
			func(c *Config, o *Options) {
				c.OutboundRanges = Ranges{Prefixes: prefixes("10.0.0.0/8", "172.20.0.0/16")}
				c.OutboundExcludeRanges = prefixes("10.1.0.0/16")
				c.InboundPorts = Ports{List: []uint16{8080, 9090}}
				c.InboundExcludePorts = []uint16{15090, 15021, 22, 15020}
				c.OutboundPorts, c.OutboundExcludePorts = []uint16{3306}, []uint16{53, 5432}
				c.VirtualInterfaces, c.ExcludeInterfaces = []string{"docker0"}, []string{"net1"}
				o.LogLevel = "debug"
			}},
		{"1.20 TPROXY", strings.Replace("istio-iptables "+pod, "REDIRECT", "TPROXY", 1), "",
			func(c *Config, _ *Options) { c.Mode = TProxy }},
		{"1.20 with CNI", "istio-iptables " + pod + " --log_as_json --run-validation --skip-rule-apply", "",
			func(_ *Config, o *Options) { o.LogJSON, o.Validate, o.SkipApply = true, true, true }},
		{"1.21 OpenShift", strings.Replace("istio-iptables "+pod, "1337", "1000700001", 1), "",
			func(c *Config, _ *Options) { c.ProxyUIDs, c.ProxyGIDs = []uint32{1000700001}, []uint32{1000700001} }},
		{"1.21 DNS by metadata", "istio-iptables " + pod, "ISTIO_META_DNS_CAPTURE=true ISTIO_META_DNS_AUTO_ALLOCATE=true",
			func(c *Config, _ *Options) { c.RedirectDNS = true }},
		{"1.22 dual stack by metadata", "istio-iptables " + pod, "ISTIO_DUAL_STACK=true",
			func(_ *Config, o *Options) { o.DualStack = true }},
		{"1.23 forced", "istio-iptables " + pod + " --force-apply", "", nil},
		{"1.23 invalid packets by metadata", "istio-iptables " + pod, "INVALID_DROP=true",
			func(c *Config, _ *Options) { c.DropInvalid = true }},
		{"1.24 owner groups by metadata", "istio-iptables " + pod, "ISTIO_OUTBOUND_OWNER_GROUPS=*;ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=2000,2001",
			func(c *Config, _ *Options) { c.OwnerGroupsExcluded = []uint32{2000, 2001} }},
		{"1.26 loopback by metadata", "istio-iptables " + pod, "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR=127.0.0.1/8",
			func(c *Config, _ *Options) { c.Loopback = netip.MustParsePrefix("127.0.0.0/8") }},
		{"1.28 nftables", "istio-iptables " + pod + " --native-nftables", "",
			func(_ *Config, o *Options) { o.NativeNftables = true }},
		{"by hand, long names", `--envoy-port 15001 --inbound-capture-port 15006 --proxy-uid 1337 --proxy-gid 1337 ` +
			`--istio-inbound-interception-mode REDIRECT --istio-service-cidr * --istio-inbound-ports * ` +
			`--istio-local-exclude-ports 15090,15021,15020 --redirect-dns --capture-all-dns --drop-invalid --probe-timeout 10s`, "",
			func(c *Config, o *Options) {
				c.RedirectDNS, c.CaptureAllDNS, c.DropInvalid = true, true, true
				o.ProbeTimeout = 10 * time.Second
			}},
		{"in a node's namespace", "istio-iptables " + pod + " --cni-mode --network-namespace /var/run/netns/x --reconcile", "",
			func(_ *Config, o *Options) { o.CNIMode, o.NetworkNamespace = true, "/var/run/netns/x" }},
		{"virtual machine", "istio-iptables", "ISTIO_SERVICE_CIDR=*;ISTIO_INBOUND_PORTS=*;ISTIO_LOCAL_EXCLUDE_PORTS=15090,15021,15020;ENVOY_USER=istio-proxy", nil},
		{"virtual machine, stop", "istio-clean-iptables", "ISTIO_SERVICE_CIDR=*;ISTIO_INBOUND_PORTS=*;ISTIO_LOCAL_EXCLUDE_PORTS=15090,15021,15020",
			func(_ *Config, o *Options) { o.CleanupOnly = true }},
		{"logging of Istio", "istio-iptables " + pod + " --log_target stdout --log_stacktrace_level default:none --log_caller= --log_as_json=false", "", nil},
		{"flags that are gone", "istio-iptables " + pod + " --restore-format=false --iptables-trace-logging", "",
			func(_ *Config, o *Options) {
				o.Notes = []string{"restore-format has no effect", "iptables-trace-logging has no effect"}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantConfig, wantOptions := Default(), Options{LogLevel: "info", LogTarget: "stdout", ProbePort: 15002, ProbeTimeout: 5 * time.Second}
			wantConfig.InboundExcludePorts = []uint16{15090, 15021, 15020}
			if tt.want != nil {
				tt.want(&wantConfig, &wantOptions)
			}
			env := map[string]string{}
			for _, word := range strings.FieldsFunc(tt.env, func(r rune) bool { return r == ' ' || r == ';' }) {
				name, value, _ := strings.Cut(word, "=")
				env[name] = value
			}
			args := strings.Fields(tt.args)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], `""`, "")
			}
			config, options, err := Parse(args, envOf(env))
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

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// TestSettings: names are unique, and what the page says about a setting is what Parse does.
func TestSettings(t *testing.T) {
	seen := map[string]bool{}
	once := func(name string) {
		if name != "" && seen[name] {
			t.Errorf("%s stands for two settings", name)
		}
		seen[name] = true
	}
	builtin, _, err := Parse(nil, envOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		once(s.Name)
		once(s.Short)
		for _, name := range s.Env {
			once(name)
		}
		if s.Help == "" || s.Name == "" && len(s.Env) == 0 {
			t.Errorf("%+v says too little", s)
		}
		// Each way to give the built-in value is accepted and changes nothing.
		var ways [][]string
		if s.Name != "" {
			ways = append(ways, []string{"--" + s.Name + "=" + s.Default})
		}
		if s.Short != "" && !s.Boolean {
			ways = append(ways, []string{"-" + s.Short, s.Default})
		}
		for _, args := range ways {
			config, options, err := Parse(args, envOf(nil))
			if diff := cmp.Diff(builtin, config, equal...); err != nil || diff != "" || len(options.Notes) > 0 {
				t.Errorf("Parse(%q) = %v, notes %q (-want +got):\n%s", args, err, options.Notes, diff)
			}
		}
		for _, name := range s.Env {
			config, options, err := Parse(nil, envOf(map[string]string{name: s.Default}))
			if diff := cmp.Diff(builtin, config, equal...); err != nil || diff != "" || len(options.Notes) > 0 {
				t.Errorf("Parse with %s=%s: %v, notes %q (-want +got):\n%s", name, s.Default, err, options.Notes, diff)
			}
		}
	}
}

// TestBlanksInLists: the lists of a user who writes them with blanks or empty words are as
// those of one who does not.
func TestBlanksInLists(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 15001))
	for range 500 {
		want := randomConfig(rng)
		args := slices.Clone(want.Args())
		for i, a := range args {
			if i > 0 && (args[i-1] == "-t" || args[i-1] == "-r" || args[i-1] == "-m") {
				continue
			}
			if strings.Contains(a, ",") {
				args[i] = " ," + strings.ReplaceAll(a, ",", " ,, ") + ", "
			}
		}
		got, _, err := Parse(args, envOf(nil))
		if err != nil {
			t.Fatalf("Parse(%q): %v", args, err)
		}
		if diff := cmp.Diff(want, got, equal...); diff != "" {
			t.Fatalf("Parse(%q) (-want +got):\n%s", args, diff)
		}
	}
}

func FuzzParseLists(f *testing.F) {
	for _, seed := range []string{"", "*", "80,443", " 80 ,, 0", "10.0.0.0/8,fd00::/8", "::1", "fe80::1%eth0", "1.2.3.4/33", "eth0,docker0", "net1.7", "0,65535,65536", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// What is accepted can be written down and is the same again.
		if p, err := ParsePorts(s); err == nil {
			if again, err := ParsePorts(p.String()); err != nil || !cmp.Equal(p, again, equal...) {
				t.Errorf("ParsePorts(%q) = %v, and its text %v, %v", s, p, again, err)
			}
		}
		if r, err := ParseRanges(s); err == nil {
			if again, err := ParseRanges(r.String()); err != nil || !cmp.Equal(r, again, equal...) {
				t.Errorf("ParseRanges(%q) = %v, and its text %v, %v", s, r, again, err)
			}
		}
		if names, err := ParseInterfaces(s); err == nil {
			for _, n := range names {
				if n == "" || len(n) > 15 || strings.ContainsAny(n, " ,/!+\"'\\") {
					t.Errorf("ParseInterfaces(%q) takes %q", s, n)
				}
			}
		}
		if ids, err := parseIDs(s); err == nil {
			if again, err := parseIDs(joinIDs(ids)); err != nil || !slices.Equal(ids, again) {
				t.Errorf("parseIDs(%q) = %v, and its text %v, %v", s, ids, again, err)
			}
		}
	})
}
