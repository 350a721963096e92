package websocket

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
	"github.com/uspbridge/uspbridge/usp/record"
)

// linger is how long a connection closed by us is still read, so that the Close
// frame is not overtaken by a reset because of bytes nobody read.
const linger = time.Second

// conn is one connection. One goroutine reads it; who sends writes itself.
type conn struct {
	server  *Server
	ws      *websocket.Conn
	local   usp.EndpointID
	trusted bool
	dialled bool                // opened by us; Config.MaxConns does not count it
	chain   []*x509.Certificate // what the peer showed, leaf first

	keepAlive time.Duration // silence after which a Ping is sent

	proven  bool           // by its certificate, who the peer is; set before the connection is found by it
	peer    usp.EndpointID // the reading goroutine's; "" until known
	writing chan struct{}  // holds a token while somebody writes
	pending atomic.Int64   // bytes of records that are being or waiting to be written

	seen   atomic.Int64 // when something last came from the peer, Unix ms
	pinged atomic.Int64 // when a Ping went out that nothing has followed yet; 0: none
	done   atomic.Bool
}

func newConn(s *Server, ws *websocket.Conn, hs handshake) *conn {
	c := &conn{server: s, ws: ws, local: hs.local, peer: hs.peer, trusted: hs.trusted, chain: hs.chain, proven: hs.proven,
		keepAlive: s.cfg.PingInterval, writing: make(chan struct{}, 1)}
	c.touch()
	ws.SetReadLimit(int64(s.cfg.MaxRecord))
	ws.SetPongHandler(func(string) error { c.touch(); return nil })
	ws.SetPingHandler(func(data string) error { c.touch(); return c.pong(data) })
	return c
}

func (c *conn) closed() bool { return c.done.Load() }

func (c *conn) touch() {
	c.seen.Store(time.Now().UnixMilli())
	c.pinged.Store(0)
}

// Proven implements mtp.Proven, for who has been told of the connection by Connected.
func (c *conn) Proven() bool { return c.proven }

func (c *conn) address() mtp.Address { return mtp.Address{Protocol: mtp.WebSocket, Conn: c} }

// run reads records until the connection ends.
func (c *conn) run(h mtp.Handler) {
	if c.peer != "" {
		// First the Handler, for its Connect record is to be the first (R-MTP.6).
		h.Connected(c.peer, c.local, c.address())
		c.announce()
	}
	err := c.read(h)
	c.drop()
	c.server.index.remove(c, ends{c.peer, c.local})
	c.server.client.keep.Ended(dialer.Pair{Local: c.local, Peer: c.peer})
	if c.peer != "" {
		h.Disconnected(c.peer, c.local, c.address())
	}
	c.server.cfg.Log.Debug("WebSocket connection ended", "peer", string(c.peer), "local", string(c.local), "reason", err)
}

func (c *conn) read(h mtp.Handler) error {
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return c.readFailed(err)
		}
		if kind != websocket.BinaryMessage { // R-WS.14, R-WS.16
			return c.refuse(errors.New("a text frame: USP records come in binary frames"))
		}
		buf := c.server.buffer()
		_, err = buf.ReadFrom(r)
		rec := bytes.Clone(buf.Bytes()) // the Handler keeps it, at its true size
		c.server.release(buf)
		if err != nil {
			return c.readFailed(err)
		}
		if c.closed() {
			continue // what was under way when we closed
		}
		c.touch()
		c.server.meter.Received(len(rec))
		in := mtp.Inbound{Record: rec, Reply: c.address(), Peer: c.peer, Local: c.local, Trusted: c.trusted, Proven: c.proven, Chain: c.chain}
		if err := h.Receive(in); err != nil { // R-WS.16
			return c.refuse(err)
		}
		if c.peer == "" {
			if err := c.bind(h, rec); err != nil {
				return c.refuse(err)
			}
		}
	}
}

// bind takes the sender of the first good record for the peer, where the
// handshake named none. It fails on one that is not the peer's to be.
func (c *conn) bind(h mtp.Handler, rec []byte) error {
	from, _, err := record.Addresses(rec)
	if err != nil || from.Validate() != nil {
		return nil // the Handler let it pass; a later record may tell
	}
	if err := c.bindable(from); err != nil {
		return err
	}
	c.peer = from
	c.announce()
	h.Connected(from, c.local, c.address())
	return nil
}

// announce makes the connection be found, in place of an older one of the same two
// endpoints. The newer stays: a controller that has lost its network connects
// again before its old connection is known to be dead.
func (c *conn) announce() {
	for _, older := range c.server.index.bind(c, ends{c.peer, c.local}) {
		go older.close(websocket.CloseNormalClosure, "another session of the same endpoints has begun")
	}
}

