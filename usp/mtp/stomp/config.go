package stomp

import (
	"context"
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

// Config says which STOMP server to use and how. Zero values have the defaults
// named; Broker and Destination have none.
type Config struct {
	Broker string // tcp://, stomp://, ssl://, tls:// or stomps:// host:port
	// Destination is where the hosted endpoints listen. With {endpoint_id} each
	// has its own, subscribed to when Host names it; without it all share one.
	Destination string

	Endpoint usp.EndpointID // who this program is on the server (R-STOMP.4); self::uspbridge
	Login    string         // R-STOMP.3
	Passcode string
	Host     string // virtual host (R-STOMP.5); the broker's host name. RabbitMQ wants "/".
	TLS      *tls.Config
	// Certificate returns the client certificate of an endpoint; nil: that of TLS.
	Certificate func(context.Context, usp.EndpointID) (*tls.Certificate, error)

	HeartBeat time.Duration // what is offered and asked for (R-STOMP.8); 30 s, negative for none
	Timeout   time.Duration // for connecting and for the server to take what is written; 10 s
	Hold      time.Duration // how long what the server has not confirmed is kept and sent again; 2 min
	Backoff   mtp.Backoff   // between tries to connect (R-STOMP.7, R-STOMP.25)
	MaxRecord int           // bytes; 5 MiB

	Log        *slog.Logger
	Registerer prometheus.Registerer

	single *single
}

// single is what is different for the connection of one agent among many.
type single struct {
	settings mtp.Settings
	meter    *mtp.Meter
	gate     mtp.Gate
}

func (c *Config) complete() (broker *url.URL, dest mtp.Template, err error) {
	if broker, err = url.Parse(c.Broker); err != nil {
		return nil, dest, fmt.Errorf("stomp: broker: %w", err)
	}
	if err := setPort(broker); err != nil {
		return nil, dest, err
	}
	if dest, err = mtp.ParseTemplate(c.Destination); err != nil { // R-STOMP.16
		return nil, dest, fmt.Errorf("stomp: destination: %w", err)
	}
	for name, v := range map[string]string{"login": c.Login, "passcode": c.Passcode, "host": c.Host} {
		if strings.ContainsAny(v, "\r\n\x00") {
			return nil, dest, fmt.Errorf("stomp: %s has a line end in it", name)
		}
	}
	if c.Endpoint == "" {
		c.Endpoint = "self::uspbridge"
	}
	if err := c.Endpoint.Validate(); err != nil {
		return nil, dest, fmt.Errorf("stomp: %w", err)
	}
	if c.Timeout < 0 || c.Hold < 0 || c.MaxRecord < 0 {
		return nil, dest, errors.New("stomp: a time or size is negative; leave it 0 for the default")
	}
	c.defaults(broker)
	return broker, dest, nil
}

func (c *Config) defaults(broker *url.URL) {
	if c.Host == "" {
		c.Host = broker.Hostname()
	}
	if c.HeartBeat == 0 {
		c.HeartBeat = 30 * time.Second
	}
	c.HeartBeat = max(c.HeartBeat, 0)
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Hold == 0 {
		c.Hold = 2 * time.Minute
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
	port, ok := map[string]string{"tcp": "61613", "stomp": "61613", "ssl": "61614", "tls": "61614", "stomps": "61614"}[broker.Scheme]
	if !ok || broker.Hostname() == "" {
		return fmt.Errorf("stomp: broker %q: want tcp:// or ssl:// with a host", broker.Redacted())
	}
	if broker.User != nil {
		return errors.New("stomp: broker: give login and passcode as such, not in the URL")
	}
	if broker.Port() == "" {
		broker.Host += ":" + port
	}
	return nil
}

// secure tells whether the scheme asks for TLS.
func secure(broker *url.URL) bool { return broker.Scheme != "tcp" && broker.Scheme != "stomp" }
