package stomp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection to the server, after CONNECTED.
type conn struct {
	net     net.Conn
	reader  *bufio.Reader
	timeout time.Duration
	log     *slog.Logger

	subscribeDest string        // what the server wants us to subscribe to; "" for nothing
	shared        bool          // one subscription serves all endpoints
	beatOut       time.Duration // we send something this often; 0: no matter
	beatIn        time.Duration // the server sends something this often; 0: no matter

	mu    sync.Mutex // one frame at a time
	buf   []byte     // reused for frames
	wrote atomic.Int64
}

// keptBuffer is the size up to which a frame's buffer is kept for the next one.
const keptBuffer = 64 << 10

// open connects to the server and greets it.
func (t *Transport) open(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	netConn, err := t.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("stomp: %w", err)
	}
	c := &conn{net: netConn, reader: bufio.NewReader(netConn), timeout: t.cfg.Timeout, log: t.cfg.Log}
	if err := c.greet(ctx, t.greeting(), t.cfg.HeartBeat); err != nil {
		c.close()
		return nil, fmt.Errorf("stomp: %w", err)
	}
	c.shared = c.subscribeDest != "" || !t.dest.PerEndpoint()
	return c, nil
}

func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	if secure(t.broker) {
		return (&tls.Dialer{Config: t.cfg.TLS}).DialContext(ctx, "tcp", t.broker.Host)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", t.broker.Host)
}

// greeting is the STOMP frame (R-STOMP.2). The endpoint id is escaped, although
// greetings otherwise are not (note to R-STOMP.4).
func (t *Transport) greeting() *frame {
	beat := strconv.FormatInt(t.cfg.HeartBeat.Milliseconds(), 10)
	f := &frame{command: "STOMP"}
	f.add("accept-version", "1.2")
	f.add("host", t.cfg.Host)
	f.add("heart-beat", beat+","+beat) // R-STOMP.9, R-STOMP.10
	if t.cfg.Login != "" || t.cfg.Passcode != "" {
		f.add("login", t.cfg.Login)
		f.add("passcode", t.cfg.Passcode)
	}
	f.add("endpoint-id", escapeHeader(string(t.cfg.Endpoint)))
	return f
}

func (c *conn) greet(ctx context.Context, greeting *frame, heartBeat time.Duration) error {
	deadline, _ := ctx.Deadline()
	if err := c.net.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	if _, err := c.net.Write(greeting.append(nil)); err != nil {
		return err
	}
	f, err := readFrame(c.reader, maxHead)
	if err != nil {
		return fmt.Errorf("waiting for CONNECTED: %w", err)
	}
	if f.command != "CONNECTED" {
		return serverError(f)
	}
	if v := f.get("version"); v != "1.2" {
		return fmt.Errorf("the server speaks STOMP version %q, not 1.2", v)
	}
	c.subscribeDest = f.get("subscribe-dest") // R-STOMP.6
	c.beatOut, c.beatIn = agreeHeartBeat(f.get("heart-beat"), heartBeat)
	return c.net.SetDeadline(time.Time{})
}

// serverError makes an error of a frame that ends the connection.
func serverError(f *frame) error {
	if f.command != "ERROR" {
		return fmt.Errorf("unexpected %s frame", f.command)
	}
	text := f.get("message")
	if text == "" {
		text = string(f.body[:min(len(f.body), 200)])
	}
	return fmt.Errorf("the server says: %s", strings.ToValidUTF8(text, "?"))
}

// agreeHeartBeat returns how often we send and expect something, from the
// server's "<can send>,<wants>" in ms and our own offer (R-STOMP.11).
func agreeHeartBeat(theirs string, ours time.Duration) (out, in time.Duration) {
	can, wants, _ := strings.Cut(theirs, ",")
	return agree(ours, wants), agree(ours, can)
}

func agree(ours time.Duration, theirs string) time.Duration {
	ms, err := strconv.ParseUint(strings.TrimSpace(theirs), 10, 31)
	if err != nil || ms == 0 || ours == 0 {
		return 0
	}
	return max(ours, time.Duration(ms)*time.Millisecond)
}

// next reads the next MESSAGE, RECEIPT or ERROR frame. A server that misses two
// heart-beats is taken for dead.
func (c *conn) next(maxBody int) (*frame, error) {
	for {
		var deadline time.Time
		if c.beatIn > 0 {
			deadline = time.Now().Add(2*c.beatIn + c.timeout/2)
		}
		if err := c.net.SetReadDeadline(deadline); err != nil {
			return nil, err
		}
		b, err := c.reader.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != '\n' && b[0] != '\r' {
			return readFrame(c.reader, maxBody)
		}
		if _, err := c.reader.Discard(1); err != nil {
			return nil, err
		}
	}
}

// write sends a frame. A frame that did not leave whole ends the connection.
func (c *conn) write(f *frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := f.append(c.buf[:0])
	if cap(b) <= keptBuffer {
		c.buf = b
	}
	return c.flush(b)
}

func (c *conn) flush(b []byte) error {
	err := c.net.SetWriteDeadline(time.Now().Add(c.timeout))
	if err == nil {
		_, err = c.net.Write(b)
	}
	if err != nil {
		c.close()
		return err
	}
	c.wrote.Store(time.Now().UnixMilli())
	return nil
}

// beat sends heart-beats until ctx ends, one timer for the connection.
func (c *conn) beat(ctx context.Context) {
	if c.beatOut == 0 {
		return
	}
	every := c.beatOut * 2 / 3 // so that it is there in time
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if now.UnixMilli()-c.wrote.Load() < every.Milliseconds()/2 {
				continue
			}
			c.mu.Lock()
			err := c.flush([]byte{'\n'})
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}
}

func (c *conn) subscribe(id, destination string) error { // R-STOMP.12, R-STOMP.13
	f := &frame{command: "SUBSCRIBE"}
	f.add("id", id)
	f.add("destination", destination)
	f.add("ack", "auto") // R-STOMP.17
	return c.write(f)
}

func (c *conn) unsubscribe(id string) error {
	f := &frame{command: "UNSUBSCRIBE"}
	f.add("id", id)
	return c.write(f)
}

// report logs what failed while the set of endpoints changed. The connection
// has ended then, and the next one subscribes to all of them.
func (c *conn) report(err error) {
	if err != nil {
		c.log.Debug("STOMP subscription", "error", err)
	}
}

// goodbye says so and closes (R-STOMP.28).
func (c *conn) goodbye() {
	if err := c.write(&frame{command: "DISCONNECT"}); err != nil {
		c.log.Debug("STOMP disconnect", "error", err)
	}
	c.close()
}

func (c *conn) close() {
	if err := c.net.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.log.Debug("closing the STOMP connection", "error", err)
	}
}
