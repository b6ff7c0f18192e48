package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// rig is a running server with what it counted.
type rig struct {
	addr                        string
	requests, forwards, failure atomic.Int64
	durations                   atomic.Int64
}

// counts are requests, forwarded ones and failures of name servers.
func (r *rig) counts() string {
	return fmt.Sprint(r.requests.Load(), r.forwards.Load(), r.failure.Load())
}

// loopback listens on a port that the kernel chooses for UDP. TCP may have given it to
// somebody else already: then on another.
func loopback(t testing.TB) *Sockets {
	t.Helper()
	for {
		s, err := Listen(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")})
		if err == nil {
			return s
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func start(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{}
	cfg.Counts = Counts{
		Request:  func() { r.requests.Add(1) },
		Forward:  func() { r.forwards.Add(1) },
		Failure:  func() { r.failure.Add(1) },
		Duration: func(time.Duration) { r.durations.Add(1) },
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	cfg.Sockets = loopback(t)
	r.addr = cfg.Sockets.Addrs()[0].String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return r
}

// nameServer is an upstream on UDP and TCP: behave turns a query into messages to send.
func nameServer(t testing.TB, behave func(q *miekg.Msg, raw []byte) [][]byte) string {
	t.Helper()
	sockets := loopback(t)
	parsed := func(raw []byte) *miekg.Msg {
		m := &miekg.Msg{}
		if m.Unpack(raw) != nil {
			return nil
		}
		return m
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		room := make([]byte, miekg.MaxMsgSize)
		for {
			n, peer, err := sockets.packets[0].ReadFromUDPAddrPort(room)
			if err != nil {
				return
			}
			for _, msg := range behave(parsed(room[:n]), room[:n]) {
				if _, err := sockets.packets[0].WriteToUDPAddrPort(msg, peer); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := sockets.streams[0].Accept()
			if err != nil {
				return
			}
			if raw, err := readStream(conn); err == nil {
				for _, msg := range behave(parsed(raw), raw) {
					_ = writeStream(conn, msg) // the client may have hung up
				}
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { sockets.Close(); <-done; <-done })
	return sockets.Addrs()[0].String()
}

// respond packs an answer to q with one address.
func respond(t testing.TB, q *miekg.Msg, ip string) []byte {
	m := (&miekg.Msg{}).SetReply(q)
	rr, err := miekg.NewRR(q.Question[0].Name + " 300 IN A " + ip)
	if err != nil {
		t.Error(err)
	}
	m.Answer = []miekg.RR{rr}
	out, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return out
}

// fixed is a name server that says the same address to everything.
func fixed(t testing.TB, ip string) string {
	return nameServer(t, func(q *miekg.Msg, _ []byte) [][]byte { return [][]byte{respond(t, q, ip)} })
}

// code is a name server that always fails with a code.
func code(t testing.TB, rcode int) string {
	return nameServer(t, func(q *miekg.Msg, _ []byte) [][]byte {
		out, err := (&miekg.Msg{}).SetRcode(q, rcode).Pack()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{out}
	})
}

func silent(t testing.TB) string {
	return nameServer(t, func(*miekg.Msg, []byte) [][]byte { return nil })
}

// closed is an address where nobody listens.
func closed(t testing.TB) string {
	s := loopback(t)
	s.Close()
	return s.Addrs()[0].String()
}

// ask asks for a name and returns the answer in words, "NOERROR AA name A 10.0.0.1".
func ask(t testing.TB, r *rig, network, name string, kind uint16) string {
	t.Helper()
	m := (&miekg.Msg{}).SetQuestion(miekg.Fqdn(name), kind)
	in, _, err := (&miekg.Client{Net: network, Timeout: 10 * time.Second}).ExchangeContext(t.Context(), m, r.addr)
	if err != nil {
		t.Fatalf("%s %s over %s: %v", name, miekg.TypeToString[kind], network, err)
	}
	if in.Id != m.Id || !slices.Equal(in.Question, m.Question) {
		t.Errorf("the answer %v is to something else than %v", in, m)
	}
	return words(in)
}

func words(in *miekg.Msg) string {
	out := []string{miekg.RcodeToString[in.Rcode]}
	if in.Authoritative {
		out = append(out, "AA")
	}
	if in.Truncated {
		out = append(out, "TC")
	}
	for _, rr := range in.Answer {
		fields := strings.Fields(rr.String())
		out = append(out, "|", fields[0], fields[1], fields[3], fields[4])
	}
	return strings.Join(out, " ")
}

func TestAnswers(t *testing.T) {
	table := filled(t, inDefault(),
		service("web", "default", "10.96.0.1"), service("dual", "default", "10.96.0.3", "fd00::3"), external("*.example.com", "240.0.0.1"))
	r := start(t, Config{Table: table, Upstreams: []string{fixed(t, "192.0.2.1")}})
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web", miekg.TypeA, "NOERROR AA | web. 30 A 10.96.0.1"},
		{"WEB.Default.svc.cluster.local", miekg.TypeA, "NOERROR AA | WEB.Default.svc.cluster.local. 30 A 10.96.0.1"},
		{"web", miekg.TypeAAAA, "NOERROR AA"},
		{"dual", miekg.TypeA, "NOERROR AA | dual. 30 A 10.96.0.3"},
		{"dual", miekg.TypeAAAA, "NOERROR AA | dual. 30 AAAA fd00::3"},
		{"a.example.com", miekg.TypeA, "NOERROR AA | a.example.com. 30 A 240.0.0.1"},
		{
			"A.example.com.default.svc.cluster.local", miekg.TypeA,
			"NOERROR AA | A.example.com.default.svc.cluster.local. 30 CNAME a.example.com. | a.example.com. 30 A 240.0.0.1",
		},
		{"a.example.com.default.svc.cluster.local", miekg.TypeAAAA, "NOERROR AA"},
		{"web", miekg.TypeSRV, "NOERROR | web. 300 A 192.0.2.1"},
		{"other.org", miekg.TypeA, "NOERROR | other.org. 300 A 192.0.2.1"},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if got := ask(t, r, network, c.name, c.kind); got != c.want {
				t.Errorf("%s %s over %s: %s, want %s", c.name, miekg.TypeToString[c.kind], network, got, c.want)
			}
		}
	}
	if got := r.counts(); got != "20 4 0" || r.durations.Load() != 4 {
		t.Errorf("counts %s, want 20 4 0", got)
	}
}

func TestNoTableYet(t *testing.T) {
	upstream := fixed(t, "192.0.2.1")
	r := start(t, Config{Table: NewTable(inDefault()), Upstreams: []string{upstream}})
	if got := ask(t, r, "udp", "other.org", miekg.TypeA); got != "SERVFAIL" {
		t.Errorf("without a table: %s, want SERVFAIL", got)
	}
	r = start(t, Config{Table: NewTable(inDefault()), Upstreams: []string{upstream}, ForwardEarly: true})
	if got := ask(t, r, "udp", "other.org", miekg.TypeA); got != "NOERROR | other.org. 300 A 192.0.2.1" {
		t.Errorf("forwarding early: %s", got)
	}
}

func TestUpstreams(t *testing.T) {
	empty := filled(t, inDefault())
	const got1, failed = "NOERROR | a.org. 300 A 192.0.2.1", "SERVFAIL"
	for _, c := range []struct {
		name      string
		upstreams []string
		want      string
	}{
		{"none", nil, failed},
		{"one", []string{fixed(t, "192.0.2.1")}, got1},
		{"nobody listens", []string{closed(t), closed(t)}, failed},
		{"one is dead", []string{closed(t), fixed(t, "192.0.2.1")}, got1},
		{"one is silent", []string{silent(t), fixed(t, "192.0.2.1")}, got1},
		{"all are silent", []string{silent(t), silent(t)}, failed},
		{"one refuses", []string{code(t, miekg.RcodeRefused), fixed(t, "192.0.2.1")}, got1},
		{"one fails", []string{code(t, miekg.RcodeServerFailure), fixed(t, "192.0.2.1")}, got1},
		{"all refuse", []string{code(t, miekg.RcodeRefused), closed(t)}, "REFUSED"},
		{"unknown name", []string{code(t, miekg.RcodeNameError)}, "NXDOMAIN"},
	} {
		for _, parallel := range []bool{false, true} {
			for _, network := range []string{"udp", "tcp"} {
				t.Run(fmt.Sprint(c.name, " parallel ", parallel, " ", network), func(t *testing.T) {
					r := start(t, Config{Table: empty, Upstreams: c.upstreams, Parallel: parallel, Timeout: 200 * time.Millisecond})
					for range 4 { // in whichever order they are asked
						if got := ask(t, r, network, "a.org", miekg.TypeA); got != c.want {
							t.Errorf("%s, want %s", got, c.want)
						}
					}
				})
			}
		}
	}
}

// TestForgedAnswers: what is no answer to the query is not taken, and the true one after it is.
func TestForgedAnswers(t *testing.T) {
	forge := func(t *testing.T, q *miekg.Msg, change func(*miekg.Msg)) []byte {
		m := q.Copy()
		change(m)
		return respond(t, m, "203.0.113.66")
	}
	upstream := nameServer(t, func(q *miekg.Msg, raw []byte) [][]byte {
		return [][]byte{
			{}, {1, 2, 3}, raw, raw[:headerSize],
			forge(t, q, func(m *miekg.Msg) { m.Id++ }),
			forge(t, q, func(m *miekg.Msg) { m.Question[0].Name = "b.org." }),
			forge(t, q, func(m *miekg.Msg) { m.Question[0].Qtype = miekg.TypeTXT }),
			respond(t, q, "192.0.2.1"),
		}
	})
	r := start(t, Config{Table: filled(t, inDefault()), Upstreams: []string{upstream}})
	if got := ask(t, r, "udp", "a.org", miekg.TypeA); got != "NOERROR | a.org. 300 A 192.0.2.1" {
		t.Error(got)
	}
	if got := ask(t, r, "tcp", "a.org", miekg.TypeA); got != "SERVFAIL" {
		t.Errorf("over tcp: %s; want SERVFAIL for the first message is no answer", got)
	}
}

// TestForwardedAsItIs: bytes that the server does not understand reach the other side.
func TestForwardedAsItIs(t *testing.T) {
	var got atomic.Pointer[[]byte]
	strange := []byte("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x03org\x00\x00\x01\x00\x01\xff\xff\xff")
	upstream := nameServer(t, func(_ *miekg.Msg, raw []byte) [][]byte {
		raw = bytes.Clone(raw)
		got.Store(&raw)
		return [][]byte{strange}
	})
	r := start(t, Config{Table: filled(t, inDefault()), Upstreams: []string{upstream}})
	query := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01A\x03org\x00\x00\x01\x00\x01garbage")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "udp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(query); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(answer[:n], strange) || !bytes.Equal(*got.Load(), query) {
		t.Errorf("upstream got %x, client got %x", *got.Load(), answer[:n])
	}
}

func TestTruncation(t *testing.T) {
	var ips []string
	for i := range 100 {
		ips = append(ips, fmt.Sprintf("10.0.0.%d", i))
	}
	r := start(t, Config{Table: filled(t, inDefault(), service("db", "default", ips...))})
	for _, c := range []struct {
		network   string
		size      uint16 // by EDNS; 0: without
		truncated bool
		least     int
	}{
		{"udp", 0, true, 25}, {"udp", 200, true, 25}, {"udp", 1232, true, 60}, {"udp", 4096, false, 100}, {"tcp", 0, false, 100}, {"tcp", 512, false, 100},
	} {
		m := (&miekg.Msg{}).SetQuestion("db.default.", miekg.TypeA)
		if c.size > 0 {
			m.SetEdns0(c.size, true)
		}
		in, _, err := (&miekg.Client{Net: c.network, UDPSize: miekg.MaxMsgSize}).ExchangeContext(t.Context(), m, r.addr)
		if err != nil {
			t.Fatal(err)
		}
		if in.Truncated != c.truncated || len(in.Answer) < c.least {
			t.Errorf("%s with %d bytes: truncated %v, %d answers", c.network, c.size, in.Truncated, len(in.Answer))
		}
		if opt := in.IsEdns0(); (opt != nil) != (c.size > 0) || opt != nil && (!opt.Do() || opt.UDPSize() != ourSize) {
			t.Errorf("%s with %d bytes: options %v", c.network, c.size, opt)
		}
	}
}

func TestAnswersAreShuffled(t *testing.T) {
	r := start(t, Config{Table: filled(t, inDefault(), service("db", "default", "10.0.0.1", "10.0.0.2", "10.0.0.3"))})
	first := map[string]int{}
	for range 120 {
		first[ask(t, r, "udp", "db", miekg.TypeA)]++
	}
	if len(first) != 6 {
		t.Errorf("orders of three addresses: %v, want all six", first)
	}
}

// TestStream asks several times over one connection, and says garbage on another.
func TestStream(t *testing.T) {
	r := start(t, Config{Table: filled(t, inDefault(), service("web", "default", "10.96.0.1")), Upstreams: []string{fixed(t, "192.0.2.1")}})
	conn, err := miekg.DialTimeout("tcp", r.addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, name := range []string{"web.", "a.org.", "web."} { // all are sent before any is answered
		if err := conn.WriteMsg((&miekg.Msg{}).SetQuestion(name, miekg.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"NOERROR AA | web. 30 A 10.96.0.1", "NOERROR | a.org. 300 A 192.0.2.1", "NOERROR AA | web. 30 A 10.96.0.1"} {
		in, err := conn.ReadMsg()
		if err != nil {
			t.Fatal(err)
		}
		if got := words(in); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	bad, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if _, err := bad.Write([]byte("\x00\x04GET ")); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after garbage: %v, want the end", err)
	}
}

// TestNotAQuery: answers and fragments are dropped, a query without question fails.
func TestNotAQuery(t *testing.T) {
	s := &server{Config: Config{Table: filled(t, inDefault()), Counts: Counts{Request: func() {}}}}
	for _, c := range []struct {
		name string
		msg  string
		want action
	}{
		{"nothing", "", drop},
		{"short", "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00", drop},
		{"answer", "\x00\x01\x81\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", drop},
		{"no question", "\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", fail},
		{"broken name", "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05a", forward},
		{"loop", "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", forward},
		{"update", "\x00\x01\x28\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", forward},
		{"class chaos", "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x03", forward},
	} {
		q, got := s.read([]byte(c.msg), true)
		if got != c.want {
			t.Errorf("%s: action %d, want %d", c.name, got, c.want)
		}
		if got == fail {
			if out := failure(nil, q); !bytes.HasPrefix(out, []byte("\x00\x01\x81\x82")) {
				t.Errorf("%s: %x", c.name, out)
			}
		}
	}
}

// FuzzMessage: whatever comes is answered with an answer to it, or not at all.
func FuzzMessage(f *testing.F) {
	for _, name := range []string{"web.", "a.example.com.default.svc.cluster.local.", "other.org."} {
		m := (&miekg.Msg{}).SetQuestion(name, miekg.TypeA)
		m.SetEdns0(4096, true)
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, true)
		f.Add(raw[:20], false)
	}
	table := filled(f, inDefault(), service("web", "default", "10.96.0.1", "10.96.0.2"), external("*.example.com", "240.0.0.1", "::1"))
	s := &server{Config: Config{Table: table, Log: slog.New(slog.DiscardHandler), Counts: Counts{Request: func() {}}}}
	f.Fuzz(func(t *testing.T, raw []byte, udp bool) {
		q, act := s.read(raw, udp)
		var out []byte
		switch act {
		case answer:
			out = s.answer(nil, q)
		case fail, forward:
			out = failure(nil, q)
		case drop:
			return
		}
		var m miekg.Msg
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%x is answered with %x: %v", raw, out, err)
		}
		if m.Id != binary.BigEndian.Uint16(raw) || !m.Response {
			t.Errorf("%x is answered with %x", raw, out)
		}
		if udp && len(out) > miekg.MinMsgSize && q.options() == nil {
			t.Errorf("%d bytes to a client that takes 512", len(out))
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	table := filled(b, inDefault(), many(10_000)...)
	s := &server{Config: Config{Table: table, Log: slog.New(slog.DiscardHandler), Counts: Counts{Request: func() {}}}}
	for _, c := range []struct{ what, name string }{
		{"full", "service-4321.namespace-21.svc.cluster.local."},
		{"searched", "api-10.example.com.default.svc.cluster.local."},
	} {
		b.Run(c.what, func(b *testing.B) {
			raw, err := (&miekg.Msg{}).SetQuestion(c.name, miekg.TypeA).Pack()
			if err != nil {
				b.Fatal(err)
			}
			room := make([]byte, 0, maxMessage)
			b.ReportAllocs()
			for b.Loop() {
				q, act := s.read(raw, true)
				if act != answer {
					b.Fatal(act)
				}
				s.answer(room, q)
			}
		})
	}
}

// BenchmarkRoundTrip is a query over a real socket, of clients side by side.
func BenchmarkRoundTrip(b *testing.B) {
	r := start(b, Config{Table: filled(b, inDefault(), many(10_000)...), Upstreams: []string{fixed(b, "192.0.2.1")}})
	for _, c := range []struct{ what, name string }{{"table", "service-4321.namespace-21."}, {"forwarded", "other.org."}} {
		b.Run(c.what, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				conn, err := (&net.Dialer{}).DialContext(b.Context(), "udp", r.addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				raw, err := (&miekg.Msg{}).SetQuestion(c.name, miekg.TypeA).Pack()
				if err != nil {
					b.Error(err)
				}
				in := make([]byte, 512)
				for pb.Next() {
					if _, err := conn.Write(raw); err != nil {
						b.Error(err)
					}
					if _, err := conn.Read(in); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
