package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// TestSenderIsNamed: a message tells who has sent it, whatever the sender says.
func TestSenderIsNamed(t *testing.T) {
	b := start(t, broker.Config{Anonymous: true})
	agent := b.connect(t, as("native"))
	agent.subscribe("usp/agent/" + string(native))
	forged := &paho.PublishProperties{User: paho.UserProperties{{Key: broker.SenderProperty, Value: string(controller)}, {Key: "x", Value: "y"}}}
	anonymous := claiming(&paho.Connect{ClientID: "anonymous", KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{}}, controller)
	for name, tt := range map[string]struct {
		connect *paho.Connect
		want    []string
	}{
		"known by password": {as("controller"), []string{string(controller)}},
		"anonymous":         {anonymous, nil},
	} {
		if code := b.connect(t, tt.connect).publish("usp/agent/"+string(native), []byte(name), forged); code != success {
			t.Fatalf("%s: 0x%02x", name, code)
		}
		p := mtptest.Wait(t, agent.messages, "message")
		if got := p.Properties.User.GetAll(broker.SenderProperty); fmt.Sprint(got) != fmt.Sprint(tt.want) || p.Properties.User.Get("x") != "y" {
			t.Errorf("%s: user properties %v, want sender %v", name, p.Properties.User, tt.want)
		}
	}
	dying := as("controller")
	dying.WillMessage = &paho.WillMessage{Topic: "usp/agent/" + string(native), Payload: []byte("will")}
	dying.WillProperties = &paho.WillProperties{User: forged.User}
	will := b.connect(t, dying)
	if err := will.Disconnect(&paho.Disconnect{ReasonCode: 0x04}); err != nil { // with the will
		t.Fatal(err)
	}
	p := mtptest.Wait(t, agent.messages, "will")
	if got := p.Properties.User.GetAll(broker.SenderProperty); len(got) != 1 || got[0] != string(controller) {
		t.Errorf("the will's user properties are %v", p.Properties.User)
	}
}

// TestClientIDsAreOnesOwn: who takes the client id of another gets none of its
// session.
func TestClientIDsAreOnesOwn(t *testing.T) {
	b := start(t, broker.Config{})
	victim := as("native")
	victim.ClientID = "the same"
	first := b.connect(t, victim)
	first.subscribe("usp/agent/" + string(native))
	thief := as("other")
	thief.ClientID, thief.CleanStart = "the same", false
	if second := b.connect(t, thief); second.connack.SessionPresent {
		t.Error("the thief has a session")
	}
	ctl := b.connect(t, as("controller"))
	ctl.publish("usp/agent/"+string(native), []byte("for the first"), nil)
	if p := mtptest.Wait(t, first.messages, "message"); string(p.Payload) != "for the first" {
		t.Errorf("got %q", p.Payload)
	}
}

// TestWhatComesMeanwhileIsKept: of a session that outlives its connection.
func TestWhatComesMeanwhileIsKept(t *testing.T) {
	b := start(t, broker.Config{MaxQueue: 3})
	sleepy := as("native")
	sleepy.CleanStart = false
	sleepy.Properties.SessionExpiryInterval = new(uint32(60))
	first := b.connect(t, sleepy)
	first.subscribe("usp/agent/" + string(native))
	if err := first.Disconnect(&paho.Disconnect{}); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	ctl := b.connect(t, as("controller"))
	for i := range 3 {
		if code := ctl.publish("usp/agent/"+string(native), fmt.Appendf(nil, "%d", i), nil); code != success {
			t.Fatalf("message %d: 0x%02x", i, code)
		}
	}
	// What it has no room for is not acknowledged.
	if code := ctl.publish("usp/agent/"+string(native), []byte("too many"), nil); code != quotaExceeded {
		t.Errorf("a message too many: 0x%02x", code)
	}
	second := b.connect(t, sleepy)
	if !second.connack.SessionPresent {
		t.Fatal("the session was not kept")
	}
	got := map[string]bool{}
	for range 3 {
		got[string(mtptest.Wait(t, second.messages, "kept message").Payload)] = true
	}
	if !got["0"] || !got["1"] || !got["2"] {
		t.Errorf("got %v", got)
	}
}

// TestManyPublishers: nothing is lost and nothing stands still when several publish to
// one that acknowledges meanwhile.
func TestManyPublishers(t *testing.T) {
	const publishers, each = 4, 1000
	b := start(t, broker.Config{})
	listening := as("native")
	listening.Properties.ReceiveMaximum = new(uint16(20))
	agent := b.connect(t, listening)
	agent.subscribe("usp/agent/" + string(native))
	var publishing sync.WaitGroup
	for i := range publishers {
		c := as("controller")
		c.ClientID = fmt.Sprint(i)
		ctl := b.connect(t, c)
		publishing.Go(func() {
			for range each {
				ack, err := ctl.Publish(t.Context(), &paho.Publish{Topic: "usp/agent/" + string(native), QoS: 1, Payload: []byte("x")})
				if err != nil || ack.ReasonCode != success {
					t.Errorf("%v, %+v", err, ack)
					return
				}
			}
		})
	}
	for range publishers * each {
		mtptest.Wait(t, agent.messages, "message")
	}
	publishing.Wait() // the last acknowledgement may come after the message
}

