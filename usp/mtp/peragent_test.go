package mtp_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// line is a Single that notes what is done to it.
type line struct {
	endpoint usp.EndpointID
	meter    *mtp.Meter
	running  chan bool

	mu        sync.Mutex
	settings  mtp.Settings
	sent      []string
	listening map[mtp.Address]usp.EndpointID
}

func (l *line) Protocol() mtp.Protocol { return mtp.MQTT }
func (l *line) Ready() <-chan struct{} { return nil }
func (l *line) Status() mtp.Status     { return l.meter.Status() }

func (l *line) Serve(ctx context.Context, _ mtp.Handler) error {
	l.meter.Opened()
	l.running <- true
	<-ctx.Done()
	l.meter.Closed()
	l.running <- false
	return nil
}

func (l *line) Send(_ context.Context, _, _ usp.EndpointID, _ mtp.Address, record []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, string(record))
	return l.meter.Sent(len(record), nil)
}

func (l *line) AgentAddress(usp.EndpointID) mtp.Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	return mtp.Address{Protocol: mtp.MQTT, Topic: l.settings.Inbox}
}

func (l *line) Listen(at mtp.Address, e usp.EndpointID) error {
	if at.Topic == "" {
		return errors.New("no topic")
	}
	l.listening[at] = e
	return nil
}

func (l *line) Unlisten(at mtp.Address) { delete(l.listening, at) }

func (l *line) Configure(s mtp.Settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settings = s
}

func (l *line) Connection() mtp.Connection { return mtp.Connection{Inbox: l.AgentAddress("").Topic} }

// lines are the connections that a PerAgent of a test has made.
type lines struct {
	*mtp.PerAgent
	meter *mtp.Meter
	made  map[usp.EndpointID]*line
}

func newLines(t *testing.T) *lines {
	t.Helper()
	meter, err := mtp.NewMeter(nil, mtp.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	all := &lines{meter: meter, made: map[usp.EndpointID]*line{}}
	all.PerAgent = mtp.NewPerAgent(mtp.Singles{
		Protocol: mtp.MQTT, Meter: meter, Own: "self::own",
		Defaults: func(e usp.EndpointID) mtp.Settings { return mtp.Settings{Inbox: "in/" + string(e)} },
		Address:  func(inbox string) mtp.Address { return mtp.Address{Protocol: mtp.MQTT, Topic: inbox} },
		Check: func(s mtp.Settings) error {
			if s.Inbox == "bad" {
				return errors.New("bad inbox")
			}
			return nil
		},
		New: func(e usp.EndpointID, s mtp.Settings, m *mtp.Meter, _ mtp.Gate) (mtp.Single, error) {
			l := &line{endpoint: e, meter: m, settings: s, running: make(chan bool, 10), listening: map[mtp.Address]usp.EndpointID{}}
			all.made[e] = l
			return l, nil
		},
	})
	return all
}

const (
	agentA = usp.EndpointID("os::1-A")
	agentB = usp.EndpointID("os::1-B")
)

func TestPerAgent(t *testing.T) {
	p := newLines(t)
	p.Host(agentA, agentA) // before Serve, and twice
	if p.Status().Up {
		t.Error("up before it runs")
	}
	mtptest.Serve(t, p, mtptest.NewRecorder())
	if !mtptest.Wait(t, p.made[agentA].running, "connection of A") {
		t.Error("A's connection has ended")
	}
	p.Host(agentB)
	mtptest.Wait(t, p.made[agentB].running, "connection of B")

	if err := p.Send(t.Context(), agentB, "c::c", mtp.Address{Topic: "c"}, []byte("record")); err != nil {
		t.Fatal(err)
	}
	if sent := p.made[agentB].sent; len(sent) != 1 || len(p.made[agentA].sent) != 0 {
		t.Errorf("B's record went over the connection of somebody else; over its own went %q", sent)
	}
	if s := p.Status(); s.Sent != 1 || !s.Up || p.meter.Connections() != 2 {
		t.Errorf("status %+v with %d connections, want the sum of two", s, p.meter.Connections())
	}

	p.Unhost(agentB)
	if mtptest.Wait(t, p.made[agentB].running, "end of B's connection") {
		t.Error("B's connection runs on")
	}
	if err := p.Send(t.Context(), agentB, "c::c", mtp.Address{Topic: "c"}, nil); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("sent for an agent that is gone: %v", err)
	}
	if _, ok := p.Connection(agentB); ok {
		t.Error("an agent that is gone has a connection")
	}
}

func TestPerAgentSettings(t *testing.T) {
	p := newLines(t)
	if err := p.Configure(agentA, mtp.Settings{Inbox: "other"}); err != nil { // before Host
		t.Fatal(err)
	}
	if got := p.AgentAddress(agentA).Topic; got != "other" {
		t.Errorf("address before Host: %q", got)
	}
	p.Host(agentA)
	if c, ok := p.Connection(agentA); !ok || c.Inbox != "other" {
		t.Errorf("connection %+v, %v", c, ok)
	}
	if err := p.Configure(agentA, mtp.Settings{Inbox: "bad"}); err == nil {
		t.Error("settings that cannot work are taken")
	}
	if err := p.Configure(agentA, mtp.Settings{Inbox: "third"}); err != nil {
		t.Fatal(err)
	}
	if c, _ := p.Connection(agentA); c.Inbox != "third" {
		t.Errorf("connection %+v, want the last good settings", c)
	}
	p.Unhost(agentA)
	p.Host(agentA)
	if c, _ := p.Connection(agentA); c.Inbox != string("in/"+agentA) {
		t.Errorf("an agent that was forgotten comes back with %+v", c)
	}
}

// What is no agent's goes over a connection that is made when it is needed.
func TestPerAgentListens(t *testing.T) {
	p := newLines(t)
	mtptest.Serve(t, p, mtptest.NewRecorder())
	at := mtp.Address{Protocol: mtp.MQTT, Topic: "controller"}
	if err := p.Listen(mtp.Address{}, "c::c"); err == nil {
		t.Error("listens nowhere")
	}
	if err := p.Listen(at, "c::c"); err != nil {
		t.Fatal(err)
	}
	own := p.made["self::own"]
	mtptest.Wait(t, own.running, "the own connection")
	if own.listening[at] != "c::c" {
		t.Errorf("listening to %v", own.listening)
	}
	if err := p.Send(t.Context(), "c::c", agentA, at, []byte("relayed")); err != nil || len(own.sent) != 1 {
		t.Errorf("relayed: %v, %q", err, own.sent)
	}
	p.Unlisten(at)
	if len(own.listening) != 0 {
		t.Errorf("listening to %v", own.listening)
	}
}
