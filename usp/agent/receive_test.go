package agent

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// TP-469 2.1, 2.2, 3.x: records that are not handled, and which are answered.
func TestRecordsRefused(t *testing.T) {
	get := &usppb.Msg{Header: &usppb.Header{MsgId: "m1", MsgType: usppb.Header_GET}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq("Device.DeviceInfo.UpTime")}}}
	wrap := func(from, to usp.EndpointID) []byte {
		b, err := record.WrapMsg(from, to, "1.3", get)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	raw := func(r *usppb.Record) []byte {
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	noBody, err := proto.Marshal(&usppb.Msg{Header: &usppb.Header{MsgId: "m1"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		in      mtp.Inbound
		reason  string
		closes  bool
		answers bool
	}{
		{name: "known controller", in: mtp.Inbound{Record: wrap(primary, testAgent)}, answers: true},
		{name: "2.1 from itself", in: mtp.Inbound{Record: wrap(testAgent, testAgent)}, reason: refusedAddress},
		{name: "2.2 to another", in: mtp.Inbound{Record: wrap(primary, "os::other")}, reason: refusedEndpoint},
		{name: "unknown controller", in: mtp.Inbound{Record: wrap("proto::stranger", testAgent)}, reason: refusedController},
		{name: "not who it connected as", in: mtp.Inbound{Record: wrap(primary, testAgent), Peer: secondary}, reason: refusedAddress},
		{name: "not whom the address names", in: mtp.Inbound{Record: wrap(primary, testAgent), Local: "os::other"}, reason: refusedAddress},
		{name: "built-in from afar", in: mtp.Inbound{Record: wrap(BuiltinController, testAgent)}, reason: refusedController},
		{name: "built-in trusted", in: mtp.Inbound{Record: wrap(BuiltinController, testAgent), Trusted: true}, answers: true},
		{name: "no protobuf", in: mtp.Inbound{Record: []byte("GET / HTTP/1.1\r\n")}, reason: refusedMalformed, closes: true},
		{name: "message without type", in: mtp.Inbound{Record: raw(&usppb.Record{Version: "1.3", FromId: string(primary), ToId: string(testAgent),
			RecordType: &usppb.Record_NoSessionContext{NoSessionContext: &usppb.NoSessionContextRecord{Payload: noBody}}})}, reason: refusedMalformed, answers: true},
		{name: "session context of the command line", in: mtp.Inbound{Record: raw(&usppb.Record{Version: "1.3", FromId: string(BuiltinController), ToId: string(testAgent),
			RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{SessionId: 2, SequenceId: 1}}}), Trusted: true}, reason: refusedSession, answers: true},
		{name: "Connect record", in: mtp.Inbound{Record: raw(&usppb.Record{Version: "1.3", FromId: string(primary), ToId: string(testAgent),
			RecordType: &usppb.Record_WebsocketConnect{WebsocketConnect: &usppb.WebSocketConnectRecord{}}})}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			tc.in.Reply = mtp.Address{Protocol: mtp.MQTT, Topic: "reply"}
			if err := b.host.Receive(tc.in); (err != nil) != tc.closes {
				t.Errorf("Receive: %v", err)
			}
			b.settle()
			if tc.reason != "" {
				if n := testutil.ToFloat64(b.host.metrics.refused.WithLabelValues(tc.reason)); n != 1 {
					t.Errorf("%s counted %v times", tc.reason, n)
				}
			}
			select {
			case s := <-b.net.sent:
				if !tc.answers {
					t.Errorf("answered: %v", s.record)
				}
			default:
				if tc.answers {
					t.Error("not answered")
				}
			}
		})
	}
}

func TestMessagesNotForAgents(t *testing.T) {
	b := newBench(t)
	for _, req := range []*usppb.Request{
		{ReqType: &usppb.Request_Register{Register: &usppb.Register{}}},
		{ReqType: &usppb.Request_Deregister{Deregister: &usppb.Deregister{}}},
		{ReqType: &usppb.Request_Notify{Notify: &usppb.Notify{}}},
	} {
		wantError(t, b.ask(primary, req), 7001)
	}
}

// TP-469 1.80.
func TestGetSupportedProtocol(t *testing.T) {
	b := newBench(t)
	resp := b.ask(primary, &usppb.Request{ReqType: &usppb.Request_GetSupportedProtocol{GetSupportedProtocol: &usppb.GetSupportedProtocol{ControllerSupportedProtocolVersions: "1.0"}}})
	if v := resp.GetResponse().GetGetSupportedProtocolResp().GetAgentSupportedProtocolVersions(); v != "1.0,1.1,1.2,1.3,1.4" {
		t.Errorf("got %q", v)
	}
}

// Deviation: usp-js – sends no Response Topic; answers go to the topic that is configured for the controller
func TestReplyGoesToTheConfiguredTopicWithoutResponseTopic(t *testing.T) {
	b := newBench(t)
	rec, err := record.WrapMsg(primary, testAgent, "1.2", &usppb.Msg{Header: &usppb.Header{MsgId: "m"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq("Device.")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.host.Receive(mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.MQTT}}); err != nil {
		t.Fatal(err)
	}
	if s := b.next("answer", func(s sentRecord) bool { return s.msg != nil }); s.addr.Topic != "usp/controller/1" || s.record.GetVersion() != "1.2" {
		t.Errorf("to %+v", s.addr)
	}
}

// R-MSG.4: a message that comes twice while it is handled is handled once.
func TestDuplicateMessage(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	b.model.block = release
	msg := &usppb.Msg{Header: &usppb.Header{MsgId: "same"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq("Device.DeviceInfo.UpTime")}}}
	b.deliverMsg(primary, msg)
	b.deliverMsg(primary, msg)
	deadline := time.After(patience)
	for testutil.ToFloat64(b.host.metrics.refused.WithLabelValues(refusedDuplicate)) != 1 {
		select {
		case <-deadline:
			t.Fatal("not recognised")
		default:
		}
	}
	close(release)
	b.settle()
	if n := len(b.net.sent); n != 1 {
		t.Errorf("%d answers", n)
	}
}

// A message with the id of one that was answered is another one, though the transport
// still waits for the broker's word of that answer.
func TestMessageIDOfAnAnsweredMessage(t *testing.T) {
	b := newBench(t)
	b.net.confirm = make(chan struct{})
	defer close(b.net.confirm)
	msg := &usppb.Msg{Header: &usppb.Header{MsgId: "same"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq("Device.DeviceInfo.UpTime")}}}
	for range 2 {
		b.deliverMsg(primary, msg)
		b.next("the answer", func(s sentRecord) bool { return s.msg.GetHeader().GetMsgId() == "same" })
	}
}

