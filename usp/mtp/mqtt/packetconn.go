package mqtt

import (
	"bufio"
	"net"
	"sync"
	"syscall"
	"time"
)

// keptBuffer is the size up to which a packet's buffer is kept for the next one.
const keptBuffer = 64 << 10

// packetConn makes one write of each packet and few reads of many. paho writes a
// packet in pieces between Lock and Unlock, and reads it byte by byte.
type packetConn struct {
	net.Conn
	reader  *bufio.Reader
	timeout time.Duration

	mu     sync.Mutex
	packet []byte // what has been written since Lock
}

// newPacketConn wraps c. tcp is the connection under it, c itself or that which
// TLS or WebSocket runs on.
func newPacketConn(c, tcp net.Conn, timeout time.Duration) *packetConn {
	return &packetConn{Conn: c, reader: bufio.NewReader(promptConn(c, tcp)), timeout: timeout}
}

func (c *packetConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// Lock begins a packet.
func (c *packetConn) Lock() { c.mu.Lock() }

// Write adds to the packet.
func (c *packetConn) Write(p []byte) (int, error) {
	c.packet = append(c.packet, p...)
	return len(p), nil
}

// Unlock sends the packet. If that fails the connection is closed, by which the
// reading side learns of it: what needs an answer of the broker is then sent
// again on the next connection.
func (c *packetConn) Unlock() {
	defer c.mu.Unlock()
	err := c.SetWriteDeadline(time.Now().Add(c.timeout))
	if err == nil {
		_, err = c.Conn.Write(c.packet)
	}
	if err != nil {
		_ = c.Close() // the first error is the one that counts
	}
	c.packet = c.packet[:0]
	if cap(c.packet) > keptBuffer {
		c.packet = nil
	}
}

// promptConn returns c so that what is read from it is acknowledged to the peer's
// TCP at once. Mosquitto leaves Nagle's algorithm on, and its next small packet
// would wait 40 ms for our delayed acknowledgement.
func promptConn(c, tcp net.Conn) net.Conn {
	s, ok := tcp.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	return &prompt{c, raw}
}

type prompt struct {
	net.Conn
	raw syscall.RawConn
}

func (p *prompt) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 {
		acknowledgeNow(p.raw)
	}
	return n, err
}
