package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
)

// faulty is a broker of a kind, a bridge on it, and a controller that connects
// again by itself.
type faulty struct {
	name   string
	broker func(testing.TB) *testenv.Broker
	bridge func(t *testing.T, broker string) *testenv.Env
	client func(ctx context.Context, broker string) (*client.Client, error)
}

var faults = []faulty{
	{"MQTT", testenv.MosquittoBroker,
		func(t *testing.T, broker string) *testenv.Env { return overMQTT(t, broker, nil) },
		func(ctx context.Context, broker string) (*client.Client, error) {
			return client.MQTT(ctx, brokerController, mqtt.Config{Broker: "tcp://" + broker, Topic: ownTopic}, agentTopics)
		}},
	{"STOMP", testenv.ActiveMQ,
		func(t *testing.T, broker string) *testenv.Env { return overSTOMP(t, broker, nil) },
		func(ctx context.Context, broker string) (*client.Client, error) {
			return client.STOMP(ctx, brokerController, stomp.Config{Broker: "tcp://" + broker, Destination: ownDestination}, agentDestinations)
		}},
}

// eachFault starts what a faulty needs, with a CPE.
func eachFault(t *testing.T, play func(t *testing.T, b *testenv.Broker, env *testenv.Env, cpe *testenv.CPE, far *testenv.Controller)) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel() // it is mostly waiting
			b := f.broker(t)
			env := f.bridge(t, b.Address)
			ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
			defer cancel()
			c, err := f.client(ctx, b.Address)
			if err != nil {
				t.Fatal(err)
			}
			play(t, b, env, env.CPE(cpesim.TR098()), env.ControllerOf(c))
		})
	}
}

// awaitValue waits for the notification of a value, over those of others.
func awaitValue(c *testenv.Controller, changes, value string) {
	n := c.Next(changes)
	for n.Value != value {
		n = c.Next(changes)
	}
}

const ssid = "Device.WiFi.SSID.1.SSID"

// TestFrozenBroker: a broker that reads nothing any more stalls no device and no
// other transport, however much there is to tell over it; when it goes on, so does
// what was told meanwhile.
func TestFrozenBroker(t *testing.T) {
	eachFault(t, func(t *testing.T, b *testenv.Broker, env *testenv.Env, cpe *testenv.CPE, far *testenv.Controller) {
		near := env.Controller() // over WebSocket
		changes := far.SubscribeSurely(cpe.Agent, "ValueChange", ssid)
		awaitWatched(t, cpe, gateways()[0].ssid)
		b.Freeze()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range 30 {
				value := fmt.Sprint("frozen ", i)
				if err := near.TrySet(cpe.Agent, ssid, value); err != nil {
					t.Errorf("Set while the broker is frozen: %v", err)
				}
				if values, err := near.TryGet(cpe.Agent, ssid); err != nil || values[ssid] != value {
					t.Errorf("Get while the broker is frozen: %v, %v", values, err)
				}
			}
		}()
		// Were each of the notifications waited for, this would take minutes.
		select {
		case <-done:
		case <-time.After(testenv.Patience):
			t.Fatalf("30 changes take more than %v while the broker is frozen", testenv.Patience)
		}
		b.Thaw()
		awaitValue(far, changes, "frozen 29")
		if got := far.Value(cpe.Agent, ssid); got != "frozen 29" {
			t.Errorf("over the broker the SSID is %q", got)
		}
	})
}

// TestKilledBroker: after kill -9 and a start with nothing kept, all connect again
// by themselves, and what waited for a response is told.
func TestKilledBroker(t *testing.T) {
	eachFault(t, func(t *testing.T, b *testenv.Broker, env *testenv.Env, cpe *testenv.CPE, far *testenv.Controller) {
		near := env.Controller()
		near.Set(cpe.Agent, `Device.LocalAgent.Controller.[EndpointID=="`+string(brokerController)+`"].USPNotifRetryMinimumWaitInterval`, "1")
		changes := far.SubscribeSurely(cpe.Agent, "ValueChange", ssid)
		awaitWatched(t, cpe, gateways()[0].ssid)
		for round := range 2 {
			b.Kill()
			value := fmt.Sprint("without a broker ", round)
			near.Set(cpe.Agent, ssid, value)
			b.Start()
			awaitValue(far, changes, value)
			if got := far.Value(cpe.Agent, ssid); got != value {
				t.Errorf("over the new broker the SSID is %q", got)
			}
		}
	})
}
