package test

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// TestRelay: native agents and controllers reach each other from each transport to
// each, bytes untouched; one that moves is followed.
func TestRelay(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := relayEnv{mqtt: testenv.MosquittoBroker(t), stomp: testenv.RabbitMQ(t)}
	env.start(t, nil)
	protocols := []string{"WebSocket", "MQTT", "STOMP", "UDS", "CoAP"}
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

// TestConnectRecordsAreMadeAnew for the transport of the controller, of whatever kind
// the agent's was; CoAP has none.
func TestConnectRecordsAreMadeAnew(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	env := startRelay(t, nil)
	const id = usp.EndpointID("os::NATIVE-1")
	made := func(on string, to usp.EndpointID) (rec []byte, err error) {
		switch on {
		case "WebSocket":
			return record.WebSocketConnect(id, to, "1.2")
		case "UDS":
			return record.UDSConnect(id, to, "1.2")
		case "MQTT":
			return record.MQTTConnect(id, to, "1.2", usppb.MQTTConnectRecord_V5, "usp/agent/"+string(id))
		}
		return nil, nil
	}
	for _, from := range []string{"WebSocket", "UDS", "MQTT"} {
		a := env.agent(t, id, from)
		for _, on := range []string{"MQTT", "UDS", "CoAP", "WebSocket"} {
			t.Run(from+" to "+on, func(t *testing.T) {
				c := env.controller(t, on)
				hello, err := made(from, c.id)
				if err != nil {
					t.Fatal(err)
				}
				want, err := made(on, c.id)
				if err != nil {
					t.Fatal(err)
				}
				a.send(c.id, hello)
				if want != nil {
					c.expect(want)
				}
				a.tell(c, "welcome")
				c.tell(a, "thanks")
			})
		}
		if err := a.link.Close(); err != nil {
			t.Error(err)
		}
	}
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
	testenv.Until(t, "the broker has confirmed them, and none is sent again", func() bool {
		return env.Metric(`uspbridge_relay_records_total{from="WebSocket",to="MQTT"}`) == 2
	})
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

// TestRoute: an endpoint that was never heard is reached where the configuration says.
func TestRoute(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	const id, other = usp.EndpointID("os::NATIVE-CoAP"), usp.EndpointID("os::NATIVE-MQTT")
	own, topic := testenv.FreeAddress(t), "usp/agent/"+string(other)
	env := startRelay(t, map[string]any{"usp.relay.routes": []map[string]any{
		{"endpoint_id": id, "mtp": map[string]string{"protocol": "CoAP", "url": "coap://" + own + "/usp"}},
		{"endpoint_id": other, "mtp": map[string]string{"protocol": "MQTT", "topic": topic}},
	}})
	c := env.controller(t, "UDS")
	for _, a := range []*peer{env.peer(t, id, "CoAP", inbox{coap: own}), env.peer(t, other, "MQTT", inbox{topic: topic})} {
		c.tell(a, "the first that it hears")
		a.tell(c, "back")
	}
}

// TestNativeFlood: the bound of what one endpoint may send is in front of the relay,
// too, on each transport; other native agents are relayed as before.
func TestNativeFlood(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	const burst, sent = 100, 400
	env := startRelay(t, map[string]any{"usp.limits.records_per_second": 1, "usp.limits.burst": burst})
	flooded := func() float64 { return env.Metric("uspbridge_mtp_records_flood_total") }
	c := env.controller(t, "MQTT")
	for _, on := range []string{"WebSocket", "MQTT", "UDS", "CoAP"} {
		t.Run(on, func(t *testing.T) {
			relayed := `uspbridge_relay_records_total{from="` + on + `",to="MQTT"}`
			before, a := flooded(), env.agent(t, usp.EndpointID("os::NATIVE-flood-"+on), on)
			rec := plainRecord(t, a.id, c.id, "flood")
			for i := range byte(sent / 4) {
				// Copies of the same bytes are bounded by another rule.
				for j := range byte(4) {
					_ = a.link.Send(t.Context(), c.id, append(rec[:len(rec):len(rec)], 0xf8, 0x0f, i, 0xf0, 0x0f, j)) // the connection may be closed
				}
			}
			testenv.Until(t, "what is too much is dropped", func() bool { return flooded() > before })
			testenv.Until(t, "no more of it is on its way", func() bool {
				select {
				case <-c.records:
					return false
				default:
					return true
				}
			})
			if n := env.Metric(relayed); n > burst+20 { // some seconds may pass
				t.Errorf("%v of %d records are relayed, at most %d may be at once", n, sent, burst)
			}
			quiet := env.agent(t, usp.EndpointID("os::NATIVE-quiet-"+on), on)
			quiet.send(c.id, plainRecord(t, quiet.id, c.id, "quiet"))
			testenv.Until(t, "another is relayed", func() bool {
				b, more := <-c.records
				r, err := record.Unwrap(b, record.Limits{})
				return !more || err == nil && r.GetFromId() == string(quiet.id)
			})
		})
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
