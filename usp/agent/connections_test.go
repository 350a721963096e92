package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// perAgent is a transport over which each agent has a connection of its own.
type perAgent struct {
	*fakeTransport
	mu       sync.Mutex
	settings []mtp.Settings // given by Configure
	cannot   string         // a client id or virtual host that does not work
	state    mtp.Connection
	again    int // calls of Reconnect
}

func (p *perAgent) Reconnect(usp.EndpointID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.again++
}

func (p *perAgent) Check(s mtp.Settings) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cannot != "" && (s.ClientID == p.cannot || s.VirtualHost == p.cannot) {
		return fmt.Errorf("%q is not for us", p.cannot)
	}
	return nil
}

func (p *perAgent) Configure(id usp.EndpointID, s mtp.Settings) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if id != testAgent {
		return errors.New("not hosted")
	}
	p.settings = append(p.settings, s)
	return nil
}

func (p *perAgent) Connection(usp.EndpointID) (mtp.Connection, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, true
}

func (p *perAgent) Defaults(id usp.EndpointID) mtp.Settings {
	return mtp.Settings{Inbox: "agent/" + string(id), ClientID: string(id), KeepAlive: time.Minute, VirtualHost: "/", HeartbeatOutgoing: 30 * time.Second, HeartbeatExpect: 20 * time.Second}
}

// given returns the settings that Configure has got since it was last asked.
func (p *perAgent) given() []mtp.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.settings
	p.settings = nil
	return list
}

// brokered is a bench whose controllers are reached over MQTT and STOMP brokers;
// own tells whether each agent has connections of its own.
func brokered(t *testing.T, own bool) (b *bench, mqtt, stomp *perAgent) {
	t.Helper()
	stomp = &perAgent{fakeTransport: newFakeTransport(mtp.STOMP)}
	b = newBench(t, func(c *Config) {
		mqtt = &perAgent{fakeTransport: c.Transports[0].(*fakeTransport)}
		if c.Transports = []mtp.Transport{mqtt, stomp}; !own {
			c.Transports = []mtp.Transport{mqtt.fakeTransport, stomp.fakeTransport}
		}
		c.AgentAddress = func(p mtp.Protocol, id usp.EndpointID) mtp.Address {
			return mtp.Address{Protocol: p, Topic: "agent/" + string(id), Destination: "/queue/" + string(id)}
		}
		c.Brokers = map[mtp.Protocol]Broker{
			mtp.MQTT: {Host: "broker.example", Port: 8883, Encrypted: true, Transport: "TLS", Transports: []string{"TCP/IP", "TLS"}, Version: "5.0", Versions: []string{"5.0"},
				Username: "u-{endpoint_id}", QoS: 1, RetryFirst: time.Second, RetryMost: time.Minute, RetryMultiplier: 2000,
				Shared: mtp.Settings{KeepAlive: time.Minute, ClientID: "bridge"}},
			mtp.STOMP: {Host: "stomp.example", Port: 61613, Shared: mtp.Settings{VirtualHost: "/v", HeartbeatOutgoing: time.Second}},
		}
		c.Controllers = append(c.Controllers, ControllerConfig{EndpointID: "proto::s", MTP: mtp.Address{Protocol: mtp.STOMP, Destination: "/queue/c"}})
	})
	return b, mqtt, stomp
}

