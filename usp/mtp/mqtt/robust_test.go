package mqtt

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// played is a transport on a broker that the test plays.
func played(t *testing.T, change func(*Config)) (*Transport, net.Listener, *player) {
	t.Helper()
	l := listen(t)
	cfg := Config{Broker: "tcp://" + l.Addr().String(), Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"}
	if change != nil {
		change(&cfg)
	}
	tr := newTransport(t, cfg)
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p, _ := accept(t, l)
	p.welcome()
	mtptest.Wait(t, tr.Ready(), "readiness")
	return tr, l, p
}

func (p *player) puback(id uint16) { p.say("\x40\x02" + string([]byte{byte(id >> 8), byte(id)})) }

func send(t *testing.T, tr *Transport, addr mtp.Address, record string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- tr.Send(t.Context(), agent, controller, addr, []byte(record)) }()
	return done
}

func TestWhatIsNotAcknowledgedIsSentAgain(t *testing.T) {
	t.Parallel()
	tr, l, p := played(t, nil)
	done := send(t, tr, mtp.Address{Topic: "c"}, "record")
	first := p.expect(packets.Publish)
	p.Close()
	p, _ = accept(t, l)
	p.welcome()
	again := p.expect(packets.Publish)
	if !again.FixedHeader.Dup || again.PacketID != first.PacketID || string(again.Payload) != "record" {
		t.Errorf("sent again: %+v, the first was %d", again, first.PacketID)
	}
	p.puback(again.PacketID)
	if err := mtptest.Wait(t, done, "end of Send"); err != nil {
		t.Error(err)
	}
}

// An answer, which nobody would ask for again, waits for the broker; another
// record is refused, for its sender has a retry or another way.
func TestAnswersAreKeptWhileTheBrokerIsAway(t *testing.T) {
	tr, l, p := played(t, nil)
	p.Close()
	mtptest.Until(t, "the loss shows", func() bool { return !tr.Status().Up })
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c"}, []byte("notification")); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("a notification: %v", err)
	}
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c", Answer: true}, []byte("answer")); err != nil {
		t.Errorf("an answer: %v", err)
	}
	p, _ = accept(t, l)
	p.welcome()
	if pub := p.expect(packets.Publish); string(pub.Payload) != "answer" || pub.FixedHeader.Dup {
		t.Errorf("published %+v", pub)
	}
}

// A broker that reads nothing holds up nobody: after the first no Send waits, and
// when as much as may be is kept they fail.
func TestBrokerThatReadsNothing(t *testing.T) {
	t.Parallel()
	tr, _, _ := played(t, func(c *Config) { c.Timeout = mtptest.Patience })
	record := strings.Repeat("x", 1<<20)
	var last error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; i < 1000 && last == nil; i++ {
			last = tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c", Answer: true}, []byte(record))
		}
	}()
	mtptest.Wait(t, ended, "end of the sending")
	if !errors.Is(last, mtp.ErrUnreachable) {
		t.Errorf("a gigabyte for a broker that reads nothing: %v, want ErrUnreachable", last)
	}
}

func TestBrokerThatSaysNothing(t *testing.T) {
	t.Parallel()
	tr, l, p := played(t, func(c *Config) { c.KeepAlive, c.Timeout = time.Second, time.Second })
	p.expect(packets.Pingreq)
	p.say("\xd0\x00")
	p.expect(packets.Pingreq) // which nobody answers
	mtptest.Until(t, "the broker is given up", func() bool { return strings.Contains(tr.Status().LastError, "does not answer") })
	accept(t, l)
}

func TestBrokerThatLetsRecordsWait(t *testing.T) {
	t.Parallel()
	tr, l, p := played(t, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c"}, nil); err != nil {
		t.Error(err)
	}
	p.expect(packets.Publish)
	p.expect(packets.Pingreq) // are you there?
	accept(t, l)              // it is not, and is given up long before the keep-alive
}

func TestPublishTwice(t *testing.T) { // QoS 2 across a lost connection
	tr, l, p := played(t, nil)
	done := make(chan error, 1)
	go func() {
		done <- tr.Publish(t.Context(), mtp.Publication{Topic: "bulk", QoS: 2, Payload: []byte("{}")})
	}()
	pub := p.expect(packets.Publish)
	id := string([]byte{byte(pub.PacketID >> 8), byte(pub.PacketID)})
	p.say("\x50\x02" + id) // PUBREC
	p.expect(packets.Pubrel)
	p.Close()
	p, _ = accept(t, l)
	p.welcome()
	p.expect(packets.Pubrel) // not the message again
	p.say("\x70\x02" + id)   // PUBCOMP
	if err := mtptest.Wait(t, done, "end of Publish"); err != nil {
		t.Error(err)
	}
}

func TestAtMostOnce(t *testing.T) {
	tr, _, p := played(t, func(c *Config) { c.AtMostOnce = true })
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c"}, []byte("r")); err != nil {
		t.Error(err)
	}
	if pub := p.expect(packets.Publish); pub.FixedHeader.Qos != 0 || tr.outbox.Late() {
		t.Errorf("published %+v, late %v", pub.FixedHeader, tr.outbox.Late())
	}
}

func TestUnusablePackets(t *testing.T) {
	for _, tt := range []struct{ name, bytes, want string }{
		{"QoS 2", "\x34\x06\x00\x01a\x00\x07x", "QoS 2"},
		{"SUBACK that answers nothing", "\x90\x03\x00\x07\x00", "SUBACK"},
		{"garbage", "\xff\xff", "0xff"},
		{"CONNACK again", "\x20\x02\x00\x00", "unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr, l, p := played(t, nil)
			p.say(tt.bytes)
			mtptest.Until(t, "the failure shows", func() bool { return strings.Contains(tr.Status().LastError, tt.want) })
			accept(t, l)
		})
	}
}

