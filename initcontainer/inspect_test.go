package initcontainer_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/initcontainer"
	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// ask is what sluice-init answers to a question, given with a pod's arguments.
func ask(t *testing.T, lab *netlab.Lab, line string) (well bool, out string, err error) {
	t.Helper()
	q, rest, ok, err := initcontainer.NewQuestion(strings.Fields(line))
	if !ok || err != nil {
		return false, "", err
	}
	config, options, err := parse(strings.Join(rest, " "))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = netlab.In(lab.Pod, func() (err error) {
		well, err = initcontainer.Answer(t.Context(), initcontainer.Config{
			Capture: config, Options: options, Log: slog.New(slog.DiscardHandler), Out: &b,
		}, q)
		return err
	})
	return well, b.String(), err
}

// TestVerifyInTheKernel: what a run leaves is proven on each backend; a rule that is gone,
// or one of others in front of ours, is named with the packets that it lets go.
func TestVerifyInTheKernel(t *testing.T) {
	backends := []string{"--native-nftables "}
	for _, flavour := range flavours(t) {
		backends = append(backends, "--force-iptables-binary="+flavour+" ")
	}
	const dns = "-i * -b * -d 15090,15021,15020 --redirect-dns --capture-all-dns"
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			lab := netlab.New(t, true)
			for _, line := range []string{tproxyPod, dns, "-i * ISTIO_OUTBOUND_OWNER_GROUPS=7,888 INVALID_DROP=true -c net1 -k net2"} {
				mustRun(t, lab, backend+line)
				if well, out, err := ask(t, lab, "verify "+backend+line); err != nil || !well || strings.Count(out, "proven for all packets") != 2 {
					t.Fatalf("%s: %t, %v\n%s", line, well, err, out)
				}
			}
			if well, out, err := ask(t, lab, "verify "+dns); err != nil || well || !strings.Contains(out, "tcp 10.244.0.5") && !strings.Contains(out, "udp") {
				t.Errorf("other settings are proven: %t, %v\n%s", well, err, out)
			}
			mustRun(t, lab, backend+dns)
			lab.Output(t, "nft", "add", "table", "ip", "others")
			lab.Output(t, "nft", "add", "chain", "ip", "others", "early", "{ type nat hook output priority -110 ; }")
			lab.Output(t, "nft", "add", "rule", "ip", "others", "early", "tcp", "dport", "8443", "dnat", "to", "192.0.2.9")
			well, out, err := ask(t, lab, "verify --json "+backend+dns)
			var got struct {
				Proven   bool
				Families []struct {
					Family      string
					Proven      bool
					Differences []struct {
						Packets, Example, Happens, Wanted, Rule string
						Foreign                                 bool
						Way                                     []struct{ Rule string }
					}
				}
			}
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if well || err != nil || got.Proven || len(got.Families) != 2 || got.Families[0].Proven || !got.Families[1].Proven {
				t.Fatalf("a rule of others in IPv4: %t, %v\n%s", well, err, out)
			}
			if d := got.Families[0].Differences[0]; !d.Foreign || len(d.Way) == 0 || !strings.Contains(d.Example, ":8443") {
				t.Errorf("difference: %+v", d)
			}
			lab.Output(t, "nft", "delete", "table", "ip", "others")
			mustRun(t, lab, backend+"--cleanup-only")
			if well, out, err := ask(t, lab, "verify -m NONE"); !well || err != nil {
				t.Errorf("nothing is there: %t, %v\n%s", well, err, out)
			}
		})
	}
}

func TestTraceInTheKernel(t *testing.T) {
	lab := netlab.New(t, true)
	mustRun(t, lab, defaultPod[len("istio-iptables "):])
	tests := []struct {
		line string
		want []string
	}{
		{"--to 8.8.8.8:443 --uid 1000", []string{"tcp " + netlab.Pod4 + ":40000 → 8.8.8.8:443, sent over eth0 by uid 1000", "+ -p tcp", "happens  redirected to 15001", "wanted   redirected to 15001: included range (-i)"}},
		{"--to [" + netlab.Pod6 + "]:8080 --uid 1337", []string{"sent over lo by uid 1337", "happens  redirected to 15006"}},
		{"--to=" + netlab.Pod4 + ":15020 --in eth0", []string{"arrived by eth0", "happens  left alone", "excluded port (-d)"}},
		{"--to 8.8.8.8:443 --udp", []string{"udp ", "happens  left alone"}},
	}
	for _, tt := range tests {
		well, out, err := ask(t, lab, "trace "+tt.line+" "+defaultPod)
		if err != nil || !well {
			t.Errorf("%s: %t, %v\n%s", tt.line, well, err, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tt.line, want, out)
			}
		}
	}
}

func TestQuestionsAreRefused(t *testing.T) {
	for line, want := range map[string]string{
		"trace":                                       `--to "": write ADDRESS:PORT`,
		"trace --to 1.2.3.4":                          `--to "1.2.3.4": write ADDRESS:PORT`,
		"trace --to 1.2.3.4:5 --from x":               `--from "x": write ADDRESS`,
		"trace --to 1.2.3.4:5 --from ::1":             "not of the same family",
		"trace --to 1.2.3.4:5 --in lo --from 1.1.1.1": "what arrives by lo was sent by the pod",
		"trace --to 1.2.3.4:5 --uid x":                "invalid argument",
		"verify --json=perhaps":                       "invalid argument",
	} {
		if _, _, ok, err := initcontainer.NewQuestion(strings.Fields(line)); !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if _, rest, ok, err := initcontainer.NewQuestion([]string{"istio-iptables", "-p", "1"}); ok || err != nil || len(rest) != 3 {
		t.Errorf("a run is taken for a question: %v %t %v", rest, ok, err)
	}
}
