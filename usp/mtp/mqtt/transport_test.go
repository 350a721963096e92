package mqtt

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agent      = usp.EndpointID("ops::00259E-BM632w-0123456789")
	agentB     = usp.EndpointID("os::00259E-A%20B")
	controller = usp.EndpointID("proto::controller-1")
)

// watch is a hook that tells of packets the broker sees and adds to CONNACK.
type watch struct {
	mochi.HookBase
	connects  chan packets.Packet
	publishes chan packets.Packet
	connack   packets.Properties
}

func (w *watch) Provides(b byte) bool {
	return slices.Contains([]byte{mochi.OnConnect, mochi.OnPublish, mochi.OnPacketEncode}, b)
}

func (w *watch) OnConnect(_ *mochi.Client, pk packets.Packet) error {
	w.connects <- pk
	return nil
}

func (w *watch) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	w.publishes <- pk
	return pk, nil
}

func (w *watch) OnPacketEncode(_ *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Connack {
		pk.Properties.User = append(pk.Properties.User, w.connack.User...)
		pk.Properties.ResponseInfo = w.connack.ResponseInfo
	}
	return pk
}

type broker struct {
	*mochi.Server
	*watch
	address   string
	wsAddress string
}

// startBroker runs a broker until the test ends; address "" lets it choose one.
func startBroker(t testing.TB, address string, connack packets.Properties) *broker {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w := &watch{connects: make(chan packets.Packet, 100), publishes: make(chan packets.Packet, 1000), connack: connack}
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})
	wsAddress := freeAddress(t)
	ws := listeners.NewWebsocket(listeners.Config{ID: "ws", Address: wsAddress})
	for _, err := range []error{s.AddHook(new(auth.AllowHook), nil), s.AddHook(w, nil), s.AddHook(new(mtptest.NoQuota), nil), s.AddListener(l), s.AddListener(ws), s.Serve()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.Close() })
	return &broker{s, w, l.Address(), wsAddress}
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newTransport(t testing.TB, cfg Config) *Transport {
	t.Helper()
	if cfg.Backoff == (mtp.Backoff{}) {
		cfg.Backoff = mtp.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// sides runs an agent's and a controller's transport on one broker.
func sides(t testing.TB, b *broker) (agents, ctrl *Transport, atAgents, atCtrl *mtptest.Recorder) {
	t.Helper()
	agents = newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}"})
	ctrl = newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/controller/1", Endpoint: controller})
	atAgents, atCtrl = mtptest.NewRecorder(), mtptest.NewRecorder()
	mtptest.Serve(t, agents, atAgents)
	mtptest.Serve(t, ctrl, atCtrl)
	return agents, ctrl, atAgents, atCtrl
}

func TestRequestAndResponse(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	agents, ctrl, atAgents, atCtrl := sides(t, b)
	for _, id := range []usp.EndpointID{agent, agentB} {
		if err := ctrl.Send(t.Context(), controller, id, agents.AgentAddress(id), []byte("request")); err != nil {
			t.Fatal(err)
		}
		in := mtptest.Wait(t, atAgents.In, "request")
		if string(in.Record) != "request" || in.Local != id || in.Peer != "" || in.Trusted {
			t.Errorf("got %+v, want a request for %s", in, id)
		}
		if in.Reply != (mtp.Address{Protocol: mtp.MQTT, Topic: "usp/controller/1", Answer: true}) {
			t.Errorf("reply to %+v, want the Response Topic", in.Reply)
		}
		if err := agents.Send(t.Context(), id, controller, in.Reply, []byte("response")); err != nil {
			t.Fatal(err)
		}
		answer := mtptest.Wait(t, atCtrl.In, "response")
		if string(answer.Record) != "response" || answer.Reply.Topic != "usp/agent/"+string(id) || answer.Local != "" {
			t.Errorf("got %+v", answer)
		}
	}
	if s := agents.Status(); !s.Up || s.Sent != 2 || s.Received != 2 || s.Refused != 0 {
		t.Errorf("status %+v", s)
	}
}

func TestPacketsAsTheStandardHasThem(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}", Username: "u", Password: "p",
		ClientID: "bridge-1", Endpoint: "proto::bridge", KeepAlive: 33 * time.Second})
	mtptest.Serve(t, tr, mtptest.NewRecorder())
	c := mtptest.Wait(t, b.connects, "CONNECT")
	p := c.Properties
	if c.ProtocolVersion != 5 || c.Connect.ClientIdentifier != "bridge-1" || string(c.Connect.Username) != "u" ||
		string(c.Connect.Password) != "p" || c.Connect.Keepalive != 33 || c.Connect.Clean {
		t.Errorf("CONNECT %+v", c.Connect)
	}
	if p.RequestResponseInfo != 1 || len(p.User) != 1 || p.User[0] != (packets.UserProperty{Key: "usp-endpoint-id", Val: "proto::bridge"}) {
		t.Errorf("CONNECT properties: response info %d, user %v", p.RequestResponseInfo, p.User) // R-MQTT.12, R-MQTT.13
	}
	if p.SessionExpiryInterval != 300 {
		t.Errorf("session expiry %d s, want 300", p.SessionExpiryInterval)
	}
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "usp/controller/1"}, []byte{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	pub := mtptest.Wait(t, b.publishes, "PUBLISH")
	if pub.TopicName != "usp/controller/1" || pub.FixedHeader.Qos != 1 || pub.FixedHeader.Retain ||
		pub.Properties.ContentType != "usp.msg" || pub.Properties.ResponseTopic != "usp/agent/"+string(agent) {
		t.Errorf("PUBLISH on %q, %+v, %+v", pub.TopicName, pub.FixedHeader, pub.Properties)
	}
}

