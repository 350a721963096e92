package test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// way is a transport by which somebody hostile reaches the bridge.
type way struct {
	name string
	// open connects as a controller that the bridge knows.
	open func(t *testing.T) client.Link
	as   usp.EndpointID
	// proves: the bridge knows who is at the other end, whatever records say.
	proves bool
	// closes: the peer has a connection of its own, which is closed if it sends
	// what is no record.
	closes bool
}

// ways are those that need no other program but the bridge.
func ways(env *testenv.Env, broker string) []way {
	return []way{
		{name: "WebSocket", as: testenv.DefaultController, proves: true, closes: true,
			open: func(*testing.T) client.Link { return env.WebSocketLink(testenv.DefaultController) }},
		{name: "MQTT", as: brokerController, proves: true, open: func(t *testing.T) client.Link {
			return testenv.MQTTLinkAs(t, "controller", brokerPassword, broker, brokerTopic, "usp/agent/{endpoint_id}")
		}},
	}
}

// get is a record with a Get.
func get(t *testing.T, from, to usp.EndpointID, version, msgID string) []byte {
	t.Helper()
	msg := &usppb.Msg{
		Header: &usppb.Header{MsgId: msgID, MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Get{
			Get: &usppb.Get{ParamPaths: []string{"Device.DeviceInfo.SerialNumber"}}}}}},
	}
	b, err := record.WrapMsg(from, to, version, msg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// altered is a record that was changed after it was made.
func altered(t *testing.T, b []byte, change func(*usppb.Record)) []byte {
	t.Helper()
	r := new(usppb.Record)
	if err := proto.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	change(r)
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What comes of a record.
type outcome int

const (
	silence  outcome = iota // it is dropped
	answered                // as any request
	refused                 // by a message of type Error (R-MTP.5)
	closed                  // the connection is, where the peer has one; silence elsewhere
)

// TestHostileRecords: what is wrong with a record is answered where R-MTP.5 wants
// that and nowhere else, on each transport; the agent goes on to serve.
func TestHostileRecords(t *testing.T) {
	env, broker := withBroker(t, nil)
	agent := env.CPE(gateways()[0].model()).Agent
	for _, w := range ways(env, broker) {
		good := get(t, w.as, agent, "1.4", "hostile")
		message := bytes.Index(good, []byte("hostile"))
		tests := []struct {
			name   string
			record []byte
			want   outcome
		}{
			{"no record", []byte("garbage"), closed},
			{"nothing", nil, closed},
			{"cut off", good[:len(good)-3], silence}, // who sent it can be read, but not what it asks
			{"zeros", make([]byte, 1000), closed},
			{"larger than any", make([]byte, 6<<20), closed},
			{"version 0.1", get(t, w.as, agent, "0.1", "hostile"), answered}, // both are Major.Minor
			{"version 9.9", get(t, w.as, agent, "9.9", "hostile"), answered},
			{"no version", altered(t, good, func(r *usppb.Record) { r.Version = "" }), refused},
			{"version of letters", altered(t, good, func(r *usppb.Record) { r.Version = "latest" }), refused},
			{"unknown payload security", altered(t, good, func(r *usppb.Record) { r.PayloadSecurity = 77 }), refused},
			{"a message that is none", slices.Concat(good[:message], []byte{0xff, 0xff}, good[message+2:]), silence},
			{"another's agent", get(t, w.as, "os::00259E-NOBODY", "1.4", "hostile"), silence},
			{"to nobody", altered(t, good, func(r *usppb.Record) { r.ToId = "" }), closed},
			{"to itself", altered(t, good, func(r *usppb.Record) { r.ToId = r.FromId }), silence},
			{"from nobody", altered(t, good, func(r *usppb.Record) { r.FromId = "" }), silence},
			{"from a stranger", altered(t, good, func(r *usppb.Record) { r.FromId = "proto::stranger" }), silence},
			{"from another controller", altered(t, good, func(r *usppb.Record) { r.FromId = string(otherOnBroker) }), silence},
			{"from the command line", altered(t, good, func(r *usppb.Record) { r.FromId = "self::uspbridge-cli" }), silence},
			{"from the agent", altered(t, good, func(r *usppb.Record) { r.FromId = r.ToId }), silence},
			{"an endless endpoint id", altered(t, good, func(r *usppb.Record) { r.FromId = "os::" + strings.Repeat("1", 100_000) }), silence},
		}
		t.Run(w.name, func(t *testing.T) {
			whole := t // links outlive the case that needs a new one
			link := testenv.Raw(t, w.open(t))
			for i, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					link.Say(agent, tt.record)
					if tt.want == closed && (w.closes || len(tt.record) > 5<<20) { // a broker, too, closes on what is too large
						awaitGone(t, link)
						link = testenv.Raw(whole, w.open(whole))
					}
					if tt.want == answered || tt.want == refused {
						expectAnswer(t, link, "hostile", tt.want == refused)
					}
					// What is answered next is the next request: nothing was before.
					id := "good-" + string(rune('a'+i))
					link.Say(agent, get(t, w.as, agent, "1.4", id))
					expectAnswer(t, link, id, false)
				})
			}
		})
	}
	if !env.Running() {
		t.Fatal("the bridge is dead")
	}
}

