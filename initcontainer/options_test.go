package initcontainer_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// numbered is what the pod has for packets with a mark, in the default table of TPROXY or
// table 300.
func numbered(t *testing.T, lab *netlab.Lab) string {
	t.Helper()
	var found []string
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(lab.Output(t, "ip", family, "rule", "list") + lab.Output(t, "ip", family, "route", "list", "table", "all")) {
			if strings.Contains(line, "fwmark") || strings.Contains(line, "table 133") || strings.Contains(line, "table 300") {
				found = append(found, priority.ReplaceAllString(strings.Join(strings.Fields(line), " "), ""))
			}
		}
	}
	return strings.Join(found, "\n")
}

// priority is what a rule is given by the order in which they came.
var priority = regexp.MustCompile(`(?m)^\d+: `)

func TestOtherNumbersOfTProxy(t *testing.T) {
	t.Parallel()
	const others = tproxyPod + " -t 16 -r 300"
	usual := priority.ReplaceAllString(wantRouting, "")
	othersRouting := strings.NewReplacer("0x539", "0x10", "133", "300").Replace(usual)
	for _, flavour := range flavours(t) {
		t.Run(flavour, func(t *testing.T) {
			lab := netlab.New(t, true)
			lab.Serve(t, []uint16{8080}, nil)
			lab.RelayInbound(t, 15006, 16)
			// Another program's.
			lab.Output(t, "ip", "rule", "add", "fwmark", "77", "lookup", "300")
			foreign := "from all fwmark 0x4d lookup 300"
			for _, step := range []struct{ line, want string }{
				{others, othersRouting},
				{tproxyPod, usual},
				{others, othersRouting},
				{tproxyPod + " -t 16", strings.ReplaceAll(usual, "0x539", "0x10")},
				{others, othersRouting},
				{"--cleanup-only", ""},
			} {
				r := mustRun(t, lab, "--force-iptables-binary="+flavour+" "+step.line)
				got := strings.TrimSpace(strings.Replace(strings.Replace(numbered(t, lab), foreign+"\n", "", 1), foreign, "", 1))
				if diff := cmp.Diff(step.want, got); diff != "" {
					t.Errorf("routing after %q (-want +got):\n%s", step.line, diff)
				}
				if step.line != others {
					continue
				}
				if !strings.Contains(r.log, "mark=16") {
					t.Errorf("no warning about the mark in:\n%s", r.log)
				}
				for to, seen := range map[string]string{netlab.Pod4: netlab.Peer4, "[" + netlab.Pod6 + "]": netlab.Peer6} {
					to := netip.MustParseAddrPort(to + ":8080")
					if got := netlab.Dial(lab.Peer, app, netip.Addr{}, to); got.Listener != "8080" || got.From != seen {
						t.Errorf("peer to %s: reached %s, which saw %s; want 8080 and %s", to, got.Listener, got.From, seen)
					}
				}
			}
		})
	}
}

// TestNetworkNamespace enters the pod from outside, as by hand on a node.
func TestNetworkNamespace(t *testing.T) {
	t.Parallel()
	lab, outside := netlab.New(t, true), netlab.New(t, true)
	file := fmt.Sprintf("/proc/self/fd/%d", int(lab.Pod))
	mustRun(t, outside, "--network-namespace="+file+" -i * -b *")
	if save := saved(t, lab, "nft"); !strings.Contains(save, "-A OUTPUT") {
		t.Errorf("the pod has no rules:\n%s", save)
	}
	if save := saved(t, outside, "nft"); strings.Contains(save, "ISTIO") {
		t.Errorf("rules are where the program ran:\n%s", save)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if r := run(t, outside, "--network-namespace="+missing+" -i *"); r.err == nil || !strings.Contains(r.err.Error(), missing) {
		t.Errorf("error %v, want one that names the file", r.err)
	}
}

func TestPrinting(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, true)
	file := filepath.Join(t.TempDir(), "rules")
	for _, tt := range []struct {
		line  string
		wants []string
	}{
		{"-n -b *", []string{"# IPv4\n*nat\n", "# IPv6\n*nat\n"}},
		{"--explain -b *", []string{"# IPv4\ntable nat\n  -A PREROUTING -p tcp -j ISTIO_INBOUND\n      --istio-inbound-ports=*: what reaches the pod is looked at\n"}},
		{"--explain -m NONE", []string{"# IPv4\n# IPv6\n"}},
	} {
		r := mustRun(t, lab, tt.line+" DRY_RUN_FILE_PATH="+file)
		for _, want := range tt.wants {
			if !strings.Contains(r.out, want) {
				t.Errorf("%s prints\n%s\nwant in it\n%s", tt.line, r.out, want)
			}
		}
		written, err := os.ReadFile(file)
		if err != nil || string(written) != r.out {
			t.Errorf("%s wrote to its file (%v)\n%s\nand printed\n%s", tt.line, err, written, r.out)
		}
	}
	if save := saved(t, lab, "nft"); strings.Contains(save, "ISTIO") {
		t.Errorf("printing wrote rules:\n%s", save)
	}
	r := run(t, lab, "-n DRY_RUN_FILE_PATH="+filepath.Join(file, "below"))
	if r.err == nil || !strings.Contains(r.err.Error(), "DRY_RUN_FILE_PATH") {
		t.Errorf("error %v, want one that names the variable", r.err)
	}
}

// TestResolvers: which queries are captured depends on a file, and a pod without servers
// starts all the same.
func TestResolvers(t *testing.T) {
	t.Parallel()
	lab := netlab.New(t, true)
	for _, tt := range []struct {
		name, text, line string
		log              string
		wants, not       []string
	}{
		{"both families", "nameserver 10.0.0.10\nnameserver fd00::a%eth0\n", "--redirect-dns", "",
			[]string{"-d 10.0.0.10/32", "-d fd00::a/128"}, nil},
		{"one family", "nameserver 10.0.0.10\n", "--redirect-dns", "", []string{"-d 10.0.0.10/32"}, []string{"-A PREROUTING -p udp"}},
		{"none", "search a b\n", "--redirect-dns", "no server is listed", []string{"-A OUTPUT"}, []string{"15053"}},
		{"all, file not read", "", "--redirect-dns --capture-all-dns", "", []string{"15053"}, nil},
		{"not asked for", "nameserver 10.0.0.10\n", "", "", nil, []string{"15053"}},
		{"no rules", "", "--redirect-dns -m NONE", "", nil, []string{"15053"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "resolv.conf")
			if tt.text != "" {
				if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := mustRunIn(t, lab, file, tt.line+" -i *")
			save := saved(t, lab, "nft")
			ipv6 := lab.Output(t, "ip6tables-nft-save")
			for _, want := range tt.wants {
				if !strings.Contains(save, want) {
					t.Errorf("no %q in\n%s", want, save)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(ipv6, not) {
					t.Errorf("%q in\n%s", not, ipv6)
				}
			}
			if warned := strings.Contains(r.log, "DNS queries are not captured"); warned != (tt.log != "") || !strings.Contains(r.log, tt.log) {
				t.Errorf("want %q in the log:\n%s", tt.log, r.log)
			}
		})
	}
	r := mustRunIn(t, lab, filepath.Join(t.TempDir(), "none"), "--redirect-dns -i *")
	if !strings.Contains(r.log, "DNS queries are not captured") || !strings.Contains(r.log, "no such file") {
		t.Errorf("no warning about the missing file in:\n%s", r.log)
	}
}
