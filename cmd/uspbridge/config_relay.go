package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/relay"
)

// RelayConfig is what native agents and controllers may do through the bridge.
type RelayConfig struct {
	Rules        []RelayRule        `mapstructure:"rules"`
	Agents       []EndpointPattern  `mapstructure:"agents"`
	Routes       []RelayAddress     `mapstructure:"routes"`
	Inboxes      []RelayAddress     `mapstructure:"inboxes"`
	Expiry       Duration           `mapstructure:"expiry"`
	Endpoints    Count              `mapstructure:"endpoints"`
	Sessions     Count              `mapstructure:"sessions"` // 0: half of what the WebSocket client may open
	StoreForward StoreForwardConfig `mapstructure:"store_forward"`
}

// RelayRule lets endpoints that match from write to those that match to.
type RelayRule struct {
	From EndpointPattern `mapstructure:"from"`
	To   EndpointPattern `mapstructure:"to"`
}

// RelayAddress is an address of an endpoint on a transport.
type RelayAddress struct {
	EndpointID string        `mapstructure:"endpoint_id"`
	MTP        ControllerMTP `mapstructure:"mtp"`
}

// StoreForwardConfig is how records for native agents that sleep are kept.
type StoreForwardConfig struct {
	Enabled      Switch   `mapstructure:"enabled"`
	Expiry       Duration `mapstructure:"expiry"`
	Records      Count    `mapstructure:"records"` // for one agent
	Bytes        Size     `mapstructure:"bytes"`
	TotalRecords Count    `mapstructure:"total_records"`
	TotalBytes   Size     `mapstructure:"total_bytes"`
}

func defaultRelay() RelayConfig {
	return RelayConfig{
		Expiry: Duration(24 * time.Hour), Endpoints: 100_000,
		StoreForward: StoreForwardConfig{Expiry: Duration(24 * time.Hour), Records: 100, Bytes: 1 << 20, TotalRecords: 10_000, TotalBytes: 64 << 20},
	}
}

// EndpointPattern is a pattern of endpoint ids.
type EndpointPattern string

// UnmarshalText takes what the relay takes.
func (p *EndpointPattern) UnmarshalText(b []byte) error {
	*p = EndpointPattern(b)
	return relay.CheckPattern(string(b))
}

func (l *configLoader) checkRelay(c USPConfig) {
	const key = "usp.relay."
	for i, r := range c.Relay.Rules {
		if r.From == "" || r.To == "" {
			l.wrong(fmt.Sprintf("%srules[%d]", key, i), `from and to must both be set; write for example {from: "os::00259E-*", to: "proto::controller-*"}`)
		}
	}
	l.checkRelayAddresses(key+"routes", c.Relay.Routes, c.MTP)
	for i, r := range c.Relay.Routes {
		if r.MTP.dialled() && c.Relay.isAgent(r.EndpointID) {
			l.wrong(fmt.Sprintf("%sroutes[%d].mtp.url", key, i), "the bridge opens sessions to controllers, and by usp.relay.agents this is an agent, which connects to the bridge; leave the route out")
		}
	}
	if most := c.MTP.WebSocket.Client.MaxConnections; c.Relay.Sessions > most {
		l.wrong(key+"sessions", "is more than usp.mtp.websocket.client.max_connections, %d, which bridged agents share", most)
	}
	l.checkRelayAddresses(key+"inboxes", c.Relay.Inboxes, c.MTP)
	l.checkInboxes(c)
	for name, zero := range map[string]bool{
		"expiry": c.Relay.Expiry == 0, "endpoints": c.Relay.Endpoints == 0,
		"store_forward.expiry": c.Relay.StoreForward.Expiry == 0, "store_forward.records": c.Relay.StoreForward.Records == 0,
		"store_forward.bytes": c.Relay.StoreForward.Bytes == 0, "store_forward.total_records": c.Relay.StoreForward.TotalRecords == 0,
		"store_forward.total_bytes": c.Relay.StoreForward.TotalBytes == 0,
	} {
		if zero {
			l.wrong(key+name, "must be more than 0")
		}
	}
}

// relaySessions is how many sessions are kept in the name of native agents. Others who
// claim to be such are not to take all that there may be from bridged ones.
func (c USPConfig) relaySessions() int {
	if c.Relay.Sessions > 0 {
		return int(c.Relay.Sessions)
	}
	return max(int(c.MTP.WebSocket.Client.MaxConnections)/2, 1)
}

// isAgent reports whether one of the patterns of native agents is an endpoint's.
func (c RelayConfig) isAgent(id string) bool {
	return slices.ContainsFunc(c.Agents, func(p EndpointPattern) bool { return relay.Matches(string(p), usp.EndpointID(id)) })
}

// dialled reports whether a controller is reached by sessions that the bridge opens.
func (m ControllerMTP) dialled() bool {
	return m.URL != "" && (m.Protocol == Protocol(mtp.WebSocket) || m.Protocol == Protocol(mtp.UDS))
}

func (l *configLoader) checkRelayAddresses(key string, all []RelayAddress, transports MTPConfig) {
	for i, a := range all {
		at := fmt.Sprintf("%s[%d]", key, i)
		if err := usp.EndpointID(a.EndpointID).Validate(); err != nil {
			l.invalid(at+".endpoint_id", "%v", err)
		}
		if a.MTP.Protocol == "" {
			l.wrong(at+".mtp.protocol", "must not be empty")
			continue
		}
		l.checkControllerMTP(at+".mtp", a.MTP, transports)
	}
}

// checkInboxes refuses addresses at which the bridge would hear what it sends, or
// hears already.
func (l *configLoader) checkInboxes(c USPConfig) {
	fixed := map[ControllerMTP]string{}
	for i, r := range c.Relay.Routes {
		fixed[r.MTP] = fmt.Sprintf("usp.relay.routes[%d]", i)
	}
	for i, ctl := range c.Controllers {
		fixed[ctl.MTP] = fmt.Sprintf("usp.controllers[%d]", i)
	}
	owner := c.MTP.inboxOwner()
	seen := map[ControllerMTP]bool{}
	for i, a := range c.Relay.Inboxes {
		key := fmt.Sprintf("usp.relay.inboxes[%d].mtp", i)
		switch where, taken := fixed[a.MTP]; {
		case a.MTP.Protocol != Protocol(mtp.MQTT) && a.MTP.Protocol != Protocol(mtp.STOMP) && a.MTP.Protocol != "":
			l.wrong(key+".protocol", "an inbox is at a broker: use MQTT or STOMP")
		case taken:
			l.wrong(key, "is where records are sent to by %s: the bridge would hear what it sends", where)
		case owner(a.MTP.address()) != "":
			l.wrong(key, "is made from the template of the transport, where the bridge listens anyway; leave it out")
		case seen[a.MTP]:
			l.wrong(key, "is there twice")
		}
		seen[a.MTP] = true
	}
}

// address returns where a controller is reached.
func (m ControllerMTP) address() mtp.Address {
	return mtp.Address{Protocol: mtp.Protocol(m.Protocol), Topic: m.Topic, Destination: m.Destination, URL: m.URL}
}
