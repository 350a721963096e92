package agent

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Bounds of what a controller may add to one agent's connection.
const (
	maxTopicSubscriptions = 100
	maxUserProperties     = 32
)

func mqttObjects(k brokerKind) []objectDecl {
	if !k.there {
		return nil
	}
	of := func(name string, typ dm.Type, get func(b Broker) string) paramDecl {
		return ofBroker(name, typ, mtp.MQTT, get)
	}
	return []objectDecl{
		{path: mqttObject, params: []paramDecl{entries("Client", mqttClient)}},
		{path: mqttObject + "Capabilities.", params: []paramDecl{
			of("ProtocolVersionsSupported", dm.TypeString, func(b Broker) string { return strings.Join(b.Versions, ",") }),
			of("TransportProtocolSupported", dm.TypeString, func(b Broker) string { return strings.Join(b.Transports, ",") }),
			computed("MaxNumberOfClientSubscriptions", dm.TypeUnsignedInt, func(*view, dm.Instance) string { return strconv.Itoa(maxTopicSubscriptions) }),
		}},
		{path: mqttClient, kind: store.AgentState, fixed: [][]string{{"Alias"}}, check: connectionCheck, params: []paramDecl{
			alias(), k.enable(),
			{name: "Name", typ: dm.TypeString, def: "USP"},
			computed("Status", dm.TypeString, mqttStatus),
			of("ProtocolVersion", dm.TypeString, func(b Broker) string { return b.Version }),
			of("BrokerAddress", dm.TypeString, func(b Broker) string { return b.Host }),
			of("BrokerPort", dm.TypeUnsignedInt, func(b Broker) string { return strconv.Itoa(b.Port) }),
			of("TransportProtocol", dm.TypeString, func(b Broker) string { return b.Transport }),
			computed("CleanSession", dm.TypeBoolean, func(v *view, inst dm.Instance) string {
				return strconv.FormatBool(v.host.settingsOf(v.state, v.id, inst.At(0)).CleanStart)
			}),
			k.setting("CleanStart", dm.TypeBoolean, nil, orDefault(func(s mtp.Settings) string { return strconv.FormatBool(s.CleanStart) })),
			k.setting("KeepAliveTime", dm.TypeUnsignedInt, span(0, math.MaxUint16), orDefault(func(s mtp.Settings) string { return seconds(s.KeepAlive) })),
			k.setting("ClientID", dm.TypeString, noNUL, func(v *view, inst dm.Instance, value string, set bool) string {
				if c, ok := v.host.connectionOf(inst.At(0), v.id); ok && c.ClientID != "" {
					return c.ClientID // the broker may have assigned it (R-MQTT.9)
				} else if set {
					return value
				}
				return v.host.defaultSettings(inst.At(0), v.id).ClientID
			}),
			computed("Username", dm.TypeString, username(mtp.MQTT)),
			{name: "Password", typ: dm.TypeString, secured: true},
			constantNumber("MessageRetryTime", 5),
			of("ConnectRetryTime", dm.TypeUnsignedInt, func(b Broker) string { return seconds(b.RetryFirst) }),
			of("ConnectRetryIntervalMultiplier", dm.TypeUnsignedInt, func(b Broker) string { return strconv.Itoa(b.RetryMultiplier) }),
			of("ConnectRetryMaxInterval", dm.TypeUnsignedInt, func(b Broker) string { return seconds(b.RetryMost) }),
			computed("ResponseInformation", dm.TypeString, fromServer),
			entries("Subscription", mqttSubscription), entries("UserProperty", mqttUserProperty),
		}, commands: []commandDecl{{name: "ForceReconnect()", run: forceReconnect}}},
		{path: mqttClient + "Stats.", params: mqttStats()},
		mqttSubscriptions(k),
		mqttUserProperties(k),
	}
}

// mqttSubscriptions are topics that a controller has an agent subscribe to,
// beside its own.
func mqttSubscriptions(k brokerKind) objectDecl {
	d := k.clientTable(mqttSubscription, "Topic", "unset/", maxTopicSubscriptions)
	d.params = []paramDecl{
		alias(), boolean("Enable", "false"),
		computed("Status", dm.TypeString, func(v *view, inst dm.Instance) string {
			c, ok := v.host.connectionOf(inst.At(0), v.id)
			if ok && c.Up && v.state.named(rowKey{v.host.spec.classAt(mqttSubscription), inst}, "Enable") == "true" {
				return "Subscribed"
			}
			return "Unsubscribed"
		}),
		text("Topic", "", topicFilter),
		unsigned("QoS", "0", 0, 2),
	}
	return d
}

