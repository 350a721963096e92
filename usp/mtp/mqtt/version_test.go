package mqtt

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// Agents and a controller that both speak 3.1.1 answer each other by "/reply-to=".
func TestRequestAndResponseIn311(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	agents := newTransport(t, Config{Broker: "tcp://" + b.address, Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"})
	ctrl := newTransport(t, Config{Broker: "tcp://" + b.address, Version: "3.1.1", Topic: "usp/controller/1", Endpoint: controller})
	atAgents, atCtrl := mtptest.NewRecorder(), mtptest.NewRecorder()
	mtptest.Serve(t, agents, atAgents)
	mtptest.Serve(t, ctrl, atCtrl)
	for range 2 {
		c := mtptest.Wait(t, b.connects, "CONNECT")
		if c.ProtocolVersion != 4 || c.Connect.ClientIdentifier != "self::uspbridge" && c.Connect.ClientIdentifier != string(controller) { // R-MQTT.8
			t.Errorf("CONNECT of version %d as %q", c.ProtocolVersion, c.Connect.ClientIdentifier)
		}
	}
	if got := agents.AgentAddress(agent).Version; got != "3.1.1" {
		t.Errorf("the address says version %q", got)
	}
	for id, local := range map[usp.EndpointID]usp.EndpointID{agent: agent, "os::00259E-A%2FB": ""} {
		if err := ctrl.Send(t.Context(), controller, id, agents.AgentAddress(id), []byte("request")); err != nil {
			t.Fatal(err)
		}
		in := mtptest.Wait(t, atAgents.In, "request")
		if string(in.Record) != "request" || in.Local != local || in.Reply.Topic != "usp/controller/1" {
			t.Errorf("got %+v, want a request for %q", in, local)
		}
		if err := agents.Send(t.Context(), id, controller, in.Reply, []byte("response")); err != nil {
			t.Fatal(err)
		}
		answer := mtptest.Wait(t, atCtrl.In, "response")
		if string(answer.Record) != "response" || answer.Reply.Topic != agents.AgentTopic(id) {
			t.Errorf("got %+v, want to reply to %q", answer, agents.AgentTopic(id))
		}
	}
	mtptest.Wait(t, b.publishes, "request")
	if pub := mtptest.Wait(t, b.publishes, "response"); pub.TopicName[:len("usp/controller/1/reply-to=usp%2Fagent%2F")] != "usp/controller/1/reply-to=usp%2Fagent%2F" {
		t.Errorf("published on %q", pub.TopicName) // R-MQTT.24
	}
}

// R-MQTT.26a has it that such a record comes from another version of MQTT.
//
// Deviation: usp-js – tells no "reply to" topic in MQTT 3.1.1; the record is taken, and answered where the controller is configured
func TestNoReplyToIn311(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"})
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	if err := b.Publish("usp/agent/"+string(agent), []byte("r"), false, 1); err != nil {
		t.Fatal(err)
	}
	if in := mtptest.Wait(t, h.In, "record"); in.Local != agent || in.Reply.Topic != "" {
		t.Errorf("got %+v", in)
	}
}

// player is a broker that a test plays itself.
type player struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accept takes a connection and its CONNECT.
func accept(t *testing.T, l net.Listener) (*player, packets.Packet) {
	t.Helper()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(mtptest.Patience))
	p := &player{t, c, bufio.NewReader(c)}
	return p, p.expect(packets.Connect)
}

// expect reads the next packet of a client.
func (p *player) expect(kind byte) packets.Packet {
	p.t.Helper()
	first, err := p.r.ReadByte()
	if err != nil {
		p.t.Fatalf("waiting for a packet of type %d: %v", kind, err)
	}
	pk := packets.Packet{ProtocolVersion: 4, FixedHeader: packets.FixedHeader{Type: first >> 4, Qos: first >> 1 & 3, Dup: first>>3&1 > 0}}
	n, err := readLength(p.r)
	body := make([]byte, n)
	for at := 0; at < n && err == nil; {
		var m int
		m, err = p.r.Read(body[at:])
		at += m
	}
	if err != nil || pk.FixedHeader.Type != kind {
		p.t.Fatalf("got a packet of type %d, %v, want %d", pk.FixedHeader.Type, err, kind)
	}
	switch kind {
	case packets.Connect:
		err = pk.ConnectDecode(body)
	case packets.Subscribe:
		err = pk.SubscribeDecode(body)
	case packets.Unsubscribe:
		err = pk.UnsubscribeDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return pk
}

func (p *player) say(b string) {
	p.t.Helper()
	if _, err := p.Write([]byte(b)); err != nil {
		p.t.Fatal(err)
	}
}

// welcome grants the connection and its subscription, in 3.1.1.
func (p *player) welcome() packets.Packet {
	p.t.Helper()
	p.say("\x20\x02\x00\x00")
	pk := p.expect(packets.Subscribe)
	p.say("\x90" + string(rune(2+len(pk.Filters))) + string([]byte{byte(pk.PacketID >> 8), byte(pk.PacketID)}) + string(make([]byte, len(pk.Filters))))
	return pk
}

// A 3.1.1 broker that takes no endpoint id for a ClientId makes one itself.
func TestClientIDThatIsNotTakenIn311(t *testing.T) {
	l := listen(t)
	tr := newTransport(t, Config{Broker: "tcp://" + l.Addr().String(), Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"})
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p, connect := accept(t, l)
	if connect.Connect.ClientIdentifier != "self::uspbridge" || connect.Connect.Clean {
		t.Errorf("CONNECT as %q, clean %v", connect.Connect.ClientIdentifier, connect.Connect.Clean)
	}
	p.say("\x20\x02\x00\x02")
	p, connect = accept(t, l)
	if connect.Connect.ClientIdentifier != "" || !connect.Connect.Clean {
		t.Errorf("CONNECT as %q, clean %v, want none and a clean session", connect.Connect.ClientIdentifier, connect.Connect.Clean)
	}
	if sub := p.welcome(); len(sub.Filters) != 2 || sub.Filters[0].Filter != "usp/agent/+" || sub.Filters[1].Filter != "usp/agent/+/+" {
		t.Errorf("subscribed to %v", sub.Filters)
	}
	mtptest.Wait(t, tr.Ready(), "readiness")
}

func TestRefusedConnection(t *testing.T) {
	for _, tt := range []struct {
		name, version, connack, want string
		trouble                      mtp.Trouble
	}{
		{"3.1.1, password", "3.1.1", "\x20\x02\x00\x04", "wrong user name or password", mtp.Unauthorized},
		{"5, password", "5.0", "\x20\x03\x00\x86\x00", "wrong user name or password", mtp.Unauthorized},
		{"5, version", "5.0", "\x20\x03\x00\x84\x00", "version of MQTT", mtp.Misconfigured},
		{"5, with its words", "5.0", "\x20\x09\x00\x89\x06\x1f\x00\x03why", ": why", mtp.Unreachable},
		{"no CONNACK", "5.0", "\xd0\x00", "in place of CONNACK", mtp.Unclear},
		{"not MQTT", "5.0", "HTTP/1.1 400 Bad Request", "mqtt", mtp.Unclear},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t)
			tr := newTransport(t, Config{Broker: "tcp://" + l.Addr().String(), Version: tt.version, Topic: "usp/agent/{endpoint_id}"})
			mtptest.Start(t, tr, mtptest.NewRecorder())
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte(tt.connack)); err != nil {
				t.Fatal(err)
			}
			mtptest.Until(t, "the refusal shows", func() bool {
				s := tr.Status()
				return !s.Up && strings.Contains(s.LastError, tt.want) && s.Trouble == tt.trouble
			})
		})
	}
}
