package broker

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// errSlow is why a client is cut off that does not take what is written to it.
var errSlow = errors.New("the client reads too slowly")

// linger is how long a closed connection may take to be rid of what was written
// last: a DISCONNECT with its reason.
const linger = time.Second

// conn is a client's connection as mochi sees it. Its Write never waits for the
// network: mochi writes under a lock that those who publish to the client need, too,
// so that one slow client would stall the others. What waits is bounded; the
// goroutine that writes it is there only while something does.
type conn struct {
	net.Conn
	in       *bufio.Reader // Conn, behind the bytes that were looked at
	chain    *x509.Certificate
	pending  int           // bytes that may wait
	patience time.Duration // for one write

	flushing sync.WaitGroup
	mu       sync.Mutex
	waiting  []byte
	busy     bool // flush runs
	closing  bool
	failed   error
}

func newConn(c net.Conn, pending int, patience time.Duration) *conn {
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 512), pending: pending, patience: patience}
}

// Read reads what the client sends.
func (c *conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// SetDeadline bounds the wait for the client's next packet; writing has a bound of
// its own.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil // Close has ended the reading
	}
	return c.SetReadDeadline(t)
}

// Write hands p over to be written. It fails if too much waits already.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return 0, net.ErrClosed
	}
	if c.failed == nil && len(c.waiting) > 0 && len(c.waiting)+len(p) > c.pending {
		c.fail(errSlow)
	}
	if c.failed != nil {
		return 0, c.failed
	}
	c.waiting = append(c.waiting, p...)
	if !c.busy {
		c.busy = true
		c.flushing.Go(c.flush)
	}
	return len(p), nil
}

// fail ends the connection; the reading side learns of it by that. The caller holds
// the lock.
func (c *conn) fail(err error) {
	c.failed = err
	c.waiting = nil
	_ = c.Conn.Close() // the first error is the one that counts
}

func (c *conn) flush() {
	for {
		c.mu.Lock()
		p := c.waiting
		c.waiting = nil
		if len(p) == 0 || c.failed != nil {
			c.busy = false
			if c.closing && c.failed == nil {
				c.fail(net.ErrClosed)
			}
			c.mu.Unlock()
			return
		}
		patience := c.patience
		if c.closing {
			patience = min(patience, linger)
		}
		err := c.SetWriteDeadline(time.Now().Add(patience))
		c.mu.Unlock()
		if err == nil {
			_, err = c.Conn.Write(p)
		}
		if err == nil {
			continue
		}
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			err = errSlow
		}
		c.mu.Lock()
		if c.failed == nil {
			c.fail(err)
		}
		c.mu.Unlock()
	}
}

// Close ends the connection once what was written has gone out, or after a moment.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil
	}
	c.closing = true
	if !c.busy {
		return c.Conn.Close()
	}
	now := time.Now()
	return errors.Join(c.SetReadDeadline(now), c.SetWriteDeadline(now.Add(linger)))
}

// end closes the connection and waits until what was written has gone out.
func (c *conn) end() {
	_ = c.Close() // for the most part it is closed
	c.flushing.Wait()
}

// tooSlow reports whether the client was cut off because it read too slowly.
func (c *conn) tooSlow() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Is(c.failed, errSlow)
}

// maxConnect bounds a CONNECT, in bytes: a will of some length, and names. Who has
// not said who it is gets no memory for more.
const maxConnect = 128 << 10

// gate waits for the head of a CONNECT, and looks at nothing else.
func (c *conn) gate() error {
	head, err := c.in.Peek(2)
	if err != nil {
		return err
	}
	if head[0] != 0x10 {
		return fmt.Errorf("the first byte is 0x%02x, which begins no CONNECT", head[0])
	}
	length, shift := 0, 0
	for n := 2; ; n++ { // Variable Byte Integer (MQTT 5, 1.5.5)
		if head, err = c.in.Peek(n); err != nil {
			return err
		}
		b := int(head[n-1])
		length |= (b & 0x7f) << shift
		if shift += 7; b < 0x80 {
			break
		}
		if shift > 21 {
			return errors.New("the length of the CONNECT has more than four bytes")
		}
	}
	if length > maxConnect {
		return fmt.Errorf("a CONNECT of %d bytes: at most %d are taken", length, maxConnect)
	}
	if t, ok := c.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		if chains := t.ConnectionState().VerifiedChains; len(chains) > 0 {
			c.chain = chains[0][0]
		}
	}
	return nil
}
