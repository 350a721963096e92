package uds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// frameRoom is what a frame may have beside one record: its other fields.
const frameRoom = 1024

// conn is one connection. One goroutine reads it; who sends writes itself.
type conn struct {
	transport *Transport
	net       *net.UnixConn
	reader    *Reader
	local     usp.EndpointID // "" for any agent
	peer      usp.EndpointID // set by the handshake
	dialled   bool           // opened by us
	trusted   bool           // the peer is a process of our own user, or of root

	writing chan struct{} // holds a token while somebody writes
	pending atomic.Int64  // bytes of records that are being or waiting to be written
	done    atomic.Bool
}

func (t *Transport) newConn(nc *net.UnixConn) *conn {
	return &conn{transport: t, net: nc, reader: NewReader(nc, t.cfg.MaxRecord+frameRoom), writing: make(chan struct{}, 1)}
}

func (c *conn) address() mtp.Address { return mtp.Address{Protocol: mtp.UDS, Conn: c} }

// answerHandshake waits for the Handshake of a peer that has connected, and says
// who we are (R-UDS.17).
func (c *conn) answerHandshake(own usp.EndpointID) error {
	peer, err := c.awaitHandshake(c.transport.cfg.Handshake)
	if err == nil && peer == own {
		err = c.refuse(fmt.Errorf("%s is this side's endpoint id", peer)) // R-UDS.21
	}
	if err != nil {
		return err
	}
	c.peer = peer
	return c.send(context.Background(), NewHandshake(own))
}

// offerHandshake says who we are to a peer that we have connected to, and waits
// for its Handshake (R-UDS.16, R-UDS.18). On an error the connection is closed.
func (c *conn) offerHandshake(ctx context.Context) error {
	stop := context.AfterFunc(ctx, c.drop)
	defer stop()
	err := c.send(ctx, NewHandshake(c.local))
	if err != nil {
		return err
	}
	peer, err := c.awaitHandshake(c.transport.cfg.Handshake)
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	if peer != c.peer {
		return c.refuse(fmt.Errorf("%s was expected, not %s", c.peer, peer)) // R-UDS.21
	}
	return nil
}

// awaitHandshake reads up to the peer's Handshake; what comes before is ignored
// (R-UDS.20). On an error the connection is closed.
func (c *conn) awaitHandshake(within time.Duration) (usp.EndpointID, error) {
	if err := c.net.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	for {
		f, err := c.next()
		if err != nil {
			return "", err
		}
		if id, ok := f.Find(Handshake); ok {
			return usp.EndpointID(id), c.net.SetReadDeadline(time.Time{})
		}
	}
}

// next reads one frame. It answers what is no frame (R-UDS.24), and ends with a
// frame that has an Error (R-UDS.25). On an error the connection is closed.
func (c *conn) next() (Frame, error) {
	f, err := c.reader.Next()
	if err != nil {
		if errors.As(err, new(*FrameError)) {
			c.transport.meter.Refused()
			return nil, c.refuse(err)
		}
		c.drop()
		return nil, err
	}
	if msg, ok := f.Find(Error); ok {
		c.drop()
		return nil, fmt.Errorf("the peer says: %q", shorten(msg))
	}
	return f, nil
}

// maxReason bounds what a peer's Error may put into the log, in bytes.
const maxReason = 200

func shorten(b []byte) []byte { return b[:min(len(b), maxReason)] }

// run reads records until the connection ends.
func (c *conn) run(h mtp.Handler) {
	h.Connected(c.peer, c.local, c.address())
	c.transport.bind(c)
	err := c.read(h)
	c.drop()
	c.transport.unbind(c)
	h.Disconnected(c.peer, c.local, c.address())
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	c.transport.cfg.Log.Debug("Unix domain socket connection ended", "peer", string(c.peer), "local", string(c.local), "error", err)
}

func (c *conn) read(h mtp.Handler) error {
	for {
		f, err := c.next()
		if err != nil {
			return err
		}
		for _, field := range f {
			if field.Type != Record { // R-UDS.19
				continue
			}
			c.transport.meter.Received(len(field.Value))
			in := mtp.Inbound{Record: field.Value, Reply: c.address(), Peer: c.peer, Local: c.local, Trusted: c.trusted}
			if err := h.Receive(in); err != nil { // R-UDS.23
				c.transport.meter.Refused()
				c.transport.cfg.Log.Info("Unix domain socket connection closed by us", "peer", string(c.peer), "error", err)
				return c.refuse(err)
			}
		}
	}
}

// write sends one record. A peer that lets too much pile up, or does not take a
// record in time, is cut off.
func (c *conn) write(ctx context.Context, rec []byte) error {
	cfg := &c.transport.cfg
	if c.pending.Add(int64(len(rec))) > int64(max(cfg.MaxPending, len(rec))) {
		c.pending.Add(-int64(len(rec)))
		c.drop()
		return fmt.Errorf("uds: %s reads too slowly: %w", c.peer, mtp.ErrUnreachable)
	}
	defer c.pending.Add(-int64(len(rec)))
	if err := c.send(ctx, NewRecord(rec)); err != nil { // R-UDS.22
		return fmt.Errorf("uds: write to %s: %w (%w)", c.peer, mtp.ErrUnreachable, err)
	}
	return nil
}

// send writes one frame. A frame that was not written whole cannot be mended: the
// connection is dropped.
func (c *conn) send(ctx context.Context, f Frame) error {
	b, err := f.Append(nil)
	if err != nil {
		return err
	}
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.writing }()
	if err = c.net.SetWriteDeadline(time.Now().Add(c.transport.cfg.WriteTimeout)); err == nil {
		_, err = c.net.Write(b)
	}
	if err != nil {
		c.drop()
	}
	return err
}

// refuse tells the peer what is wrong and closes; it returns why.
func (c *conn) refuse(why error) error {
	err := c.send(context.Background(), NewError(why.Error()))
	c.drop()
	return errors.Join(why, err)
}

// drop closes the connection.
func (c *conn) drop() {
	if c.done.Swap(true) {
		return
	}
	if err := c.net.Close(); err != nil {
		c.transport.cfg.Log.Debug("closing a Unix domain socket", "error", err)
	}
}

// Close implements dialer.Session; the binding has no word for an orderly end.
func (c *conn) Close(string) { c.drop() }

// Closed implements dialer.Session.
func (c *conn) Closed() bool { return c.done.Load() }
