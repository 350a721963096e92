package conformance

import (
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The cases in which a controller configures an agent's connection: each agent has
// one of its own.

// ownMQTTCases are those of section 11.
func ownMQTTCases() []testCase {
	ownConnection := map[string]any{"usp.mtp.mqtt.connections": "per-agent"}
	return []testCase{
		{number: "11.4", title: "A client id that is set to be empty", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, ownConnection)
			b.next(packets.Connect)
			client := s.rowOf("Device.MQTT.Client.", "Status", "Connected")
			s.put(client, "*ClientID=")
			if c := b.next(packets.Connect); c.Connect.ClientIdentifier != "" {
				t.Errorf("CONNECT has the client id %q", c.Connect.ClientIdentifier)
			}
			s.answersAgain()
			a := s.Get(client + "ClientID")
			id := a.values(a.got(1)[0], client+"ClientID")[client]["ClientID"]
			b.cut(false)
			if c := b.next(packets.Connect); id == "" || c.Connect.ClientIdentifier != id {
				t.Errorf("ClientID is %q, the next CONNECT has %q", id, c.Connect.ClientIdentifier)
			}
		}},
		{number: "11.7", timed: true, title: "A Keep Alive that is set", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, ownConnection)
			b.next(packets.Connect)
			client := s.rowOf("Device.MQTT.Client.", "Status", "Connected")
			b.become(mqttScript{connack: packets.Properties{ServerKeepAlive: 2, ServerKeepAliveFlag: true}})
			s.put(client, "*KeepAliveTime=90")
			c := b.next(packets.Connect)
			if c.Connect.Keepalive != 90 {
				t.Errorf("CONNECT has a Keep Alive of %d s", c.Connect.Keepalive)
			}
			t.between("PINGREQ", b.next(packets.Pingreq).at.Sub(c.at), 1, 3)
		}},
		{number: "11.9", title: "A subscription that is added", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, ownConnection)
			b.next(packets.Subscribe)
			client, topic := s.rowOf("Device.MQTT.Client.", "Status", "Connected"), "newTopic-11-9"
			row := s.row(client+"Subscription.", "Enable=true", "Topic="+topic)
			b.subscribed(topic, 0)
			s.writingTo(topic).holds(row, "Topic="+topic, "Enable=true", "Status=Subscribed")
			s.put(row, "*Enable=false")
			if u := b.next(packets.Unsubscribe); len(u.Filters) != 1 || u.Filters[0].Filter != topic {
				t.Errorf("UNSUBSCRIBE has %+v", u.Filters)
			}
		}},
		{number: "11.13", title: "QoS of a subscription that is added", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, ownConnection)
			b.next(packets.Subscribe)
			client := s.rowOf("Device.MQTT.Client.", "Status", "Connected")
			for qos, topic := range []string{"newTopic-11-13-QoS0", "newTopic-11-13-QoS1"} {
				level := string(rune('0' + qos))
				row := s.row(client+"Subscription.", "Enable=true", "Topic="+topic, "QoS="+level)
				b.subscribed(topic, byte(qos))
				s.writingTo(topic).holds(row, "Topic="+topic, "QoS="+level)
			}
		}},
	}
}

// subscribed expects the next SUBSCRIBE packet to have one topic.
func (b *mqttBroker) subscribed(topic string, qos byte) {
	b.t.Helper()
	if s := b.next(packets.Subscribe); len(s.Filters) != 1 || s.Filters[0].Filter != topic || s.Filters[0].Qos != qos {
		b.t.Errorf("SUBSCRIBE has %+v", s.Filters)
	}
}

// writingTo is the case as played by the same controller over another topic or
// destination of the agent.
func (t *trial) writingTo(address string) *trial {
	t.Helper()
	own := t.field.address("controller", string(primaryID)) + "-of-" + strings.NewReplacer("/", "-").Replace(address)
	if t.field.over == mtp.STOMP {
		return t.as(newController(t.T, primaryID, testenv.STOMPLink(t.T, t.field.broker, own, address)))
	}
	return t.as(newController(t.T, primaryID, testenv.MQTTLink(t.T, t.field.broker, own, address)))
}

// ownSTOMPCases are those of section 6.
func ownSTOMPCases() []testCase {
	changed := func(t *trial) (p *stompProxy, s *trial, destination string) {
		p, s = t.ownSTOMP()
		old := p.next("SUBSCRIBE")
		destination = s.field.agentAddress(s.agent) + ".other"
		s.put(s.rowOf(localAgent+"MTP.", "Protocol", "STOMP")+"STOMP.", "*Destination="+destination)
		if got := p.next("UNSUBSCRIBE"); got.Header.Get("id") != old.Header.Get("id") {
			t.Errorf("UNSUBSCRIBE has %v, SUBSCRIBE had %v", got.Header, old.Header)
		}
		if got := p.next("SUBSCRIBE").Header.Get("destination"); got != destination {
			t.Errorf("subscribed to %q", got)
		}
		return p, s, destination
	}
	return []testCase{
		{number: "6.6", title: "A destination that is set", play: func(t *trial) {
			p, s, destination := changed(t)
			s.writingTo(destination).deviceInfo()
			s.sent(p, destination)
		}},
		{number: "6.8", timed: true, title: "Heart-beats that are set", play: func(t *trial) {
			p, s := t.ownSTOMP()
			p.next("STOMP")
			s.put(s.rowOf("Device.STOMP.Connection.", "Status", "Enabled"), "*EnableHeartbeats=true", "*IncomingHeartbeat=10000", "*OutgoingHeartbeat=1000")
			if got := p.next("STOMP").Header.Get("heart-beat"); got != "1000,10000" {
				t.Errorf("STOMP has heart-beat %q", got)
			}
			s.until("heart-beats come", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.beats >= 3 })
		}},
		{number: "6.10", title: "A destination that is changed", play: func(t *trial) { changed(t) }},
	}
}

// ownSTOMP brings up a bridge that reaches its STOMP server through a proxy, with a
// connection for each agent.
func (t *trial) ownSTOMP() (*stompProxy, *trial) {
	t.Helper()
	p := newSTOMPProxy(t.T, t.field.broker, nil)
	f := &field{gateway: t.field.gateway, over: mtp.STOMP, broker: t.field.broker, realm: "-own-" + strings.ReplaceAll(p.address(), ":", "-")}
	return p, newField(t.T, f, map[string]any{"usp.mtp.stomp.broker": "tcp://" + p.address(), "usp.mtp.stomp.connections": "per-agent"}).start(t.T)
}

// supports expects parameters in what an agent supports below LocalAgent and
// another object, by their paths.
func (t *trial) supports(object string, params ...string) {
	t.Helper()
	all := t.Supported(everything(allLevels, object, localAgent)).objects(2)
	for _, path := range params {
		at := strings.LastIndexByte(path, '.') + 1
		found := false
		for _, p := range all[path[:at]].GetSupportedParams() {
			found = found || p.GetParamName() == path[at:]
		}
		if !found {
			t.Errorf("%s is not supported", path)
		}
	}
}

// rowOf returns the row of a table in which a parameter has a value.
func (t *trial) rowOf(table, name, value string) string {
	t.Helper()
	path := table + "*." + name
	a := t.Get(path)
	for row, params := range a.values(a.got(1)[0], path) {
		if params[name] == value {
			return row
		}
	}
	t.Fatalf("no row of %s has %s %q", table, name, value)
	return ""
}
