package main

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMeasure takes all figures, few of each, with the real program.
func TestMeasure(t *testing.T) {
	p := plan{rounds: 1, connections: 5, trips: 5, backends: []string{byNft, byLegacy}, modes: []string{defaultPod}}
	var out, log bytes.Buffer
	if err := p.measure(t.Context(), &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{
		`Machine: `,
		`### Exec → rules verified, fresh namespace: default, IPv4 \+ IPv6\n`,
		`\| iptables-nft \| 1 \| .* \| [1-9]\d* \| [2-9]\.\d \|`,
		`\| iptables-legacy, run again \| 1 \|`,
		`\| iptables-legacy: bare restore \| 1 \| .* \| 2 \| `,
		`\| sluice-init --help \| 1 \| .* \| 1 \| `,
		`sluice-init is a file of [1-9]`,
		`\| received, captured with TPROXY \| \d+\.\d\d \| \d+\.\d\d \| \d\.\d\d \| \d+\.\d\d \| \d\.\d\d \|\n`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s does not match\n%s", want, out.String())
		}
	}
}

func TestWhatCannotBeMeasured(t *testing.T) {
	whole := plan{rounds: 1, connections: 1, trips: 1, backends: backendNames(), modes: modeNames()}
	for _, tt := range []struct {
		name   string
		change func(*plan)
		want   string
	}{
		{"no rounds", func(p *plan) { p.rounds = 0 }, "--rounds and --trips must be at least 1"},
		{"no backends", func(p *plan) { p.backends = nil }, "--backends is empty"},
		{"unknown mode", func(p *plan) { p.modes = []string{"dns", "NONE"} }, `--modes has "NONE": there are [default dns tproxy]`},
	} {
		p := whole
		tt.change(&p)
		if err := p.check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	if err := whole.check(); err != nil {
		t.Errorf("all there is to measure: %v", err)
	}
}

func TestCount(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	where, err := newPlace(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := where.close(); err != nil {
			t.Error(err)
		}
	})
	for script, want := range map[string]int{
		"true":                              1, // the shell's own
		"(true); kill -USR1 $$":             0, // ends by a signal: an error
		"/bin/true; /bin/true | /bin/cat":   4,
		"sh -c '/bin/true; exit 0'; exit 0": 3,
	} {
		var got outline
		err := in(where.pod, func() (err error) {
			got, err = count([]string{shell, "-c", script})
			return err
		})
		if want == 0 {
			if err == nil {
				t.Errorf("%s: counted %+v, want an error", script, got)
			}
			continue
		}
		if err != nil || got.processes != want || got.peak < 100<<10 || got.peak > 64<<20 {
			t.Errorf("%s: %+v, %v; want %d processes and a peak", script, got, err, want)
		}
	}
}

// TestConnectionMustArrive: a route that the rules do not take is an error, not a figure.
func TestConnectionMustArrive(t *testing.T) {
	where, err := newPlace(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := where.close(); err != nil {
			t.Error(err)
		}
	})
	err = in(where.pod, func() error {
		listener, err := listen(netip.MustParseAddrPort("127.0.0.1:15001"))
		if err != nil {
			return err
		}
		defer unix.Close(listener)
		_, err = connections(netip.MustParseAddrPort(remote4+":80"), listener, 1)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "connect to 8.8.8.8:80: connection refused") {
		t.Errorf("a connection that no rule captures: %v", err)
	}
}

func TestMedianRatio(t *testing.T) {
	with := []time.Duration{30, 10, 22, 9}
	without := []time.Duration{10, 10, 20, 10}
	if got := medianRatio(with, without); got != 1.0 {
		t.Errorf("medianRatio = %v, want the lower of 1.0 and 1.1", got)
	}
}

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		panic("network namespaces are made: run these tests as root")
	}
	os.Exit(m.Run())
}