func (c *conn) refuse(err error) error {
	c.server.meter.Refused()
	c.server.cfg.Log.Info("WebSocket connection closed by us", "peer", string(c.peer), "remote", c.ws.RemoteAddr().String(), "error", err)
	code := websocket.CloseUnsupportedData
	if errors.Is(err, mtp.ErrFlood) {
		code = websocket.ClosePolicyViolation
	}
	c.close(code, err.Error())
	c.drain()
	return err
}

// readFailed sorts out why reading ended; gorilla/websocket has sent the Close
// frame where the protocol asks for one.
func (c *conn) readFailed(err error) error {
	if errors.Is(err, websocket.ErrReadLimit) {
		c.server.meter.Refused()
		c.server.cfg.Log.Warn("WebSocket record is too large", "peer", string(c.peer), "limit", c.server.cfg.MaxRecord)
		c.drain()
	}
	return err
}

// write sends one record as one unfragmented binary message (R-WS.14a). A peer
// that lets too much pile up, or does not take a record in time, is cut off.
func (c *conn) write(ctx context.Context, rec []byte) error {
	if c.pending.Add(int64(len(rec))) > int64(max(c.server.cfg.MaxPending, len(rec))) {
		c.pending.Add(-int64(len(rec)))
		go c.close(websocket.ClosePolicyViolation, "reads too slowly")
		return fmt.Errorf("websocket: %s reads too slowly: %w", c.ws.RemoteAddr(), mtp.ErrUnreachable)
	}
	defer c.pending.Add(-int64(len(rec)))
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("websocket: waiting to write to %s: %w", c.ws.RemoteAddr(), ctx.Err())
	}
	defer func() { <-c.writing }()
	if c.closed() {
		return mtp.ErrUnreachable
	}
	deadline := time.Now().Add(c.server.cfg.WriteTimeout)
	err := c.ws.SetWriteDeadline(deadline)
	if err == nil {
		err = c.ws.WriteMessage(websocket.BinaryMessage, rec)
	}
	if err != nil {
		c.drop() // a frame that was not written whole cannot be mended
		return fmt.Errorf("websocket: write to %s: %w (%w)", c.ws.RemoteAddr(), mtp.ErrUnreachable, err)
	}
	return nil
}

func (c *conn) pong(data string) error {
	err := c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(c.server.cfg.WriteTimeout))
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

// ping asks for a sign of life (R-WS.17).
func (c *conn) ping(now time.Time) {
	c.pinged.Store(now.UnixMilli())
	if err := c.ws.WriteControl(websocket.PingMessage, nil, now.Add(c.server.cfg.PongTimeout)); err != nil {
		c.drop()
	}
}

// close sends a Close frame and gives the peer a short while to answer it. The
// reading goroutine goes on until then, and ends the connection.
func (c *conn) close(code int, reason string) {
	if c.done.Swap(true) {
		return
	}
	frame := websocket.FormatCloseMessage(code, shorten(reason, 120)) // RFC 6455 5.5: 125 bytes
	err := c.ws.WriteControl(websocket.CloseMessage, frame, time.Now().Add(linger))
	if err == nil {
		err = c.ws.NetConn().SetReadDeadline(time.Now().Add(linger))
	}
	if err != nil {
		c.cut()
	}
}

// drain throws away what still comes, for the reading goroutine that has closed
// the connection in the middle of a message.
func (c *conn) drain() {
	netConn := c.ws.NetConn()
	if half, ok := netConn.(interface{ CloseWrite() error }); ok && half.CloseWrite() != nil {
		return
	}
	if netConn.SetReadDeadline(time.Now().Add(linger)) != nil {
		return
	}
	var waste [512]byte
	for left := 1 << 20; left > 0; {
		n, err := netConn.Read(waste[:])
		if err != nil {
			return
		}
		left -= n
	}
}

// drop ends the connection without a word.
func (c *conn) drop() {
	c.done.Store(true)
	c.cut()
}

func (c *conn) cut() {
	if err := c.ws.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.server.cfg.Log.Debug("closing a WebSocket", "error", err)
	}
}

func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:n]), nil))
}

// buffer and release keep the buffers that records are read into; one of
// unusual size is not kept.
func (s *Server) buffer() *bytes.Buffer {
	if b, ok := s.scratch.Get().(*bytes.Buffer); ok {
		return b
	}
	return bytes.NewBuffer(make([]byte, 0, 4096))
}

func (s *Server) release(b *bytes.Buffer) {
	if b.Cap() <= 64<<10 {
		b.Reset()
		s.scratch.Put(b)
	}
}
