package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// What controllers have set of the connections of agents (objects_broker.go) is in
// the agents' rows. It goes to the transports when it has changed, behind the
// answer, which may go over the very connection; and at start, for the agents that
// an index in the store names.

// Broker is what the operator has configured of a transport over a broker, for
// agents to show.
type Broker struct {
	Host       string
	Port       int
	Encrypted  bool
	Transport  string   // MQTT: TCP/IP, TLS, WebSocket or WebSocketTLS
	Transports []string // of which that is one
	Version    string   // of MQTT
	Versions   []string
	Username   string // with {endpoint_id} for the agent's
	QoS        byte
	// Shared are the settings of a connection that all agents share.
	Shared mtp.Settings

	RetryFirst, RetryMost time.Duration // the wait after a first failure, and the longest
	RetryMultiplier       int           // thousandths
}

// perEndpoint returns the transport of an MTP row if agents have connections of
// their own over it.
func (h *Host) perEndpoint(row uint32) mtp.PerEndpoint {
	t, _ := h.transportAt(row).(mtp.PerEndpoint)
	return t
}

// connectionOf tells how an agent's connection over the transport of an MTP row
// stands; ok is false if it has none.
func (h *Host) connectionOf(row uint32, id usp.EndpointID) (c mtp.Connection, ok bool) {
	if own := h.perEndpoint(row); own != nil {
		return own.Connection(id)
	}
	t := h.transportAt(row)
	if t == nil {
		return c, false
	}
	s, d := t.Status(), h.defaultSettings(row, id)
	return mtp.Connection{Up: s.Up, LastError: s.LastError, Trouble: s.Trouble, ClientID: d.ClientID, Inbox: d.Inbox, Incoming: d.HeartbeatExpect, Outgoing: d.HeartbeatOutgoing}, true
}

// misconfigured tells why the connection of an MTP row cannot have the settings of a
// state; nil if it can.
func (h *Host) misconfigured(s *state, id usp.EndpointID, row uint32) error {
	if own := h.perEndpoint(row); own != nil {
		return own.Check(h.settingsOf(s, id, row))
	}
	return nil
}

// connectionCheck refuses a change of a row with which its connection could not work.
func connectionCheck(c *rowChange) error {
	row := c.key.inst.At(0)
	if c.tx.host.perEndpoint(row) == nil {
		return nil
	}
	after := c.tx.next.edit()
	after.rows[c.key] = c.row
	if err := c.tx.host.misconfigured(after, c.tx.a.id, row); err != nil {
		return usp.Errorf(usp.ErrInvalidConfiguration, "", "the connection would not work: %w", err)
	}
	return nil
}

// defaultSettings returns the settings that an agent's connection has if no
// controller has changed them.
func (h *Host) defaultSettings(row uint32, id usp.EndpointID) mtp.Settings {
	if own := h.perEndpoint(row); own != nil {
		return own.Defaults(id)
	}
	t := h.transportAt(row)
	if t == nil {
		return mtp.Settings{}
	}
	s, a := h.cfg.Brokers[t.Protocol()].Shared, h.cfg.AgentAddress(t.Protocol(), id)
	if s.Inbox = a.Topic; t.Protocol() == mtp.STOMP {
		s.Inbox = a.Destination
	}
	return s
}

// settingsOf returns the settings of an agent's connection as its state has them.
func (h *Host) settingsOf(s *state, id usp.EndpointID, row uint32) mtp.Settings {
	out := h.defaultSettings(row, id)
	t := h.transportAt(row)
	if t == nil {
		return out
	}
	set := func(k rowKey, rel string, take func(value string)) {
		if p := k.class.byName[rel]; s.value(p, k.inst) != p.def {
			take(s.value(p, k.inst))
		}
	}
	listens := rowKey{h.spec.classAt(mtpTable), dm.Inst(row)}
	switch t.Protocol() {
	case mtp.MQTT:
		k := rowKey{h.spec.classAt(mqttClient), dm.Inst(row)}
		out.Disabled = s.named(k, "Enable") != "true"
		set(listens, "MQTT.ResponseTopicConfigured", func(v string) { out.Inbox = v })
		set(k, "ClientID", func(v string) { out.ClientID = v })
		set(k, "CleanStart", func(v string) { out.CleanStart = v == "true" })
		set(k, "KeepAliveTime", func(v string) { out.KeepAlive = time.Duration(number(v)) * time.Second })
		out.Subscriptions, out.UserProperties = h.topicsOf(s, k.inst), h.userPropertiesOf(s, k.inst)
	case mtp.STOMP:
		k := rowKey{h.spec.classAt(stompConnection), dm.Inst(row)}
		out.Disabled = s.named(k, "Enable") != "true"
		set(listens, "STOMP.Destination", func(v string) { out.Inbox = v })
		set(k, "VirtualHost", func(v string) { out.VirtualHost = v })
		set(k, "OutgoingHeartbeat", func(v string) { out.HeartbeatOutgoing = time.Duration(number(v)) * time.Millisecond })
		set(k, "IncomingHeartbeat", func(v string) { out.HeartbeatExpect = time.Duration(number(v)) * time.Millisecond })
		beats := heartbeats(h.defaultSettings(row, id))
		set(k, "EnableHeartbeats", func(v string) { beats = v == "true" })
		if !beats { // R-STOMP.9
			out.HeartbeatOutgoing, out.HeartbeatExpect = 0, 0
		}
	}
	return out
}

