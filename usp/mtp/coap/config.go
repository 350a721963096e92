package coap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The ports of RFC 7252 6.1 and 6.2.
const (
	Port       = 5683
	SecurePort = 5684
)

// Config says where a Transport listens. Zero values have the defaults named;
// Listen has none.
type Config struct {
	Listen string // host:port, UDP
	Path   string // "/usp": any agent; "/usp/<endpoint-id>": that agent
	// Address is the host and port that peers are told to answer to; "": the
	// address of this machine that a peer is reached from, and Listen's port.
	Address string
	// AnyReply accepts a reply-to with another host than the request comes from.
	// Without it nobody can have us send to a third party.
	AnyReply bool

	Secure bool // Listen speaks DTLS (R-COAP.14, R-COAP.16)
	// Certificates are shown to peers, in both roles.
	Certificates []tls.Certificate
	// Roots are the CAs of peers. A peer that connects to a listener with DTLS must
	// have a certificate of one of them, unless Roots is nil; then controllers that
	// are connected to must have one of the system's CAs.
	Roots *x509.CertPool

	MaxRecord int // bytes of the largest record accepted; 1 MiB
	MaxPeers  int // source addresses remembered at once; 1024
	Requests  int // messages taken in a second, of all; 2000
	PeerShare int // of these, of one source; 500

	Timeout time.Duration // for one exchange (R-COAP.9); 45 s, MAX_TRANSMIT_SPAN of RFC 7252 4.8.2
	Idle    time.Duration // after which a source is forgotten, and its duplicates are not known any more; 60 s

	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
}

func (c *Config) complete() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("coap: listen address %q: %w", c.Listen, err)
	}
	if c.Path == "" {
		c.Path = "/usp"
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#%{}") {
		return fmt.Errorf("coap: path %q: want an absolute path without escapes", c.Path)
	}
	c.Path = strings.TrimRight(c.Path, "/")
	if c.Address != "" {
		if _, _, err := net.SplitHostPort(c.Address); err != nil {
			return fmt.Errorf("coap: address %q: %w", c.Address, err)
		}
	}
	if c.Secure && len(c.Certificates) == 0 {
		return errors.New("coap: a listener with DTLS needs a certificate (R-COAP.16)")
	}
	if c.MaxRecord < 0 || c.MaxPeers < 0 || c.Requests < 0 || c.PeerShare < 0 || c.Timeout < 0 || c.Idle < 0 {
		return errors.New("coap: a negative limit; leave it 0 for the default")
	}
	orDefault(&c.MaxRecord, 1<<20)
	orDefault(&c.MaxPeers, 1024)
	orDefault(&c.Requests, 2000)
	orDefault(&c.PeerShare, 500)
	orDefault(&c.Timeout, 45*time.Second)
	orDefault(&c.Idle, 60*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
