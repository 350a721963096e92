package stomp

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// conn is one connection to the server, after CONNECTED. Its frames are read by
// the goroutine of Serve and written by its Writer.
type conn struct {
	t      *Transport
	net    net.Conn
	reader *bufio.Reader
	w      *mtp.Writer
	ending mtp.Ending

	subscribeDest   string        // what the server wants us to subscribe to; "" for nothing
	shared          bool          // one subscription serves all endpoints
	beatOut, beatIn time.Duration // we, and the server, send something this often; 0: no matter

	mu      sync.Mutex
	changes []change // of subscriptions, to be written before records
	inbox   string   // the destination of sharedID
	beater  *time.Timer
}

// next reads the next MESSAGE, RECEIPT or ERROR frame. A server that misses two
// heart-beats is taken for dead.
func (c *conn) next() (*frame, error) {
	for {
		var deadline time.Time
		if c.beatIn > 0 {
			deadline = time.Now().Add(2*c.beatIn + c.t.cfg.Timeout/2)
		}
		if err := c.net.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		b, err := c.reader.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != '\n' && b[0] != '\r' {
			return readFrame(c.reader, c.t.cfg.MaxRecord)
		}
		if _, err := c.reader.Discard(1); err != nil {
			return nil, err
		}
	}
}

// beat sends heart-beats and looks after what is overdue, one timer for the
// connection, until stop is called.
func (c *conn) beat() (stop func()) {
	if c.beatOut == 0 {
		return func() {}
	}
	every := c.beatOut * 2 / 3 // so that it is there in time
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beater = time.AfterFunc(every, func() {
		if c.t.outbox.Overdue() {
			c.end(mtp.ErrUnconfirmed)
		}
		if c.w.Idle() >= every/2 {
			c.control([]byte{'\n'})
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.beater != nil {
			c.beater.Reset(every)
		}
	})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.beater.Stop()
		c.beater = nil
	}
}

// control has bytes of the connection itself written. If they do not leave the
// connection has ended, which its reader learns.
func (c *conn) control(b []byte) {
	if err := c.w.Control(b); err != nil {
		c.t.cfg.Log.Debug("STOMP frame not sent", "error", err)
	}
}

// change has a subscription made or ended.
func (c *conn) change(changes ...change) {
	c.mu.Lock()
	c.changes = append(c.changes, changes...)
	c.mu.Unlock()
	c.w.Kick()
}

// fill appends the next frame to buf, for the Writer: changes of subscriptions
// first. The server carries out frames in their order, so that who gets a record
// can answer it.
func (c *conn) fill(buf []byte) []byte {
	if f := c.nextChange(); f != nil {
		return f.append(buf)
	}
	e, ok := c.t.outbox.Next()
	if !ok {
		return buf
	}
	m := &e.Message
	f := &frame{command: "SEND", body: m.record, headers: make([]header, 0, 5)} // R-STOMP.18, R-STOMP.22
	f.add("destination", m.destination)
	f.add("content-length", strconv.Itoa(len(m.record))) // R-STOMP.19
	f.add("content-type", contentType)                   // R-STOMP.20
	f.add("reply-to-dest", m.replyTo)                    // R-STOMP.21
	f.add("receipt", strconv.Itoa(int(e.ID)))            // R-STOMP.30
	return f.append(buf)
}

func (c *conn) nextChange() *frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.changes) == 0 {
		return nil
	}
	next := c.changes[0]
	if c.changes = c.changes[1:]; len(c.changes) == 0 {
		c.changes = nil
	}
	f := &frame{command: "UNSUBSCRIBE"}
	f.add("id", strconv.FormatUint(next.id, 10))
	if !next.ends {
		f.command = "SUBSCRIBE" // R-STOMP.12
		f.add("destination", c.destination(next))
		f.add("ack", "auto") // R-STOMP.17
	}
	return f
}

// destination is what a change subscribes to (R-STOMP.13). The caller holds c.mu.
func (c *conn) destination(next change) string {
	switch {
	case next.destination != "":
		return next.destination
	case next.endpoint != "":
		return c.t.dest.Expand(string(next.endpoint))
	default:
		return c.inbox
	}
}

// end says goodbye (R-STOMP.28) and closes the connection because of err.
func (c *conn) end(err error) {
	if c.ending.Begin(err) {
		c.w.Finish((&frame{command: "DISCONNECT"}).append(nil), mtp.Goodbye)
	}
}

// reason tells what has ended the connection, of which reading err is what shows.
func (c *conn) reason(err error) error {
	return fmt.Errorf("stomp: %w", c.ending.Reason(c.w, err))
}