// mqttUserProperties are what a controller has an agent say in packets, beside what
// USP does.
func mqttUserProperties(k brokerKind) objectDecl {
	d := k.clientTable(mqttUserProperty, "Name", "unset-", maxUserProperties)
	d.params = []paramDecl{
		alias(), boolean("Enable", "false"),
		text("Name", "", noNUL), text("Value", "", noNUL),
		{name: "PacketType", access: dm.ReadWrite, typ: dm.TypeString, list: true,
			check: oneOf(mtp.ConnectPacket, mtp.WillPacket, mtp.PublishPacket, mtp.SubscribePacket, mtp.UnsubscribePacket, mtp.DisconnectPacket)},
	}
	return d
}

// clientTable is a table inside a client, with rows for controllers to add where the
// connection is the agent's own. Its key must be unique also where it is not given:
// it is then unset and the row's number.
func (k brokerKind) clientTable(path, key, unset string, most int) objectDecl {
	d := objectDecl{
		path: path, kind: store.AgentState, unique: [][]string{{key}}, fixed: [][]string{{"Alias"}}, check: connectionCheck,
		added: func(c *rowChange) error {
			if c.get(key) == "" {
				c.set(key, unset+strconv.FormatUint(uint64(c.key.inst.Last()), 10))
			}
			if n := c.tx.next.count(c.key.class, c.key.inst.Prefix(1)); n >= most {
				return usp.Errorf(usp.ErrResourcesExceeded, "", "the connection has %d rows of %s, the most that it may", n, path)
			}
			return nil
		},
	}
	if k.own {
		d.access = dm.AddDelete
	}
	return d
}

func mqttStatus(v *view, inst dm.Instance) string {
	return v.connectionStatus(inst, "Connected", map[mtp.Trouble]string{
		mtp.Unreachable: "Error_BrokerUnreachable", mtp.Misconfigured: "Error_Misconfigured", mtp.Unauthorized: "Error_Misconfigured",
	})
}

// mqttStats are the counts of an agent's client, or of the one that all share.
func mqttStats() []paramDecl {
	show := func(name string, typ dm.Type, of func(p mtp.Packets) string) paramDecl {
		return computed(name, typ, func(v *view, inst dm.Instance) string { return of(v.host.packetsOf(inst.At(0), v.id)) })
	}
	date := func(name string, of func(p mtp.Packets) time.Time) paramDecl {
		return show(name, dm.TypeDateTime, func(p mtp.Packets) string { return timeOf(of(p)) })
	}
	count := func(name string, typ dm.Type, of func(p mtp.Packets) uint64) paramDecl {
		return show(name, typ, func(p mtp.Packets) string { return strconv.FormatUint(of(p), 10) })
	}
	return []paramDecl{
		date("BrokerConnectionEstablished", func(p mtp.Packets) time.Time { return p.Established }),
		date("LastPublishMessageSent", func(p mtp.Packets) time.Time { return p.LastPublishSent }),
		date("LastPublishMessageReceived", func(p mtp.Packets) time.Time { return p.LastPublishReceived }),
		count("PublishSent", dm.TypeUnsignedLong, func(p mtp.Packets) uint64 { return p.PublishSent }),
		count("PublishReceived", dm.TypeUnsignedLong, func(p mtp.Packets) uint64 { return p.PublishReceived }),
		count("SubscribeSent", dm.TypeUnsignedLong, func(p mtp.Packets) uint64 { return p.SubscribeSent }),
		count("UnSubscribeSent", dm.TypeUnsignedLong, func(p mtp.Packets) uint64 { return p.UnsubscribeSent }),
		count("MQTTMessagesSent", dm.TypeUnsignedLong, func(p mtp.Packets) uint64 { return p.Sent }),
		count("MQTTMessagesReceived", dm.TypeUnsignedLong, func(p mtp.Packets) uint64 { return p.Received }),
		count("ConnectionErrors", dm.TypeUnsignedInt, func(p mtp.Packets) uint64 { return min(p.ConnectionErrors, math.MaxUint32) }),
		count("PublishErrors", dm.TypeUnsignedInt, func(p mtp.Packets) uint64 { return min(p.PublishErrors, math.MaxUint32) }),
	}
}

// packetsOf returns the counts of the client of an MTP row.
func (h *Host) packetsOf(row uint32, id usp.EndpointID) (p mtp.Packets) {
	if t, ok := h.transportAt(row).(mtp.Counting); ok {
		p, _ = t.Packets(id)
	}
	return p
}

// forceReconnect is Device.MQTT.Client.{i}.ForceReconnect(), behind the answer, which
// may go over that connection.
func forceReconnect(o *operation, call Call) (map[string]string, error) {
	row := call.Command.Inst.At(0)
	own, ok := o.host.transportAt(row).(mtp.Reconnecting)
	if !ok {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "all agents of the bridge share this connection")
	}
	if o.host.settingsOf(o.tx.next, o.agent.id, row).Disabled {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the connection is not enabled")
	}
	o.s.after = append(o.s.after, func() { own.Reconnect(o.agent.id) })
	return nil, nil
}
