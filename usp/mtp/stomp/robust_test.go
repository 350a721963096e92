package stomp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// What the program looks for in a transport it finds in both forms.
var (
	_ interface {
		mtp.Transport
		mtp.Hosting
		mtp.Addressing
		mtp.Listening
	} = (*Transport)(nil)
	_ interface {
		mtp.Transport
		mtp.Hosting
		mtp.Addressing
		mtp.Listening
		mtp.PerEndpoint
	} = (*mtp.PerAgent)(nil)
)

// played is a transport on a server that the test plays, with its subscription.
func played(t *testing.T, change func(*Config)) (*Transport, *script, *player) {
	t.Helper()
	s := newScript(t)
	cfg := Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/all"}
	if change != nil {
		change(&cfg)
	}
	tr := newTransport(t, cfg)
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p := s.accept()
	p.greet("")
	p.expect("SUBSCRIBE", nil)
	mtptest.Wait(t, tr.Ready(), "readiness")
	return tr, s, p
}

func TestWhatIsNotConfirmedIsSentAgain(t *testing.T) {
	t.Parallel()
	tr, s, p := played(t, nil)
	done := send(t, tr, "c", []byte("record"))
	first := p.expect("SEND", nil)
	p.Close()
	p = s.accept()
	p.greet("")
	p.expect("SUBSCRIBE", nil) // before the record, so that its answer is heard
	again := p.expect("SEND", nil)
	if string(again.body) != "record" || again.get("receipt") != first.get("receipt") {
		t.Errorf("sent again %q, receipt %s", again.body, again.get("receipt"))
	}
	p.confirm(again)
	if err := mtptest.Wait(t, done, "end of Send"); err != nil {
		t.Error(err)
	}
}

// What the server answers with ERROR would end the next connection as well.
func TestWhatIsRefusedIsNotSentAgain(t *testing.T) {
	tr, s, p := played(t, nil)
	done := send(t, tr, "forbidden", []byte("refused"))
	f := p.expect("SEND", nil)
	p.say("ERROR\nreceipt-id:%s\nmessage:access refused\n\n\x00", f.get("receipt"))
	p.Close()
	if err := mtptest.Wait(t, done, "end of Send"); err == nil || !strings.Contains(err.Error(), "access refused") {
		t.Errorf("Send: %v", err)
	}
	p = s.accept()
	p.greet("")
	p.expect("SUBSCRIBE", nil)
	mtptest.Until(t, "it is up again", func() bool { return tr.Status().Up })
	send(t, tr, "c", []byte("next"))
	if next := p.expect("SEND", nil); string(next.body) != "next" {
		t.Errorf("sent %q", next.body)
	}
}

// An answer, which nobody would ask for again, waits for the server; another
// record is refused, for its sender has a retry or another way.
func TestAnswersAreKeptWhileTheServerIsAway(t *testing.T) {
	tr, s, p := played(t, nil)
	p.Close()
	mtptest.Until(t, "the loss shows", func() bool { return !tr.Status().Up })
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Destination: "c"}, []byte("notification")); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("a notification: %v", err)
	}
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Destination: "c", Answer: true}, []byte("answer")); err != nil {
		t.Errorf("an answer: %v", err)
	}
	p = s.accept()
	p.greet("")
	p.expect("SUBSCRIBE", nil)
	if f := p.expect("SEND", nil); string(f.body) != "answer" {
		t.Errorf("sent %q", f.body)
	}
}

// A server that reads nothing holds up nobody: after the first no Send waits, and
// when as much as may be is kept they fail.
func TestServerThatReadsNothing(t *testing.T) {
	t.Parallel()
	tr, _, _ := played(t, func(c *Config) { c.Timeout = mtptest.Patience })
	record := []byte(strings.Repeat("x", 1<<20))
	var last error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; i < 1000 && last == nil; i++ {
			last = tr.Send(t.Context(), agent, controller, mtp.Address{Destination: "c", Answer: true}, record)
		}
	}()
	mtptest.Wait(t, ended, "end of the sending")
	if !errors.Is(last, mtp.ErrUnreachable) {
		t.Errorf("a gigabyte for a server that reads nothing: %v, want ErrUnreachable", last)
	}
}

