package nft

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The sizes of a netlink message's two headers, and to what its parts are aligned.
const (
	headerSize   = unix.SizeofNlMsghdr + familyHeader
	familyHeader = 4 // of nfnetlink: family, version, resource
	attrHeader   = unix.SizeofNlAttr
	alignment    = unix.NLMSG_ALIGNTO
	typeMask     = 0x3fff // of an attribute's kind: the rest are flags
	subsystemBit = 8      // of a message's kind: the subsystem is above
)

// messages is a sequence of netlink messages, all in one buffer. Netlink counts in the
// byte order of the machine, nf_tables in that of the network.
type messages struct {
	buf   []byte
	start int // of the last message
	count int
	first uint32 // the sequence number of the first; the others follow
}

// begin starts a message; the one before is complete.
func (m *messages) begin(kind, flags uint16, family byte, resource uint16) {
	m.start = len(m.buf)
	h := m.extend(headerSize)
	binary.NativeEndian.PutUint16(h[4:], kind)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(h[8:], m.first+uint32(m.count))
	h[16], h[17] = family, unix.NFNETLINK_V0
	binary.BigEndian.PutUint16(h[18:], resource)
	m.count++
	m.sized(m.start)
}

// command starts a message of nf_tables.
func (m *messages) command(kind, flags uint16, family byte) {
	m.begin(unix.NFNL_SUBSYS_NFTABLES<<subsystemBit|kind, flags, family, 0)
}

// extend appends n bytes of zero, aligned, and returns them.
func (m *messages) extend(n int) []byte {
	at := len(m.buf)
	m.buf = append(m.buf, make([]byte, aligned(n))...)
	return m.buf[at:]
}

// sized writes the length of the message that starts there; it ends with the buffer.
func (m *messages) sized(start int) {
	binary.NativeEndian.PutUint32(m.buf[start:], uint32(len(m.buf)-start))
}

// attr adds an attribute to the message.
func (m *messages) attr(kind uint16, data ...byte) {
	b := m.extend(attrHeader + len(data))
	binary.NativeEndian.PutUint16(b, uint16(attrHeader+len(data)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	copy(b[attrHeader:], data)
	m.sized(m.start)
}

func (m *messages) text(kind uint16, s string) {
	b := m.extend(attrHeader + len(s) + 1)
	binary.NativeEndian.PutUint16(b, uint16(attrHeader+len(s)+1))
	binary.NativeEndian.PutUint16(b[2:], kind)
	copy(b[attrHeader:], s)
	m.sized(m.start)
}

func (m *messages) number(kind uint16, n uint32) {
	b := m.extend(attrHeader + 4)
	binary.NativeEndian.PutUint16(b, attrHeader+4)
	binary.NativeEndian.PutUint16(b[2:], kind)
	binary.BigEndian.PutUint32(b[attrHeader:], n)
	m.sized(m.start)
}

// nest makes what fill adds the content of one attribute.
func (m *messages) nest(kind uint16, fill func()) {
	at := len(m.buf)
	m.extend(attrHeader)
	fill()
	binary.NativeEndian.PutUint16(m.buf[at:], uint16(len(m.buf)-at))
	binary.NativeEndian.PutUint16(m.buf[at+2:], kind|unix.NLA_F_NESTED)
	m.sized(m.start)
}

// flag adds flags to the last message.
func (m *messages) flag(flags uint16) {
	f := m.buf[m.start+6:]
	binary.NativeEndian.PutUint16(f, binary.NativeEndian.Uint16(f)|flags)
}

func aligned(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

// message is one that the kernel sent.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte // behind the netlink header
}

// cut splits off the first of the messages in b; ok is false when there is none.
func cut(b []byte) (first message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return first, nil, false
	}
	size := int(binary.NativeEndian.Uint32(b))
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return first, nil, false
	}
	first = message{
		kind:  binary.NativeEndian.Uint16(b[4:]),
		flags: binary.NativeEndian.Uint16(b[6:]),
		seq:   binary.NativeEndian.Uint32(b[8:]),
		body:  b[unix.SizeofNlMsghdr:size],
	}
	return first, b[min(aligned(size), len(b)):], true
}

// family is the address family of a message of nf_tables, in its numbers.
func (m message) family() byte { return m.body[0] }

// resource is the part of the generation's number that each message carries.
func (m message) resource() uint16 { return binary.BigEndian.Uint16(m.body[2:]) }

// attrs are the attributes of a message of nf_tables.
func (m message) attrs() []byte { return m.body[familyHeader:] }

// fields are attributes by their kind; those that are not there are nil.
type fields [16][]byte

// fieldsOf splits b. It is not ok when b is no list of attributes or has one of a kind
// that this program has never heard of, or the same twice.
func fieldsOf(b []byte) (f fields, ok bool) {
	for len(b) >= attrHeader {
		size := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) & typeMask
		if size < attrHeader || size > len(b) || int(kind) >= len(f) || f[kind] != nil {
			return f, false
		}
		f[kind] = b[attrHeader:size:size]
		b = b[min(aligned(size), len(b)):]
	}
	return f, len(b) == 0
}

// number is an attribute of four bytes; not ok when it is not there.
func (f fields) number(kind int) (n uint32, ok bool) {
	if len(f[kind]) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(f[kind]), true
}

// text is an attribute that ends with a byte of zero.
func (f fields) text(kind int) string {
	b := f[kind]
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
