package broker_test

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// TestVersionsMeet: a controller and a native agent answer each other whichever
// version of MQTT each speaks, and so do a controller and the bridge, which hears who
// has sent it what.
func TestVersionsMeet(t *testing.T) {
	const bridged = usp.EndpointID("os::00259E-BRIDGED")
	for _, versions := range [][2]string{{"3.1.1", "3.1.1"}, {"3.1.1", "5.0"}, {"5.0", "3.1.1"}, {"5.0", "5.0"}} {
		t.Run(versions[0]+" to "+versions[1], func(t *testing.T) {
			b := start(t, broker.Config{})
			join := func(name string, cfg mqtt.Config) (*mqtt.Transport, *mtptest.Recorder) {
				t.Helper()
				cfg.Broker, cfg.Username, cfg.Password = "tcp://"+b.address, name, password
				return transport(t, cfg)
			}
			bridge, atBridge := transport(t, mqtt.Config{Broker: "mqtt://embedded", Dial: b.Dial, Topic: "usp/agent/{endpoint_id}", SenderProperty: broker.SenderProperty})
			ctl, atCtl := join("controller", mqtt.Config{Version: versions[0], Endpoint: controller, Topic: "usp/controller/one"})
			agent, atAgent := join("native", mqtt.Config{Version: versions[1], Endpoint: native, Topic: "usp/agent/" + string(native)})
			ask := func(to usp.EndpointID, from *mqtt.Transport, at *mtptest.Recorder) mtp.Inbound {
				t.Helper()
				if err := ctl.Send(t.Context(), controller, to, mtp.Address{Topic: "usp/agent/" + string(to)}, []byte("request")); err != nil {
					t.Fatal(err)
				}
				in := mtptest.Wait(t, at.In, "request")
				if in.Reply.Topic != "usp/controller/one" {
					t.Errorf("%s is to answer at %q", to, in.Reply.Topic)
				}
				if err := from.Send(t.Context(), to, controller, in.Reply, []byte("answer")); err != nil {
					t.Fatal(err)
				}
				if answer := mtptest.Wait(t, atCtl.In, "answer"); string(answer.Record) != "answer" || answer.Reply.Topic != "usp/agent/"+string(to) {
					t.Errorf("%s has answered %+v", to, answer)
				}
				return in
			}
			ask(native, agent, atAgent)
			mtptest.Wait(t, atBridge.In, "request to the native agent, of which the relay hears")
			if in := ask(bridged, bridge, atBridge); in.Local != bridged || in.Peer != controller || !in.Proven {
				t.Errorf("the bridge got %+v", in)
			}
		})
	}
}