// An agent whose device is slow gets 7005 for what it has no room for; the
// others are served meanwhile.
func TestSlowDevice(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.AgentWorkers, c.Limits.AgentQueue = 1, 2 })
	b.ask(primary, getReq("Device.DeviceInfo.UpTime")) // loads the agent
	b.settle()
	release := make(chan struct{})
	b.model.mu.Lock()
	b.model.block = release
	b.model.mu.Unlock()
	first := b.deliverRequest(primary, getReq("Device.DeviceInfo.UpTime"))
	second := b.deliverRequest(primary, getReq("Device.DeviceInfo.UpTime"))
	wantError(t, b.ask(primary, getReq("Device.DeviceInfo.UpTime")), 7005)
	close(release)
	for _, id := range []string{first, second} {
		b.next("answer to "+id, func(s sentRecord) bool { return s.msg.GetHeader().GetMsgId() == id })
	}
}

func TestDispatcherIsFair(t *testing.T) {
	var mu sync.Mutex
	var order []string
	start := make(chan struct{})
	d := newDispatcher(dispatchLimits{workers: 1, atOnce: 1, queue: 100}, func(id usp.EndpointID, job any) {
		<-start
		mu.Lock()
		defer mu.Unlock()
		order = append(order, string(id))
	})
	// Two agents of one shard.
	a, b := usp.EndpointID("os::a"), usp.EndpointID("")
	for i := 0; b == ""; i++ {
		if id := usp.EndpointID(fmt.Sprintf("os::b%d", i)); d.shard(id) == d.shard(a) {
			b = id
		}
	}
	for range 10 {
		d.submit(a, 0)
	}
	d.submit(b, 0)
	close(start)
	d.wait()
	if len(order) != 11 || order[0] != string(a) || order[1] != string(a) && order[1] != string(b) || !strings.Contains(strings.Join(order[:3], " "), string(b)) {
		t.Errorf("order %v", order)
	}
	for i := range d.shards {
		if len(d.shards[i].queues) != 0 || d.shards[i].workers != 0 {
			t.Error("something is left")
		}
	}
}