// what an agent shows of a connection that all share cannot be changed.
func TestSharedConnections(t *testing.T) {
	b, _, _ := brokered(t, false)
	for path, want := range map[string]string{
		"Device.MQTT.ClientNumberOfEntries": "1", "Device.MQTT.Capabilities.ProtocolVersionsSupported": "5.0",
		"Device.MQTT.Client.1.Status": "Connected", "Device.MQTT.Client.1.BrokerAddress": "broker.example", "Device.MQTT.Client.1.BrokerPort": "8883",
		"Device.MQTT.Client.1.TransportProtocol": "TLS", "Device.MQTT.Client.1.KeepAliveTime": "60", "Device.MQTT.Client.1.ClientID": "bridge",
		"Device.MQTT.Client.1.Username": "u-" + string(testAgent), "Device.MQTT.Client.1.Password": "", "Device.MQTT.Client.1.ConnectRetryTime": "1",
		"Device.MQTT.Client.1.ConnectRetryMaxInterval": "60", "Device.MQTT.Client.1.ConnectRetryIntervalMultiplier": "2000", "Device.MQTT.Client.1.Stats.PublishSent": "0",
		"Device.LocalAgent.MTP.1.Status": "Up", "Device.LocalAgent.MTP.1.MQTT.Reference": "Device.MQTT.Client.1", "Device.LocalAgent.MTP.1.STOMP.Reference": "",
		"Device.LocalAgent.MTP.1.MQTT.ResponseTopicConfigured": "agent/" + string(testAgent), "Device.LocalAgent.MTP.1.MQTT.PublishQoS": "1",
		"Device.LocalAgent.MTP.1.MQTT.ResponseTopicDiscovered": "", "Device.LocalAgent.MTP.1.STOMP.Destination": "",
		"Device.LocalAgent.MTP.2.STOMP.Reference": "Device.STOMP.Connection.2", "Device.LocalAgent.MTP.2.STOMP.Destination": "/queue/" + string(testAgent),
		"Device.STOMP.Connection.2.Status": "Enabled", "Device.STOMP.Connection.2.Host": "stomp.example", "Device.STOMP.Connection.2.VirtualHost": "/v",
		"Device.STOMP.Connection.2.EnableHeartbeats": "true", "Device.STOMP.Connection.2.OutgoingHeartbeat": "1000", "Device.STOMP.Connection.2.IncomingHeartbeat": "0",
		"Device.LocalAgent.Controller.1.MTP.1.MQTT.Reference": "Device.MQTT.Client.1", "Device.LocalAgent.Controller.1.MTP.1.MQTT.AgentMTPReference": "Device.LocalAgent.MTP.1",
		"Device.LocalAgent.Controller.3.MTP.1.STOMP.Reference": "Device.STOMP.Connection.2",
	} {
		if got := b.value(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	for _, set := range [][2]string{{"Device.MQTT.Client.1.", "KeepAliveTime"}, {"Device.MQTT.Client.1.", "Enable"}, {"Device.LocalAgent.MTP.2.", "STOMP.Destination"}, {"Device.STOMP.Connection.2.", "VirtualHost"}} {
		wantError(t, b.ask(primary, setReq(false, update(set[0], kv{set[1], "1", true}))), uint32(usp.ErrRequiredParameterFailed), set[0]+set[1])
	}
	wantError(t, b.ask(primary, addReq(false, create("Device.MQTT.Client.1.Subscription."))), uint32(usp.ErrNotCreatable), "Device.MQTT.Client.1.Subscription.")
	if n := b.store.count(store.AgentState); n != 0 {
		t.Errorf("%d records are kept of it", n)
	}
}

// A connection of its own has the settings that a controller gives it: at once,
// behind the answer, and again after a restart.
func TestOwnConnections(t *testing.T) {
	b, mqtt, stomp := brokered(t, true)
	if got := len(mqtt.given()) + len(stomp.given()); got != 0 {
		t.Errorf("%d settings at start", got)
	}
	var topic, property string
	mqttWant := mqtt.Defaults(testAgent)
	for _, step := range []struct {
		name string
		do   func()
		mqtt func(s *mtp.Settings)
	}{
		{"keep-alive and client id", func() {
			b.set("Device.MQTT.Client.1.", kv{"KeepAliveTime", "30", true}, kv{"ClientID", "", true})
		}, func(s *mtp.Settings) { s.KeepAlive, s.ClientID = 30*time.Second, "" }},
		{"inbox", func() { b.set("Device.LocalAgent.MTP.1.", kv{"MQTT.ResponseTopicConfigured", "mine/in", true}) }, func(s *mtp.Settings) { s.Inbox = "mine/in" }},
		{"a subscription", func() {
			topic = b.added(primary, create("Device.MQTT.Client.1.Subscription.", kv{"Enable", "true", true}, kv{"Topic", "a/+/b/#", true}, kv{"QoS", "1", true}))
		}, func(s *mtp.Settings) { s.Subscriptions = []mtp.Subscription{{Topic: "a/+/b/#", QoS: 1}} }},
		{"a user property", func() {
			property = b.added(primary, create("Device.MQTT.Client.1.UserProperty.", kv{"Enable", "true", true}, kv{"Name", "site", true}, kv{"Value", "north", true}, kv{"PacketType", "CONNECT,PUBLISH", true}))
		}, func(s *mtp.Settings) {
			s.UserProperties = []mtp.UserProperty{{Name: "site", Value: "north", Packets: []string{"CONNECT", "PUBLISH"}}}
		}},
		{"which is deleted", func() { b.ask(primary, deleteReq(false, property)) }, func(s *mtp.Settings) { s.UserProperties = nil }},
		{"the subscription is disabled", func() { b.set(topic, kv{"Enable", "false", true}) }, func(s *mtp.Settings) { s.Subscriptions = nil }},
		{"clean start, disabled", func() { b.set("Device.MQTT.Client.1.", kv{"CleanStart", "true", true}, kv{"Enable", "false", true}) },
			func(s *mtp.Settings) { s.CleanStart, s.Disabled = true, true }},
	} {
		step.mqtt(&mqttWant)
		step.do()
		b.settle()
		if diff := cmp.Diff([]mtp.Settings{mqttWant}, mqtt.given()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	b.set("Device.LocalAgent.MTP.2.", kv{"STOMP.Destination", "/queue/mine", true})
	b.set("Device.STOMP.Connection.2.", kv{"OutgoingHeartbeat", "15000", true}, kv{"IncomingHeartbeat", "10000", true}, kv{"VirtualHost", "/mine", true})
	b.settle()
	stompWant := stomp.Defaults(testAgent)
	stompWant.Inbox, stompWant.HeartbeatOutgoing, stompWant.HeartbeatExpect, stompWant.VirtualHost = "/queue/mine", 15*time.Second, 10*time.Second, "/mine"
	if given := stomp.given(); len(given) == 0 || !cmp.Equal(given[len(given)-1], stompWant) {
		t.Errorf("STOMP got %+v", given)
	}
	mqtt.given()
	b.restart()
	if diff := cmp.Diff([]mtp.Settings{mqttWant}, mqtt.given()); diff != "" {
		t.Errorf("MQTT at start (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]mtp.Settings{stompWant}, stomp.given()); diff != "" {
		t.Errorf("STOMP at start (-want +got):\n%s", diff)
	}
	b.set("Device.STOMP.Connection.2.", kv{"EnableHeartbeats", "false", true})
	b.settle()
	stompWant.HeartbeatOutgoing, stompWant.HeartbeatExpect = 0, 0
	if given := stomp.given(); !slices.EqualFunc(given, []mtp.Settings{stompWant}, func(a, b mtp.Settings) bool { return cmp.Equal(a, b) }) {
		t.Errorf("without heart-beats %+v", given)
	}
	b.cfg.Transports = []mtp.Transport{mqtt.fakeTransport, stomp.fakeTransport}
	b.restart()
	for path, want := range map[string]string{"Device.MQTT.Client.1.Enable": "true", "Device.MQTT.Client.1.KeepAliveTime": "60",
		"Device.MQTT.Client.1.SubscriptionNumberOfEntries": "0", "Device.LocalAgent.MTP.2.STOMP.Destination": "/queue/" + string(testAgent)} {
		if got := b.value(path); got != want {
			t.Errorf("over a shared connection %s is %q, want %q", path, got, want)
		}
	}
	b.cfg.Transports = []mtp.Transport{mqtt, stomp}
	b.restart()
	if got := b.value("Device.MQTT.Client.1.KeepAliveTime"); got != "30" {
		t.Errorf("KeepAliveTime is %q", got)
	}
	if err := b.host.Forget(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	stomp.given()
	b.restart()
	if given := stomp.given(); len(given) != 0 {
		t.Errorf("a forgotten agent is configured: %+v", given)
	}
}

// The state of a connection is shown as it is.
func TestStateOfOwnConnections(t *testing.T) {
	b, mqtt, stomp := brokered(t, true)
	for _, c := range []struct {
		state              mtp.Connection
		mqtt, stomp, mtp   string
		clientID, response string
	}{
		{mtp.Connection{}, "Connecting", "Connecting", "Down", string(testAgent), ""},
		{mtp.Connection{LastError: "refused"}, "Error", "Error", "Error", string(testAgent), ""},
		{mtp.Connection{LastError: "no route", Trouble: mtp.Unreachable}, "Error_BrokerUnreachable", "ServerNotPresent", "Error", string(testAgent), ""},
		{mtp.Connection{LastError: "who?", Trouble: mtp.Unauthorized}, "Error_Misconfigured", "Error_AuthenticationFailure", "Error", string(testAgent), ""},
		{mtp.Connection{LastError: "what?", Trouble: mtp.Misconfigured}, "Error_Misconfigured", "Error_Misconfigured", "Error", string(testAgent), ""},
		{mtp.Connection{Up: true, ClientID: "assigned", Inbox: "from/server"}, "Connected", "Enabled", "Up", "assigned", "from/server"},
		{mtp.Connection{Up: true, Inbox: "agent/" + string(testAgent)}, "Connected", "Enabled", "Up", string(testAgent), ""},
	} {
		for _, p := range []*perAgent{mqtt, stomp} {
			p.mu.Lock()
			p.state = c.state
			p.mu.Unlock()
		}
		got := []string{b.value("Device.MQTT.Client.1.Status"), b.value("Device.STOMP.Connection.2.Status"), b.value("Device.LocalAgent.MTP.1.Status"),
			b.value("Device.MQTT.Client.1.ClientID"), b.value("Device.MQTT.Client.1.ResponseInformation"),
			b.value("Device.LocalAgent.MTP.1.MQTT.ResponseTopicDiscovered"), b.value("Device.LocalAgent.MTP.2.STOMP.DestinationFromServer")}
		want := []string{c.mqtt, c.stomp, c.mtp, c.clientID, c.response, c.response, c.response}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %q, want %q", c.state, got, want)
		}
	}
	b.set("Device.STOMP.Connection.2.", kv{"Enable", "false", true})
	if got := b.value("Device.STOMP.Connection.2.Status") + ", " + b.value("Device.LocalAgent.MTP.2.Status"); got != "Disabled, Down" {
		t.Errorf("disabled: %s", got)
	}
}

// ForceReconnect() is the agent's own, behind the answer; nobody takes a connection
// from the other agents.
func TestForceReconnect(t *testing.T) {
	const command = "Device.MQTT.Client.1.ForceReconnect()"
	failure := func(body *usppb.Body) *usppb.OperateResp_OperationResult_CommandFailure {
		return body.GetResponse().GetOperateResp().GetOperationResults()[0].GetCmdFailure()
	}
	b, mqtt, _ := brokered(t, true)
	if f := failure(b.ask(primary, operateReq(command, "", true, nil))); f != nil {
		t.Error(f)
	}
	b.settle()
	if mqtt.again != 1 {
		t.Errorf("connected again %d times", mqtt.again)
	}
	b.set("Device.MQTT.Client.1.", kv{"Enable", "false", true})
	if f := failure(b.ask(primary, operateReq(command, "", true, nil))); f.GetErrCode() != 7022 {
		t.Errorf("disabled: %v", f)
	}
	b, _, _ = brokered(t, false)
	if f := failure(b.ask(primary, operateReq(command, "", true, nil))); f.GetErrCode() != 7022 || !strings.Contains(f.GetErrMsg(), "share") {
		t.Errorf("shared: %v", f)
	}
}

// The counts are those of the client over which the agent is connected.
func TestStatsOfClients(t *testing.T) {
	b, mqtt, _ := brokered(t, true)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mqtt.packets = mtp.Packets{Sent: 1, Received: 2, PublishSent: 3, PublishReceived: 4, SubscribeSent: 5, UnsubscribeSent: 6, ConnectionErrors: 7, PublishErrors: 1 << 40, LastPublishSent: at}
	for name, want := range map[string]string{
		"MQTTMessagesSent": "1", "MQTTMessagesReceived": "2", "PublishSent": "3", "PublishReceived": "4", "SubscribeSent": "5", "UnSubscribeSent": "6",
		"ConnectionErrors": "7", "PublishErrors": "4294967295", "LastPublishMessageSent": "2026-01-02T03:04:05Z",
		"LastPublishMessageReceived": unknownTime, "BrokerConnectionEstablished": unknownTime,
	} {
		if got := b.value("Device.MQTT.Client.1.Stats." + name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// Settings that the transport knows cannot work are refused; those that it has taken
// before, and does not take any more, show.
func TestMisconfiguredConnections(t *testing.T) {
	b, mqtt, stomp := brokered(t, true)
	sets := map[string]*usppb.Set_UpdateObject{
		"Device.MQTT.Client.1.":      update("Device.MQTT.Client.1.", kv{"ClientID", "bad", true}),
		"Device.STOMP.Connection.2.": update("Device.STOMP.Connection.2.", kv{"VirtualHost", "bad", true}),
	}
	mqtt.cannot, stomp.cannot = "bad", "bad"
	for object, set := range sets {
		wantError(t, b.ask(primary, setReq(false, set)), uint32(usp.ErrInvalidConfiguration), object)
	}
	if got := b.value("Device.MQTT.Client.1.ClientID"); got != string(testAgent) {
		t.Errorf("ClientID is %q", got)
	}
	mqtt.cannot, stomp.cannot = "", ""
	for _, set := range sets {
		b.ask(primary, setReq(false, set))
	}
	b.settle()
	mqtt.cannot, stomp.cannot = "bad", "bad"
	mqtt.state, stomp.state = mtp.Connection{Up: true}, mtp.Connection{Up: true}
	b.restart()
	for path, want := range map[string]string{
		"Device.MQTT.Client.1.Status": "Error_Misconfigured", "Device.STOMP.Connection.2.Status": "Error_Misconfigured", "Device.LocalAgent.MTP.1.Status": "Error",
	} {
		if got := b.value(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// Settings that cannot work are refused.
func TestSettingsOfConnectionsRefused(t *testing.T) {
	b, mqtt, _ := brokered(t, true)
	row, property := b.added(primary, create("Device.MQTT.Client.1.Subscription.")), b.added(primary, create("Device.MQTT.Client.1.UserProperty."))
	b.settle()
	mqtt.given()
	for _, c := range []struct{ object, param, value string }{
		{"Device.LocalAgent.MTP.1.", "MQTT.ResponseTopicConfigured", "a/+"},
		{"Device.LocalAgent.MTP.1.", "STOMP.Destination", "/queue/x"},
		{"Device.LocalAgent.MTP.2.", "MQTT.ResponseTopicConfigured", "a"},
		{"Device.LocalAgent.MTP.2.", "STOMP.Destination", "a\x00"},
		{"Device.MQTT.Client.1.", "KeepAliveTime", "65536"},
		{"Device.MQTT.Client.1.", "ClientID", strings.Repeat("x", 65536)},
		{"Device.STOMP.Connection.2.", "VirtualHost", "a\nb"},
		{"Device.STOMP.Connection.2.", "OutgoingHeartbeat", "86400001"},
		{"Device.LocalAgent.Controller.1.MTP.1.", "WebSocket.Host", "a host"}, {"Device.LocalAgent.Controller.1.MTP.1.", "WebSocket.Host", "ws://host"}, {"Device.LocalAgent.Controller.1.MTP.1.", "WebSocket.Host", "[::1]"},
		{property, "PacketType", "PUBACK"}, {property, "Name", "a\x00"}, {row, "Topic", "a/#/b"}, {row, "Topic", "a+"}, {row, "QoS", "3"},
	} {
		wantError(t, b.ask(primary, setReq(false, update(c.object, kv{c.param, c.value, true}))), uint32(usp.ErrRequiredParameterFailed), c.object+c.param)
	}
	b.settle()
	if given := mqtt.given(); len(given) != 0 {
		t.Errorf("settings %+v", given)
	}
}

// set sets parameters of one object for the first controller.
func (b *bench) set(object string, kvs ...kv) {
	b.t.Helper()
	if body := b.ask(primary, setReq(false, update(object, kvs...))); body.GetError() != nil {
		b.t.Fatalf("Set of %s: %v", object, body)
	}
}
