package broker_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp/broker"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ended waits until the broker has closed a connection, and returns what it said
// before.
func ended(t testing.TB, c net.Conn) []byte {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the broker keeps the connection")
	}
	return said
}

// connect311 is a CONNECT of MQTT 3.1.1.
func connect311(id, user, password string) []byte {
	text := func(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }
	body := text("MQTT") + "\x04\xc2\x00\x1e" + text(id) + text(user) + text(password)
	return append([]byte{0x10, byte(len(body))}, body...)
}

func TestGarbage(t *testing.T) {
	b := start(t, broker.Config{ConnectTimeout: 300 * time.Millisecond})
	good := b.connect(t, as("native"))
	in := connect311("x", "other", password)
	for name, sent := range map[string]string{
		"HTTP":                              "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"nothing":                           "",
		"half a CONNECT":                    string(in[:10]),
		"a PUBLISH first":                   "\x30\x05\x00\x01axx",
		"a CONNECT of 256 MB":               "\x10\xff\xff\xff\x7f",
		"a length without end":              "\x10\xff\xff\xff\xff\xff\xff",
		"a CONNECT of zeros":                "\x10\x0a" + strings.Repeat("\x00", 10),
		"MQTT 3.1":                          "\x10\x10\x00\x06MQIsdp\x03\x02\x00\x1e\x00\x02ab",
		"MQTT 9":                            strings.Replace(string(in), "MQTT\x04", "MQTT\x09", 1),
		"a second CONNECT":                  string(in) + string(in),
		"a packet of type 0":                string(in) + "\x00\x00",
		"a PUBLISH of 256 MB":               string(in) + "\x30\xff\xff\xff\x7f",
		"a topic with wildcards, and ended": string(in) + "\x32\x07\x00\x01+\x00\x01xx\xe0\x00",
		"a SUBSCRIBE to nothing":            string(in) + "\x82\x02\x00\x01",
		"no user, no password":              "\x10\x0d\x00\x04MQTT\x04\x02\x00\x1e\x00\x01a",
	} {
		c := dial(t, b.address)
		if _, err := c.Write([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		ended(t, c)
		if got := good.subscribe("usp/agent/" + string(native)); got != granted {
			t.Fatalf("%s: the others are not served", name)
		}
	}
	mtptest.Until(t, "all are gone", func() bool { return b.Connections() == 1 })
}

// Test311: an endpoint that speaks MQTT 3.1.1 is told nothing, but subscribes to and
// publishes what it may.
func Test311(t *testing.T) {
	b := start(t, broker.Config{})
	ctl := b.connect(t, as("controller"))
	ctl.subscribe("usp/controller/one/#")
	c := dial(t, b.address)
	topic := "usp/agent/" + string(native)
	subscribe := "\x82" + string(rune(len(topic)+5)) + "\x00\x01\x00" + string(rune(len(topic))) + topic + "\x01"
	refused := "\x82\x06\x00\x02\x00\x01#\x01"
	reply := "usp/controller/one/reply-to=" + strings.ReplaceAll(topic, "/", "%2F")
	publish := "\x32" + string(rune(len(reply)+7)) + "\x00" + string(rune(len(reply))) + reply + "\x00\x03abc"
	for _, step := range []struct{ send, want string }{
		{string(connect311("native", "native", password)), "\x20\x02\x00\x00"},
		{subscribe, "\x90\x03\x00\x01\x01"},
		{refused, "\x90\x03\x00\x02\x80"},
		{publish, "\x40\x02\x00\x03"},
	} {
		if _, err := c.Write([]byte(step.send)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(step.want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != step.want {
			t.Fatalf("answer % x, %v; want % x", got, err, step.want)
		}
	}
	p := mtptest.Wait(t, ctl.messages, "message")
	if p.Topic != "usp/controller/one" || p.Properties.ResponseTopic != topic || string(p.Payload) != "abc" || p.Properties.User.Get(broker.SenderProperty) != string(native) {
		t.Errorf("got %+v", p)
	}
	// A refused message cannot be answered: the connection ends.
	if _, err := c.Write([]byte("\x32\x06\x00\x01x\x00\x04a")); err != nil {
		t.Fatal(err)
	}
	ended(t, c)
}

// TestFlood: who publishes faster than it may is cut off, the others are not.
func TestFlood(t *testing.T) {
	metrics := prometheus.NewRegistry()
	b := start(t, broker.Config{Rates: flood.Rates{Records: 1, Burst: 50}, Registerer: metrics})
	ctl, quiet := b.connect(t, as("controller")), b.connect(t, as("other"))
	ctl.subscribe("usp/controller/one")
	flooder := b.connect(t, as("native"))
	for i := 0; i < 200; i++ {
		// QoS 0: nothing slows it down.
		if _, err := flooder.Publish(t.Context(), &paho.Publish{Topic: "usp/controller/one", Payload: []byte("flood")}); err != nil {
			break
		}
	}
	mtptest.Wait(t, flooder.Done(), "end of the connection")
	select {
	case code := <-flooder.gone: // it may be lost: more was under way to the broker
		if code != rateTooHigh {
			t.Errorf("reason 0x%02x", code)
		}
	default:
	}
	if code := quiet.publish("usp/controller/one", []byte("quiet"), nil); code != success {
		t.Errorf("the quiet one: 0x%02x", code)
	}
	n := 0
	for p := mtptest.Wait(t, ctl.messages, "message"); string(p.Payload) == "flood"; p = mtptest.Wait(t, ctl.messages, "message") {
		n++
	}
	if n > 60 { // the burst, and what a slow second gives
		t.Errorf("%d messages of the flood came through", n)
	}
	if got := sum(t, metrics, "uspbridge_broker_refused_total"); got == 0 {
		t.Error("nothing is counted")
	}
}

func sum(t *testing.T, g prometheus.Gatherer, name string) (total float64) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

// TestSlowConsumer: who does not read is cut off, and nobody waits for it meanwhile.
func TestSlowConsumer(t *testing.T) {
	metrics := prometheus.NewRegistry()
	b := start(t, broker.Config{MaxPending: 1 << 20, MaxRecord: 256 << 10, WriteTimeout: 500 * time.Millisecond, Registerer: metrics})
	ctl, agent := b.connect(t, as("controller")), b.connect(t, as("other"))
	agent.subscribe("usp/agent/" + string(other))
	slow := dial(t, b.address) // MQTT 3.1.1, and never reads
	topic := "usp/agent/" + string(native)
	subscribe := "\x82" + string(rune(len(topic)+5)) + "\x00\x01\x00" + string(rune(len(topic))) + topic + "\x00"
	if _, err := slow.Write(append(connect311("slow", "native", password), subscribe...)); err != nil {
		t.Fatal(err)
	}
	mtptest.Until(t, "it is in", func() bool { return sum(t, metrics, "uspbridge_broker_sessions") == 3 })
	payload := bytes.Repeat([]byte("x"), 200<<10)
	mtptest.Until(t, "the slow one is cut off", func() bool {
		ctl.publish(topic, payload, nil)
		if code := ctl.publish("usp/agent/"+string(other), []byte("quick"), nil); code != success {
			t.Fatalf("the quick one: 0x%02x", code)
		}
		mtptest.Wait(t, agent.messages, "message for the quick one")
		return sum(t, metrics, "uspbridge_broker_slow_clients_total") > 0
	})
}

// TestUnread: who has stopped reading is cut off in time, also if nothing more is for
// it, and whatever it speaks through.
func TestUnread(t *testing.T) {
	metrics := prometheus.NewRegistry()
	b := start(t, broker.Config{MaxPending: 64 << 20, WriteTimeout: 300 * time.Millisecond, Registerer: metrics})
	ctl := b.connect(t, as("controller"))
	payload := bytes.Repeat([]byte("x"), 200<<10)
	topic := "usp/agent/" + string(native)
	in := append(connect311("slow", "native", password), "\x82"+string(rune(len(topic)+5))+"\x00\x01\x00"+string(rune(len(topic)))+topic+"\x00"...)
	for i, enter := range []func() error{
		func() error {
			_, err := dial(t, b.address).Write(in)
			return err
		},
		func() error {
			d := websocket.Dialer{Subprotocols: []string{"mqtt"}}
			ws, _, err := d.Dial("ws://"+b.websocket, nil)
			if err != nil {
				return err
			}
			t.Cleanup(func() { ws.Close() })
			return ws.WriteMessage(websocket.BinaryMessage, in)
		},
	} {
		if err := enter(); err != nil {
			t.Fatal(err)
		}
		mtptest.Until(t, "it is in", func() bool { return sum(t, metrics, "uspbridge_broker_sessions") == 2 })
		for range 150 { // more than sockets hold
			ctl.publish(topic, payload, nil)
		}
		mtptest.Until(t, "it is cut off", func() bool { return sum(t, metrics, "uspbridge_broker_slow_clients_total") == float64(i+1) })
		mtptest.Until(t, "it is gone", func() bool { return sum(t, metrics, "uspbridge_broker_sessions") == 1 })
	}
}

func TestBounds(t *testing.T) {
	t.Run("sessions of one endpoint", func(t *testing.T) {
		b := start(t, broker.Config{MaxSessions: 2})
		open := func(id string) (*client, error) {
			c := as("native")
			c.ClientID = id
			return b.try(t, c, nil)
		}
		first, err := open("1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open("2"); err != nil {
			t.Fatal(err)
		}
		if third, err := open("3"); err == nil || third.connack.ReasonCode != quotaExceeded {
			t.Errorf("a third session: %v", err)
		}
		if _, err := b.try(t, as("other"), nil); err != nil {
			t.Errorf("another endpoint: %v", err)
		}
		if err := first.Disconnect(&paho.Disconnect{}); err != nil {
			t.Fatal(err)
		}
		mtptest.Until(t, "there is room again", func() bool {
			_, err := open("3")
			return err == nil
		})
	})
	t.Run("a session that goes over to the next connection is one", func(t *testing.T) {
		metrics := prometheus.NewRegistry()
		b := start(t, broker.Config{MaxSessions: 1, Registerer: metrics})
		c := as("native")
		c.CleanStart, c.Properties.SessionExpiryInterval = false, new(uint32(60))
		for i := range 5 {
			cl := b.connect(t, c)
			if got := cl.subscribe("usp/agent/" + string(native)); got != granted {
				t.Errorf("connection %d: 0x%02x", i, got)
			}
			if i%2 == 1 { // else the next takes it from a connection that lives
				if err := cl.Disconnect(&paho.Disconnect{}); err != nil {
					t.Fatal(err)
				}
				<-cl.Done()
			}
		}
		if got := sum(t, metrics, "uspbridge_broker_sessions"); got != 1 {
			t.Errorf("%v sessions, want 1", got)
		}
	})
	t.Run("connections", func(t *testing.T) {
		b := start(t, broker.Config{MaxClients: 2})
		dial(t, b.address)
		b.connect(t, as("native"))
		ended(t, dial(t, b.address))
	})
	t.Run("wrong passwords of one address", func(t *testing.T) {
		b := start(t, broker.Config{WrongPasswords: flood.Rates{Records: 0.001, Burst: 3}})
		wrong := as("native")
		wrong.Password = []byte("a guess")
		for i, want := range []byte{badPassword, badPassword, badPassword, serverBusy} {
			if cl, _ := b.try(t, wrong, nil); cl.connack == nil || cl.connack.ReasonCode != want {
				t.Errorf("try %d: %+v, want 0x%02x", i, cl.connack, want)
			}
		}
	})
	t.Run("a message too large", func(t *testing.T) {
		b := start(t, broker.Config{MaxRecord: 10_000})
		c := dial(t, b.address)
		if _, err := c.Write(append(connect311("x", "native", password), 0x30, 0xff, 0xff, 0x7f)); err != nil {
			t.Fatal(err)
		}
		ended(t, c)
	})
}
