package stomp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// errNoDestination means that nothing can be sent or listened to.
var errNoDestination = errors.New("stomp: no destination")

// Transport is the STOMP transport. It implements mtp.Transport, mtp.Hosting,
// mtp.Addressing and mtp.Listening.
type Transport struct {
	cfg    Config
	broker *url.URL
	dest   mtp.Template
	meter  *mtp.Meter
	limit  mtp.ConnectionLimit
	hosted *hosted
	served atomic.Bool

	// outbox outlives connections: what was sent and not confirmed by a receipt is
	// sent again on the next one.
	outbox *mtp.Outbox[message]
	conn   atomic.Pointer[conn] // nil while there is none with its subscriptions

	standing *mtp.Standing

	mu   sync.Mutex // orders changes of subscriptions against a new connection
	live *conn      // where they go; nil for none

	ready     chan struct{}
	readyOnce sync.Once
}

// message is what a SEND frame is made of.
type message struct {
	destination, replyTo string
	record               []byte
}

// New checks cfg and returns a Transport that is not connected yet.
func New(cfg Config) (*Transport, error) {
	broker, dest, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	t := &Transport{cfg: cfg, broker: broker, dest: dest, hosted: newHosted(), ready: make(chan struct{}), limit: mtp.SharedConnection}
	if s := cfg.single; s != nil {
		t.standing, t.meter, t.limit = mtp.NewStanding(s.settings, s.gate, true), s.meter, mtp.AgentConnection
	} else {
		t.standing = mtp.NewStanding(mtp.Settings{VirtualHost: cfg.Host, HeartbeatOutgoing: cfg.HeartBeat, HeartbeatExpect: cfg.HeartBeat}, nil, false)
		if t.meter, err = mtp.NewMeter(cfg.Registerer, mtp.STOMP); err != nil {
			return nil, err
		}
	}
	t.outbox = mtp.NewOutbox[message](t.limit.Outbox, cfg.Hold, t.lost)
	return t, nil
}

// Protocol returns mtp.STOMP.
func (t *Transport) Protocol() mtp.Protocol { return mtp.STOMP }

// Ready is closed once the first connection has its subscriptions.
func (t *Transport) Ready() <-chan struct{} { return t.ready }

// Status returns the counts; the transport is up while it is connected.
func (t *Transport) Status() mtp.Status { return t.meter.Status() }

// AgentDestination returns the destination a hosted endpoint listens on, which
// goes out as reply-to-dest: the server's subscribe-dest if it gave one
// (R-STOMP.14), else that of the settings or the template (R-STOMP.15).
func (t *Transport) AgentDestination(endpoint usp.EndpointID) string {
	if c := t.conn.Load(); c != nil && c.subscribeDest != "" {
		return c.subscribeDest
	}
	if t.cfg.single != nil {
		return t.standing.Settings().Inbox
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
	defer t.outbox.Close()
	t.cfg.Backoff.Reconnect(ctx, t.meter, t.standing.Hurried(), func(ctx context.Context) error {
		err := t.connection(ctx, h)
		t.standing.Down(err)
		return err
	}, func(err error, wait time.Duration) {
		t.cfg.Log.Log(ctx, t.level(slog.LevelWarn), "no connection to the STOMP server", "broker", t.broker.Redacted(), "endpoint", t.cfg.Endpoint, "error", err, "next try in", wait)
	})
	return nil
}

// level is lower for one connection of many: the sum of them tells.
func (t *Transport) level(l slog.Level) slog.Level {
	if t.cfg.single != nil {
		return slog.LevelDebug
	}
	return l
}

// connection lives through one connection and returns why it ended.
func (t *Transport) connection(ctx context.Context, h mtp.Handler) error {
	s, generation, leave, err := t.standing.Begin(ctx)
	if err != nil {
		return err
	}
	defer leave()
	c, err := t.open(ctx, s)
	if err != nil {
		return err
	}
	t.meter.Opened()
	defer t.meter.Closed()
	defer c.w.Close()
	stop := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	defer stop()
	if err := t.begin(c, generation); err != nil {
		c.end(err) // R-STOMP.16
		return err
	}
	defer t.finish()
	defer t.outbox.Shut()
	defer t.conn.Store(nil)
	defer c.beat()()
	leave()
	t.up(c)
	return t.read(c, h)
}

// begin subscribes for all that is wanted. From then on changes go to c.
func (t *Transport) begin(c *conn, generation int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.standing.Current(generation); err != nil {
		return err
	}
	first := t.hosted.all(c.shared || t.cfg.single != nil)
	if c.inbox = t.inbox(c); c.inbox != "" {
		first = append(first, change{id: sharedID})
	} else if t.cfg.single != nil {
		return errNoDestination // R-STOMP.16
	}
	t.live = c
	c.change(first...)
	return nil
}

// inbox is the destination of sharedID, "" if each endpoint has its own. The
// caller holds t.mu.
func (t *Transport) inbox(c *conn) string {
	switch {
	case c.subscribeDest != "":
		return c.subscribeDest
	case t.cfg.single != nil:
		return t.standing.Settings().Inbox
	case c.shared:
		return t.dest.Expand("")
	default:
		return ""
	}
}

// finish ends what begin began.
func (t *Transport) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = nil
}

