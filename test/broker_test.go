package test

import (
	"context"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
)

// brokerController is the controller that is reached over a broker.
const brokerController = usp.EndpointID("proto::broker-controller")

// Where the controller and the agents listen, on each kind of broker.
const (
	ownTopic, agentTopics             = "usp/controller/1", "usp/agent/{endpoint_id}"
	ownDestination, agentDestinations = "/queue/usp.controller.1", "/queue/usp.agent.{endpoint_id}"
)

// overMQTT starts a bridge on an MQTT broker, with keys of usp.mtp.mqtt.
func overMQTT(t *testing.T, broker string, keys map[string]any) *testenv.Env {
	t.Helper()
	all := map[string]any{"usp.mtp.mqtt.broker": "tcp://" + broker, "usp.mtp.mqtt.topic": agentTopics}
	for k, v := range keys {
		all["usp.mtp.mqtt."+k] = v
	}
	return testenv.Start(t, program, testenv.Config{Keys: all,
		Controllers: []testenv.ControllerRow{{EndpointID: brokerController, MTP: map[string]string{"protocol": "MQTT", "topic": ownTopic}}}})
}

// overSTOMP starts a bridge on a STOMP broker, with keys of usp.mtp.stomp.
func overSTOMP(t *testing.T, broker string, keys map[string]any) *testenv.Env {
	t.Helper()
	all := map[string]any{
		"usp.mtp.stomp.broker": "tcp://" + broker, "usp.mtp.stomp.destination": agentDestinations,
		"usp.mtp.stomp.login": "guest", "usp.mtp.stomp.passcode": "guest",
	}
	for k, v := range keys {
		all["usp.mtp.stomp."+k] = v
	}
	return testenv.Start(t, program, testenv.Config{Keys: all,
		Controllers: []testenv.ControllerRow{{EndpointID: brokerController, MTP: map[string]string{"protocol": "STOMP", "destination": ownDestination}}}})
}

// controllerOver311 is a controller that speaks MQTT 3.1.1.
func controllerOver311(t *testing.T, env *testenv.Env, c mqtt.Config) *testenv.Controller {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	c.Version, c.Topic = "3.1.1", ownTopic
	ctl, err := client.MQTT(ctx, brokerController, c, agentTopics)
	if err != nil {
		t.Fatal(err)
	}
	return env.ControllerOf(ctl)
}

// TestMQTT: a controller behind a real MQTT broker manages CPE, in both versions,
// whosever the connections are.
func TestMQTT(t *testing.T) {
	t.Parallel() // starting a broker is mostly waiting
	broker := testenv.Mosquitto(t)
	for connections, each := range map[string]string{"shared": "", "per-agent": "MQTT"} {
		t.Run("5.0 "+connections, func(t *testing.T) {
			env := overMQTT(t, broker, map[string]any{"connections": connections})
			manage(t, env, env.ControllerOver(brokerController, testenv.MQTTLink(t, broker, ownTopic, agentTopics)), each)
		})
		t.Run("3.1.1 "+connections, func(t *testing.T) {
			env := overMQTT(t, broker, map[string]any{"connections": connections, "version": "3.1.1"})
			manage(t, env, controllerOver311(t, env, mqtt.Config{Broker: "tcp://" + broker}), each)
		})
	}
}

// TestMQTTOnRabbitMQ: its plugin speaks 3.1.1, keeps topics as AMQP has them, and
// closes connections where others answer.
func TestMQTTOnRabbitMQ(t *testing.T) {
	t.Parallel() // starting a broker is mostly waiting
	broker := testenv.RabbitMQForMQTT(t)
	for connections, each := range map[string]string{"shared": "", "per-agent": "MQTT"} {
		t.Run(connections, func(t *testing.T) {
			env := overMQTT(t, broker, map[string]any{"connections": connections, "version": "3.1.1", "username": "guest", "password": "guest"})
			manage(t, env, controllerOver311(t, env, mqtt.Config{Broker: "tcp://" + broker, Username: "guest", Password: "guest"}), each)
		})
	}
}

// TestSTOMP: a controller behind a real STOMP broker manages CPE.
func TestSTOMP(t *testing.T) {
	for name, start := range map[string]func(*testing.T) string{
		"RabbitMQ": func(t *testing.T) string { return testenv.RabbitMQ(t) },
		"ActiveMQ": func(t *testing.T) string { return testenv.ActiveMQ(t).Address },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // starting a broker is mostly waiting
			broker := start(t)
			for connections, each := range map[string]string{"shared": "", "per-agent": "STOMP"} {
				t.Run(connections, func(t *testing.T) {
					env := overSTOMP(t, broker, map[string]any{"connections": connections})
					manage(t, env, env.ControllerOver(brokerController, testenv.STOMPLink(t, broker, ownDestination, agentDestinations)), each)
				})
			}
		})
	}
}

// manage is what every transport has to carry: requests, answers and
// notifications, also those that nobody has asked for on this connection. Each is
// the protocol on which each agent has its own connection, "" for none.
func manage(t *testing.T, env *testenv.Env, controller *testenv.Controller, each string) {
	t.Helper()
	agents := 0
	eachGateway(t, func(t *testing.T, g gateway) {
		cpe := env.CPEWith(cpesim.Config{Model: g.model()})
		if agents++; each != "" {
			testenv.Until(t, "each agent has its connection", func() bool {
				return env.Metric(`uspbridge_mtp_connections{protocol="`+each+`"}`) == float64(agents)
			})
		}
		if got := controller.Value(cpe.Agent, "Device.DeviceInfo.SerialNumber"); got != cpe.Identity().SerialNumber {
			t.Errorf("serial number %q, want %q", got, cpe.Identity().SerialNumber)
		}
		if all := controller.Get(cpe.Agent, "Device."); len(all) < 500 {
			t.Errorf("Get Device. returned %d parameters", len(all))
		}
		controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "home")
		if got := cpe.Value(g.ssid); got != "home" {
			t.Errorf("on the CPE the SSID is %q", got)
		}
		changes := controller.Subscribe(cpe.Agent, "ValueChange", "Device.WiFi.SSID.1.SSID")
		awaitWatched(t, cpe, g.ssid)
		cpe.Set(g.ssid, "changed")
		if got := controller.Next(changes); got.Value != "changed" || got.Agent != cpe.Agent {
			t.Errorf("notified of %+v", got)
		}
		if err := controller.TrySet(cpe.Agent, "Device.WiFi.SSID.1.Nonsense", "x"); err == nil {
			t.Error("a parameter that is not there was set")
		}
	})
}
