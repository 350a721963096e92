package conformance

import (
	"slices"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// mqttCases are the tests of section 11. One connection of the bridge carries all
// its agents.
func mqttCases() []testCase {
	return forOnly(mtp.MQTT, slices.Concat([]testCase{
		{number: "11.1", title: "The profiles of MQTT", play: func(t *trial) {
			names := []string{"Device.MQTT.ClientNumberOfEntries", "Device.MQTT.Capabilities.ProtocolVersionsSupported", "Device.MQTT.Capabilities.TransportProtocolSupported"}
			for _, name := range []string{"Alias", "Name", "Enable", "Status", "ProtocolVersion", "BrokerAddress", "BrokerPort", "TransportProtocol", "CleanSession", "KeepAliveTime",
				"ClientID", "Username", "Password", "MessageRetryTime", "ConnectRetryTime", "ConnectRetryIntervalMultiplier", "ConnectRetryMaxInterval", "ResponseInformation",
				"SubscriptionNumberOfEntries", "Subscription.{i}.Topic", "Subscription.{i}.QoS", "Subscription.{i}.Enable"} {
				names = append(names, "Device.MQTT.Client.{i}."+name)
			}
			for _, name := range []string{"Reference", "ResponseTopicConfigured", "ResponseTopicDiscovered", "PublishQoS"} {
				names = append(names, "Device.LocalAgent.MTP.{i}.MQTT."+name)
			}
			for _, name := range []string{"Reference", "AgentMTPReference", "Topic", "PublishRetainResponse", "PublishRetainNotify"} {
				names = append(names, "Device.LocalAgent.Controller.{i}.MTP.{i}.MQTT."+name)
			}
			t.supports("Device.MQTT.", names...)
			t.holds(t.rowOf(localAgent+"MTP.", "Protocol", "MQTT")+"MQTT.", "ResponseTopicConfigured="+t.field.agentAddress(t.agent))
			t.holds(t.own(primaryID)+"MTP.1.MQTT.", "Reference="+strings.TrimSuffix(t.rowOf("Device.MQTT.Client.", "Status", "Connected"), "."))
		}},
		{number: "11.2", title: "The CONNECT packet (its usp-endpoint-id is the bridge's, whose connection it is)", play: func(t *trial) {
			b, _ := t.behind(mqttScript{}, map[string]any{"usp.mtp.mqtt.username": "someone", "usp.mtp.mqtt.password": "something"})
			c := b.next(packets.Connect)
			if c.ProtocolVersion != 5 || !c.Connect.UsernameFlag || !c.Connect.PasswordFlag || string(c.Connect.Username) != "someone" || string(c.Connect.Password) != "something" {
				t.Errorf("CONNECT of version %d with %+v", c.ProtocolVersion, c.Connect)
			}
			if id := property(c, "usp-endpoint-id"); usp.EndpointID(id).Validate() != nil {
				t.Errorf("usp-endpoint-id is %q", id)
			}
		}},
		{number: "11.3", title: "TLS", play: func(t *trial) {
			c := newCertificate(t.T)
			b := newMQTTBroker(t.T, mqttScript{}, &c)
			s := newField(t.T, &field{gateway: t.field.gateway, over: mtp.MQTT, broker: b.address}, map[string]any{
				"usp.mtp.mqtt.broker": "ssl://" + b.secure, "usp.mtp.mqtt.tls.ca": c.certFile,
			}).start(t.T)
			s.deviceInfo()
			b.mu.Lock()
			defer b.mu.Unlock()
			for cl := range b.bridge {
				if cl.Net.Listener != "tls" {
					t.Errorf("the bridge is connected to the listener %q", cl.Net.Listener)
				}
			}
		}},
		{number: "11.5", timed: true, title: "A client id that the broker has assigned is kept", play: func(t *trial) {
			b, _ := t.behind(mqttScript{}, nil)
			if first := b.next(packets.Connect); first.Connect.ClientIdentifier != "" {
				t.Errorf("the first CONNECT has the client id %q", first.Connect.ClientIdentifier)
			}
			b.cut(false)
			second := b.next(packets.Connect)
			b.cut(false)
			third := b.next(packets.Connect)
			if id := second.Connect.ClientIdentifier; id == "" || third.Connect.ClientIdentifier != id {
				t.Errorf("the next have %q and %q", id, third.Connect.ClientIdentifier)
			}
		}},
		{number: "11.6", timed: true, title: "A connection that fails is tried again, later each time", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, nil)
			b.next(packets.Connect)
			b.become(mqttScript{refuse: 2})
			b.cut(false)
			first, second, third := b.next(packets.Connect), b.next(packets.Connect), b.next(packets.Connect)
			t.between("the second try", second.at.Sub(first.at), 1, 4)
			t.between("the third try", third.at.Sub(second.at), 2, 8)
			s.answersAgain()
		}},
		{number: "11.8", title: "The SUBSCRIBE packet", play: func(t *trial) {
			b, s := t.behind(mqttScript{connack: packets.Properties{
				ResponseInfo: "assigned/reply", User: []packets.UserProperty{{Key: "subscribe-topic", Val: "assigned/topic"}},
			}}, nil)
			if c := b.next(packets.Connect); c.Properties.RequestResponseInfo != 1 {
				t.Errorf("Request Response Information is %d", c.Properties.RequestResponseInfo)
			}
			var topics []string
			for _, f := range b.next(packets.Subscribe).Filters {
				topics = append(topics, f.Filter)
			}
			if !slices.Contains(topics, "assigned/reply") || !slices.Contains(topics, "assigned/topic") {
				t.Errorf("subscribed to %v", topics)
			}
			s.deviceInfo()
		}},
		{number: "11.11", timed: true, title: "A broker that refuses all topics is left", play: func(t *trial) {
			b, _ := t.behind(mqttScript{}, nil)
			b.become(mqttScript{refuseTopics: true})
			b.cut(false)
			for range 2 {
				b.next(packets.Subscribe)
				b.next(packets.Disconnect)
			}
			if sent := b.seen(packets.Publish); len(sent) > 0 {
				t.Errorf("%d packets were published all the same", len(sent))
			}
		}},
		{number: "11.12", title: "The PUBLISH packet", play: func(t *trial) {
			b, s := t.behind(mqttScript{connack: packets.Properties{ResponseInfo: "assigned/reply"}}, nil)
			s.deviceInfo()
			pk := b.answerTo(s)
			if pk.Properties.ResponseTopic != "assigned/reply" || pk.Properties.ContentType != "usp.msg" {
				t.Errorf("PUBLISH has Response Topic %q, Content Type %q", pk.Properties.ResponseTopic, pk.Properties.ContentType)
			}
		}},
		{number: "11.14", title: "The answer goes to the Response Topic", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, nil)
			s.deviceInfo()
			pk := b.answerTo(s)
			if pk.TopicName != s.field.address("controller", string(primaryID)) || pk.Properties.ResponseTopic != s.field.agentAddress(s.agent) {
				t.Errorf("PUBLISH on %q, Response Topic %q", pk.TopicName, pk.Properties.ResponseTopic)
			}
		}},
		{number: "11.15", title: "Both Content Types are understood", play: func(t *trial) {
			for _, kind := range []string{"usp.msg", "application/vnd.bbf.usp.msg"} {
				own := t.field.address("controller", string(t.agent)) + strings.ReplaceAll(kind, "/", "-")
				link := testenv.MQTTLinkSending(t.T, kind, t.field.broker, own, t.field.address("agent", "{endpoint_id}"))
				t.as(newController(t, primaryID, link)).deviceInfo()
			}
		}},
		{number: "11.16", timed: true, title: "A connection that the broker ends is tried again", play: func(t *trial) {
			b, s := t.behind(mqttScript{}, nil)
			b.next(packets.Connect)
			cut := b.next(packets.Subscribe)
			b.cut(true)
			again := b.next(packets.Connect)
			t.between("the next try", again.at.Sub(cut.at), 1, 2)
			s.answersAgain()
		}},
		{number: "11.17", title: "An agent whose device has rebooted sends an MQTTConnect record", play: func(t *trial) {
			r := t.connectRecord(func(r *usppb.Record) bool { return r.GetMqttConnect() != nil }).GetMqttConnect()
			if r.GetVersion() != usppb.MQTTConnectRecord_V5 || r.GetSubscribedTopic() != t.field.agentAddress(t.agent) {
				t.Errorf("the record is %v", r)
			}
		}},
	},
		ownMQTTCases(),
		without(notApplicable, "an agent always has a topic: the bridge does not start without one", map[string]string{"11.10": "A broker that names no topic"}),
	))
}

