package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The versions of MQTT.
const (
	version5   = "5.0"
	version311 = "3.1.1"
)

// Config says which broker to use and how. Zero values have the defaults named;
// Broker and Topic have none.
type Config struct {
	Broker  string // tcp://, mqtt://, ssl://, tls://, mqtts://, ws:// or wss:// host:port
	Version string // "5.0" (R-MQTT.1) or "3.1.1" (R-MQTT.2); 5.0
	// Topic is where the hosted endpoints listen. With {endpoint_id} each has a
	// topic of its own, and + in its place is subscribed to; without it all
	// share one inbox.
	Topic string
	// ShareGroup makes the subscriptions shared ones ($share/<group>/…), so that
	// of several nodes with the same group each record reaches one.
	ShareGroup string

	Endpoint usp.EndpointID // who this program is on the broker (R-MQTT.13); self::uspbridge
	Username string
	Password string
	// ClientID is empty to let the broker assign one (R-MQTT.8); with 3.1.1 the
	// endpoint id takes its place.
	ClientID string
	// ClientIDs keeps what the broker has assigned; nil: while this program runs.
	ClientIDs ClientIDs
	TLS       *tls.Config
	// Certificate returns the client certificate of an endpoint; nil: that of TLS.
	Certificate func(context.Context, usp.EndpointID) (*tls.Certificate, error)
	Will        *Will // published by the broker when the connection is lost; nil for none
	AtMostOnce  bool  // records are published with QoS 0, else QoS 1 (R-MQTT.20)

	// Dial, if set, opens the connection to the broker; Broker then only names it.
	Dial func(context.Context) (net.Conn, error)
	// SenderProperty is the user property by which the broker names the endpoint
	// that it has authenticated as the sender of a message; "" if it names none. It
	// must be one that clients cannot write.
	SenderProperty string

	KeepAlive     time.Duration // whole seconds, at most 65,535; 60 s (R-MQTT.14)
	SessionExpiry time.Duration // how long the broker keeps what arrives while we are away; 5 min
	Timeout       time.Duration // for connecting, for each answer of the broker, and for it to take what is written; 10 s
	Hold          time.Duration // how long what the broker has not confirmed is kept and sent again; 2 min
	Backoff       mtp.Backoff   // between tries to connect (R-MQTT.10, R-MQTT.33)
	MaxRecord     int           // bytes; 5 MiB

	Log        *slog.Logger
	Registerer prometheus.Registerer

	single *single
}

// Will is what the broker publishes when it loses the connection (MQTT 5, 3.1.2.5).
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte // 0 to 2
	Retain  bool
}

// single is what is different for the connection of one agent among many.
type single struct {
	settings mtp.Settings
	meter    *mtp.Meter
	gate     mtp.Gate
}

func (c *Config) complete() (broker *url.URL, topic mtp.Template, err error) {
	if broker, err = url.Parse(c.Broker); err != nil {
		return nil, topic, fmt.Errorf("mqtt: broker: %w", err)
	}
	if err := setPort(broker); err != nil {
		return nil, topic, err
	}
	if c.Version != "" && c.Version != version5 && c.Version != version311 {
		return nil, topic, fmt.Errorf("mqtt: version %q: 5.0 and 3.1.1 are spoken", c.Version)
	}
	if topic, err = mtp.ParseTemplate(c.Topic); err != nil {
		return nil, topic, fmt.Errorf("mqtt: topic: %w", err)
	}
	if err := checkTemplate(topic); err != nil {
		return nil, topic, err
	}
	if strings.ContainsAny(c.ShareGroup, "/+#") {
		return nil, topic, fmt.Errorf("mqtt: share group %q: / + and # are not allowed", c.ShareGroup)
	}
	if c.ShareGroup != "" && c.Version == version311 {
		return nil, topic, errors.New("mqtt: 3.1.1 has no shared subscriptions")
	}
	if c.Will != nil && (checkPublishTopic(c.Will.Topic) != nil || c.Will.QoS > 2 || len(c.Will.Payload) > 65535) {
		return nil, topic, fmt.Errorf("mqtt: last will: want a topic without wildcards, QoS 0 to 2 and at most 65535 bytes")
	}
	if c.Endpoint == "" {
		c.Endpoint = "self::uspbridge"
	}
	if err := c.Endpoint.Validate(); err != nil {
		return nil, topic, fmt.Errorf("mqtt: %w", err)
	}
	if c.KeepAlive < 0 || c.KeepAlive > 65535*time.Second || c.SessionExpiry < 0 || c.Timeout < 0 || c.Hold < 0 || c.MaxRecord < 0 || c.MaxRecord > 255<<20 {
		return nil, topic, errors.New("mqtt: a time or size is out of range")
	}
	c.defaults()
	return broker, topic, nil
}

// level is the version as packets have it.
func (c *Config) level() byte {
	if c.Version == version311 {
		return 4
	}
	return 5
}

func (c *Config) defaults() {
	if c.Version == "" {
		c.Version = version5
	}
	for _, d := range []struct{ v, def *time.Duration }{
		{&c.KeepAlive, new(time.Minute)}, {&c.SessionExpiry, new(5 * time.Minute)}, {&c.Timeout, new(10 * time.Second)},
		{&c.Hold, new(2 * time.Minute)},
	} {
		if *d.v == 0 {
			*d.v = *d.def
		}
	}
	if c.MaxRecord == 0 {
		c.MaxRecord = 5 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
}

// setPort checks the scheme and adds its usual port where there is none.
func setPort(broker *url.URL) error {
	port, ok := map[string]string{
		"tcp": "1883", "mqtt": "1883", "ssl": "8883", "tls": "8883", "mqtts": "8883", "ws": "80", "wss": "443",
	}[broker.Scheme]
	if !ok || broker.Hostname() == "" {
		return fmt.Errorf("mqtt: broker %q: want tcp://, ssl://, ws:// or wss:// with a host", broker.Redacted())
	}
	if broker.User != nil {
		return errors.New("mqtt: broker: give user name and password as such, not in the URL")
	}
	if broker.Port() == "" {
		broker.Host += ":" + port
	}
	return nil
}