func TestEverySubscriptionRefused(t *testing.T) { // R-MQTT.17
	l := listen(t)
	tr := newTransport(t, Config{Broker: "tcp://" + l.Addr().String(), Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"})
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p, _ := accept(t, l)
	p.say("\x20\x02\x00\x00")
	sub := p.expect(packets.Subscribe)
	p.say("\x90\x04" + string([]byte{byte(sub.PacketID >> 8), byte(sub.PacketID)}) + "\x80\x80")
	p.expect(packets.Disconnect)
	accept(t, l)
	if s := tr.Status(); !strings.Contains(s.LastError, "refuses every subscription") {
		t.Errorf("status %+v", s)
	}
}

// What the broker has retained was said in a conversation that is over.
func TestRetainedRecordIsDropped(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	const topic = "usp/agent/" + string(agent)
	if err := b.Publish(topic, []byte("Reboot, long ago"), true, 1); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{version311, version5} {
		tr := newTransport(t, Config{Broker: "tcp://" + b.address, Version: version, Topic: "usp/agent/{endpoint_id}", ClientID: version})
		h := mtptest.NewRecorder()
		mtptest.Serve(t, tr, h)
		if version == version311 {
			mtptest.Until(t, "it is refused", func() bool { return tr.Status().Refused == 1 })
		}
		if err := b.Publish(topic, []byte("live"), false, 1); err != nil {
			t.Fatal(err)
		}
		if in := mtptest.Wait(t, h.In, "record"); string(in.Record) != "live" {
			t.Errorf("%s: got %q", version, in.Record)
		}
	}
}

// The bridge publishes where it listens: on the topics of native agents.
func TestOwnRecordsAreNotHeard(t *testing.T) {
	for _, tt := range []struct {
		version, group string
		hears          bool
	}{{version5, "", false}, {version5, "bridges", true}, {version311, "", true}} {
		t.Run(tt.version+" "+tt.group, func(t *testing.T) {
			b := startBroker(t, "", packets.Properties{})
			tr := newTransport(t, Config{Broker: "tcp://" + b.address, Version: tt.version, ShareGroup: tt.group, Topic: "usp/agent/{endpoint_id}"})
			h := mtptest.NewRecorder()
			mtptest.Serve(t, tr, h)
			if err := tr.Send(t.Context(), controller, agent, mtp.Address{Topic: "usp/agent/" + string(agent)}, []byte("own")); err != nil {
				t.Fatal(err)
			}
			// The broker acknowledges a message before it hands it on, and takes up the
			// connection's next one after that.
			if err := tr.Publish(t.Context(), mtp.Publication{Topic: "elsewhere", QoS: 1, Payload: []byte("next")}); err != nil {
				t.Fatal(err)
			}
			if err := b.Publish("usp/agent/"+string(agentB), []byte("another's"), false, 1); err != nil {
				t.Fatal(err)
			}
			want := "another's"
			if tt.hears {
				want = "own"
			}
			if in := mtptest.Wait(t, h.In, "record"); string(in.Record) != want {
				t.Errorf("heard %q first, want %q", in.Record, want)
			}
		})
	}
}

func TestWill(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}",
		Will: &Will{Topic: "status/bridge", Payload: []byte("offline"), QoS: 1, Retain: true}})
	mtptest.Serve(t, tr, mtptest.NewRecorder())
	c := mtptest.Wait(t, b.connects, "CONNECT").Connect
	if !c.WillFlag || c.WillTopic != "status/bridge" || string(c.WillPayload) != "offline" || c.WillQos != 1 || !c.WillRetain {
		t.Errorf("CONNECT %+v", c)
	}
}

func TestListen(t *testing.T) {
	for _, version := range []string{version311, version5} {
		b := startBroker(t, "", packets.Properties{})
		tr := newTransport(t, Config{Broker: "tcp://" + b.address, Version: version, Topic: "usp/agent/{endpoint_id}"})
		before, later := mtp.Address{Topic: "usp/controller/1"}, mtp.Address{Topic: "usp/controller/2"}
		if err := tr.Listen(before, "c::1"); err != nil {
			t.Fatal(err)
		}
		h := mtptest.NewRecorder()
		mtptest.Serve(t, tr, h)
		if err := tr.Listen(later, "c::2"); err != nil {
			t.Fatal(err)
		}
		if err := tr.Listen(mtp.Address{Topic: "a/+"}, "c::3"); err == nil {
			t.Error("listens to a wildcard")
		}
		for topic, local := range map[string]usp.EndpointID{before.Topic: "c::1", later.Topic: "c::2"} {
			mtptest.Until(t, "the broker has the subscription to "+topic, func() bool { return len(b.Topics.Subscribers(topic).Subscriptions) == 1 })
			if err := b.Publish(topic, []byte("r"), false, 1); err != nil {
				t.Fatal(err)
			}
			if in := mtptest.Wait(t, h.In, "record"); in.Local != local {
				t.Errorf("%s: a record on %s is for %q", version, topic, in.Local)
			}
		}
		tr.Unlisten(before)
		mtptest.Until(t, "it has unsubscribed", func() bool { return len(b.Topics.Subscribers(before.Topic).Subscriptions) == 0 })
	}
}
