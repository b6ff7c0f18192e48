package nft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The sizes of buffers, in bytes.
const (
	receiveSize = 32 << 10  // the kernel never puts more into one answer
	usualAsk    = 64        // of a question
	usualBatch  = 16 << 10  // of the rules of a pod
	defaultSend = 128 << 10 // what a socket surely takes without being asked
)

// conn is a netlink socket of the namespace that the calling thread was in when it was
// made. The kernel answers within the call that asks, so nothing here ever waits.
type conn struct {
	fd  int
	seq uint32
	buf []byte
}

// dial makes a conn; errAbsent when the kernel has no part that would answer. There is only
// one at a time.
func (k *Kernel) dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	if k.buf == nil {
		k.buf = make([]byte, receiveSize)
	}
	return &conn{fd: fd, seq: 1, buf: k.buf}, nil
}

func (c *conn) close() {
	_ = unix.Close(c.fd) // nothing is buffered that could fail
}

// messages starts a sequence for send; it may outgrow room.
func (c *conn) messages(room int) *messages {
	return &messages{first: c.seq, buf: make([]byte, 0, room)}
}

// send hands over all messages at once.
func (c *conn) send(m *messages) error {
	c.seq = m.first + uint32(m.count)
	if len(m.buf) > defaultSend {
		if err := c.grow(2 * len(m.buf)); err != nil {
			return err
		}
	}
	for {
		err := unix.Sendto(c.fd, m.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if errors.Is(err, unix.EMSGSIZE) {
			return fmt.Errorf("%d bytes of rules are more than the socket takes: raise sysctl net.core.wmem_max on the node, or name fewer ports and groups: %w", len(m.buf), err)
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// grow makes the socket take messages of size bytes at once: without a bound where the
// process may do so, else up to the node's limit.
func (c *conn) grow(size int) error {
	if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size) == nil {
		return nil
	}
	return unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, size)
}

// receive is the next of the kernel's answers, a sequence of messages in the conn's buffer.
func (c *conn) receive() ([]byte, error) {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch a, netlink := from.(*unix.SockaddrNetlink); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil, errors.New("the kernel does not answer")
		case err != nil:
			return nil, err
		case !netlink || a.Pid != 0: // other processes may write to the socket, too
		case n > len(c.buf):
			return nil, fmt.Errorf("an answer of %d bytes is more than the %d there is room for", n, len(c.buf))
		default:
			return c.buf[:n], nil
		}
	}
}

// ask sends m, which is one message, and calls take with each message of the answer. What
// take keeps of it, it must copy.
func (c *conn) ask(m *messages, take func(message) error) error {
	if err := c.send(m); err != nil {
		return err
	}
	dump := binary.NativeEndian.Uint16(m.buf[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	for {
		b, err := c.receive()
		if err != nil {
			return err
		}
		for {
			msg, rest, ok := cut(b)
			if !ok {
				break
			}
			b = rest
			if msg.seq != m.first {
				continue // of an exchange that was given up
			}
			if msg.flags&unix.NLM_F_DUMP_INTR != 0 {
				return errChanged
			}
			switch {
			case msg.kind == unix.NLMSG_DONE, msg.kind == unix.NLMSG_ERROR:
				return errno(msg)
			case len(msg.body) < familyHeader:
				return errShort
			}
			if err := take(msg); err != nil {
				return err
			}
			if !dump {
				return nil
			}
		}
	}
}

// errno is what a message says that ends an exchange; nil for success.
func errno(m message) error {
	if len(m.body) < 4 {
		return errShort
	}
	if n := int32(binary.NativeEndian.Uint32(m.body)); n != 0 {
		return unix.Errno(-n)
	}
	return nil
}

var errShort = errors.New("the kernel's answer is cut short")
