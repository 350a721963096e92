package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// accept takes clients from a listener until it is closed.
func (b *Broker) accept(l net.Listener) error {
	if b.cfg.TLS != nil {
		l = tls.NewListener(l, b.cfg.TLS)
	}
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			// No file for one more connection: those that there are go on.
			b.cfg.Log.Warn("the MQTT broker cannot take a connection", "error", err)
			if !b.pause(100 * time.Millisecond) {
				return nil
			}
			continue
		}
		if !b.enter(c) {
			continue
		}
		b.clients.Go(func() {
			defer b.leave(c)
			b.serve(newConn(c, b.cfg.MaxPending, b.cfg.WriteTimeout), listenerTCP)
		})
	}
}

// pause waits, and reports whether the broker still runs.
func (b *Broker) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-b.ending:
		return false
	}
}

// enter counts a connection in, or closes it if there are too many.
func (b *Broker) enter(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || len(b.open) >= b.cfg.MaxClients {
		_ = c.Close() // nothing was said on it
		if !b.ended {
			b.metrics.refuse("connections")
			b.warn("the MQTT broker has all the clients that it may have; others are turned away", "max", b.cfg.MaxClients)
		}
		return false
	}
	b.open[c] = struct{}{}
	return true
}

func (b *Broker) leave(c net.Conn) {
	_ = c.Close() // closed before, unless it is no MQTT client
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}

// serve lives through one client's connection.
func (b *Broker) serve(c *conn, listener string) {
	if listener != listenerOwn {
		if err := b.admit(c); err != nil {
			b.metrics.refuse("no_connect")
			b.cfg.Log.Debug("MQTT connection refused", "remote", c.RemoteAddr().String(), "error", err)
			return
		}
	}
	err := b.server.EstablishConnection(listener, c)
	c.end()
	if c.tooSlow() {
		b.metrics.cut.Add(1)
		b.warn("an MQTT client was cut off: it does not read what is sent to it", "remote", c.RemoteAddr().String())
	}
	b.cfg.Log.Debug("MQTT client gone", "remote", c.RemoteAddr().String(), "reason", err)
}

// admit waits for the head of a CONNECT, behind the handshake of TLS.
func (b *Broker) admit(c *conn) error {
	if err := c.Conn.SetDeadline(time.Now().Add(b.cfg.ConnectTimeout)); err != nil {
		return err
	}
	if t, ok := c.Conn.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			// As net/http has it, for who counts them by that line.
			b.cfg.ErrorLog.Printf("http: TLS handshake error from %s: %v", c.RemoteAddr(), err)
			return err
		}
	}
	return c.gate()
}

// acceptWebSocket is accept for MQTT over WebSocket (MQTT 5, 6.0).
func (b *Broker) acceptWebSocket(l net.Listener) error {
	if b.cfg.TLS != nil {
		config := b.cfg.TLS.Clone()
		config.NextProtos = []string{"http/1.1"} // HTTP/2 has no Upgrade
		l = tls.NewListener(l, config)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(b.upgrade), ReadHeaderTimeout: b.cfg.ConnectTimeout, IdleTimeout: b.cfg.ConnectTimeout,
		MaxHeaderBytes: 16 << 10, ErrorLog: b.cfg.ErrorLog,
	}
	err := server.Serve(l)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if err = errors.Join(err, server.Close()); err != nil { // what is upgraded is ours
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

func (b *Broker) upgrade(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{HandshakeTimeout: b.cfg.WriteTimeout, ReadBufferSize: 512, Subprotocols: []string{"mqtt"}}
	ws, err := up.Upgrade(w, r, nil) // foreign origins are refused
	if err != nil {
		b.metrics.refuse("no_connect")
		b.cfg.Log.Debug("MQTT over WebSocket refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	ws.SetReadLimit(int64(b.maxPacket()))
	if !b.enter(ws.NetConn()) {
		return
	}
	stream := &wsStream{Conn: ws.NetConn(), ws: ws}
	b.clients.Go(func() {
		defer b.leave(ws.NetConn())
		b.serve(newConn(stream, b.cfg.MaxPending, b.cfg.WriteTimeout), listenerWebSocket)
	})
}

// wsStream is a byte stream over the binary frames of a WebSocket.
type wsStream struct {
	net.Conn
	ws      *websocket.Conn
	message io.Reader // what is left of the message being read
	by      atomic.Pointer[time.Time]
}

// SetWriteDeadline holds for a write under way, and for the next, at which the
// WebSocket would put its own in place of it.
func (s *wsStream) SetWriteDeadline(t time.Time) error {
	s.by.Store(&t)
	return s.Conn.SetWriteDeadline(t)
}

// ConnectionState is that of TLS below; without TLS it is empty.
func (s *wsStream) ConnectionState() tls.ConnectionState {
	if t, ok := s.Conn.(*tls.Conn); ok {
		return t.ConnectionState()
	}
	return tls.ConnectionState{}
}

// Read reads the next bytes, over the borders of messages.
func (s *wsStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, r, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage { // MQTT-6.0.0-1
				return 0, errors.New("a text frame: MQTT comes in binary frames")
			}
			s.message = r
		}
		n, err := s.message.Read(p)
		if errors.Is(err, io.EOF) {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write writes p as one message.
func (s *wsStream) Write(p []byte) (int, error) {
	if by := s.by.Load(); by != nil {
		if err := s.ws.SetWriteDeadline(*by); err != nil {
			return 0, err
		}
	}
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
