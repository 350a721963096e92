package stomp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// contentType of a USP record (R-STOMP.20).
const contentType = "application/vnd.bbf.usp.msg"

// steady is how long a connection must have lasted for the next try to be the
// first again: a server that throws us out at once is not to be hammered.
const steady = 30 * time.Second

// Transport is the STOMP transport. It implements mtp.Transport, mtp.Hosting and
// mtp.Addressing.
type Transport struct {
	cfg    Config
	broker *url.URL
	dest   mtp.Template
	meter  *mtp.Meter
	hosted *hosted
	served atomic.Bool

	conn     atomic.Pointer[conn] // nil while there is none with its subscriptions
	changing sync.Mutex           // orders Host and Unhost against a new connection

	ready     chan struct{}
	readyOnce sync.Once
}

// New checks cfg and returns a Transport that is not connected yet.
func New(cfg Config) (*Transport, error) {
	broker, dest, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.STOMP)
	if err != nil {
		return nil, err
	}
	return &Transport{cfg: cfg, broker: broker, dest: dest, meter: meter, hosted: newHosted(), ready: make(chan struct{})}, nil
}

// Protocol returns mtp.STOMP.
func (t *Transport) Protocol() mtp.Protocol { return mtp.STOMP }

// Ready is closed once the first connection has its subscriptions.
func (t *Transport) Ready() <-chan struct{} { return t.ready }

// Status returns the counts; the transport is up while it is connected.
func (t *Transport) Status() mtp.Status { return t.meter.Status() }

// AgentDestination returns the destination a hosted endpoint listens on, which
// goes out as reply-to-dest: the server's subscribe-dest if it gave one
// (R-STOMP.14), else that of the template (R-STOMP.15).
func (t *Transport) AgentDestination(endpoint usp.EndpointID) string {
	if c := t.conn.Load(); c != nil && c.subscribeDest != "" {
		return c.subscribeDest
	}
	return t.dest.Expand(string(endpoint))
}

// AgentAddress returns AgentDestination as an address.
func (t *Transport) AgentAddress(endpoint usp.EndpointID) mtp.Address {
	return mtp.Address{Protocol: mtp.STOMP, Destination: t.AgentDestination(endpoint)}
}

// Serve connects, and connects again, until ctx ends. A server that cannot be
// reached is no error of Serve; Status tells.
func (t *Transport) Serve(ctx context.Context, h mtp.Handler) error {
	if t.served.Swap(true) {
		return errors.New("stomp: Serve was called before")
	}
	for try := 1; ; try++ {
		began := time.Now()
		err := t.connection(ctx, h)
		t.meter.Down(err)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > steady {
			try = 1
		}
		wait := t.cfg.Backoff.Wait(try)
		t.cfg.Log.Warn("no connection to the STOMP server", "broker", t.broker.Redacted(), "error", err, "next try in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// connection lives through one connection and returns why it ended.
func (t *Transport) connection(ctx context.Context, h mtp.Handler) error {
	c, err := t.open(ctx)
	if err != nil {
		return err
	}
	t.meter.Opened()
	defer t.meter.Closed()
	stop := context.AfterFunc(ctx, c.goodbye)
	defer stop()
	defer c.close()
	if err := t.subscribe(c); err != nil {
		return err
	}
	defer t.conn.Store(nil)
	t.meter.Up()
	t.readyOnce.Do(func() { close(t.ready) })
	t.cfg.Log.Info("connected to the STOMP server", "broker", t.broker.Redacted(), "heart-beat out", c.beatOut, "heart-beat in", c.beatIn)

	ctx, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel()
	beating.Go(func() { c.beat(ctx) })
	return t.read(c, h)
}

// subscribe subscribes for all that is hosted and makes c the connection that
// Host and Send use.
func (t *Transport) subscribe(c *conn) error {
	t.changing.Lock()
	defer t.changing.Unlock()
	if c.shared {
		destination := c.subscribeDest
		if destination == "" {
			destination = t.dest.Expand("")
		}
		if err := c.subscribe(sharedID, destination); err != nil {
			return fmt.Errorf("stomp: subscribe to %s: %w", destination, err)
		}
	} else {
		for e, id := range t.hosted.all() {
			if err := c.subscribe(id, t.dest.Expand(string(e))); err != nil {
				return fmt.Errorf("stomp: subscribe for %s: %w", e, err)
			}
		}
	}
	t.conn.Store(c)
	return nil
}

// read takes frames until the connection ends; an ERROR frame ends it (R-STOMP.25).
func (t *Transport) read(c *conn, h mtp.Handler) error {
	for {
		f, err := c.next(t.cfg.MaxRecord)
		if err != nil {
			return fmt.Errorf("stomp: %w", err)
		}
		switch f.command {
		case "MESSAGE":
			t.receive(f, h)
		case "RECEIPT": // R-STOMP.30
		default:
			return fmt.Errorf("stomp: %w", serverError(f))
		}
	}
}

// receive takes a MESSAGE. Whatever is wrong with it is dropped without an
// answer ("Handling Errors").
func (t *Transport) receive(f *frame, h mtp.Handler) {
	kind, _, _ := strings.Cut(f.get("content-type"), ";")
	if kind = strings.TrimSpace(kind); kind != "" && kind != contentType {
		t.meter.Refused()
		t.cfg.Log.Debug("STOMP message dropped", "destination", f.get("destination"), "content type", kind)
		return
	}
	t.meter.Received(len(f.body))
	err := h.Receive(mtp.Inbound{
		Record: f.body,
		Reply:  mtp.Address{Protocol: mtp.STOMP, Destination: f.get("reply-to-dest")}, // R-STOMP.23
		Local:  t.hosted.endpoint(f.get("subscription")),
	})
	if err != nil {
		t.meter.Refused()
		t.cfg.Log.Debug("USP record dropped", "destination", f.get("destination"), "error", err)
	}
}

// Send writes a record in a SEND frame and returns when it was handed to the
// operating system. Without a connection it returns mtp.ErrUnreachable.
func (t *Transport) Send(_ context.Context, from, _ usp.EndpointID, addr mtp.Address, record []byte) error {
	return t.meter.Sent(len(record), t.send(from, addr.Destination, record))
}

func (t *Transport) send(from usp.EndpointID, destination string, record []byte) error {
	if destination == "" {
		return fmt.Errorf("stomp: the peer has told no destination and none is configured: %w", mtp.ErrUnreachable)
	}
	c := t.conn.Load()
	if c == nil {
		return fmt.Errorf("stomp: no connection to %s: %w", t.broker.Redacted(), mtp.ErrUnreachable)
	}
	f := &frame{command: "SEND", body: record, headers: make([]header, 0, 4)} // R-STOMP.18, R-STOMP.22
	f.add("destination", destination)
	f.add("content-length", strconv.Itoa(len(record))) // R-STOMP.19
	f.add("content-type", contentType)                 // R-STOMP.20
	f.add("reply-to-dest", t.AgentDestination(from))   // R-STOMP.21
	if err := c.write(f); err != nil {
		return fmt.Errorf("stomp: send to %s: %w (%w)", destination, mtp.ErrUnreachable, err)
	}
	return nil
}
