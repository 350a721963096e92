package test

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// way is a transport by which somebody hostile reaches the bridge.
type way struct {
	name string
	// open connects as a controller that the bridge knows.
	open func(t *testing.T) client.Link
	as   usp.EndpointID
	// proves: the transport knows who is at the other end, whatever records say.
	proves bool
	// closes: the peer has a connection of its own, which is closed if it sends
	// what is no record.
	closes bool
	// most is the largest record that gets as far as the bridge, where that is not any.
	most int
	// cut: who sends too much, or too large a record, loses its connection to the
	// bridge or to its embedded broker.
	cut bool
}

// everyWay is a bridge that is reached over all transports.
func everyWay(t *testing.T, more map[string]any) (*testenv.Env, string, []way) {
	t.Helper()
	const overSTOMP, overUDS, overCoAP = usp.EndpointID("proto::on-stomp"), usp.EndpointID("proto::on-uds"), usp.EndpointID("proto::on-coap")
	const queue = "/queue/usp.controller.hostile"
	stomp, socket, bridge, own := testenv.RabbitMQ(t), filepath.Join(t.TempDir(), "s"), testenv.FreeAddress(t), testenv.FreeAddress(t)
	keys := map[string]any{"usp.mtp.stomp.broker": "tcp://" + stomp, "usp.mtp.stomp.login": "guest", "usp.mtp.stomp.passcode": "guest",
		"usp.mtp.stomp.destination": agentQueue, "usp.mtp.uds.listen": socket, "usp.mtp.coap.listen": bridge}
	maps.Copy(keys, more)
	env, broker := withBroker(t, keys,
		testenv.ControllerRow{EndpointID: overSTOMP, MTP: map[string]string{"protocol": "STOMP", "destination": queue}},
		testenv.ControllerRow{EndpointID: overUDS, MTP: map[string]string{"protocol": "UDS"}},
		testenv.ControllerRow{EndpointID: overCoAP, MTP: map[string]string{"protocol": "CoAP", "url": "coap://" + own + "/usp"}})
	return env, broker, []way{
		{name: "WebSocket", as: testenv.DefaultController, proves: true, closes: true, cut: true,
			open: func(*testing.T) client.Link { return env.WebSocketLink(testenv.DefaultController) }},
		{name: "MQTT", as: brokerController, proves: true, cut: true, open: func(t *testing.T) client.Link {
			return testenv.MQTTLinkAs(t, "controller", brokerPassword, broker, brokerTopic, agentTopic)
		}},
		{name: "STOMP", as: overSTOMP, open: func(t *testing.T) client.Link { return testenv.STOMPLink(t, stomp, queue, agentQueue) }},
		{name: "UDS", as: overUDS, proves: true, closes: true, cut: true, open: func(t *testing.T) client.Link {
			link, err := client.DialLink(t.Context(), client.Config{URL: uds.Scheme + socket, Controller: overUDS})
			if err != nil {
				t.Fatal(err)
			}
			return link
		}},
		// Blocks of 1024 bytes, each confirmed, carry no more in reasonable time.
		{name: "CoAP", as: overCoAP, most: 1 << 20, open: func(t *testing.T) client.Link { return coapLink(t, overCoAP, own, bridge) }},
	}
}

// get is a record with a Get of one parameter.
func get(t *testing.T, from, to usp.EndpointID, version, msgID string) []byte {
	t.Helper()
	return getting(t, from, to, version, msgID, "Device.DeviceInfo.SerialNumber")
}

// getting is a record with a Get of a path.
func getting(t *testing.T, from, to usp.EndpointID, version, msgID, path string) []byte {
	t.Helper()
	msg := &usppb.Msg{
		Header: &usppb.Header{MsgId: msgID, MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Get{
			Get: &usppb.Get{ParamPaths: []string{path}}}}}},
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
	env, _, ways := everyWay(t, nil)
	agent := env.CPE(gateways()[0].model()).Agent
	for _, w := range ways {
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
					if !w.proves && strings.HasPrefix(tt.name, "from another") {
						t.Skip("nobody can tell, and a trusted broker is to see to it")
					}
					if w.most > 0 && len(tt.record) > w.most {
						t.Skip("it does not get there")
					}
					link.Say(agent, tt.record)
					if tt.want == closed && (w.closes || w.cut && len(tt.record) > 5<<20) {
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

// expectAnswer wants a message with that id to be the next that comes, of those that
// answer something.
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
	if r.GetNoSessionContext() == nil {
		expectAnswer(t, l, id, failure) // a greeting: a Connect record
		return
	}
	msg, err := record.Message(r)
	if err != nil {
		t.Fatal(err)
	}
	if msg.GetHeader().GetMsgType() == usppb.Header_NOTIFY {
		expectAnswer(t, l, id, failure) // the agent is new, which it tells until that is confirmed
		return
	}
	if msg.GetHeader().GetMsgId() != id || (msg.GetBody().GetError() != nil) != failure {
		t.Errorf("answered %v, want message %q", msg, id)
	}
}

// TestUSPFlood: who floods is cut off, or loses what is too much; others are served
// meanwhile, and no less after it.
func TestUSPFlood(t *testing.T) {
	env, broker, ways := everyWay(t, map[string]any{"usp.limits.records_per_second": 50, "usp.limits.burst": 100})
	agent := env.CPE(gateways()[0].model()).Agent
	quiet := env.ControllerOver(otherOnBroker, testenv.MQTTLinkAs(t, "other", brokerPassword, broker, "usp/controller/other", agentTopic))
	dropped := func() float64 {
		return env.Metric("uspbridge_mtp_records_flood_total") + env.Metric(`uspbridge_broker_refused_total{reason="rate"}`)
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			link := w.open(t)
			raw := testenv.Raw(t, link)
			// A record for nobody costs the bridge little, so that it is read fast.
			rec := get(t, w.as, "os::00259E-NOBODY", "1.4", "flood")
			before := dropped()
			for range 400 {
				raw.Say(agent, rec)
			}
			if w.cut {
				awaitGone(t, raw)
			}
			testenv.Until(t, "what is too much is dropped and counted", func() bool { return dropped() > before })
			if ws, ok := link.(*testenv.WebSocketLink); ok && ws.Code != 1008 && ws.Code != 0 { // 0: it was lost with what was not read
				t.Errorf("closed with %d, want 1008", ws.Code)
			}
			if got := quiet.Value(agent, "Device.DeviceInfo.SerialNumber"); got == "" {
				t.Error("the other controller has no answer")
			}
			if err := link.Close(); err != nil && !w.cut {
				t.Error(err)
			}
			testenv.Until(t, "the flooder is served again", func() bool {
				again := testenv.Raw(t, w.open(t))
				again.Say(agent, get(t, w.as, agent, "1.4", "again"))
				b, more := <-again.Records
				return more && len(b) > 0
			})
		})
	}
}
