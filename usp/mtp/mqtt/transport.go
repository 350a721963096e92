package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Content types of a USP record (R-MQTT.27, R-MQTT.27a).
const (
	contentType     = "usp.msg"
	contentTypeMIME = "application/vnd.bbf.usp.msg"
)

// Transport is the MQTT transport. It implements mtp.Transport, mtp.Hosting,
// mtp.Addressing, mtp.Listening, mtp.Publisher and mtp.Counting.
type Transport struct {
	cfg     Config
	broker  *url.URL
	topic   mtp.Template
	version byte // 4 (3.1.1) or 5
	escape  *strings.Replacer
	meter   *mtp.Meter
	limit   mtp.ConnectionLimit
	counts  counts
	served  atomic.Bool

	// outbox outlives connections: what was published and not acknowledged is
	// sent again on the next one.
	outbox       *mtp.Outbox[publication]
	clientID     string // Serve's own: that of the connection
	assigned     string // Serve's own: what the broker has assigned
	recalled     bool   // Serve's own: that was looked up
	anonymous    bool   // Serve's own: the broker takes no endpoint id for a ClientId
	responseInfo atomic.Pointer[string]
	conn         atomic.Pointer[conn] // nil while there is none with subscriptions

	standing *mtp.Standing

	mu        sync.Mutex // orders changes of subscriptions against a new connection
	listening map[string]usp.EndpointID
	live      *conn // where they go; nil for none

	ready     chan struct{}
	readyOnce sync.Once
}

// publication is what a PUBLISH is made of.
type publication struct {
	topic, replyTo, contentType string
	qos                         byte
	retain                      bool
	payload                     []byte
	released                    bool // QoS 2: the broker has it, and awaits PUBREL
}

// size is what a publication counts for in the outbox.
func (p *publication) size() int { return len(p.payload) + len(p.topic) + len(p.replyTo) + 200 }

// New checks cfg and returns a Transport that is not connected yet.
func New(cfg Config) (*Transport, error) {
	broker, topic, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	t := &Transport{
		cfg: cfg, broker: broker, topic: topic, version: cfg.level(), escape: escaper(cfg.Version),
		ready: make(chan struct{}), limit: mtp.SharedConnection,
	}
	if s := cfg.single; s != nil {
		t.standing, t.meter, t.limit = mtp.NewStanding(s.settings, s.gate, true), s.meter, mtp.AgentConnection
	} else {
		t.standing = mtp.NewStanding(mtp.Settings{ClientID: cfg.ClientID, KeepAlive: cfg.KeepAlive}, nil, false)
		if t.meter, err = mtp.NewMeter(cfg.Registerer, mtp.MQTT); err != nil {
			return nil, err
		}
	}
	t.outbox = mtp.NewOutbox[publication](t.limit.Outbox, cfg.Hold, t.lost)
	return t, nil
}

// Protocol returns mtp.MQTT.
func (t *Transport) Protocol() mtp.Protocol { return mtp.MQTT }

// Ready is closed once the first subscription stands.
func (t *Transport) Ready() <-chan struct{} { return t.ready }

// Status returns the counts; the transport is up while it is subscribed.
func (t *Transport) Status() mtp.Status { return t.meter.Status() }

// Host does nothing: the wildcard subscription covers every endpoint.
func (t *Transport) Host(...usp.EndpointID) {}

// Unhost does nothing.
func (t *Transport) Unhost(...usp.EndpointID) {}

// Serve connects, and connects again, until ctx ends. A broker that cannot be
// reached is no error of Serve; Status tells.
func (t *Transport) Serve(ctx context.Context, h mtp.Handler) error {
	if t.served.Swap(true) {
		return errors.New("mqtt: Serve was called before")
	}
	defer t.outbox.Close()
	t.cfg.Backoff.Reconnect(ctx, t.meter, t.standing.Hurried(), func(ctx context.Context) error {
		err := t.connection(ctx, h)
		t.standing.Down(err)
		if ctx.Err() == nil {
			t.counts.ended(err)
		}
		return err
	}, func(err error, wait time.Duration) {
		t.cfg.Log.Log(ctx, t.level(), "no connection to the MQTT broker", "broker", t.broker.Redacted(), "endpoint", t.cfg.Endpoint, "error", err, "next try in", wait)
	})
	return nil
}

