package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

// usualSize is more than name servers send in a datagram unless they were asked to.
const usualSize = 4096

// buffers hold one datagram each while it is read.
var buffers = sync.Pool{New: func() any { return new([usualSize]byte) }}

// forward passes q on and returns the answer, SERVFAIL if there is none. The result is new.
//
// A name server that refuses, or is in trouble, is not the last word while there are others:
// a resolver library would go on to the next as well.
func (s *server) forward(ctx context.Context, q query) []byte {
	s.Counts.Forward()
	start := time.Now()
	defer func() { s.Counts.Duration(time.Since(start)) }()
	if q.end == 0 {
		q.question()
	}
	ask := s.inTurn
	if s.Parallel && len(s.Upstreams) > 1 {
		ask = s.atOnce
	}
	if msg := ask(ctx, q); msg != nil {
		return msg
	}
	return failure(nil, q)
}

// inTurn asks one name server after the other, in random order, and returns the first good
// answer, else the first one at all, else nil.
func (s *server) inTurn(ctx context.Context, q query) []byte {
	var kept []byte
	for _, i := range rand.Perm(len(s.Upstreams)) {
		msg, err := s.exchange(ctx, s.Upstreams[i], q)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.failed(s.Upstreams[i], err)
		case good(msg):
			return msg
		case kept == nil:
			kept = msg
		}
	}
	return kept
}

// atOnce asks all name servers and returns what inTurn does.
func (s *server) atOnce(ctx context.Context, q query) []byte {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	answers := make(chan []byte, len(s.Upstreams))
	for _, server := range s.Upstreams {
		wg.Go(func() {
			msg, err := s.exchange(ctx, server, q)
			if err != nil && ctx.Err() == nil {
				s.failed(server, err)
			}
			answers <- msg
		})
	}
	var kept []byte
	for range s.Upstreams {
		msg := <-answers
		if msg != nil && good(msg) {
			return msg
		}
		if kept == nil {
			kept = msg
		}
	}
	return kept
}

func (s *server) failed(server string, err error) {
	s.Counts.Failure()
	s.Log.Debug("name server does not answer", "server", server, "error", err)
}

// good reports whether an answer settles the question.
func good(msg []byte) bool {
	switch msg[3] & 0xf {
	case miekg.RcodeServerFailure, miekg.RcodeNotImplemented, miekg.RcodeRefused:
		return false
	}
	return true
}

// exchange asks one name server, over the transport by which the client asked. The answer is
// new, and nil with an error.
func (s *server) exchange(ctx context.Context, server string, q query) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	network, read := "tcp", q.readStream
	if q.udp {
		network, read = "udp", q.readDatagram
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // ends what is under way
	return read(conn)
}

func (q *query) readStream(conn net.Conn) ([]byte, error) {
	if err := writeStream(conn, q.raw); err != nil {
		return nil, err
	}
	msg, err := readStream(conn)
	if err == nil && !q.answeredBy(msg) {
		return nil, errors.New("the answer is to something else")
	}
	return msg, err
}

// readDatagram takes the first datagram that is an answer. Others are late, forged or
// broken: the true answer may still come.
func (q *query) readDatagram(conn net.Conn) ([]byte, error) {
	if _, err := conn.Write(q.raw); err != nil {
		return nil, err
	}
	usual := buffers.Get().(*[usualSize]byte)
	defer buffers.Put(usual)
	room := usual[:]
	if opt := q.options(); opt != nil && int(opt.UDPSize()) > len(room) {
		room = make([]byte, opt.UDPSize())
	}
	for {
		n, err := conn.Read(room)
		if err != nil {
			return nil, err
		}
		if q.answeredBy(room[:n]) {
			return bytes.Clone(room[:n]), nil
		}
	}
}

// answeredBy reports whether msg is an answer to q.
func (q *query) answeredBy(msg []byte) bool {
	if len(msg) < headerSize || !bytes.Equal(msg[:2], q.raw[:2]) || msg[2]&0x80 == 0 {
		return false
	}
	if q.end == 0 {
		return true
	}
	if binary.BigEndian.Uint16(msg[4:]) == 0 {
		return msg[3]&0xf != miekg.RcodeSuccess // an error may leave the question out
	}
	return len(msg) >= q.end && bytes.EqualFold(msg[headerSize:q.end], q.raw[headerSize:q.end])
}

// writeStream writes a message with its length before it.
func writeStream(w io.Writer, msg []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...))
	return err
}

// readStream reads a message with its length before it. The result is new.
func readStream(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	return msg, nil
}
