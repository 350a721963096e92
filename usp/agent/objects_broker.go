package agent

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The connections of agents to brokers: Device.MQTT. and Device.STOMP. A row has
// the number of its transport's row of LocalAgent.MTP. Where all agents share a
// connection it shows that connection, and the operator's settings; where each has
// its own (mtp.PerEndpoint) a controller may change what mtp.Settings has.

// The paths of these objects that code refers to.
const (
	mqttObject       = "Device.MQTT."
	mqttClient       = "Device.MQTT.Client.{i}."
	mqttSubscription = "Device.MQTT.Client.{i}.Subscription.{i}."
	mqttUserProperty = "Device.MQTT.Client.{i}.UserProperty.{i}."
	stompObject      = "Device.STOMP."
	stompConnection  = "Device.STOMP.Connection.{i}."
)

// maxHeartbeat bounds heart-beats, in milliseconds.
const maxHeartbeat = 24 * 60 * 60 * 1000

// brokers tells which transports over brokers there are.
type brokers struct{ mqtt, stomp brokerKind }

// brokerKind is how agents are connected over a transport.
type brokerKind struct {
	there bool
	own   bool // each agent by a connection of its own
}

func brokersOf(transports []mtp.Transport) (b brokers) {
	for _, t := range transports {
		_, own := t.(mtp.PerEndpoint)
		switch t.Protocol() {
		case mtp.MQTT:
			b.mqtt = brokerKind{true, own}
		case mtp.STOMP:
			b.stomp = brokerKind{true, own}
		}
	}
	return b
}

// setting is a parameter of a connection: what a controller has set, else what
// the connection has by the operator.
func (k brokerKind) setting(name string, typ dm.Type, check func(string) error, shown func(v *view, inst dm.Instance, value string, set bool) string) paramDecl {
	p := paramDecl{name: name, typ: typ, check: check, shown: shown}
	if k.own {
		p.access = dm.ReadWrite
	}
	return p
}

// enable is the Enable of a connection.
func (k brokerKind) enable() paramDecl {
	p := paramDecl{name: "Enable", typ: dm.TypeBoolean, def: "true"}
	if k.own {
		p.access = dm.ReadWrite
	}
	return p
}

// orDefault shows what a controller has set, else a setting that the connection
// has before.
func orDefault(of func(s mtp.Settings) string) func(v *view, inst dm.Instance, value string, set bool) string {
	return func(v *view, inst dm.Instance, value string, set bool) string {
		if set {
			return value
		}
		return of(v.host.defaultSettings(inst.At(0), v.id))
	}
}