// heartbeats reports whether a connection has any.
func heartbeats(s mtp.Settings) bool { return s.HeartbeatOutgoing > 0 || s.HeartbeatExpect > 0 }

// topicsOf returns the enabled subscriptions of a client.
func (h *Host) topicsOf(s *state, client dm.Instance) (list []mtp.Subscription) {
	class := h.spec.classAt(mqttSubscription)
	for _, n := range s.index(h.spec).tables[rowKey{class, client}] {
		k := rowKey{class, client.Append(n)}
		if s.named(k, "Enable") == "true" {
			list = append(list, mtp.Subscription{Topic: s.named(k, "Topic"), QoS: byte(number(s.named(k, "QoS")))})
		}
	}
	return list
}

// userPropertiesOf returns the enabled user properties of a client.
func (h *Host) userPropertiesOf(s *state, client dm.Instance) (list []mtp.UserProperty) {
	class := h.spec.classAt(mqttUserProperty)
	for _, n := range s.index(h.spec).tables[rowKey{class, client}] {
		k := rowKey{class, client.Append(n)}
		if s.named(k, "Enable") == "true" {
			list = append(list, mtp.UserProperty{Name: s.named(k, "Name"), Value: s.named(k, "Value"), Packets: splitList(s.named(k, "PacketType"))})
		}
	}
	return list
}

// configures reports whether the rows of a class configure connections.
func (c *class) configures() bool {
	return c.path == mqttClient || c.path == stompConnection || c.path == mtpTable || c.belongsToClient()
}

// belongsToClient reports whether the rows of a class are of the connection of the row
// that they lie in.
func (c *class) belongsToClient() bool {
	return c.path == mqttSubscription || c.path == mqttUserProperty
}

// reconnects reports whether a txn changes what connections are configured by. Only
// those of transports that give each agent its own can be changed.
func (h *Host) reconnects(tx *txn) bool {
	if tx.base == tx.next || !h.spec.brokers.mqtt.own && !h.spec.brokers.stomp.own {
		return false
	}
	return slices.ContainsFunc(h.spec.classes, func(c *class) bool { return c.configures() && h.touched(tx, c) })
}

// outdated reports whether a stored row configures a connection that agents do not
// have, or have no more: the transport is another, or carries all of them.
func (h *Host) outdated(k rowKey) bool {
	return k.class.configures() && (h.perEndpoint(k.inst.At(0)) == nil || !k.class.belongsToClient() && h.seed.rows[k] == nil)
}

// connectionsOwner owns the records of the agents whose connections controllers
// have configured.
const connectionsOwner = "agent connections"

func connectionsKey(id usp.EndpointID) store.Key {
	return store.Key{Kind: store.Meta, Owner: connectionsOwner, Name: string(id)}
}

// applyConnections gives the transports the settings that an agent's connections
// have by now.
func (h *Host) applyConnections(a *agent) {
	a.connecting.Lock()
	defer a.connecting.Unlock()
	for i := range h.cfg.Transports {
		row := uint32(i + 1)
		own := h.perEndpoint(row)
		if own == nil {
			continue
		}
		if err := own.Configure(a.id, h.settingsOf(a.state.Load(), a.id, row)); err != nil {
			h.log.Error("settings of an agent's connection do not work; it keeps those it has", "agent", a.id, "protocol", h.cfg.Transports[i].Protocol(), "error", err)
		}
	}
}

// restoreConnections does what applyConnections does for all agents, at start.
func (h *Host) restoreConnections(ctx context.Context) error {
	var ids []usp.EndpointID
	err := h.cfg.Store.Scan(ctx, store.Query{Kind: store.Meta, Owner: connectionsOwner, WholeOwner: true}, func(k store.Key, _ []byte) bool {
		ids = append(ids, usp.EndpointID(k.Name))
		return true
	})
	if err != nil {
		return fmt.Errorf("agent: settings of connections: %w", err)
	}
	for _, id := range ids {
		a, failed := h.agents.acquire(ctx, id)
		if failed != nil { // the others are not to suffer from it
			h.log.Error("an agent's connections are not as they were set", "agent", id, "error", failed)
			continue
		}
		h.applyConnections(a)
		h.agents.release(a)
	}
	return nil
}