// transport runs the bridge's own transport, in-process, and one of a controller or
// native agent, which logs in.
func transport(t *testing.T, cfg mqtt.Config) (*mqtt.Transport, *mtptest.Recorder) {
	t.Helper()
	cfg.Backoff = mtp.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	tr, err := mqtt.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	return tr, h
}

// TestBridgeOverIt: the program's own transport needs no password and is told who
// has sent a record.
func TestBridgeOverIt(t *testing.T) {
	const hosted = usp.EndpointID("ops::00259E-HG8245-1")
	b := start(t, broker.Config{})
	bridge, atBridge := transport(t, mqtt.Config{Broker: "mqtt://embedded", Topic: "usp/agent/{endpoint_id}", Dial: b.Dial, SenderProperty: broker.SenderProperty})
	ctl, atCtl := transport(t, mqtt.Config{Broker: "tcp://" + b.address, Topic: "usp/controller/one", Endpoint: controller, Username: "controller", Password: password})
	for i := range 100 {
		if err := ctl.Send(t.Context(), controller, hosted, bridge.AgentAddress(hosted), fmt.Appendf(nil, "request %d", i)); err != nil {
			t.Fatal(err)
		}
		in := mtptest.Wait(t, atBridge.In, "request")
		if string(in.Record) != fmt.Sprintf("request %d", i) || in.Local != hosted || in.Peer != controller || !in.Proven || in.Trusted {
			t.Fatalf("got %+v", in)
		}
		if err := bridge.Send(t.Context(), hosted, controller, in.Reply, in.Record); err != nil {
			t.Fatal(err)
		}
		if in := mtptest.Wait(t, atCtl.In, "response"); string(in.Record) != fmt.Sprintf("request %d", i) || in.Proven || in.Peer != "" {
			t.Fatalf("the controller got %+v", in)
		}
	}
	if err := ctl.Send(t.Context(), controller, hosted, mtp.Address{Topic: "usp/controller/one"}, []byte("x")); err == nil {
		t.Error("a refused message was sent")
	}
	large := make([]byte, 5<<20)
	if err := ctl.Send(t.Context(), controller, hosted, bridge.AgentAddress(hosted), large); err != nil {
		t.Fatal(err)
	}
	if in := mtptest.Wait(t, atBridge.In, "large request"); len(in.Record) != len(large) {
		t.Errorf("%d bytes", len(in.Record))
	}
}

func TestOverWebSocket(t *testing.T) {
	b := start(t, broker.Config{})
	ctl, atCtl := transport(t, mqtt.Config{Broker: "ws://" + b.websocket, Topic: "usp/controller/one", Endpoint: controller, Username: "controller", Password: password})
	agent, atAgent := transport(t, mqtt.Config{Broker: "ws://" + b.websocket, Topic: "usp/agent/" + string(native), Endpoint: native, Username: "native", Password: password})
	long := make([]byte, 300_000)
	if err := ctl.Send(t.Context(), controller, native, mtp.Address{Topic: "usp/agent/" + string(native)}, long); err != nil {
		t.Fatal(err)
	}
	in := mtptest.Wait(t, atAgent.In, "record")
	if len(in.Record) != len(long) {
		t.Errorf("%d bytes", len(in.Record))
	}
	if err := agent.Send(t.Context(), native, controller, in.Reply, []byte("answer")); err != nil {
		t.Fatal(err)
	}
	mtptest.Wait(t, atCtl.In, "answer")
}

// TestEnd: clients are told that the broker goes, and it does not wait for those
// that say nothing.
func TestEnd(t *testing.T) {
	b := start(t, broker.Config{})
	cl := b.connect(t, as("native"))
	silent := dial(t, b.address)
	mtptest.Until(t, "the silent one is in", func() bool { return b.Connections() == 2 })
	b.stop()
	if code := mtptest.Wait(t, cl.gone, "DISCONNECT"); code != shuttingDown {
		t.Errorf("reason 0x%02x", code)
	}
	ended(t, silent)
	if _, err := b.Dial(t.Context()); err == nil {
		t.Error("the program can connect to a broker that has ended")
	}
}

// TestDrop: who has lost an account loses the connection.
func TestDrop(t *testing.T) {
	b := start(t, broker.Config{})
	cl, stays := b.connect(t, as("native")), b.connect(t, as("other"))
	b.Drop("native")
	if code := mtptest.Wait(t, cl.gone, "DISCONNECT"); code != notAuthorized {
		t.Errorf("reason 0x%02x", code)
	}
	if got := stays.subscribe("usp/agent/" + string(other)); got != granted {
		t.Errorf("the other: 0x%02x", got)
	}
}

func BenchmarkMessage(b *testing.B) {
	r := start(b, broker.Config{})
	agent, ctl := r.connect(b, as("native")), r.connect(b, as("controller"))
	agent.subscribe("usp/agent/" + string(native))
	payload := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if code := ctl.publish("usp/agent/"+string(native), payload, nil); code != success {
			b.Fatalf("0x%02x", code)
		}
		<-agent.messages
	}
}