func TestAgentsInMemoryAreBounded(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Agents = 64 })
	for i := range 1000 {
		a, err := b.host.agents.acquire(t.Context(), usp.EndpointID(fmt.Sprintf("os::%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if a.state.Load() != b.host.seed {
			t.Fatal("an agent without changes has a state of its own")
		}
		b.host.agents.release(a)
	}
	n := 0
	for i := range b.host.agents.shards {
		n += b.host.agents.shards[i].used.Len()
	}
	if n > 64 {
		t.Errorf("%d agents in memory", n)
	}
}

func TestWebSocketConnect(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Transports[0].(*fakeTransport).protocol = mtp.WebSocket })
	via := mtp.Address{Protocol: mtp.WebSocket, Conn: 7}
	b.host.Connected(primary, testAgent, via)
	if s := b.next("Connect", func(sentRecord) bool { return true }); s.record.GetWebsocketConnect() == nil || s.addr != via {
		t.Errorf("got %+v", s)
	}
	b.host.Connected("proto::stranger", testAgent, via)
	b.host.Connected(primary, "os::other", via)
	b.host.Connected(primary, "", via)
	b.settle()
	if len(b.net.sent) != 0 {
		t.Error("greeted somebody it should not")
	}
}

func TestConfig(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no store", func(c *Config) { c.Store = nil }, "Store and Devices are required"},
		{"bad endpoint id", func(c *Config) { c.Controllers[0].EndpointID = "x" }, "endpoint id"},
		{"twice", func(c *Config) { c.Controllers[1].EndpointID = primary }, "there twice"},
		{"reserved", func(c *Config) { c.Controllers[1].EndpointID = BuiltinController }, "reserved"},
		{"role", func(c *Config) { c.Controllers[1].Role = "King" }, `unknown role "King"`},
		{"protocol", func(c *Config) { c.Controllers[1].MTP.Protocol = "Pigeon" }, `protocol "Pigeon"`},
		{"url", func(c *Config) { c.Controllers[1].MTP = mtp.Address{Protocol: mtp.WebSocket, URL: "http://x"} }, "not a WebSocket URL"},
		{"too many", func(c *Config) { c.Controllers = make([]ControllerConfig, 101) }, "at most 100"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := b.cfg
			cfg.Controllers = append([]ControllerConfig(nil), cfg.Controllers...)
			tc.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// The embedded store keeps what the one of the tests keeps.
func TestWithBolt(t *testing.T) {
	s, err := bolt.Open(bolt.Config{Path: t.TempDir() + "/db"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := newBench(t, func(c *Config) { c.Store = s })
	b.subscribe(primary, "r", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", "true", true})
	b.change("Device.DeviceInfo.FriendlyName", "x")
	b.notify(primary)
	b.restart()
	b.clock.Advance(11 * time.Second)
	b.due()
	_, id := b.notify(primary)
	b.acknowledge(primary, id)
	b.clock.Advance(time.Hour)
	b.due()
	b.silence()
	b.host.close()
}
