package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var app = Owner{UID: 1000, GID: 1000}

// TestWhoAnswers: without rules every call reaches whom it is meant for, and the answer
// comes back from the address that was asked.
func TestWhoAnswers(t *testing.T) {
	lab := New(t, true)
	lab.Attach(t, "net1", 80)
	lab.Serve(t, []uint16{53, 80}, []uint16{53, 80})
	Listen(t, Listener{At: lab.Pod, Name: "resolver", Port: 53, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.53")}})
	for _, tt := range []struct{ to, want, from string }{
		{Remote4 + ":80", "remote", Pod4},
		{Another4 + ":53", "remote", Pod4},
		{Guest4 + ":80", "guest", Link4},
		{Pod4 + ":80", "80", Pod4},
		{"127.0.0.1:80", "80", "127.0.0.1"},
		{"127.0.0.5:53", "53", "127.0.0.1"},
		{"127.0.0.53:53", "resolver", "127.0.0.1"},
		{"[" + Remote6 + "]:80", "remote", Pod6},
		{"[" + Guest6 + "]:80", "guest", Link6},
		{"[" + Pod6 + "]:53", "53", Pod6},
		{"[::1]:53", "53", "::1"},
		{Pod4 + ":9", "refused", ""},
		{"[::1]:9", "refused", ""},
	} {
		to := netip.MustParseAddrPort(tt.to)
		for i, got := range lab.Try(Call{At: lab.Pod, Owner: app, To: to}, Call{At: lab.Pod, Owner: app, To: to, UDP: true}) {
			if got.Listener != tt.want || got.From != tt.from {
				t.Errorf("%s of %s: reached %s, which saw %s; want %s and %s", []string{"tcp", "udp"}[i], to, got.Listener, got.From, tt.want, tt.from)
			}
		}
	}
}

func TestCallIsPassedOn(t *testing.T) {
	lab := New(t, true)
	lab.Serve(t, nil, []uint16{53})
	upstream := netip.MustParseAddrPort(Remote4 + ":53")
	Listen(t, Listener{At: lab.Pod, Name: "agent", Port: 15053, Pass: func(client, _ netip.AddrPort, udp bool) Call {
		return Call{UDP: udp, From: netip.AddrPortFrom(netip.Addr{}, client.Port()), To: upstream}
	}})
	for _, udp := range []bool{false, true} {
		call := Call{At: lab.Pod, UDP: udp, To: netip.MustParseAddrPort("127.0.0.1:15053")}
		if got, want := lab.Try(call)[0], (Reached{Listener: "remote", From: Pod4, Via: "agent"}); got != want {
			t.Errorf("udp=%t: reached %+v, want %+v", udp, got, want)
		}
	}
}

// TestLoadCountsWhatGoesWrong has one call of each fate.
func TestLoadCountsWhatGoesWrong(t *testing.T) {
	lab := New(t, true)
	lab.Serve(t, []uint16{80}, nil)
	breakAfterOne(t, lab, 81)
	to := func(port uint16) Call {
		return Call{At: lab.Pod, Owner: app, To: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
	}
	load := Load{
		Fresh: []Wanted{{to(80), "80"}, {to(80), "15001"}, {to(9), "80"}},
		Held:  []Wanted{{to(80), "80"}, {to(81), "81"}},
	}
	tally, err := lab.Run(load, func(progress func() int) error {
		for deadline := time.Now().Add(5 * patience); progress() < 200; {
			if time.Now().After(deadline) {
				return fmt.Errorf("only %d calls were made", progress())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, many := range []int{tally.Reached, tally.Echoed, len(tally.Leaks), len(tally.Failures)} {
		if many < 40 {
			t.Errorf("counted %d of a kind of which there were at least 40: %s", many, tally)
		}
	}
	if len(tally.Resets) != 1 || !strings.Contains(tally.Resets[0], "held 127.0.0.1:81 from {1000 1000}: ") {
		t.Errorf("resets are %q, want one, of the connection to port 81", tally.Resets)
	}
	if want := "127.0.0.1:80 from {1000 1000}: reached 80, want 15001"; tally.Leaks[0] != want || tally.Clean() {
		t.Errorf("first leak is %q, want %q", tally.Leaks[0], want)
	}
}

// breakAfterOne answers one connection and resets it when it is spoken on.
func breakAfterOne(t *testing.T, lab *Lab, port uint16) {
	t.Helper()
	var l net.Listener
	must(t, In(lab.Pod, func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	}))
	var g errgroup.Group
	g.Go(func() error {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		_, wrote := fmt.Fprintf(conn, "%d - - -\n", port)
		_, read := conn.Read(make([]byte, 1))
		return errors.Join(wrote, read, conn.(*net.TCPConn).SetLinger(0), conn.Close(), l.Close())
	})
	t.Cleanup(func() { must(t, g.Wait()) })
}

func TestErrorsAreTold(t *testing.T) {
	lab := New(t, false)
	unreachable := lab.Try(Call{At: lab.Pod, To: netip.MustParseAddrPort("[" + Remote6 + "]:80")})[0]
	if want := unix.ENETUNREACH.Error(); unreachable.Listener != want {
		t.Errorf("without a route: reached %q, want %q", unreachable.Listener, want)
	}
}