// What is no record is published as it is given (R-BULK.8a).
func TestPublish(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}"})
	p := mtp.Publication{Topic: "bulk/data", ContentType: "application/json; charset=UTF-8", QoS: 2, Retain: true, Payload: []byte("{}")}
	if err := tr.Publish(t.Context(), p); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("without a connection: %v", err)
	}
	mtptest.Serve(t, tr, mtptest.NewRecorder())
	if err := tr.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	pk := mtptest.Wait(t, b.publishes, "PUBLISH")
	if pk.TopicName != p.Topic || pk.Properties.ContentType != p.ContentType || pk.FixedHeader.Qos != 2 || !pk.FixedHeader.Retain ||
		string(pk.Payload) != "{}" || pk.Properties.ResponseTopic != "" {
		t.Errorf("published %+v", pk)
	}
	p.Topic = "bulk/#"
	if err := tr.Publish(t.Context(), p); err == nil {
		t.Error("a wildcard is published on")
	}
}

func TestIncomingPublish(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}", MaxRecord: 100})
	h := mtptest.NewRecorder()
	h.Verdict = func(in mtp.Inbound) error {
		if string(in.Record) == "garbage" {
			return errors.New("no record")
		}
		return nil
	}
	mtptest.Serve(t, tr, h)
	const topic = "usp/agent/" + string(agent)
	tests := []struct {
		name    string
		topic   string
		payload string
		props   packets.Properties
		dropped bool
		local   usp.EndpointID
		replyTo string
	}{
		// Deviation: usp-js – sends no Content Type and no user properties; the record is taken for one
		{name: "plain, as some controllers send", topic: topic, payload: "r", local: agent},
		{name: "usp.msg", topic: topic, payload: "r", props: packets.Properties{ContentType: "usp.msg", ResponseTopic: "c/1"}, local: agent, replyTo: "c/1"},
		{name: "MIME type", topic: topic, payload: "r", props: packets.Properties{ContentType: "application/vnd.bbf.usp.msg"}, local: agent}, // R-MQTT.27a
		{name: "error of USP before 1.2", topic: topic, payload: "r", props: packets.Properties{ContentType: "usp.error"}, dropped: true},
		{name: "too large", topic: topic, payload: strings.Repeat("x", 101), dropped: true},
		{name: "refused by the agent", topic: topic, payload: "garbage", dropped: true},
		{name: "an id that had to be escaped", topic: "usp/agent/os::1-a%2Fb", payload: "r"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tr.Status().Refused
			cl := b.NewClient(nil, "local", "test", true)
			err := b.InjectPacket(cl, packets.Packet{
				FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 1, ProtocolVersion: 5,
				TopicName: tt.topic, Payload: []byte(tt.payload), Properties: tt.props,
			})
			if err != nil {
				t.Fatal(err)
			}
			if tt.dropped {
				mtptest.Until(t, "the message is counted as refused", func() bool { return tr.Status().Refused == before+1 })
				return
			}
			in := mtptest.Wait(t, h.In, "record")
			if in.Local != tt.local || in.Reply.Topic != tt.replyTo || string(in.Record) != tt.payload {
				t.Errorf("got %+v", in)
			}
		})
	}
}

