package websocket

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Subprotocol is the WebSocket subprotocol of USP records (TR-369 R-WS.9).
const Subprotocol = "v1.usp"

// Config says where and how a Server listens and what it connects to. Zero values
// have the defaults named.
type Config struct {
	Listen string      // host:port; "": nobody connects to us
	Path   string      // "/usp": any agent; "/usp/<endpoint-id>": that agent
	TLS    *tls.Config // nil: no TLS

	// ErrorLog is told of failed handshakes as by net/http; nil: Log, at debug.
	ErrorLog *log.Logger

	MaxRecord  int // bytes of the largest record accepted; 5 MiB
	MaxConns   int // connections open at once; 50,000
	MaxPending int // bytes of records waiting for one slow connection; 4 × MaxRecord

	PingInterval time.Duration // silence after which a Ping is sent (R-WS.18); 30 s
	PongTimeout  time.Duration // silence after a Ping that ends the connection; 20 s
	WriteTimeout time.Duration // for one record to leave; 10 s

	// Identity judges who is at the other end; nil: peers are who they say.
	Identity Identity
	// RequireProof refuses peers that do not prove who they are.
	RequireProof bool

	// Token makes a connection that shows it as "Authorization: Bearer …"
	// Trusted, wherever it comes from. Empty: only loopback is.
	Token string
	// Origins are the values of the Origin header accepted besides the
	// server's own: the web pages that may connect. Other programs send none.
	Origins []string

	Client ClientConfig // connections that hosted agents open to controllers

	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
}

func (c *Config) complete() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil && c.Listen != "" {
		return fmt.Errorf("websocket: listen address %q: %w", c.Listen, err)
	}
	if c.Path == "" {
		c.Path = "/usp"
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#%{}") {
		return fmt.Errorf("websocket: path %q: want an absolute path without escapes", c.Path)
	}
	c.Path = strings.TrimRight(c.Path, "/")
	if c.MaxRecord < 0 || c.MaxConns < 0 || c.MaxPending < 0 || c.PingInterval < 0 || c.PongTimeout < 0 || c.WriteTimeout < 0 {
		return errors.New("websocket: a negative limit; leave it 0 for the default")
	}
	orDefault(&c.MaxRecord, 5<<20)
	orDefault(&c.MaxConns, 50_000)
	orDefault(&c.MaxPending, 4*c.MaxRecord)
	orDefault(&c.PingInterval, 30*time.Second)
	orDefault(&c.PongTimeout, 20*time.Second)
	orDefault(&c.WriteTimeout, 10*time.Second)
	if c.RequireProof && (c.TLS == nil || c.Identity == nil) {
		return errors.New("websocket: peers are to prove who they are, which takes TLS and an Identity")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.ErrorLog == nil {
		c.ErrorLog = slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug)
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