// level is low for one connection of many: the sum of them tells.
func (t *Transport) level() slog.Level {
	if t.cfg.single != nil {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// connection lives through one connection and returns why it ended.
func (t *Transport) connection(ctx context.Context, h mtp.Handler) error {
	s, generation, leave, err := t.standing.Begin(ctx)
	if err != nil {
		return err
	}
	defer leave()
	c, err := t.connect(ctx, s)
	if err != nil {
		return err
	}
	if err := t.begin(c, generation); err != nil {
		c.end(err) // R-MQTT.16
		return err
	}
	defer t.finish()
	defer t.outbox.Shut()
	defer t.conn.Store(nil)
	subscribed := false
	defer func() {
		if subscribed {
			t.meter.Closed()
		}
	}()
	return c.run(ctx, h, func() {
		leave()
		subscribed = true
		t.meter.Opened()
		t.up(c)
	})
}

// up lets records go over a connection whose subscription stands.
func (t *Transport) up(c *conn) {
	t.outbox.Open(c.window)
	t.conn.Store(c)
	c.w.Kick() // what has been kept
	t.standing.Up(mtp.Connection{ClientID: t.clientID})
	t.meter.Up()
	t.readyOnce.Do(func() { close(t.ready) })
	level := slog.LevelInfo
	if t.cfg.single != nil {
		level = slog.LevelDebug
	}
	t.cfg.Log.Log(context.Background(), level, "connected to the MQTT broker", "broker", t.broker.Redacted(), "client id", t.clientID, "session kept", c.connack.SessionPresent)
}

// Connection tells how the connection of a single agent stands.
func (t *Transport) Connection() mtp.Connection {
	c := t.standing.Connection()
	c.Inbox = t.AgentTopic(t.cfg.Endpoint)
	return c
}

// Send publishes a record and returns when the broker has acknowledged it or,
// where that takes too long, when it is kept to be sent again. Without a
// connection it returns mtp.ErrUnreachable, but keeps an answer for a while.
func (t *Transport) Send(ctx context.Context, from, _ usp.EndpointID, addr mtp.Address, record []byte) error {
	p := publication{topic: addr.Topic, replyTo: t.AgentTopic(from), contentType: contentType, qos: 1, payload: record} // R-MQTT.18, R-MQTT.22, R-MQTT.27
	if t.cfg.AtMostOnce {
		p.qos = 0
	}
	return t.meter.Sent(len(record), t.send(ctx, p, addr.Answer))
}

func (t *Transport) send(ctx context.Context, p publication, answer bool) error {
	if err := checkPublishTopic(p.topic); err != nil {
		return err
	}
	c := t.conn.Load()
	var err error
	switch {
	case c != nil:
		err = t.outbox.Hand(ctx, p, p.size(), t.kick)
		if t.outbox.Late() {
			c.probe()
		}
	case answer || t.standing.Fresh():
		err = t.outbox.Keep(p, p.size())
		t.kick() // a connection may have come up meanwhile
	default:
		return t.unconnected()
	}
	if err != nil {
		return fmt.Errorf("mqtt: publish on %s: %w", p.topic, err)
	}
	return nil
}

// kick has the outbox written to the connection that there is now.
func (t *Transport) kick() {
	if c := t.conn.Load(); c != nil {
		c.w.Kick()
	}
}

func (t *Transport) unconnected() error {
	return fmt.Errorf("mqtt: no connection to %s: %w", t.broker.Redacted(), mtp.ErrUnreachable)
}

// Publish implements mtp.Publisher. 3.1.1 has no content type.
func (t *Transport) Publish(ctx context.Context, p mtp.Publication) error {
	if err := checkPublishTopic(p.Topic); err != nil {
		return err
	}
	if t.conn.Load() == nil {
		return t.unconnected()
	}
	m := publication{topic: p.Topic, contentType: p.ContentType, qos: p.QoS, retain: p.Retain, payload: p.Payload} // R-BULK.8a
	if err := t.outbox.HandSurely(ctx, m, m.size(), t.kick); err != nil {
		return fmt.Errorf("mqtt: publish on %s: %w", p.Topic, err)
	}
	return nil
}

// confirm ends a message with what the broker says of it.
func (t *Transport) confirm(id uint16, err error) {
	if err != nil {
		t.meter.Failed(err)
		t.counts.publicationErrors.Add(1)
		t.cfg.Log.Debug("the MQTT broker does not take a record", "error", err)
	}
	t.outbox.Confirm(id, err) // an id that is not known was confirmed before
}

// lost counts a record that is given up after Send has returned.
func (t *Transport) lost(err error) {
	t.cfg.Log.Warn("a record for the MQTT broker is given up", "endpoint", t.cfg.Endpoint, "error", err)
	t.meter.Failed(err)
	t.counts.publicationErrors.Add(1)
}

// receive takes a PUBLISH. Whatever is wrong with it is dropped without an
// answer ("Handling Errors"); it is acknowledged in any case, or the broker would
// send it for ever. So is what the broker has retained: it was said in a
// conversation that is over.
func (t *Transport) receive(h mtp.Handler, p *packets.Packet) {
	topic, reply := p.TopicName, p.Properties.ResponseTopic // R-MQTT.26
	if t.version != 5 {
		topic, reply = cutReplyTo(topic) // R-MQTT.25
	}
	kind := p.Properties.ContentType
	// Some controllers name no content type.
	if kind != "" && kind != contentType && kind != contentTypeMIME || len(p.Payload) > t.cfg.MaxRecord || p.FixedHeader.Retain {
		t.meter.Refused()
		t.cfg.Log.Debug("MQTT message dropped", "topic", topic, "content type", kind, "bytes", len(p.Payload), "retained", p.FixedHeader.Retain)
		return
	}
	if checkPublishTopic(reply) != nil {
		reply = ""
	}
	t.meter.Received(len(p.Payload))
	sender := t.sender(p.Properties.User)
	err := h.Receive(mtp.Inbound{
		Record: p.Payload,
		Reply:  mtp.Address{Protocol: mtp.MQTT, Topic: reply, Answer: true},
		Local:  t.localEndpoint(topic),
		Peer:   sender,
		Proven: sender != "",
	})
	if err != nil {
		t.meter.Refused()
		t.cfg.Log.Debug("USP record dropped", "topic", topic, "error", err)
	}
}

// sender returns the endpoint that the broker vouches for, "" if it does so for none.
func (t *Transport) sender(user []packets.UserProperty) usp.EndpointID {
	if t.cfg.SenderProperty == "" {
		return ""
	}
	for _, u := range user {
		if u.Key == t.cfg.SenderProperty {
			return usp.EndpointID(u.Val)
		}
	}
	return ""
}
