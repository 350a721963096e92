package test

import (
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// brokerController is the controller that is reached over a broker.
const brokerController = usp.EndpointID("proto::broker-controller")

// TestMQTT: a controller behind a real MQTT broker manages a CPE.
func TestMQTT(t *testing.T) {
	t.Parallel() // starting a broker is mostly waiting
	broker := testenv.Mosquitto(t)
	const own, agents = "usp/controller/1", "usp/agent/{endpoint_id}"
	env := testenv.Start(t, program, testenv.Config{
		Keys:        map[string]any{"usp.mtp.mqtt.broker": "tcp://" + broker, "usp.mtp.mqtt.topic": agents},
		Controllers: []testenv.ControllerRow{{EndpointID: brokerController, MTP: map[string]string{"protocol": "MQTT", "topic": own}}},
	})
	manage(t, env, env.ControllerOver(brokerController, testenv.MQTTLink(t, broker, own, agents)))
}

// TestSTOMP: a controller behind a real STOMP broker manages a CPE.
func TestSTOMP(t *testing.T) {
	t.Parallel() // starting a broker is mostly waiting
	broker := testenv.RabbitMQ(t)
	const own, agents = "/queue/usp.controller.1", "/queue/usp.agent.{endpoint_id}"
	env := testenv.Start(t, program, testenv.Config{
		Keys: map[string]any{
			"usp.mtp.stomp.broker": "tcp://" + broker, "usp.mtp.stomp.destination": agents,
			"usp.mtp.stomp.login": "guest", "usp.mtp.stomp.passcode": "guest",
		},
		Controllers: []testenv.ControllerRow{{EndpointID: brokerController, MTP: map[string]string{"protocol": "STOMP", "destination": own}}},
	})
	manage(t, env, env.ControllerOver(brokerController, testenv.STOMPLink(t, broker, own, agents)))
}

// manage is what every transport has to carry: requests, answers and
// notifications, also those that nobody has asked for on this connection.
func manage(t *testing.T, env *testenv.Env, controller *testenv.Controller) {
	t.Helper()
	eachGateway(t, func(t *testing.T, g gateway) {
		cpe := env.CPEWith(cpesim.Config{Model: g.model()})
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
