package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Content types of a USP record (R-MQTT.27, R-MQTT.27a).
const (
	contentType     = "usp.msg"
	contentTypeMIME = "application/vnd.bbf.usp.msg"
)

// steady is how long a connection must have lasted for the next try to be the
// first again: a broker that throws us out at once is not to be hammered.
const steady = 30 * time.Second

// Transport is the MQTT transport. It implements mtp.Transport, mtp.Hosting,
// mtp.Addressing and mtp.Publisher.
type Transport struct {
	cfg    Config
	broker *url.URL
	topic  mtp.Template
	escape *strings.Replacer
	meter  *mtp.Meter
	served atomic.Bool

	// session outlives connections: what was published and not acknowledged
	// is sent again on the next one (QoS 1).
	session      session.SessionManager
	clientID     string // Serve's own; the broker's if it assigned one
	responseInfo atomic.Pointer[string]
	client       atomic.Pointer[paho.Client] // nil while there is no connection with subscriptions

	ready     chan struct{}
	readyOnce sync.Once
}

// New checks cfg and returns a Transport that is not connected yet.
func New(cfg Config) (*Transport, error) {
	broker, topic, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.MQTT)
	if err != nil {
		return nil, err
	}
	return &Transport{
		cfg: cfg, broker: broker, topic: topic, escape: escaper(), meter: meter,
		session: state.NewInMemory(), clientID: cfg.ClientID, ready: make(chan struct{}),
	}, nil
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
	defer func() {
		if err := t.session.Close(); err != nil {
			t.cfg.Log.Debug("closing the MQTT session", "error", err)
		}
	}()
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
		t.cfg.Log.Warn("no connection to the MQTT broker", "broker", t.broker.Redacted(), "error", err, "next try in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// connection lives through one connection and returns why it ended.
func (t *Transport) connection(ctx context.Context, h mtp.Handler) error {
	lost := make(chan error, 1)
	client, connack, err := t.connect(ctx, h, lost)
	if err != nil {
		return err
	}
	t.meter.Opened()
	defer t.meter.Closed()
	if err := t.subscribe(ctx, client, connack); err != nil {
		t.disconnect(client) // R-MQTT.17
		return err
	}
	t.client.Store(client)
	t.meter.Up()
	t.readyOnce.Do(func() { close(t.ready) })
	t.cfg.Log.Info("connected to the MQTT broker", "broker", t.broker.Redacted(), "client id", t.clientID, "session kept", connack.SessionPresent)
	select {
	case <-ctx.Done():
		t.client.Store(nil)
		t.disconnect(client) // R-MQTT.35
		return nil
	case <-client.Done():
		t.client.Store(nil)
		select {
		case err := <-lost:
			return err
		case <-time.After(time.Second):
			return errors.New("connection lost")
		}
	}
}

// Send publishes a record with QoS 1 and returns when the broker has taken it
// over. Without a connection it returns mtp.ErrUnreachable; after any other
// error the record may or may not arrive.
func (t *Transport) Send(ctx context.Context, from, _ usp.EndpointID, addr mtp.Address, record []byte) error {
	return t.meter.Sent(len(record), t.publish(ctx, &paho.Publish{ // R-MQTT.18
		QoS:     1,
		Topic:   addr.Topic,
		Payload: record,
		Properties: &paho.PublishProperties{
			ContentType:   contentType,        // R-MQTT.27
			ResponseTopic: t.AgentTopic(from), // R-MQTT.22, R-MQTT.23
		},
	}))
}

// Publish implements mtp.Publisher.
func (t *Transport) Publish(ctx context.Context, p mtp.Publication) error {
	return t.publish(ctx, &paho.Publish{
		QoS: p.QoS, Retain: p.Retain, Topic: p.Topic, Payload: p.Payload,
		Properties: &paho.PublishProperties{ContentType: p.ContentType}, // R-BULK.8a
	})
}

func (t *Transport) publish(ctx context.Context, p *paho.Publish) error {
	if err := checkPublishTopic(p.Topic); err != nil {
		return err
	}
	client := t.client.Load()
	if client == nil {
		return fmt.Errorf("mqtt: no connection to %s: %w", t.broker.Redacted(), mtp.ErrUnreachable)
	}
	_, err := client.Publish(ctx, p)
	if errors.Is(err, session.ErrNoConnection) {
		return fmt.Errorf("mqtt: publish on %s: %w (%w)", p.Topic, mtp.ErrUnreachable, err)
	}
	if err != nil {
		return fmt.Errorf("mqtt: publish on %s: %w", p.Topic, err)
	}
	return nil
}

// receive takes a PUBLISH. Whatever is wrong with it is dropped without an
// answer ("Handling Errors"); it is acknowledged in any case, or the broker would
// send it for ever.
func (t *Transport) receive(h mtp.Handler, p *paho.Publish) {
	var kind, replyTo string
	if p.Properties != nil {
		kind, replyTo = p.Properties.ContentType, p.Properties.ResponseTopic
	}
	// Some controllers name no content type.
	if kind != "" && kind != contentType && kind != contentTypeMIME || len(p.Payload) > t.cfg.MaxRecord {
		t.meter.Refused()
		t.cfg.Log.Debug("MQTT message dropped", "topic", p.Topic, "content type", kind, "bytes", len(p.Payload))
		return
	}
	if checkPublishTopic(replyTo) != nil {
		replyTo = ""
	}
	t.meter.Received(len(p.Payload))
	err := h.Receive(mtp.Inbound{
		Record: p.Payload,
		Reply:  mtp.Address{Protocol: mtp.MQTT, Topic: replyTo}, // R-MQTT.26
		Local:  t.localEndpoint(p.Topic),
	})
	if err != nil {
		t.meter.Refused()
		t.cfg.Log.Debug("USP record dropped", "topic", p.Topic, "error", err)
	}
}
