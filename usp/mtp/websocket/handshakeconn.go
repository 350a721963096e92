package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
)

// maxHandshake bounds what a server may send before the WebSocket is open, TLS and
// certificates included, in bytes: net/http reads the headers of an answer without
// a bound.
const maxHandshake = 64 << 10

var errLongHandshake = errors.New("the server's answer to the handshake is too long")

// handshakeConn is a connection on which no more than maxHandshake is read until
// the handshake is done.
type handshakeConn struct {
	*net.TCPConn
	shaken atomic.Bool
	read   int // by one goroutine, before shaken
}

// dialTCP is websocket.Dialer.NetDialContext.
func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &handshakeConn{TCPConn: c.(*net.TCPConn)}, nil
}

// Read is of net.Conn.
func (c *handshakeConn) Read(b []byte) (int, error) {
	if c.shaken.Load() {
		return c.TCPConn.Read(b)
	}
	if c.read >= maxHandshake {
		return 0, errLongHandshake
	}
	n, err := c.TCPConn.Read(b[:min(len(b), maxHandshake-c.read)])
	c.read += n
	return n, err
}

// shaken lifts the bound of a connection, which may be below TLS.
func shaken(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	if h, ok := c.(*handshakeConn); ok {
		h.shaken.Store(true)
	}
}
