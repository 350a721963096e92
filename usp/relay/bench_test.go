package relay

import (
	"fmt"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// discard is a handler of hosted agents that does nothing.
type discard struct{ next }

func (discard) Receive(mtp.Inbound) error { return nil }

// BenchmarkBridgedPath is what the relay adds to a record for a hosted agent,
// beside what unwrapping that record costs the agent.
func BenchmarkBridgedPath(b *testing.B) {
	rec, err := record.WrapMsg(controller, bridged, "1.3", &usppb.Msg{
		Header: &usppb.Header{MsgId: "1", MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Get{
			Get: &usppb.Get{ParamPaths: []string{"Device.DeviceInfo.", "Device.WiFi.SSID.1.SSID"}}}}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	in := mtp.Inbound{Record: rec, Reply: address(mtp.MQTT, "usp/controller/1"), Local: bridged}
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"no rules", func(c *Config) { c.Policy = &Policy{} }},
		{"rules that allow it", nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, func(cfg *Config) {
				cfg.Next = discard{}
				if c.change != nil {
					c.change(cfg)
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Receive(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("unwrap, for comparison", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := record.Unwrap(rec, record.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRelayed is a record from reading loop to transport, among many agents.
func BenchmarkRelayed(b *testing.B) {
	r := newRig(b, nil)
	r.Connected(controller, "", connection("controller"))
	const agents = 1000
	ids := make([]usp.EndpointID, agents)
	for i := range ids {
		ids[i] = usp.EndpointID(fmt.Sprintf("os::00259E-%04d", i))
	}
	go func() {
		for range r.ws.out { // until the test ends; the channel stays open
			continue
		}
	}()
	b.Cleanup(func() { r.lanes.wait(); close(r.ws.out) })
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		id := ids[i%agents]
		i++
		r.receive(overBroker(mtp.MQTT, "home/"+string(id), message(b, id, controller, fmt.Sprint(i))))
		if i%agents == 0 {
			r.lanes.wait()
		}
	}
}