func property(pk mqttPacket, key string) string {
	for _, u := range pk.Properties.User {
		if u.Key == key {
			return u.Val
		}
	}
	return ""
}

// answerTo returns the PUBLISH packet of the GetResp that a controller got.
func (b *mqttBroker) answerTo(t *trial) mqttPacket {
	t.Helper()
	for _, pk := range b.seen(packets.Publish) {
		r, err := record.Unwrap(pk.Payload, record.Limits{})
		if err != nil || r.GetNoSessionContext() == nil {
			continue
		}
		if msg, err := record.Message(r); err == nil && msg.GetHeader().GetMsgType() == usppb.Header_GET_RESP {
			return pk
		}
	}
	t.Fatal("the bridge has published no GetResp")
	return mqttPacket{}
}

// connectRecord reboots the CPE and takes the Connect record that the controller
// gets then. It has had others, since the agent is new.
func (t *trial) connectRecord(want func(*usppb.Record) bool) *usppb.Record {
	t.Helper()
	t.cpe.AwaitIdle()
	t.value(endpointID) // an answer comes behind what was sent before
	for len(t.arrived(func(r received) bool { return want(r.record) })) > 0 {
		t.next(0, func(r received) bool { return want(r.record) })
	}
	t.OperateSilently(reboot, "")
	got, ok := t.next(testenv.Patience, func(r received) bool { return want(r.record) })
	if !ok {
		t.Fatalf("no Connect record came within %v", testenv.Patience)
	}
	if got.record.GetVersion() != usp.RecordVersion {
		t.Errorf("the record has version %s", got.record.GetVersion())
	}
	return got.record
}

// answersAgain waits until the agent answers: what was sent while the bridge was
// not connected may be lost with the broker's session.
func (t *trial) answersAgain() {
	t.Helper()
	t.until("the agent answers again", func() bool {
		id := t.tell(usppb.Header_GET, &usppb.Request{ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: []string{endpointID}}}})
		_, ok := t.next(time.Second, func(r received) bool { return r.msg.GetHeader().GetMsgId() == id })
		return ok
	})
}

// deviceInfo expects a GetResp for Device.DeviceInfo.
func (t *trial) deviceInfo() {
	t.Helper()
	a := t.Get("Device.DeviceInfo.")
	if len(a.values(a.got(1)[0], "Device.DeviceInfo.")) == 0 {
		t.Error("Get returned nothing")
	}
}