// up lets records go over a connection that has its subscriptions.
func (t *Transport) up(c *conn) {
	t.outbox.Open(t.limit.Window)
	t.conn.Store(c)
	c.w.Kick() // what has been kept
	t.standing.Up(mtp.Connection{Outgoing: c.beatOut, Incoming: c.beatIn})
	t.meter.Up()
	t.readyOnce.Do(func() { close(t.ready) })
	t.cfg.Log.Log(context.Background(), t.level(slog.LevelInfo), "connected to the STOMP server", "broker", t.broker.Redacted(), "heart-beat out", c.beatOut, "heart-beat in", c.beatIn)
}

// Connection tells how the connection of a single agent stands.
func (t *Transport) Connection() mtp.Connection {
	c := t.standing.Connection()
	c.Inbox = t.AgentDestination(t.cfg.Endpoint)
	return c
}

// Configure gives the connection of a single agent other settings. Another
// destination is subscribed to on the connection that there is (R-STOMP.29); what
// is said in the greeting needs another.
func (t *Transport) Configure(s mtp.Settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.standing.Settings()
	t.standing.Change(s)
	moved := old.Inbox != s.Inbox
	again := old.Disabled != s.Disabled || old.VirtualHost != s.VirtualHost || old.HeartbeatOutgoing != s.HeartbeatOutgoing ||
		old.HeartbeatExpect != s.HeartbeatExpect || moved && (old.Inbox == "" || s.Inbox == "")
	switch {
	case again:
		if t.live != nil {
			go t.live.end(mtp.ErrChanged)
		}
		t.standing.Hurry()
	case moved && t.live != nil && t.live.subscribeDest == "":
		t.live.move(s.Inbox)
	}
}

// move subscribes to another destination in place of the inbox.
func (c *conn) move(inbox string) {
	c.mu.Lock()
	c.inbox = inbox
	c.mu.Unlock()
	c.change(change{id: sharedID, ends: true}, change{id: sharedID})
}

// read takes frames until the connection ends; an ERROR frame ends it (R-STOMP.25).
func (t *Transport) read(c *conn, h mtp.Handler) error {
	for {
		f, err := c.next()
		if skipped := (*skippedError)(nil); errors.As(err, &skipped) {
			t.meter.Refused()
			t.cfg.Log.Debug("STOMP message dropped", "error", skipped)
			continue
		}
		if err != nil {
			return c.reason(err)
		}
		switch f.command {
		case "MESSAGE":
			t.receive(f, h)
		case "RECEIPT":
			t.confirm(f.get("receipt-id"), nil)
			c.w.Kick()
		default:
			err := serverError(f)
			t.confirm(f.get("receipt-id"), err) // what it does not take is not sent again
			return fmt.Errorf("stomp: %w", err)
		}
	}
}

// confirm ends a record with what the server says of it.
func (t *Transport) confirm(receipt string, err error) {
	if id, bad := strconv.ParseUint(receipt, 10, 16); bad == nil {
		t.outbox.Confirm(uint16(id), err) // one that is not known was confirmed before
	}
}

// lost counts a record that is given up after Send has returned.
func (t *Transport) lost(err error) {
	t.cfg.Log.Warn("a record for the STOMP server is given up", "endpoint", t.cfg.Endpoint, "error", err)
	t.meter.Failed(err)
}

// local returns the endpoint that a subscription is for.
func (t *Transport) local(subscription string) usp.EndpointID {
	if t.cfg.single != nil && subscription == strconv.Itoa(sharedID) {
		return t.cfg.Endpoint
	}
	return t.hosted.endpoint(subscription)
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
		Reply:  mtp.Address{Protocol: mtp.STOMP, Destination: f.get("reply-to-dest"), Answer: true}, // R-STOMP.23
		Local:  t.local(f.get("subscription")),
	})
	if err != nil {
		t.meter.Refused()
		t.cfg.Log.Debug("USP record dropped", "destination", f.get("destination"), "error", err)
	}
}

// Send sends a record and returns when the server has confirmed it or, where that
// takes too long, when it is kept to be sent again. Without a connection it
// returns mtp.ErrUnreachable, but keeps an answer for a while.
func (t *Transport) Send(ctx context.Context, from, _ usp.EndpointID, addr mtp.Address, record []byte) error {
	m := message{destination: addr.Destination, replyTo: t.AgentDestination(from), record: record}
	return t.meter.Sent(len(record), t.send(ctx, m, addr.Answer))
}

func (t *Transport) send(ctx context.Context, m message, answer bool) error {
	if m.destination == "" {
		return fmt.Errorf("stomp: the peer has told no destination and none is configured: %w", mtp.ErrUnreachable)
	}
	size := len(m.record) + len(m.destination) + len(m.replyTo) + 200
	var err error
	switch {
	case t.conn.Load() != nil:
		err = t.outbox.Hand(ctx, m, size, t.kick)
	case answer || t.standing.Fresh():
		err = t.outbox.Keep(m, size)
		t.kick() // a connection may have come up meanwhile
	default:
		return fmt.Errorf("stomp: no connection to %s: %w", t.broker.Redacted(), mtp.ErrUnreachable)
	}
	if err != nil {
		return fmt.Errorf("stomp: send to %s: %w", m.destination, err)
	}
	return nil
}

// kick has the outbox written to the connection that there is now.
func (t *Transport) kick() {
	if c := t.conn.Load(); c != nil {
		c.w.Kick()
	}
}