func TestReconnectAndWhatWasSentMeanwhile(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	agents, ctrl, atAgents, _ := sides(t, b)
	for _, cl := range b.Clients.GetAll() {
		if cl.Properties.Props.User != nil && cl.Properties.Props.User[0].Val == "self::uspbridge" {
			cl.Stop(errors.New("test"))
		}
	}
	// Sent while the agents' side may be away: the broker keeps it (QoS 1, session).
	if err := ctrl.Send(t.Context(), controller, agent, mtp.Address{Topic: "usp/agent/" + string(agent)}, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if in := mtptest.Wait(t, atAgents.In, "record"); string(in.Record) != "kept" {
		t.Errorf("got %q", in.Record)
	}
	mtptest.Until(t, "the agents' side is up again", func() bool { return agents.Status().Up })
}

func TestBrokerTellsTopics(t *testing.T) { // R-MQTT.15, R-MQTT.21
	b := startBroker(t, "", packets.Properties{ResponseInfo: "assigned/reply", User: []packets.UserProperty{{Key: "subscribe-topic", Val: "extra/+"}}})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}"})
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	if got := tr.AgentTopic(agent); got != "assigned/reply" {
		t.Errorf("reply-to topic %q, want the broker's", got)
	}
	for _, topic := range []string{"assigned/reply", "extra/1", "usp/agent/" + string(agent)} {
		if err := b.Publish(topic, []byte(topic), false, 1); err != nil {
			t.Fatal(err)
		}
		if in := mtptest.Wait(t, h.In, "record on "+topic); string(in.Record) != topic {
			t.Errorf("got %q", in.Record)
		}
	}
}

func TestOverWebSocket(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "ws://" + b.wsAddress, Topic: "usp/agent/{endpoint_id}"})
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	long := strings.Repeat("0123456789", 20_000)
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "usp/controller/1"}, []byte(long)); err != nil {
		t.Fatal(err)
	}
	if pk := mtptest.Wait(t, b.publishes, "PUBLISH"); string(pk.Payload) != long {
		t.Errorf("%d bytes at the broker, want %d", len(pk.Payload), len(long))
	}
	if err := b.Publish("usp/agent/"+string(agent), []byte(long), false, 1); err != nil {
		t.Fatal(err)
	}
	if in := mtptest.Wait(t, h.In, "record"); string(in.Record) != long {
		t.Errorf("%d bytes from the broker, want %d", len(in.Record), len(long))
	}
}

func TestUnreachable(t *testing.T) {
	address := freeAddress(t)
	tr := newTransport(t, Config{Broker: "tcp://" + address, Topic: "usp/agent/{endpoint_id}"})
	mtptest.Start(t, tr, mtptest.NewRecorder())
	mtptest.Until(t, "the failure shows", func() bool { return tr.Status().LastError != "" && tr.Status().Trouble == mtp.Unreachable })
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c"}, []byte{1}); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("without a broker: %v, want ErrUnreachable", err)
	}
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{}, []byte{1}); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("without a topic: %v, want ErrUnreachable", err)
	}
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c/#"}, []byte{1}); err == nil {
		t.Error("published on a wildcard")
	}
	startBroker(t, address, packets.Properties{}) // it comes late
	mtptest.Wait(t, tr.Ready(), "readiness once the broker is there")
}

func TestBadConfiguration(t *testing.T) {
	good := Config{Broker: "tcp://127.0.0.1", Topic: "usp/agent/{endpoint_id}"}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no broker", func(c *Config) { c.Broker = "" }, "broker"},
		{"unknown scheme", func(c *Config) { c.Broker = "http://x" }, "broker"},
		{"password in URL", func(c *Config) { c.Broker = "tcp://u:p@x" }, "password"},
		{"3.1", func(c *Config) { c.Version = "3.1" }, "version"},
		{"3.1.1 shares no subscriptions", func(c *Config) { c.Version, c.ShareGroup = "3.1.1", "nodes" }, "shared subscriptions"},
		{"will on a wildcard", func(c *Config) { c.Will = &Will{Topic: "a/#"} }, "last will"},
		{"no topic", func(c *Config) { c.Topic = "" }, "empty"},
		{"wildcard", func(c *Config) { c.Topic = "usp/#" }, "wildcard"},
		{"part of a level", func(c *Config) { c.Topic = "usp/agent-{endpoint_id}" }, "whole level"},
		{"share group", func(c *Config) { c.ShareGroup = "a/b" }, "share group"},
		{"endpoint", func(c *Config) { c.Endpoint = "x" }, "endpoint id"},
		{"keep alive", func(c *Config) { c.KeepAlive = 24 * time.Hour }, "out of range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
	if _, err := New(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func BenchmarkSend(b *testing.B) {
	br := startBroker(b, "", packets.Properties{})
	agents, _, _, atCtrl := sides(b, br)
	go func() {
		for range br.publishes {
		}
	}()
	b.Cleanup(func() { close(br.publishes) })
	rec := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if err := agents.Send(b.Context(), agent, controller, mtp.Address{Topic: "usp/controller/1"}, rec); err != nil {
			b.Fatal(err)
		}
		<-atCtrl.In
	}
}
