package uds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
)

// Transport is the Unix domain socket transport. It implements mtp.Transport,
// mtp.Dialing and mtp.Addressing.
type Transport struct {
	cfg   Config
	meter *mtp.Meter
	keep  *dialer.Dialer
	ready chan struct{}

	mu      sync.Mutex
	handler mtp.Handler // while Serve runs
	served  bool
	conns   map[*conn]struct{} // all that are open
	byEnds  map[ends][]*conn   // after their Handshake, oldest first
	open    int                // of those that peers have opened
	running sync.WaitGroup     // reading goroutines
}

// ends names the two sides; local is "" for a connection to any agent.
type ends struct{ peer, local usp.EndpointID }

// New checks cfg and returns a Transport that does not listen yet.
func New(cfg Config) (*Transport, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.UDS)
	if err != nil {
		return nil, err
	}
	t := &Transport{cfg: cfg, meter: meter, ready: make(chan struct{}), conns: map[*conn]struct{}{}, byEnds: map[ends][]*conn{}}
	pace := cfg.Pace
	pace.Log, pace.Failed = cfg.Log, meter.Failed
	if t.keep, err = dialer.New(pace, t); err != nil {
		return nil, fmt.Errorf("uds: %w", err)
	}
	return t, nil
}

// Protocol returns mtp.UDS.
func (t *Transport) Protocol() mtp.Protocol { return mtp.UDS }

// Ready is closed once the transport listens and connects.
func (t *Transport) Ready() <-chan struct{} { return t.ready }

// Status returns the counts; the transport is up while Serve runs.
func (t *Transport) Status() mtp.Status { return t.meter.Status() }

// AgentAddress returns the socket listened at, which is that of all agents.
func (t *Transport) AgentAddress(usp.EndpointID) mtp.Address {
	a := mtp.Address{Protocol: mtp.UDS}
	if t.cfg.Listen != "" {
		a.URL = Scheme + t.cfg.Listen
	}
	return a
}

// Dial implements mtp.Dialing.
func (t *Transport) Dial(local, peer usp.EndpointID, to mtp.Target) { t.keep.Dial(local, peer, to) }

// Hang implements mtp.Dialing.
func (t *Transport) Hang(local, peer usp.EndpointID) { t.keep.Hang(local, peer) }

// Again implements mtp.Dialing.
func (t *Transport) Again(local, peer usp.EndpointID) { t.keep.Again(local, peer) }

// Retries implements mtp.Dialing.
func (t *Transport) Retries(local, peer usp.EndpointID) int { return t.keep.Retries(local, peer) }

// Serve listens and connects until ctx ends, then closes all connections. It can
// be called once.
func (t *Transport) Serve(ctx context.Context, h mtp.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	if t.served {
		t.mu.Unlock()
		return errors.New("uds: Serve was called before")
	}
	t.served, t.handler = true, h
	t.mu.Unlock()
	listener, err := t.listen()
	if err != nil {
		t.meter.Down(err)
		return fmt.Errorf("uds: %w", err)
	}
	t.meter.Up()
	close(t.ready)
	var dialling sync.WaitGroup
	dialling.Go(func() { t.keep.Run(ctx) })
	err = t.accept(ctx, listener)
	t.meter.Down(nil)
	cancel()
	dialling.Wait()
	t.closeAll()
	return err
}

// acceptPause keeps a want of files from taking all of a processor and of the log.
const acceptPause = time.Second

// accept takes connections until ctx ends.
func (t *Transport) accept(ctx context.Context, listener *net.UnixListener) error {
	if listener == nil {
		<-ctx.Done()
		return nil
	}
	t.cfg.Log.Info("USP listens at a Unix domain socket", "path", t.cfg.Listen, "mode", fmt.Sprintf("%o", uint32(t.cfg.Mode)))
	defer context.AfterFunc(ctx, func() { listener.Close() })() //nolint:errcheck // closing is all that is left
	defer listener.Close()                                      //nolint:errcheck // a connection may have come before the other
	for {
		nc, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				nc.Close() //nolint:errcheck // nothing was said on it
			}
			return nil
		}
		if err != nil {
			// No file for one more connection: those that there are go on.
			t.cfg.Log.Warn("no connection can be taken at the Unix domain socket", "path", t.cfg.Listen, "error", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		t.welcome(nc)
	}
}

