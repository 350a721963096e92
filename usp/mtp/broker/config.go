package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
)

// Config says whom a Broker serves and how. Zero values have the defaults named.
type Config struct {
	// AgentTopic is the topic of each agent, with {endpoint_id} as one level.
	AgentTopic string
	// Controllers are the topics of the controllers that have one.
	Controllers map[usp.EndpointID]string
	// Rules give endpoints more topics than their own.
	Rules []Rule

	Accounts Accounts
	// Anonymous lets clients on this machine in without a password, as the
	// endpoint that they say they are. Nobody is told that it is proven.
	Anonymous bool

	TLS      *tls.Config // of the listeners; nil: no TLS
	ErrorLog *log.Logger // of failed handshakes; nil: Log, at debug

	MaxClients     int           // connections open at once; 2,000
	MaxSessions    int           // of one endpoint, open or kept; 8
	MaxRecord      int           // bytes of the largest payload; 5 MiB
	MaxQueue       int           // messages that a session may have unacknowledged; 512, at most 1,000
	MaxPending     int           // bytes waiting for one slow client; 2 × MaxRecord
	SessionExpiry  time.Duration // how long a session is kept at most; 1 h
	KeepAlive      time.Duration // the longest that a client is given (MQTT 5), and that of one without; 10 min
	ConnectTimeout time.Duration // from the TCP connection to CONNECT; 30 s
	WriteTimeout   time.Duration // for a client to take what is written to it; 10 s
	Rates          flood.Rates   // of one endpoint's messages
	// WrongPasswords is how many one address may try; 1 a second, 60 at once, for a
	// site's devices may all come from one.
	WrongPasswords flood.Rates

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Rule gives the endpoints that match a pattern topics to subscribe to and to
// publish on. In Endpoint * stands for any characters and ? for one; in topics
// {endpoint_id} is the endpoint's own id, + and # are MQTT's wildcards.
type Rule struct {
	Endpoint  string
	Subscribe []string
	Publish   []string
}

// Accounts finds what clients log in with.
type Accounts interface {
	// Find returns the account of a user name, or ErrNoAccount.
	Find(ctx context.Context, username string) (Account, error)
}

// ErrNoAccount is the error of Accounts for a name that there is not.
var ErrNoAccount = errors.New("there is no such user of the broker")

// MaxQueue keeps what a session has unacknowledged below mochi's queue for one
// client, beyond which it drops messages.
const MaxQueue = 1000

func (c *Config) complete() (agents mtp.Template, err error) {
	if agents, err = mtp.ParseTemplate(c.AgentTopic); err != nil {
		return agents, fmt.Errorf("broker: topic of agents: %w", err)
	}
	if !agents.PerEndpoint() || !strings.Contains("/"+agents.Expand("\x00")+"/", "/\x00/") {
		return agents, fmt.Errorf("broker: topic of agents %q: each agent needs one of its own, with %s as one level", c.AgentTopic, mtp.EndpointPlaceholder)
	}
	for _, r := range c.Rules {
		if err := r.Check(); err != nil {
			return agents, err
		}
	}
	if c.MaxClients < 0 || c.MaxSessions < 0 || c.MaxRecord < 0 || c.MaxQueue < 0 || c.MaxQueue > MaxQueue || c.MaxPending < 0 ||
		c.SessionExpiry < 0 || c.KeepAlive < 0 || c.KeepAlive > 65535*time.Second || c.ConnectTimeout < 0 || c.WriteTimeout < 0 {
		return agents, errors.New("broker: a time or size is out of range")
	}
	c.defaults()
	return agents, nil
}

func (c *Config) defaults() {
	orDefault(&c.MaxClients, 2000)
	orDefault(&c.MaxSessions, 8)
	orDefault(&c.MaxRecord, 5<<20)
	orDefault(&c.MaxQueue, 512)
	orDefault(&c.MaxPending, 2*c.MaxRecord)
	orDefault(&c.SessionExpiry, time.Hour)
	orDefault(&c.KeepAlive, 10*time.Minute)
	orDefault(&c.ConnectTimeout, 30*time.Second)
	orDefault(&c.WriteTimeout, 10*time.Second)
	if c.WrongPasswords == (flood.Rates{}) {
		c.WrongPasswords = flood.Rates{Records: 1, Burst: 60}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.ErrorLog == nil {
		c.ErrorLog = slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug)
	}
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Check returns what is wrong with a rule.
func (r Rule) Check() error {
	if _, err := path.Match(r.Endpoint, ""); err != nil || r.Endpoint == "" {
		return fmt.Errorf("%q is not a pattern of endpoint ids; write for example os::00259E-*", r.Endpoint)
	}
	if len(r.Subscribe)+len(r.Publish) == 0 {
		return fmt.Errorf("the rule for %s gives no topic to subscribe to or to publish on", r.Endpoint)
	}
	for _, topics := range [][]string{r.Subscribe, r.Publish} {
		for _, t := range topics {
			if err := checkFilter(strings.ReplaceAll(t, mtp.EndpointPlaceholder, "x")); err != nil {
				return err
			}
		}
	}
	return nil
}
