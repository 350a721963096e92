package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Config is what a Relay needs. Next, Transports, Store, Claims and Policy are
// required.
type Config struct {
	Next       mtp.Handler // takes what is not relayed: the hosted agents
	Transports []mtp.Transport
	Store      store.Store
	Claims     Claims
	Policy     *Policy

	// Controllers are the endpoints known to be controllers, with the address
	// configured for each; zero for one that connects to us.
	Controllers map[usp.EndpointID]mtp.Address
	// Agents are patterns of the endpoints that are native agents. Without one
	// whoever is no known controller is an agent once it has sent a record to one.
	Agents []string
	// Routes are where endpoints are reached that have not been heard. One with a URL
	// on a transport that opens sessions is a controller, as is one of Controllers.
	Routes map[usp.EndpointID]mtp.Address
	// Inboxes are addresses at a broker, not made from the transport's template,
	// at which the relay listens for endpoints that are reached elsewhere.
	Inboxes []Inbox
	// Owner returns whose inbox an address is by the transports' templates, ""
	// if it is made from none.
	Owner func(mtp.Address) usp.EndpointID
	// Trusted are the transports on which an endpoint is taken at its word
	// although nothing there proves who it is.
	Trusted []mtp.Protocol
	// Reserved is an endpoint id that is not relayed, in either direction: the
	// command line's.
	Reserved usp.EndpointID

	// Expiry is how long an endpoint that was heard over a broker is taken to be
	// there (default 24 h). One that is connected is there until that ends.
	Expiry    time.Duration
	Endpoints int // endpoints known at once (default 100,000); further ones are not relayed
	// Sessions is how many are kept at once in the name of native agents (default
	// 25,000, half of what a transport opens if it is not told else): those who claim
	// to be such are not to take all from the hosted agents.
	Sessions int
	// SessionWait is how long a record waits for one that is being opened (default
	// 15 s: behind a controller that restarts it is the time to a second try, R-WS.19).
	SessionWait time.Duration
	Hold        HoldConfig

	Log        *slog.Logger
	Now        func() time.Time // default time.Now
	Registerer prometheus.Registerer
}

// Inbox is where records for an endpoint arrive that is reached elsewhere.
type Inbox struct {
	Endpoint usp.EndpointID
	At       mtp.Address
}

// HoldConfig is how records for native agents that sleep are kept. Zero bounds
// have defaults.
type HoldConfig struct {
	Enabled      bool
	Expiry       time.Duration // 24 h
	Records      int           // for one agent; 100
	Bytes        int           // for one agent; 1 MiB
	TotalRecords int           // 10,000
	TotalBytes   int           // 64 MiB
}

func (c *Config) complete() error {
	if c.Next == nil || c.Store == nil || c.Claims == nil || c.Policy == nil {
		return errors.New("relay: Next, Store, Claims and Policy are required")
	}
	for _, pattern := range c.Agents {
		if err := CheckPattern(pattern); err != nil {
			return fmt.Errorf("relay: agents: %w", err)
		}
	}
	if c.Owner == nil {
		c.Owner = func(mtp.Address) usp.EndpointID { return "" }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	orDefault(&c.Expiry, 24*time.Hour)
	orDefault(&c.Endpoints, 100_000)
	orDefault(&c.Sessions, 25_000)
	orDefault(&c.SessionWait, 15*time.Second)
	orDefault(&c.Hold.Expiry, 24*time.Hour)
	orDefault(&c.Hold.Records, 100)
	orDefault(&c.Hold.Bytes, 1<<20)
	orDefault(&c.Hold.TotalRecords, 10_000)
	orDefault(&c.Hold.TotalBytes, 64<<20)
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