// awaitGone waits until the bridge has closed a link, on which nothing was said.
func awaitGone(t *testing.T, l *testenv.RecordLink) {
	t.Helper()
	ended := false
	testenv.Until(t, "the connection is closed", func() bool {
		select {
		case b, more := <-l.Records:
			if more {
				t.Fatalf("answered % x", b)
			}
			ended = true
		default:
		}
		return ended
	})
}

// expectAnswer wants a message with that id to be the next that comes.
func expectAnswer(t *testing.T, l *testenv.RecordLink, id string, failure bool) {
	t.Helper()
	var b []byte
	testenv.Until(t, "there is an answer", func() bool {
		select {
		case b = <-l.Records:
			return true
		default:
			return false
		}
	})
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	if r.GetWebsocketConnect() != nil || r.GetMqttConnect() != nil {
		expectAnswer(t, l, id, failure) // a greeting
		return
	}
	msg, err := record.Message(r)
	if err != nil {
		t.Fatal(err)
	}
	if msg.GetHeader().GetMsgId() != id || (msg.GetBody().GetError() != nil) != failure {
		t.Errorf("answered %v, want message %q", msg, id)
	}
}

// TestUSPFlood: who floods is cut off, or loses what is too much; others are served
// meanwhile, and no less after it.
func TestUSPFlood(t *testing.T) {
	env, broker := withBroker(t, map[string]any{"usp.limits.records_per_second": 50, "usp.limits.burst": 100})
	agent := env.CPE(gateways()[0].model()).Agent
	quiet := env.ControllerOver(otherOnBroker, testenv.MQTTLinkAs(t, "other", brokerPassword, broker, "usp/controller/other", "usp/agent/{endpoint_id}"))
	for _, w := range ways(env, broker) {
		t.Run(w.name, func(t *testing.T) {
			link := w.open(t)
			raw := testenv.Raw(t, link)
			// A record for nobody costs the bridge little, so that it is read fast.
			rec := get(t, w.as, "os::00259E-NOBODY", "1.4", "flood")
			for range 1000 {
				raw.Say(agent, rec)
			}
			awaitGone(t, raw)
			if ws, ok := link.(*testenv.WebSocketLink); ok && ws.Code != 1008 && ws.Code != 0 { // 0: it was lost with what was not read
				t.Errorf("closed with %d, want 1008", ws.Code)
			}
			if got := quiet.Value(agent, "Device.DeviceInfo.SerialNumber"); got == "" {
				t.Error("the other controller has no answer")
			}
			testenv.Until(t, "the flooder is served again", func() bool {
				again := testenv.Raw(t, w.open(t))
				again.Say(agent, get(t, w.as, agent, "1.4", "again"))
				b, more := <-again.Records
				return more && len(b) > 0
			})
		})
	}
	dropped := env.Metric("uspbridge_mtp_records_flood_total") + env.Metric(`uspbridge_broker_refused_total{reason="rate"}`)
	if dropped == 0 {
		t.Error("nothing is counted")
	}
}