// welcome takes a connection that a peer has opened.
func (t *Transport) welcome(nc *net.UnixConn) {
	c := t.newConn(nc)
	c.trusted = trusted(nc)
	if full := t.add(c); full {
		t.meter.Refused()
		t.cfg.Log.Warn("Unix domain socket connection refused: there are too many", "most", t.cfg.MaxConns)
		t.running.Go(func() { _ = c.refuse(fmt.Errorf("%d connections are open already", t.cfg.MaxConns)) }) // it was logged
		return
	}
	t.running.Go(func() {
		defer t.remove(c)
		if err := c.answerHandshake(t.cfg.Endpoint); err != nil {
			t.meter.Refused()
			t.cfg.Log.Info("Unix domain socket: no handshake", "error", err)
			return
		}
		c.run(t.handler)
	})
}

// add counts a connection that a peer has opened; full: there are too many.
func (t *Transport) add(c *conn) (full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open >= t.cfg.MaxConns {
		return true
	}
	t.open++
	t.conns[c] = struct{}{}
	t.meter.Opened()
	return false
}

// remove forgets a connection that has ended.
func (t *Transport) remove(c *conn) {
	c.drop()
	t.mu.Lock()
	delete(t.conns, c)
	if !c.dialled {
		t.open--
	}
	t.mu.Unlock()
	t.meter.Closed()
}

// bind makes c be found by its ends.
func (t *Transport) bind(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := ends{c.peer, c.local}
	t.byEnds[e] = append(t.byEnds[e], c)
}

// unbind is the reverse of bind.
func (t *Transport) unbind(c *conn) {
	t.mu.Lock()
	e := ends{c.peer, c.local}
	var left []*conn
	for _, o := range t.byEnds[e] {
		if o != c {
			left = append(left, o)
		}
	}
	if t.byEnds[e] = left; len(left) == 0 {
		delete(t.byEnds, e)
	}
	t.mu.Unlock()
	t.keep.Ended(dialer.Pair{Local: c.local, Peer: c.peer})
}

// find returns the newest connection of peer that records of local may take, nil
// if there is none.
func (t *Transport) find(peer, local usp.EndpointID) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range []ends{{peer, local}, {peer: peer}} {
		for i := len(t.byEnds[e]) - 1; i >= 0; i-- {
			if c := t.byEnds[e][i]; !c.Closed() {
				return c
			}
		}
	}
	return nil
}

// closeAll ends every connection and waits until its goroutine is gone.
func (t *Transport) closeAll() {
	t.mu.Lock()
	for c := range t.conns {
		c.drop()
	}
	t.mu.Unlock()
	t.running.Wait()
}

// Joined implements dialer.Opener.
func (t *Transport) Joined(p dialer.Pair) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byEnds[ends{p.Peer, p.Local}]) > 0
}

// Open implements dialer.Opener: it connects an agent to a controller's socket.
func (t *Transport) Open(ctx context.Context, p dialer.Pair, to mtp.Target) (dialer.Session, error) {
	path, ok := strings.CutPrefix(to.URL, Scheme)
	if !ok {
		return nil, fmt.Errorf("%q is not a %s URL", to.URL, Scheme)
	}
	nc, err := new(net.Dialer).DialContext(ctx, "unix", path) // R-UDS.4
	if err != nil {
		return nil, err
	}
	c := t.newConn(nc.(*net.UnixConn))
	c.local, c.peer, c.dialled = p.Local, p.Peer, true
	if err := c.offerHandshake(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.conns[c] = struct{}{}
	t.mu.Unlock()
	t.meter.Opened()
	t.running.Go(func() {
		defer t.remove(c)
		c.run(t.handler)
	})
	return c, nil
}

// Send writes a record to the connection of addr while that lives, else to the
// newest connection that to has to from, else to its newest that is for any agent.
// The error is or wraps mtp.ErrUnreachable if there is none or it broke.
func (t *Transport) Send(ctx context.Context, from, to usp.EndpointID, addr mtp.Address, record []byte) error {
	c, _ := addr.Conn.(*conn)
	if c == nil || c.Closed() {
		c = t.find(to, from)
	}
	if c == nil {
		return t.meter.Sent(0, fmt.Errorf("uds: %s has no connection here: %w", to, mtp.ErrUnreachable))
	}
	return t.meter.Sent(len(record), c.write(ctx, record))
}
