package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// BuiltinController is the endpoint id of the command line. It is accepted over
// trusted connections only, has full access, and is in no Controller table.
const BuiltinController usp.EndpointID = "self::uspbridge-cli"

// The roles every agent starts with.
const (
	FullAccess = "Full Access"
	Untrusted  = "Untrusted"
)

// ErrUnknownEndpoint is returned by Devices for an endpoint that is not hosted
// here.
var ErrUnknownEndpoint = errors.New("no such endpoint is hosted here")

// Devices finds the device behind a hosted endpoint.
type Devices interface {
	// Model returns the device's Model and what it says of itself. It is
	// called for every message, so it must be quick when the device is in
	// memory. It fails with ErrUnknownEndpoint for an endpoint not hosted.
	Model(ctx context.Context, id usp.EndpointID) (Model, Identity, error)
}

// Identity is what a device says of itself, for OnBoardRequest (TR-369
// R-NOT.5) and Device.LocalAgent.
type Identity struct {
	OUI             string
	ProductClass    string
	SerialNumber    string
	SoftwareVersion string
}

// ControllerConfig is one row of the Controller table that every agent starts
// with.
type ControllerConfig struct {
	EndpointID usp.EndpointID
	Role       string // FullAccess (default), Untrusted or one of Config.Roles
	// MTP is how the controller is reached. Zero: it connects to us.
	MTP     mtp.Address
	Session SessionPolicy
}

// Limits bounds what peers can make an agent do. Zero fields get defaults.
type Limits struct {
	Workers        int // messages handled at once, and notifications sent at once (default 1024)
	AgentWorkers   int // of these, for one agent, and three quarters of them for one sender (default 8)
	AgentQueue     int // messages waiting or running for one agent, and three quarters of them of one sender; more are answered 7005 (default 64)
	Agents         int // agents kept in memory (default 4096)
	Paths          int // paths in one message (default 1000)
	Matches        int // elements one message may match (default 50000)
	Rows           int // rows in one of an agent's own tables (default 256)
	Value          int // bytes in one value of an agent's own objects (default 65535)
	Operations     int // asynchronous operations running at once (default 4096)
	AgentOperation int // of these, on one agent (default 16)
	Notifications  int // notifications that wait for their NotifyResp, per agent (default 1000)
}

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Workers, 1024}, {&l.AgentWorkers, 8}, {&l.AgentQueue, 64}, {&l.Agents, 4096},
		{&l.Paths, 1000}, {&l.Matches, 50000}, {&l.Rows, 256}, {&l.Value, 65535},
		{&l.Operations, 4096}, {&l.AgentOperation, 16}, {&l.Notifications, 1000},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
}

// Config is what a Host needs. Fields without a default are required.
type Config struct {
	Store       store.Store
	Devices     Devices
	Transports  []mtp.Transport
	Controllers []ControllerConfig
	Roles       []RoleConfig
	Challenges  []ChallengeConfig

	// Sealer encrypts the agents' secured values in the store; nil leaves them as
	// they are.
	Sealer store.Sealer

	// Identity is who agents are and who their peers are; nil: certificates count
	// for nothing.
	Identity Credentials
	// Senders is what the transports' word for senders is worth (default Claimed).
	Senders map[mtp.Protocol]Belief
	// FirstUse lets unknown controllers with certificates that nobody vouches for
	// become untrusted ones (ControllerTrust.TOFUAllowed).
	FirstUse bool
	// Sessions are those with controllers in session contexts.
	Sessions SessionConfig

	// BuiltinController speaks for the command line (default BuiltinController).
	BuiltinController usp.EndpointID

	// Known returns the agents that are hosted when Run begins; nil: none. It is
	// asked if the configured controllers are ones that agents connect to.
	Known func(ctx context.Context) ([]usp.EndpointID, error)

	// Deadline ends what may have to ask a device (default 30 s).
	Deadline time.Duration
	// AgentAddress returns an agent's own address on a transport: its topic or
	// destination. nil: agents have none.
	AgentAddress func(protocol mtp.Protocol, id usp.EndpointID) mtp.Address
	// Brokers are what the transports over brokers are configured with.
	Brokers map[mtp.Protocol]Broker

	Limits     Limits
	Bulk       BulkConfig
	Log        *slog.Logger
	Now        func() time.Time // default time.Now
	Registerer prometheus.Registerer
}

// maxSeeded bounds the rows with which a table starts; rows added later have
// larger instance numbers, so that a changed configuration never meets one of
// them.
const maxSeeded = 100

func (c *Config) validate() error {
	if c.Store == nil || c.Devices == nil {
		return errors.New("agent: Store and Devices are required")
	}
	if c.BuiltinController == "" {
		c.BuiltinController = BuiltinController
	}
	if c.Deadline <= 0 {
		c.Deadline = 30 * time.Second
	}
	if c.AgentAddress == nil {
		c.AgentAddress = func(p mtp.Protocol, _ usp.EndpointID) mtp.Address { return mtp.Address{Protocol: p} }
	}
	if c.Known == nil {
		c.Known = func(context.Context) ([]usp.EndpointID, error) { return nil, nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Limits.setDefaults()
	c.Bulk.setDefaults()
	for _, check := range []func() error{c.validateRoles, c.validateChallenges, c.validateControllers} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateControllers() error {
	if len(c.Controllers) > maxSeeded {
		return fmt.Errorf("agent: %d controllers are configured, at most %d can be", len(c.Controllers), maxSeeded)
	}
	roles := c.roleNames()
	seen := map[usp.EndpointID]bool{c.BuiltinController: true}
	for i := range c.Controllers {
		ctl := &c.Controllers[i]
		if err := ctl.EndpointID.Validate(); err != nil {
			return fmt.Errorf("agent: controller %d: %w", i+1, err)
		}
		if seen[ctl.EndpointID] {
			return fmt.Errorf("agent: controller %d: endpoint id %s is there twice or reserved", i+1, ctl.EndpointID)
		}
		seen[ctl.EndpointID] = true
		if ctl.Role == "" {
			ctl.Role = FullAccess
		}
		if !roles[ctl.Role] {
			return fmt.Errorf("agent: controller %s: unknown role %q: want %q, %q or a configured one", ctl.EndpointID, ctl.Role, FullAccess, Untrusted)
		}
		if err := ctl.validateSession(c.Identity); err != nil {
			return err
		}
		switch ctl.MTP.Protocol {
		case "", mtp.WebSocket, mtp.MQTT, mtp.STOMP, mtp.UDS, mtp.CoAP:
		default:
			return fmt.Errorf("agent: controller %s: protocol %q: want WebSocket, MQTT, STOMP, UDS or CoAP", ctl.EndpointID, ctl.MTP.Protocol)
		}
	}
	return nil
}
