package test

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The addresses of agents, bridged and native, at the brokers.
const (
	agentTopic = "usp/agent/{endpoint_id}"
	agentQueue = "/queue/usp.agent.{endpoint_id}"
)

// peer is a native endpoint of which the test sends and reads the records.
type peer struct {
	t       *testing.T
	id      usp.EndpointID
	link    client.Link
	records chan []byte
}

func newPeer(t *testing.T, id usp.EndpointID, link client.Link) *peer {
	p := &peer{t: t, id: id, link: link, records: make(chan []byte, 100)}
	go func() {
		defer close(p.records)
		for {
			b, err := link.Receive()
			if err != nil {
				return
			}
			p.records <- b
		}
	}()
	t.Cleanup(func() { _ = link.Close() }) // the bridge may have been killed
	return p
}

func (p *peer) send(to usp.EndpointID, rec []byte) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), testenv.Patience)
	defer cancel()
	if err := p.link.Send(ctx, to, rec); err != nil {
		p.t.Fatalf("%s to %s: %v", p.id, to, err)
	}
}

// expect wants these bytes next.
func (p *peer) expect(want []byte) {
	p.t.Helper()
	select {
	case got, ok := <-p.records:
		if !ok || string(got) != string(want) {
			p.t.Errorf("%s got %x, want %x", p.id, got, want)
		}
	case <-time.After(testenv.Patience):
		p.t.Fatalf("%s got nothing, want %x", p.id, want)
	}
}

// tell sends a record to another endpoint, which must get just that.
func (p *peer) tell(to *peer, what string) {
	p.t.Helper()
	for _, rec := range [][]byte{plainRecord(p.t, p.id, to.id, what), sessionRecord(p.t, p.id, to.id, what)} {
		p.send(to.id, rec)
		to.expect(rec)
	}
}

// plainRecord has a message and a field that no version of the standard has.
func plainRecord(t *testing.T, from, to usp.EndpointID, what string) []byte {
	t.Helper()
	b, err := record.WrapMsg(from, to, "1.3", &usppb.Msg{Header: &usppb.Header{MsgId: what, MsgType: usppb.Header_GET}})
	if err != nil {
		t.Fatal(err)
	}
	return append(b, 0xfa, 0x07, 0x03, 'n', 'e', 'w')
}

