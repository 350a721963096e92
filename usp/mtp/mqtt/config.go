package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Config says which broker to use and how. Zero values have the defaults named;
// Broker and Topic have none.
type Config struct {
	Broker  string // tcp://, mqtt://, ssl://, tls://, mqtts://, ws:// or wss:// host:port
	Version string // "5.0", the only one (R-MQTT.1)
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
	ClientID string // empty: the broker assigns one, which is kept while this program runs (R-MQTT.8, R-MQTT.9)
	TLS      *tls.Config

	KeepAlive     time.Duration // whole seconds, at most 65,535; 60 s (R-MQTT.14)
	SessionExpiry time.Duration // how long the broker keeps what arrives while we are away; 5 min
	Timeout       time.Duration // for connecting and for each answer of the broker; 10 s
	Backoff       mtp.Backoff   // between tries to connect (R-MQTT.10, R-MQTT.33)
	MaxRecord     int           // bytes; 5 MiB

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (c *Config) complete() (broker *url.URL, topic mtp.Template, err error) {
	if broker, err = url.Parse(c.Broker); err != nil {
		return nil, topic, fmt.Errorf("mqtt: broker: %w", err)
	}
	if err := setPort(broker); err != nil {
		return nil, topic, err
	}
	if c.Version != "" && c.Version != "5.0" && c.Version != "5" {
		return nil, topic, fmt.Errorf("mqtt: version %q: only 5.0 is spoken", c.Version)
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
	if c.Endpoint == "" {
		c.Endpoint = "self::uspbridge"
	}
	if err := c.Endpoint.Validate(); err != nil {
		return nil, topic, fmt.Errorf("mqtt: %w", err)
	}
	if c.KeepAlive < 0 || c.KeepAlive > 65535*time.Second || c.SessionExpiry < 0 || c.Timeout < 0 || c.MaxRecord < 0 {
		return nil, topic, errors.New("mqtt: a time or size is out of range")
	}
	c.defaults()
	return broker, topic, nil
}

func (c *Config) defaults() {
	for _, d := range []struct{ v, def *time.Duration }{
		{&c.KeepAlive, new(time.Minute)}, {&c.SessionExpiry, new(5 * time.Minute)}, {&c.Timeout, new(10 * time.Second)},
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
