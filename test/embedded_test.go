package test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
)

// The users of the embedded broker in tests.
const (
	brokerTopic    = "usp/controller/broker"
	brokerPassword = "a password of theirs"
	otherOnBroker  = usp.EndpointID("proto::other-on-broker")
)

// withBroker is an environment with an embedded broker on address, on which two
// controllers can log in, as "controller" and "other".
func withBroker(t *testing.T, more map[string]any, rows ...testenv.ControllerRow) (env *testenv.Env, address string) {
	t.Helper()
	address = testenv.FreeAddress(t)
	keys := map[string]any{"usp.broker.listen": address}
	for k, v := range more {
		keys[k] = v
	}
	env = testenv.Start(t, program, testenv.Config{Keys: keys, Controllers: append(rows,
		testenv.ControllerRow{EndpointID: brokerController, MTP: map[string]string{"protocol": "MQTT", "topic": brokerTopic}},
		testenv.ControllerRow{EndpointID: otherOnBroker, MTP: map[string]string{"protocol": "MQTT", "topic": "usp/controller/other"}},
	)})
	addBrokerUser(t, env, "controller", brokerController)
	addBrokerUser(t, env, "other", otherOnBroker)
	return env, address
}

func addBrokerUser(t *testing.T, env *testenv.Env, name string, id usp.EndpointID) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"username": name, "endpoint": string(id), "password": brokerPassword})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(env.ConsoleURL()+"/api/broker/users", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("user %s: %s", name, resp.Status)
	}
}

// overBroker is a controller on the embedded broker, over the transport itself.
func overBroker(t *testing.T, env *testenv.Env, address string) *testenv.Controller {
	t.Helper()
	c, err := client.MQTT(t.Context(), brokerController, mqtt.Config{Broker: "tcp://" + address, Topic: brokerTopic,
		Username: "controller", Password: brokerPassword}, "usp/agent/{endpoint_id}")
	if err != nil {
		t.Fatal(err)
	}
	return env.ControllerOf(c)
}

// TestEmbeddedBroker: a controller manages a CPE with no broker but the bridge.
func TestEmbeddedBroker(t *testing.T) {
	env, address := withBroker(t, nil)
	manage(t, env, overBroker(t, env, address), "")
}

// TestEmbeddedBrokerPerAgent: the same, with a connection for each agent; both come
// back after a restart, with the users that there were.
func TestEmbeddedBrokerPerAgent(t *testing.T) {
	env, address := withBroker(t, map[string]any{"usp.mtp.mqtt.connections": "per-agent"})
	controller := overBroker(t, env, address)
	manage(t, env, controller, "MQTT")
	cpe := env.CPE(gateways()[0].model())
	env.Kill()
	env.Restart()
	testenv.Until(t, "the controller is answered again", func() bool {
		got, err := controller.TryGet(cpe.Agent, "Device.DeviceInfo.SerialNumber")
		return err == nil && got["Device.DeviceInfo.SerialNumber"] == cpe.Identity().SerialNumber
	})
}

// TestNativeOnEmbeddedBroker: a native agent there and a controller over WebSocket
// reach each other.
func TestNativeOnEmbeddedBroker(t *testing.T) {
	env, address := withBroker(t, map[string]any{"usp.relay.rules": relayRules})
	const id = usp.EndpointID("os::NATIVE-1")
	addBrokerUser(t, env, "native", id)
	a := newPeer(t, id, testenv.MQTTLinkAs(t, "native", brokerPassword, address, "usp/agent/"+string(id), agentTopic))
	c := newPeer(t, testenv.DefaultController, env.WebSocketLink(testenv.DefaultController))
	testenv.Until(t, "the bridge has the controller's connection", func() bool { return env.Metric(`uspbridge_mtp_connections{protocol="WebSocket"}`) == 1 })
	a.tell(c, "to the topic of its name")
	c.tell(a, "back")
}
