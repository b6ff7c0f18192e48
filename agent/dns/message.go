package dns

import (
	"encoding/binary"
	"math/rand/v2"
	"net"

	miekg "github.com/miekg/dns"
)

const (
	maxMessage = miekg.MaxMsgSize
	headerSize = 12
	// ttl is how long clients may keep an answer, in seconds.
	ttl = 30
	// ourSize is the size of datagrams that we say we can take.
	// Source: DNS flag day 2020.
	ourSize = 1232
)

// action is what becomes of a query.
type action uint8

const (
	drop    action = iota // it is no query
	answer                // from the table
	forward               // by a name server
	fail                  // with SERVFAIL
)

// query is one message of a client.
type query struct {
	raw []byte
	// end is where the first question ends in raw; 0 if there is none that can be read.
	end  int
	udp  bool
	name string // of the first question, as it was asked
	kind uint16 // its type
	host Answer // for answer
}

// flags of a header.
const (
	flagResponse = 1 << 15
	maskOpcode   = 0xf << 11
)

// read decides what becomes of a message. Only its header and first question are looked at,
// and nobody is asked. The query refers to msg.
func (s *server) read(msg []byte, udp bool) (query, action) {
	q := query{raw: msg, udp: udp}
	if len(msg) < headerSize {
		return q, drop
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&flagResponse != 0 {
		return q, drop
	}
	s.Counts.Request()
	if binary.BigEndian.Uint16(msg[4:]) == 0 {
		return q, fail
	}
	if !s.Table.Ready() {
		if s.ForwardEarly {
			return q, forward
		}
		return q, fail
	}
	class, ok := q.question()
	if !ok || flags&maskOpcode != miekg.OpcodeQuery<<11 || class != miekg.ClassINET || q.kind != miekg.TypeA && q.kind != miekg.TypeAAAA {
		return q, forward
	}
	if q.host, ok = s.Table.Lookup(fold(q.name)); !ok {
		return q, forward
	}
	return q, answer
}

// question reads the first question and returns its class.
func (q *query) question() (class uint16, ok bool) {
	name, at, err := miekg.UnpackDomainName(q.raw, headerSize)
	if err != nil || at+4 > len(q.raw) {
		return 0, false
	}
	q.name, q.end = name, at+4
	q.kind = binary.BigEndian.Uint16(q.raw[at:])
	return binary.BigEndian.Uint16(q.raw[at+2:]), true
}

// answer writes the answer from the table into room and returns it. Addresses come in random
// order, so that clients that take the first one spread.
func (s *server) answer(room []byte, q query) []byte {
	m := q.header(miekg.RcodeSuccess)
	m.Authoritative = true
	m.Answer = q.records()
	size := miekg.MinMsgSize
	if !q.udp {
		size = miekg.MaxMsgSize
	}
	if opt := q.options(); opt != nil {
		size = max(size, int(opt.UDPSize()))
		m.SetEdns0(ourSize, opt.Do())
	}
	m.Compress = true
	if len(m.Answer) > 1 {
		m.Truncate(size)
		m.Compress = true
	}
	out, err := m.PackBuffer(room[:cap(room)])
	if err != nil {
		// A name that was read cannot be written: it is not one of ours.
		s.Log.Debug("dns answer not made", "name", q.name, "error", err)
		return failure(room, q)
	}
	return out
}

// header starts the answer to q.
func (q *query) header(code int) *miekg.Msg {
	flags := binary.BigEndian.Uint16(q.raw[2:])
	m := &miekg.Msg{MsgHdr: miekg.MsgHdr{
		Id: binary.BigEndian.Uint16(q.raw), Response: true, Opcode: int(flags&maskOpcode) >> 11, Rcode: code,
		RecursionDesired: flags&(1<<8) != 0, RecursionAvailable: true, CheckingDisabled: flags&(1<<4) != 0,
	}}
	if q.end > 0 {
		m.Question = []miekg.Question{{Name: q.name, Qtype: q.kind, Qclass: binary.BigEndian.Uint16(q.raw[q.end-2:])}}
	}
	return m
}

// records are the addresses of the family that was asked for, none if there is none: the
// client then knows that it need not ask elsewhere.
func (q *query) records() []miekg.RR {
	text, size := q.host.V4, net.IPv4len
	if q.kind == miekg.TypeAAAA {
		text, size = q.host.V6, net.IPv6len
	}
	if text == "" {
		return nil
	}
	ips := []byte(text)
	count := len(ips) / size
	out := make([]miekg.RR, 0, count+1)
	hdr := miekg.RR_Header{Name: q.name, Rrtype: q.kind, Class: miekg.ClassINET, Ttl: ttl}
	if q.host.Canonical != "" {
		alias := hdr
		alias.Rrtype = miekg.TypeCNAME
		hdr.Name = q.host.Canonical + "."
		out = append(out, &miekg.CNAME{Hdr: alias, Target: hdr.Name})
	}
	first := len(out)
	for ; len(ips) > 0; ips = ips[size:] {
		if ip := net.IP(ips[:size:size]); q.kind == miekg.TypeAAAA {
			out = append(out, &miekg.AAAA{Hdr: hdr, AAAA: ip})
		} else {
			out = append(out, &miekg.A{Hdr: hdr, A: ip})
		}
	}
	if found := out[first:]; len(found) > 1 {
		rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	}
	return out
}

// options are the client's EDNS options, nil without any that can be read.
func (q *query) options() *miekg.OPT {
	if binary.BigEndian.Uint16(q.raw[10:]) == 0 {
		return nil
	}
	var m miekg.Msg
	if m.Unpack(q.raw) != nil {
		return nil
	}
	return m.IsEdns0()
}

// failure writes the answer SERVFAIL into room and returns it.
func failure(room []byte, q query) []byte {
	if q.end == 0 {
		q.question()
	}
	out, err := q.header(miekg.RcodeServerFailure).PackBuffer(room[:cap(room)])
	if err != nil { // the name cannot be written: then without it
		q.end = 0
		out, _ = q.header(miekg.RcodeServerFailure).PackBuffer(room[:cap(room)])
	}
	return out
}
