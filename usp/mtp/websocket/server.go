package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// readBuffer is kept by each connection, idle or not; larger records are read
// past it.
const readBuffer = 512

// writeBuffer is there while a record is written.
const writeBuffer = 4096

// Server is the WebSocket transport in both roles: controllers connect to it, and
// it connects to controllers for the agents that Dial names. It implements
// mtp.Transport and mtp.Dialing.
type Server struct {
	cfg      Config
	meter    *mtp.Meter
	upgrader websocket.Upgrader
	index    index
	client   *client
	scratch  sync.Pool // *bytes.Buffer, for a record being read

	ready    chan struct{}
	addr     net.Addr // set before ready is closed
	accepted atomic.Pointer[accepting]
	conns    sync.WaitGroup
	open     atomic.Int64
}

// accepting is there while Serve runs.
type accepting struct {
	ctx     context.Context
	handler mtp.Handler
	mu      sync.Mutex // orders new connections against the end of Serve
	over    bool
}

// NewServer checks cfg and returns a Server that does not listen yet.
func NewServer(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.WebSocket)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, meter: meter, ready: make(chan struct{}), index: newIndex()}
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: cfg.WriteTimeout,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  writeBuffer,
		WriteBufferPool:  &sync.Pool{}, // an idle connection has no write buffer
		Subprotocols:     []string{Subprotocol},
		CheckOrigin:      s.allowsOrigin,
	}
	if s.client, err = newClient(s); err != nil {
		return nil, err
	}
	return s, nil
}

// Protocol returns mtp.WebSocket.
func (s *Server) Protocol() mtp.Protocol { return mtp.WebSocket }

// Ready is closed once the server listens and connects.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns the address listened on, nil before Ready and if there is none.
func (s *Server) Addr() net.Addr {
	select {
	case <-s.ready:
		return s.addr
	default:
		return nil
	}
}

// Status returns the counts; the server is up while Serve runs.
func (s *Server) Status() mtp.Status { return s.meter.Status() }

// Serve listens until ctx ends, then closes all connections with code 1001 and
// returns nil when they have ended. It can be called once.
func (s *Server) Serve(ctx context.Context, h mtp.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &accepting{ctx: ctx, handler: h}
	if !s.accepted.CompareAndSwap(nil, a) {
		return errors.New("websocket: Serve was called before")
	}
	listener, err := s.listen(ctx)
	if err != nil {
		s.meter.Down(err)
		return fmt.Errorf("websocket: %w", err)
	}
	s.meter.Up()
	close(s.ready)

	var inside sync.WaitGroup
	inside.Go(func() { s.sweep(ctx) })
	inside.Go(func() { s.client.keep.Run(ctx) })
	err = s.accept(ctx, listener)
	s.meter.Down(nil)
	cancel()
	s.closeAll(a)
	inside.Wait()
	return err
}

// listen opens the listener, nil if there is to be none.
func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	if s.cfg.Listen == "" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return nil, err
	}
	s.addr = listener.Addr()
	s.cfg.Log.Info("USP WebSocket server listens", "address", s.addr.String(), "path", s.cfg.Path, "tls", s.cfg.TLS != nil)
	if s.cfg.TLS == nil {
		return listener, nil
	}
	tlsConfig := s.cfg.TLS.Clone()
	tlsConfig.NextProtos = []string{"http/1.1"} // HTTP/2 has no Upgrade
	return tls.NewListener(listener, tlsConfig), nil
}

// accept takes connections until ctx ends.
func (s *Server) accept(ctx context.Context, listener net.Listener) error {
	if listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.cfg.ErrorLog,
	}
	stop := context.AfterFunc(ctx, func() { server.Close() }) //nolint:errcheck // closing is all that is left
	defer stop()
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("websocket: %w", err)
}

// closeAll ends every connection and waits until its goroutine is gone.
func (s *Server) closeAll(a *accepting) {
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
	for c := range s.index.all() {
		go c.close(websocket.CloseGoingAway, "the server stops")
	}
	s.conns.Wait()
}

// Handler returns the HTTP handler of the endpoint, for a server that has more
// than it. It answers 503 while Serve does not run.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.accepted.Load()
	if a == nil || a.ctx.Err() != nil {
		http.Error(w, "not serving", http.StatusServiceUnavailable)
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "USP over WebSocket only: connect with the subprotocol "+Subprotocol, http.StatusUpgradeRequired)
		return
	}
	hs, status, err := s.readHandshake(r)
	if err != nil {
		s.refuse(w, r, status, err)
		return
	}
	if s.open.Add(1) > int64(s.cfg.MaxConns) {
		s.open.Add(-1)
		w.Header().Set("Retry-After", "30")
		s.refuse(w, r, http.StatusServiceUnavailable, fmt.Errorf("%d connections are open already", s.cfg.MaxConns))
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, hs.answer())
	if err != nil { // Upgrade has answered
		s.open.Add(-1)
		s.meter.Refused()
		s.cfg.Log.Debug("WebSocket handshake failed", "remote", r.RemoteAddr, "error", err)
		return
	}
	if !s.start(a, newConn(s, ws, hs)) {
		s.open.Add(-1)
	}
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	s.meter.Refused()
	s.cfg.Log.Info("WebSocket connection refused", "remote", r.RemoteAddr, "status", status, "error", err)
	http.Error(w, err.Error(), status)
}

// launch starts a connection that was opened by us; false: Serve does not run.
func (s *Server) launch(c *conn) bool {
	a := s.accepted.Load()
	return a != nil && s.start(a, c)
}

// start gives the connection a goroutine of its own: that of net/http would
// keep the request and its buffers for as long as the connection lives. It returns
// false if Serve ends, and the connection with it.
func (s *Server) start(a *accepting, c *conn) bool {
	if !s.admit(a, c) {
		c.close(websocket.CloseGoingAway, "the server stops")
		c.cut()
		return false
	}
	return true
}

// admit runs a connection, unless Serve ends.
func (s *Server) admit(a *accepting, c *conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	s.meter.Opened()
	s.index.add(c)
	s.conns.Go(func() {
		defer s.meter.Closed()
		c.run(a.handler)
		if !c.dialled {
			s.open.Add(-1)
		}
	})
	return true
}

// Send writes a record to the connection of addr while that lives, else to the
// newest connection that to has to from, else to its newest that is for any
// agent. It returns when the record was handed to the operating system; the
// error is or wraps mtp.ErrUnreachable if there is no connection or it broke.
func (s *Server) Send(ctx context.Context, from, to usp.EndpointID, addr mtp.Address, record []byte) error {
	c, _ := addr.Conn.(*conn)
	if c == nil || c.closed() {
		c = s.index.find(to, from, s.mayCarry(ctx, from, to))
	}
	if c == nil {
		return s.meter.Sent(0, fmt.Errorf("websocket: %s has no connection here: %w", to, mtp.ErrUnreachable))
	}
	return s.meter.Sent(len(record), c.write(ctx, record))
}