// Many endpoints are subscribed for without a bound being in the way.
func TestManySubscriptions(t *testing.T) {
	const many = 20_000
	s := newScript(t)
	tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/usp.agent.{endpoint_id}"})
	var all []usp.EndpointID
	for i := range many {
		all = append(all, usp.EndpointID(fmt.Sprintf("ops::00259E-BM632w-%010d", i)))
	}
	tr.Host(all...)
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p := s.accept()
	p.greet("")
	seen := map[string]bool{}
	for range many {
		f, err := readFrame(p.r, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen[f.get("destination")] = true
	}
	if len(seen) != many {
		t.Errorf("subscribed to %d destinations, want %d", len(seen), many)
	}
}

func TestListen(t *testing.T) {
	s := newScript(t)
	tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/{endpoint_id}"})
	first, second := mtp.Address{Destination: "/queue/c1"}, mtp.Address{Destination: "/queue/c2"}
	for range 2 {
		if err := tr.Listen(first, "c::1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Listen(mtp.Address{}, "c::1"); err == nil {
		t.Error("listens nowhere")
	}
	h := mtptest.NewRecorder()
	mtptest.Start(t, tr, h)
	p := s.accept()
	p.greet("")
	subs := map[*frame]usp.EndpointID{p.expect("SUBSCRIBE", map[string]string{"destination": "/queue/c1"}): "c::1"}
	mtptest.Wait(t, tr.Ready(), "readiness")
	if err := tr.Listen(second, "c::2"); err != nil {
		t.Fatal(err)
	}
	subs[p.expect("SUBSCRIBE", map[string]string{"destination": "/queue/c2"})] = "c::2"
	for sub, local := range subs {
		p.say("MESSAGE\nsubscription:%s\nmessage-id:1\ndestination:x\n\nr\x00", sub.get("id"))
		if in := mtptest.Wait(t, h.In, "record"); in.Local != local {
			t.Errorf("a record on %s is for %q", sub.get("destination"), in.Local)
		}
	}
	tr.Unlisten(first)
	f := p.expect("UNSUBSCRIBE", nil)
	p.Close()
	p = s.accept()
	p.greet("")
	p.expect("SUBSCRIBE", map[string]string{"destination": "/queue/c2"})
	for sub, local := range subs {
		if local == "c::1" && sub.get("id") != f.get("id") {
			t.Errorf("unsubscribed %s, want %s", f.get("id"), sub.get("id"))
		}
	}
}

func TestConnectionOfItsOwn(t *testing.T) {
	s := newScript(t)
	tr, err := NewPerAgent(Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/{endpoint_id}",
		Login: "user-{endpoint_id}", Passcode: "p", Backoff: mtp.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	tr.Host(agent)
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	up := func() *player {
		t.Helper()
		p := s.accept()
		p.expect("STOMP", map[string]string{"login": "user-" + string(agent), "endpoint-id": escapeHeader(string(agent))})
		p.say("CONNECTED\nversion:1.2\nheart-beat:0,10000\n\n\x00")
		return p
	}
	p := up()
	sub := p.expect("SUBSCRIBE", map[string]string{"destination": "/queue/" + string(agent)})
	p.say("MESSAGE\nsubscription:%s\nmessage-id:1\ndestination:x\n\nr\x00", sub.get("id"))
	if in := mtptest.Wait(t, h.In, "record"); in.Local != agent {
		t.Errorf("a record for %q", in.Local)
	}
	if c, _ := tr.Connection(agent); !c.Up || c.Outgoing != 30*time.Second || c.Incoming != 0 || c.Inbox != "/queue/"+string(agent) {
		t.Errorf("connection %+v", c)
	}

	settings := tr.Defaults(agent)
	settings.Inbox = "/queue/moved"
	if err := tr.Configure(agent, settings); err != nil { // R-STOMP.29
		t.Fatal(err)
	}
	p.expect("UNSUBSCRIBE", map[string]string{"id": sub.get("id")})
	p.expect("SUBSCRIBE", map[string]string{"destination": "/queue/moved"})

	settings.VirtualHost, settings.HeartbeatOutgoing = "other", 0
	if err := tr.Configure(agent, settings); err != nil {
		t.Fatal(err)
	}
	p.expect("DISCONNECT", nil)
	p = s.accept()
	p.expect("STOMP", map[string]string{"host": "other", "heart-beat": "0,30000"}) // R-STOMP.5, R-STOMP.10

	for name, change := range map[string]func(*mtp.Settings){
		"virtual host": func(s *mtp.Settings) { s.VirtualHost = "a\nb" },
		"inbox":        func(s *mtp.Settings) { s.Inbox = "a\x00" },
		"heart-beat":   func(s *mtp.Settings) { s.HeartbeatExpect = -time.Second },
	} {
		bad := tr.Defaults(agent)
		change(&bad)
		if err := tr.Configure(agent, bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := NewPerAgent(Config{Broker: "tcp://127.0.0.1", Destination: "/queue/all"}); err == nil {
		t.Error("one destination for the connections of all agents")
	}
}