// ofBroker is a read-only parameter that shows what the operator has configured.
func ofBroker(name string, typ dm.Type, protocol mtp.Protocol, of func(b Broker) string) paramDecl {
	return computed(name, typ, func(v *view, _ dm.Instance) string { return of(v.host.cfg.Brokers[protocol]) })
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func stompObjects(k brokerKind) []objectDecl {
	if !k.there {
		return nil
	}
	of := func(name string, typ dm.Type, get func(b Broker) string) paramDecl {
		return ofBroker(name, typ, mtp.STOMP, get)
	}
	return []objectDecl{
		{path: stompObject, params: []paramDecl{entries("Connection", stompConnection)}},
		{path: stompConnection, kind: store.AgentState, fixed: [][]string{{"Alias"}}, check: connectionCheck, params: []paramDecl{
			alias(), k.enable(),
			computed("Status", dm.TypeString, stompStatus),
			computed("LastChangeDate", dm.TypeDateTime, func(v *view, inst dm.Instance) string {
				c, _ := v.host.connectionOf(inst.At(0), v.id)
				return timeOf(c.Since)
			}),
			of("Host", dm.TypeString, func(b Broker) string { return b.Host }),
			of("Port", dm.TypeUnsignedInt, func(b Broker) string { return strconv.Itoa(b.Port) }),
			computed("Username", dm.TypeString, username(mtp.STOMP)),
			{name: "Password", typ: dm.TypeString, secured: true},
			k.setting("VirtualHost", dm.TypeString, oneLine, orDefault(func(s mtp.Settings) string { return s.VirtualHost })),
			k.setting("EnableHeartbeats", dm.TypeBoolean, nil, orDefault(func(s mtp.Settings) string {
				return strconv.FormatBool(heartbeats(s))
			})),
			k.setting("OutgoingHeartbeat", dm.TypeUnsignedInt, span(0, maxHeartbeat), orDefault(func(s mtp.Settings) string { return milliseconds(s.HeartbeatOutgoing) })),
			k.setting("IncomingHeartbeat", dm.TypeUnsignedInt, span(0, maxHeartbeat), orDefault(func(s mtp.Settings) string { return milliseconds(s.HeartbeatExpect) })),
			of("ServerRetryInitialInterval", dm.TypeUnsignedInt, func(b Broker) string { return seconds(b.RetryFirst) }),
			of("ServerRetryIntervalMultiplier", dm.TypeUnsignedInt, func(b Broker) string { return strconv.Itoa(b.RetryMultiplier) }),
			of("ServerRetryMaxInterval", dm.TypeUnsignedInt, func(b Broker) string { return seconds(b.RetryMost) }),
			of("EnableEncryption", dm.TypeBoolean, func(b Broker) string { return strconv.FormatBool(b.Encrypted) }),
		}},
	}
}

// mtpBrokerObjects are what a row of LocalAgent.MTP. has of its broker.
func mtpBrokerObjects(b brokers) (list []objectDecl) {
	if b.mqtt.there {
		list = append(list, objectDecl{path: mtpTable + "MQTT.", params: []paramDecl{
			computed("Reference", dm.TypeString, ofProtocol(mtp.MQTT, func(v *view, inst dm.Instance) string { return reference(v.host.spec.classAt(mqttClient), inst.At(0)) })),
			b.mqtt.setting("ResponseTopicConfigured", dm.TypeString, topicName, inbox(mtp.MQTT)),
			computed("ResponseTopicDiscovered", dm.TypeString, ofProtocol(mtp.MQTT, fromServer)),
			computed("PublishQoS", dm.TypeUnsignedInt, ofProtocol(mtp.MQTT, func(v *view, _ dm.Instance) string { return strconv.Itoa(int(v.host.cfg.Brokers[mtp.MQTT].QoS)) })),
		}})
	}
	if b.stomp.there {
		list = append(list, objectDecl{path: mtpTable + "STOMP.", params: []paramDecl{
			computed("Reference", dm.TypeString, ofProtocol(mtp.STOMP, func(v *view, inst dm.Instance) string {
				return reference(v.host.spec.classAt(stompConnection), inst.At(0))
			})),
			b.stomp.setting("Destination", dm.TypeString, noNUL, inbox(mtp.STOMP)),
			computed("DestinationFromServer", dm.TypeString, ofProtocol(mtp.STOMP, fromServer)),
		}})
	}
	return list
}

// inbox shows where an agent listens, in rows of a protocol.
func inbox(p mtp.Protocol) func(v *view, inst dm.Instance, value string, set bool) string {
	return func(v *view, inst dm.Instance, value string, set bool) string {
		switch t := v.host.transportAt(inst.At(0)); {
		case t == nil || t.Protocol() != p:
			return ""
		case set:
			return value
		}
		return v.host.defaultSettings(inst.At(0), v.id).Inbox
	}
}

// ofProtocol is a parameter that is empty in rows of other protocols.
func ofProtocol(p mtp.Protocol, get func(v *view, inst dm.Instance) string) func(v *view, inst dm.Instance) string {
	return func(v *view, inst dm.Instance) string {
		if t := v.host.transportAt(inst.At(0)); t == nil || t.Protocol() != p {
			return ""
		}
		return get(v, inst)
	}
}

// mtpCheck refuses settings of a protocol that is not the row's.
func mtpCheck(c *rowChange) error {
	for rel, p := range map[string]mtp.Protocol{"MQTT.ResponseTopicConfigured": mtp.MQTT, "STOMP.Destination": mtp.STOMP} {
		if param := c.key.class.byName[rel]; param != nil && c.given[param] && c.get("Protocol") != string(p) {
			return invalid(rel, usp.ErrInvalidValue, "the row's protocol is "+c.get("Protocol"))
		}
	}
	return connectionCheck(c)
}

// fromServer is the address that the server has given an agent, "" if it listens
// where it was configured to.
func fromServer(v *view, inst dm.Instance) string {
	c, ok := v.host.connectionOf(inst.At(0), v.id)
	if !ok || !c.Up || c.Inbox == v.host.settingsOf(v.state, v.id, inst.At(0)).Inbox {
		return ""
	}
	return c.Inbox
}

func stompStatus(v *view, inst dm.Instance) string {
	return v.connectionStatus(inst, "Enabled", map[mtp.Trouble]string{
		mtp.Unreachable: "ServerNotPresent", mtp.Misconfigured: "Error_Misconfigured", mtp.Unauthorized: "Error_AuthenticationFailure",
	})
}

// connectionStatus is the Status of a connection, in the words of its data model.
func (v *view) connectionStatus(inst dm.Instance, up string, troubles map[mtp.Trouble]string) string {
	c, ok := v.host.connectionOf(inst.At(0), v.id)
	switch {
	case v.host.settingsOf(v.state, v.id, inst.At(0)).Disabled:
		return "Disabled"
	case v.host.misconfigured(v.state, v.id, inst.At(0)) != nil: // and it has the settings of before
		return troubles[mtp.Misconfigured]
	case ok && c.Up:
		return up
	case c.LastError != "":
		if s := troubles[c.Trouble]; s != "" {
			return s
		}
		return "Error"
	}
	return "Connecting"
}

func timeOf(t time.Time) string {
	if t.IsZero() {
		return unknownTime
	}
	return t.UTC().Format(time.RFC3339)
}

// username shows the name by which an agent logs in.
func username(p mtp.Protocol) func(v *view, _ dm.Instance) string {
	return func(v *view, _ dm.Instance) string {
		return strings.ReplaceAll(v.host.cfg.Brokers[p].Username, mtp.EndpointPlaceholder, string(v.id))
	}
}

func constantNumber(name string, n int) paramDecl {
	return paramDecl{name: name, typ: dm.TypeUnsignedInt, def: strconv.Itoa(n)}
}

func noNUL(v string) error {
	if len(v) > math.MaxUint16 || strings.ContainsRune(v, 0) {
		return fmt.Errorf("%d bytes: at most %d are allowed, and no NUL", len(v), math.MaxUint16)
	}
	return nil
}

func oneLine(v string) error {
	if strings.ContainsAny(v, "\r\n\x00") {
		return errors.New("it has the end of a line in it")
	}
	return size(0, 256)(v)
}

// topicName checks a topic that is published to; "" is none.
func topicName(v string) error {
	if strings.ContainsAny(v, "+#") {
		return fmt.Errorf("%q: a topic to publish to has no wildcards", shorten(v))
	}
	return noNUL(v)
}

// topicFilter checks a topic that is subscribed to (MQTT 5.0, 4.7.1); "" is none.
func topicFilter(v string) error {
	levels := strings.Split(v, "/")
	for i, level := range levels {
		if strings.ContainsRune(level, '#') && (level != "#" || i < len(levels)-1) || strings.ContainsRune(level, '+') && level != "+" {
			return fmt.Errorf("%q: a wildcard is a whole level, and # the last", shorten(v))
		}
	}
	return noNUL(v)
}