// sessionRecord is one of a session context, signed, with a TLS payload.
func sessionRecord(t *testing.T, from, to usp.EndpointID, what string) []byte {
	t.Helper()
	b, err := proto.Marshal(&usppb.Record{
		Version: "1.4", FromId: string(from), ToId: string(to), PayloadSecurity: usppb.Record_TLS12,
		MacSignature: []byte("signature of " + what), SenderCert: []byte("certificate"),
		RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{
			SessionId: 7, SequenceId: 1, ExpectedId: 1, Payload: [][]byte{[]byte(what)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// relayRules let all native agents of the tests reach all their controllers.
var relayRules = []map[string]string{{"from": "os::NATIVE-*", "to": "proto::*"}, {"from": "proto::*", "to": "os::NATIVE-*"}}

// relayEnv is a bridge with an MQTT broker, and a STOMP broker where it is asked for.
type relayEnv struct {
	*testenv.Env
	mqtt  *testenv.Broker
	stomp string
}

func startRelay(t *testing.T, keys map[string]any) relayEnv {
	t.Helper()
	e := relayEnv{mqtt: testenv.MosquittoBroker(t)}
	e.start(t, keys)
	return e
}

func (e *relayEnv) start(t *testing.T, keys map[string]any) {
	t.Helper()
	all := map[string]any{
		"usp.mtp.mqtt.broker": "tcp://" + e.mqtt.Address, "usp.mtp.mqtt.topic": agentTopic, "usp.relay.rules": relayRules,
	}
	controllers := []testenv.ControllerRow{
		{EndpointID: "proto::c-MQTT", MTP: map[string]string{"protocol": "MQTT", "topic": "usp/controller/c-MQTT"}},
		{EndpointID: "proto::c-WebSocket"},
	}
	if e.stomp != "" {
		maps.Copy(all, map[string]any{
			"usp.mtp.stomp.broker": "tcp://" + e.stomp, "usp.mtp.stomp.destination": agentQueue,
			"usp.mtp.stomp.login": "guest", "usp.mtp.stomp.passcode": "guest",
		})
		controllers = append(controllers, testenv.ControllerRow{EndpointID: "proto::c-STOMP",
			MTP: map[string]string{"protocol": "STOMP", "destination": "/queue/usp.controller.c-STOMP"}})
	}
	maps.Copy(all, keys)
	e.Env = testenv.Start(t, program, testenv.Config{Keys: all, Controllers: controllers})
}

// agent returns a native agent on a transport. At the brokers it listens where
// every agent has its address.
func (e relayEnv) agent(t *testing.T, id usp.EndpointID, on string) *peer {
	t.Helper()
	return e.peer(t, id, on, strings.ReplaceAll(agentTopic, "{endpoint_id}", string(id)), strings.ReplaceAll(agentQueue, "{endpoint_id}", string(id)))
}

// controller returns a controller on a transport.
func (e relayEnv) controller(t *testing.T, on string) *peer {
	t.Helper()
	return e.peer(t, usp.EndpointID("proto::c-"+on), on, "usp/controller/c-MQTT", "/queue/usp.controller.c-STOMP")
}

func (e relayEnv) peer(t *testing.T, id usp.EndpointID, on, topic, queue string) *peer {
	t.Helper()
	switch on {
	case "MQTT":
		return newPeer(t, id, testenv.MQTTLink(t, e.mqtt.Address, topic, agentTopic))
	case "STOMP":
		return newPeer(t, id, testenv.STOMPLink(t, e.stomp, queue, agentQueue))
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	link, err := client.DialLink(ctx, client.Config{URL: e.WebSocketURL(), Controller: id})
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, id, link)
}

// TestRelay: native agents and controllers reach each other from each transport to
// each, bytes untouched; one that moves is followed.
func TestRelay(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := relayEnv{mqtt: testenv.MosquittoBroker(t), stomp: testenv.RabbitMQ(t)}
	env.start(t, nil)
	protocols := []string{"WebSocket", "MQTT", "STOMP"}
	for _, on := range protocols {
		c := env.controller(t, on)
		for _, from := range protocols {
			a := env.agent(t, usp.EndpointID("os::NATIVE-"+from+"-"+on), from)
			a.tell(c, "from "+from)
			c.tell(a, "to "+from)
			relayed := `uspbridge_relay_records_total{from="` + from + `",to="` + on + `"}`
			testenv.Until(t, relayed+" is 2 at least", func() bool { return env.Metric(relayed) >= 2 })
		}
		moving := usp.EndpointID("os::NATIVE-moving-" + on)
		for _, from := range protocols {
			a := env.agent(t, moving, from)
			a.tell(c, "moved to "+from)
			c.tell(a, "at "+from)
			if err := a.link.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := c.link.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestConnectRecordsAreMadeAnew for the transport of the controller.
func TestConnectRecordsAreMadeAnew(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := startRelay(t, nil)
	c, a := env.controller(t, "MQTT"), env.agent(t, "os::NATIVE-1", "WebSocket")
	hello, err := record.WebSocketConnect(a.id, c.id, "1.2")
	if err != nil {
		t.Fatal(err)
	}
	a.send(c.id, hello)
	select {
	case got := <-c.records:
		r, err := record.Unwrap(got, record.Limits{})
		if err != nil || r.GetMqttConnect().GetSubscribedTopic() != "usp/agent/os::NATIVE-1" || r.GetVersion() != "1.2" {
			t.Errorf("the controller got %v, %v", r, err)
		}
	case <-time.After(testenv.Patience):
		t.Fatal("the controller got no Connect record")
	}
	c.tell(a, "welcome")
}

// TestRelayOverRestarts: after a bridge was killed controllers reach native agents
// at brokers before these have spoken again; a broker may restart too.
func TestRelayOverRestarts(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := startRelay(t, nil)
	c, a := env.controller(t, "WebSocket"), env.agent(t, "os::NATIVE-1", "MQTT")
	a.tell(c, "before")
	testenv.Until(t, "the agent is in the store", func() bool { return len(devices(t, env.Env)) == 1 })
	env.Kill()
	env.Restart()
	c = env.controller(t, "WebSocket")
	c.tell(a, "after the kill")
	env.mqtt.Kill()
	env.mqtt.Start()
	a = env.agent(t, a.id, "MQTT")
	testenv.Until(t, "the bridge is connected to the broker again", func() bool {
		return env.Metric(`uspbridge_mtp_up{protocol="MQTT"}`) == 1
	})
	c.tell(a, "after the broker's restart")
	a.tell(c, "and back")
}

// TestStoreAndForward: records for an agent that is away outlive the bridge and
// come in order.
func TestStoreAndForward(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := startRelay(t, map[string]any{"usp.relay.store_forward.enabled": "true"})
	c, a := env.controller(t, "MQTT"), env.agent(t, "os::NATIVE-1", "WebSocket")
	a.tell(c, "before")
	if err := a.link.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, "the agent is away", func() bool {
		return strings.HasPrefix(env.Reachability(a.id), "away")
	})
	var waiting [][]byte
	for _, what := range []string{"1", "2", "3"} {
		waiting = append(waiting, plainRecord(t, c.id, a.id, what))
		c.send(a.id, waiting[len(waiting)-1])
	}
	testenv.Until(t, "the records wait", func() bool { return env.Metric("uspbridge_relay_queued_records") == 3 })
	env.Kill()
	env.Restart()
	if n := env.Metric("uspbridge_relay_queued_records"); n != 3 {
		t.Errorf("%v records wait after the kill, want 3", n)
	}
	a = env.agent(t, a.id, "WebSocket")
	a.tell(c, "back")
	for _, rec := range waiting {
		a.expect(rec)
	}
	c.tell(a, "live")
}

// TestForgedSenders: nobody speaks as another, and a native endpoint with the id
// of a bridged device is not mixed up with it, but shown.
func TestForgedSenders(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := startRelay(t, map[string]any{"usp.relay.rules": []map[string]string{{"from": "*", "to": "proto::*"}}})
	cpe := env.CPE(cpesim.TR181())
	c := env.controller(t, "WebSocket")
	dropped := func(reason string) float64 {
		return env.Metric(`uspbridge_relay_dropped_total{reason="` + reason + `"}`)
	}
	thief := env.agent(t, "os::NATIVE-thief", "WebSocket")
	thief.send(c.id, plainRecord(t, "os::NATIVE-victim", c.id, "forged on a connection"))
	testenv.Until(t, "it is refused", func() bool { return dropped("forged") == 1 })
	thief = env.agent(t, "os::NATIVE-thief", "MQTT") // its Response Topic is its own
	thief.send(c.id, plainRecord(t, "os::NATIVE-victim", c.id, "forged over a broker"))
	testenv.Until(t, "it is refused", func() bool { return dropped("forged") == 2 })
	double := env.agent(t, cpe.Agent, "MQTT")
	double.send(c.id, plainRecord(t, cpe.Agent, c.id, "mixed up"))
	testenv.Until(t, "it is refused", func() bool { return dropped("conflict") == 1 })
	show, err := exec.Command(program.Path(t), "device", "show", string(cpe.Agent), "--console", env.ConsoleURL()).CombinedOutput()
	if err != nil || !strings.Contains(string(show), "a native endpoint of the same id speaks over MQTT at usp/agent/"+string(cpe.Agent)) {
		t.Errorf("device show, %v:\n%s", err, show)
	}
	honest := env.agent(t, "os::NATIVE-honest", "MQTT")
	honest.tell(c, "the only ones that arrive")
	if got := env.Controller().Value(cpe.Agent, "Device.DeviceInfo.SerialNumber"); got != cpe.Identity().SerialNumber {
		t.Errorf("the device answers with serial number %q", got)
	}
}

// listed is a device in `uspbridge device list --json`.
type listed struct {
	Endpoint  string    `json:"endpoint"`
	Kind      string    `json:"kind"`
	Transport string    `json:"transport"`
	LastHeard time.Time `json:"last_heard"`
}

func devices(t *testing.T, env *testenv.Env) (list []listed) {
	t.Helper()
	out, err := exec.Command(program.Path(t), "device", "list", "--json", "--console", env.ConsoleURL()).Output()
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		t.Fatalf("device list: %v\n%s", err, out)
	}
	return list
}

// TestOneList: bridged and native devices are listed together.
func TestOneList(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := startRelay(t, nil)
	cpe := env.CPE(cpesim.TR181())
	c := env.controller(t, "WebSocket")
	for _, on := range []string{"MQTT", "WebSocket"} {
		env.agent(t, usp.EndpointID("os::NATIVE-"+on), on).tell(c, "here")
	}
	want := []listed{{Endpoint: string(cpe.Agent), Kind: "bridged", Transport: "CWMP"},
		{Endpoint: "os::NATIVE-MQTT", Kind: "native", Transport: "MQTT"}, {Endpoint: "os::NATIVE-WebSocket", Kind: "native", Transport: "WebSocket"}}
	testenv.Until(t, "both native agents are listed", func() bool { return len(devices(t, env.Env)) == len(want) })
	got := devices(t, env.Env)
	for i, d := range got {
		if d.LastHeard.IsZero() {
			t.Errorf("%s was never heard", d.Endpoint)
		}
		if d.LastHeard = (time.Time{}); d != want[i] {
			t.Errorf("listed %+v, want %+v", d, want[i])
		}
	}
	// Page by page it is the same list.
	after, paged := "", 0
	for {
		var page struct {
			Devices []listed `json:"devices"`
			Next    string   `json:"next"`
		}
		_, body, err := env.Console("/api/devices?limit=1&after=" + url.QueryEscape(after))
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil || len(page.Devices) != 1 || paged >= len(want) || page.Devices[0].Endpoint != want[paged].Endpoint {
			t.Fatalf("page %d behind %q: %s, %v", paged, after, body, err)
		}
		paged++
		if after = page.Next; after == "" {
			break
		}
	}
	if paged != len(want) {
		t.Errorf("%d devices page by page, want %d", paged, len(want))
	}
	forget, err := exec.Command(program.Path(t), "device", "forget", "os::NATIVE-MQTT", "--console", env.ConsoleURL()).CombinedOutput()
	if err != nil || len(devices(t, env.Env)) != len(want)-1 {
		t.Errorf("device forget: %v\n%s", err, forget)
	}
	refresh, err := exec.Command(program.Path(t), "device", "refresh", "os::NATIVE-WebSocket", "--console", env.ConsoleURL()).CombinedOutput()
	if err == nil || !strings.Contains(string(refresh), "is a native agent") {
		t.Errorf("device refresh: %v\n%s", err, refresh)
	}
}

// TestInboxes: native agents that write to a controller's own topic and queue are
// heard, though it is reached elsewhere, until it listens there itself.
func TestInboxes(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := relayEnv{mqtt: testenv.MosquittoBroker(t), stomp: testenv.RabbitMQ(t)}
	const topic, queue = "usp/controller/own", "/queue/usp.controller.own"
	env.start(t, map[string]any{"usp.relay.inboxes": []map[string]any{
		{"endpoint_id": "proto::c-WebSocket", "mtp": map[string]string{"protocol": "MQTT", "topic": topic}},
		{"endpoint_id": "proto::c-WebSocket", "mtp": map[string]string{"protocol": "STOMP", "destination": queue}},
	}})
	c := env.controller(t, "WebSocket")
	overMQTT := newPeer(t, "os::NATIVE-MQTT", testenv.MQTTLink(t, env.mqtt.Address, "usp/agent/os::NATIVE-MQTT", topic))
	overSTOMP := newPeer(t, "os::NATIVE-STOMP", testenv.STOMPLink(t, env.stomp, "/queue/usp.agent.os::NATIVE-STOMP", queue))
	for _, a := range []*peer{overMQTT, overSTOMP} {
		a.tell(c, "to where it is told")
		c.tell(a, "back")
	}
	// The controller moves to its queue: what is written there is its own to take.
	if err := c.link.Close(); err != nil {
		t.Error(err)
	}
	c = newPeer(t, c.id, testenv.STOMPLink(t, env.stomp, queue, agentQueue))
	c.tell(overMQTT, "moved")
	for range 10 { // if the bridge read the queue too, some would go round by it
		overSTOMP.tell(c, "directly")
	}
	if n := env.Metric(`uspbridge_relay_records_total{from="STOMP",to="STOMP"}`); n != 0 {
		t.Errorf("%v records have gone round by the bridge", n)
	}
	overMQTT.tell(c, "from the other broker")
}
