package relay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const (
	controllerURL = "wss://controller.example/usp"
	lab           = usp.EndpointID("proto::lab") // has a way in the routes only
	labURL        = "unix:///run/lab.sock"
)

// dialing is a transport that opens sessions; tests open them.
type dialing struct {
	*transport
	wanted  map[ends]mtp.Target // under transport.mu, as the others
	again   int
	retries int
}

func (d *dialing) Dial(local, peer usp.EndpointID, to mtp.Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted[ends{local, peer}] = to
}

func (d *dialing) Hang(local, peer usp.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.wanted, ends{local, peer})
}

func (d *dialing) Again(_, _ usp.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.again++
}

func (d *dialing) Retries(_, _ usp.EndpointID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.retries
}

// Send fails without a connection, as that of a transport whose sessions are not
// open.
func (d *dialing) Send(ctx context.Context, from, to usp.EndpointID, at mtp.Address, record []byte) error {
	if at.Conn == nil {
		return fmt.Errorf("fake: %w", mtp.ErrUnreachable)
	}
	return d.transport.Send(ctx, from, to, at, record)
}

func (d *dialing) setRetries(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retries = n
}

// sessionRig is a relay whose controller is at a URL.
type sessionRig struct {
	*rig
	sockets, unix *dialing
	hosted        *atomic.Value // the endpoint that has become a hosted agent's
}

// claimed are claims that tests change.
type claimed struct{ id *atomic.Value }

func (c claimed) Hosted(_ context.Context, id usp.EndpointID) (bool, error) {
	return id == c.id.Load(), nil
}

func newSessionRig(t *testing.T, change func(*Config)) *sessionRig {
	t.Helper()
	s := &sessionRig{hosted: new(atomic.Value)}
	s.hosted.Store(bridged)
	s.rig = newRig(t, func(c *Config) {
		s.sockets = &dialing{transport: c.Transports[0].(*transport), wanted: map[ends]mtp.Target{}}
		s.unix = &dialing{transport: newTransport(mtp.UDS), wanted: map[ends]mtp.Target{}}
		c.Transports[0] = s.sockets
		c.Transports = append(c.Transports, s.unix)
		c.Trusted = append(c.Trusted, mtp.UDS)
		c.Claims = claimed{s.hosted}
		c.Controllers[controller] = mtp.Address{Protocol: mtp.WebSocket, URL: controllerURL}
		if change != nil {
			change(c)
		}
	})
	return s
}

// hear lets an agent speak over MQTT, with a Connect record, which needs no session.
func (s *sessionRig) hear(id usp.EndpointID) {
	s.t.Helper()
	home := "home of " + string(id)
	rec, err := record.MQTTConnect(id, controller, "1.3", usppb.MQTTConnectRecord_V5, home)
	if err != nil {
		s.t.Fatal(err)
	}
	s.receive(overBroker(mtp.MQTT, home, rec))
	s.lanes.wait()
}

// wants compares in whose name there are to be sessions with the controller.
func (s *sessionRig) wants(when string, agents ...usp.EndpointID) {
	s.t.Helper()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	want := map[ends]mtp.Target{}
	for _, id := range agents {
		want[ends{id, controller}] = mtp.Target{URL: controllerURL, Retry: mtp.WebSocketRetry, KeepAlive: 30 * time.Second, Guest: true}
	}
	if !maps.Equal(s.sockets.wanted, want) {
		s.t.Errorf("%s: sessions %v, want %v", when, s.sockets.wanted, want)
	}
	if n := s.sessions.wanted.Load(); n != int64(len(agents)) {
		s.t.Errorf("%s: %d sessions are counted, want %d", when, n, len(agents))
	}
}

// open opens the session of an agent, which begins with its Connect record.
func (s *sessionRig) open(id usp.EndpointID) mtp.Address {
	s.t.Helper()
	via := connection("session of " + string(id))
	s.Connected(controller, id, via)
	if got := s.await(s.ws); got.at != via || got.from != id || decode(s.t, got.record).GetWebsocketConnect() == nil {
		s.t.Errorf("the session begins with %+v, want a Connect record", got)
	}
	return via
}

func TestSessionIsOpenedInTheNameOfANativeAgent(t *testing.T) {
	s := newSessionRig(t, nil)
	s.wants("before it is heard")
	var records [][]byte
	for _, id := range []string{"1", "2", "3"} { // they wait for the session
		records = append(records, message(t, native, controller, id))
		s.receive(overBroker(mtp.MQTT, "home", records[len(records)-1]))
	}
	s.wants("when it is heard", native)
	via := s.open(native)
	for i, want := range records {
		if got := s.await(s.ws); got.at != via || got.record != string(want) {
			t.Errorf("record %d: %+v", i, got)
		}
	}
	s.hear(other)
	s.wants("with another agent", native, other)
	others := s.open(other)
	for id, at := range map[usp.EndpointID]mtp.Address{native: via, other: others} { // each by its own
		s.receive(overBroker(mtp.MQTT, "home of "+string(id), message(t, id, controller, "4")))
		if got := s.await(s.ws); got.from != id || got.at != at {
			t.Errorf("%s: %+v", id, got)
		}
	}
	answer := message(t, controller, native, "a")
	s.receive(mtp.Inbound{Record: answer, Reply: via, Peer: controller, Local: native})
	if got := s.await(s.mqtt.transport); got.record != string(answer) || got.at != address(mtp.MQTT, "home of "+string(native)) {
		t.Errorf("the controller's record: %+v", got)
	}
	if n := s.table.open(); n != 2 {
		t.Errorf("%d sessions are open, want 2", n)
	}
	s.idle()
}

// TestSessionsAreForWhoMayWrite to the other, in either direction, and to nobody
// else; controllers have none with each other.
func TestSessionsAreForWhoMayWrite(t *testing.T) {
	for name, c := range map[string]struct {
		rules []Rule
		want  []usp.EndpointID
	}{
		"to the controller":   {[]Rule{{From: "os::*", To: string(controller)}}, []usp.EndpointID{native}},
		"from the controller": {[]Rule{{From: string(controller), To: "os::*"}, {From: "os::*", To: string(lab)}}, []usp.EndpointID{native}},
		"to another":          {[]Rule{{From: "os::*", To: string(lab)}, {From: string(controller), To: "os::*-OTHER"}}, nil},
		"all":                 {[]Rule{{From: "*", To: "*"}}, []usp.EndpointID{native}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSessionRig(t, func(cfg *Config) {
				policy, err := NewPolicy(c.rules...)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Policy = policy
				cfg.Controllers[lab] = mtp.Address{}
				cfg.Agents = []string{"*"}
			})
			for _, to := range []usp.EndpointID{controller, lab} {
				s.receive(overBroker(mtp.MQTT, "home", message(t, native, to, "1")))
			}
			s.receive(overBroker(mtp.MQTT, "lab", message(t, lab, controller, "1")))
			s.wants("when both have spoken", c.want...)
			s.stopRun() // no record waits for a session any more
		})
	}
}

// TestNobodyWaitsForAControllerThatIsAway: its records have no way, the others' go
// on.
func TestNobodyWaitsForAControllerThatIsAway(t *testing.T) {
	s := newSessionRig(t, func(c *Config) { c.SessionWait = time.Nanosecond })
	unreachable := func() float64 { return testutil.ToFloat64(s.metrics.dropped.WithLabelValues(droppedUnreachable)) }
	s.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	s.lanes.wait()
	if n := unreachable(); n != 1 {
		t.Errorf("%v records had no way when the wait was over, want 1", n)
	}
	s.Relay.cfg.SessionWait = time.Hour
	s.sockets.setRetries(2) // the second try has failed
	s.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "2")))
	s.lanes.wait()
	if n := unreachable(); n != 2 {
		t.Errorf("%v records had no way, want 2", n)
	}
	// What waits for it takes no place of those who write to others by the transport.
	s.sockets.setRetries(0)
	for i := range maxWaiting + 10 {
		s.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, fmt.Sprint("flood ", i))))
	}
	if n := testutil.ToFloat64(s.metrics.dropped.WithLabelValues(droppedOverload)); n != 10 {
		t.Errorf("%v records were too many, want 10", n)
	}
	s.Connected(other, "", connection("other"))
	s.receive(overBroker(mtp.MQTT, "lab", message(t, lab, other, "3")))
	if got := s.await(s.ws); got.to != other {
		t.Errorf("%+v", got)
	}
	s.stopRun()
}

// TestSessionsEndWithTheAgent, but not at once: one that comes back finds them.
func TestSessionsEndWithTheAgent(t *testing.T) {
	s := newSessionRig(t, func(c *Config) { c.Expiry = time.Hour })
	s.hear(native)
	s.settle(t.Context())
	s.wants("while it is there", native)
	s.clock.Advance(time.Hour)
	s.settle(t.Context())
	s.wants("at the first sweep without it", native)
	s.settle(t.Context())
	s.wants("at the second")
	s.hear(native)
	s.wants("when it is back", native)

	s.Connected(other, "", connection("o"))
	s.receive(overSocket("o", other, encodeConnect(t, other)))
	s.wants("with one by a connection", native, other)
	s.Disconnected(other, "", connection("o"))
	s.settle(t.Context())
	s.Connected(other, "", connection("o2"))
	s.settle(t.Context())
	s.settle(t.Context())
	s.wants("when it has connected again", native, other)

	if err := s.Forget(t.Context(), native); err != nil {
		t.Fatal(err)
	}
	s.wants("without the one that is forgotten", other)
}

func encodeConnect(t testing.TB, id usp.EndpointID) []byte {
	t.Helper()
	rec, err := record.WebSocketConnect(id, controller, "1.3")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestSessionsOfAgentsThatSleep are kept as long as records would wait for them.
func TestSessionsOfAgentsThatSleep(t *testing.T) {
	s := newSessionRig(t, func(c *Config) {
		c.Expiry = time.Hour
		c.Hold = HoldConfig{Enabled: true, Expiry: 3 * time.Hour}
	})
	s.hear(native)
	via := s.open(native)
	s.clock.Advance(2 * time.Hour)
	s.settle(t.Context())
	s.settle(t.Context())
	s.wants("while it sleeps", native)
	rec := message(t, controller, native, "1")
	s.receive(mtp.Inbound{Record: rec, Reply: via, Peer: controller, Local: native})
	s.lanes.wait()
	if n, _ := s.held.of(native); n != 1 {
		t.Errorf("%d records wait, want 1", n)
	}
	s.restart()
	s.wants("after a restart", native)
	s.hear(native)
	if got := s.await(s.mqtt.transport); got.record != string(rec) {
		t.Errorf("awake, it gets %+v", got)
	}
	s.clock.Advance(3 * time.Hour)
	s.settle(t.Context())
	s.settle(t.Context())
	s.wants("when nothing would wait any more")
}

// TestSessionsAfterARestart: of agents whose address is known, configured or
// remembered, and of no others.
func TestSessionsAfterARestart(t *testing.T) {
	const configured = usp.EndpointID("os::00259E-CONFIGURED")
	s := newSessionRig(t, func(c *Config) {
		c.Routes = map[usp.EndpointID]mtp.Address{configured: address(mtp.STOMP, "/queue/c")}
	})
	s.wants("before any is heard", configured)
	s.hear(native)
	s.receive(overSocket("o", other, encodeConnect(t, other)))
	s.wants("with those heard", configured, native, other)
	s.stopRun()
	clear(s.sockets.wanted)
	s.start()
	s.wants("after a restart", configured, native)
	s.Connected(other, "", connection("o2"))
	s.wants("with the one that has connected again", configured, native, other)
	via := s.open(configured) // its controller is the first to speak
	s.receive(mtp.Inbound{Record: message(t, controller, configured, "1"), Reply: via, Peer: controller, Local: configured})
	if got := s.await(s.stomp.transport); got.at != address(mtp.STOMP, "/queue/c") {
		t.Errorf("%+v", got)
	}
	if err := s.Forget(t.Context(), native); err != nil {
		t.Fatal(err)
	}
	s.restart()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	if _, ok := s.sockets.wanted[ends{native, controller}]; ok {
		t.Error("one that was forgotten has a session after a restart")
	}
}

// TestNobodyElseSpeaksOnASession than the controller, and for nobody but the agent.
func TestNobodyElseSpeaksOnASession(t *testing.T) {
	s := newSessionRig(t, nil)
	s.hear(native)
	s.hear(other)
	via := s.open(native)
	for reason, rec := range map[string][]byte{
		droppedForged:  message(t, lab, native, "1"),
		droppedAddress: message(t, controller, other, "2"),
	} {
		s.receive(mtp.Inbound{Record: rec, Reply: via, Peer: controller, Local: native})
		if n := testutil.ToFloat64(s.metrics.dropped.WithLabelValues(reason)); n != 1 {
			t.Errorf("%v records are %s, want 1", n, reason)
		}
	}
	s.idle()
}

// TestAControllerThatConnectsItself is written to by that connection where there is
// no session, and by its session with the agent where there is.
func TestAControllerThatConnectsItself(t *testing.T) {
	s := newSessionRig(t, nil)
	s.hear(native)
	s.Connected(controller, "", connection("its own"))
	told := 0
	tell := func(want mtp.Address) {
		t.Helper()
		told++
		s.receive(overBroker(mtp.MQTT, "home of "+string(native), message(t, native, controller, fmt.Sprint(told))))
		if got := s.await(s.ws); got.at != want {
			t.Errorf("sent by %v, want %v", got.at.Conn, want.Conn)
		}
	}
	tell(connection("its own"))
	s.clock.Advance(time.Second)
	via := s.open(native)
	s.receive(mtp.Inbound{Record: message(t, controller, native, "1"), Reply: via, Peer: controller, Local: native})
	s.await(s.mqtt.transport)
	tell(via)
	rec := message(t, other, controller, "1") // of one without a session
	s.receive(overBroker(mtp.MQTT, "home of "+string(other), rec))
	if got := s.await(s.ws); got.at != connection("its own") {
		t.Errorf("another's record is sent by %v", got.at.Conn)
	}
	s.hear(native) // a Connect record on the session that there is
	if got := s.await(s.ws); got.at != via || decode(t, got.record).GetWebsocketConnect() == nil {
		t.Errorf("%+v", got)
	}
	s.Connected(controller, native, connection("instead"))
	s.await(s.ws)
	tell(connection("instead"))
	s.Disconnected(controller, native, via) // the transport keeps the newer
	tell(connection("instead"))
	s.Disconnected(controller, native, connection("instead"))
	tell(connection("its own"))
}

// TestASessionBeginsAsThePolicyHasIt: an agent that may not write to its controller
// does not greet it.
func TestASessionBeginsAsThePolicyHasIt(t *testing.T) {
	s := newSessionRig(t, func(c *Config) {
		var err error
		if c.Policy, err = NewPolicy(Rule{From: "proto::*", To: "os::*"}); err != nil {
			t.Fatal(err)
		}
		c.Routes = map[usp.EndpointID]mtp.Address{native: address(mtp.MQTT, "home")}
	})
	s.wants("for the controller", native)
	via := connection("session")
	s.Connected(controller, native, via)
	s.receive(mtp.Inbound{Record: message(t, controller, native, "1"), Reply: via, Peer: controller, Local: native})
	s.await(s.mqtt.transport)
	s.idle()
}

// TestASessionWithWhomIsNotBelieved: where controllers have to prove who they are,
// one that has not is greeted, and that is all.
func TestASessionWithWhomIsNotBelieved(t *testing.T) {
	s := newSessionRig(t, func(c *Config) {
		c.Trusted = []mtp.Protocol{mtp.MQTT}
		c.SessionWait = time.Nanosecond
	})
	s.hear(native)
	via := s.open(native)
	s.receive(mtp.Inbound{Record: message(t, controller, native, "1"), Reply: via, Peer: controller, Local: native})
	s.receive(overBroker(mtp.MQTT, "home of "+string(native), message(t, native, controller, "2")))
	s.idle()
	proven := mtp.Address{Protocol: mtp.WebSocket, Conn: secure("session")}
	s.Connected(controller, native, proven)
	s.await(s.ws)
	s.receive(overBroker(mtp.MQTT, "home of "+string(native), message(t, native, controller, "3")))
	if got := s.await(s.ws); got.at != proven {
		t.Errorf("%+v", got)
	}
}

// TestAnAgentThatComesBackIsConnectedAtOnce (R-WS.21).
func TestAnAgentThatComesBackIsConnectedAtOnce(t *testing.T) {
	s := newSessionRig(t, nil)
	s.hear(native)
	before := s.sockets.again
	s.hear(native)
	if n := s.sockets.again - before; n != 1 {
		t.Errorf("its Connect record had %d sessions tried for at once, want 1", n)
	}
}

// TestSessionsAreBounded: what strangers say they are is not to take all.
func TestSessionsAreBounded(t *testing.T) {
	s := newSessionRig(t, func(c *Config) { c.Sessions = 1 })
	s.hear(native)
	s.hear(other)
	s.wants("beyond the bound", native)
	if err := s.Forget(t.Context(), native); err != nil {
		t.Fatal(err)
	}
	s.hear(other)
	s.wants("with room again", other)
}

// TestADeviceThatIsHostedTakesItsSessionsOver; those of a controller that hosted
// agents do not know end.
func TestADeviceThatIsHostedTakesItsSessionsOver(t *testing.T) {
	s := newSessionRig(t, func(c *Config) {
		c.Routes = map[usp.EndpointID]mtp.Address{lab: {Protocol: mtp.UDS, URL: labURL}}
	})
	s.hear(native)
	want := mtp.Target{URL: labURL, Retry: mtp.UDSRetry, Guest: true}
	if got := s.unix.wanted[ends{native, lab}]; got != want {
		t.Errorf("by the routes a session %v, want %v", got, want)
	}
	s.hosted.Store(native)
	s.settle(t.Context())
	if got := slices.Collect(maps.Keys(s.unix.wanted)); len(got) != 0 {
		t.Errorf("sessions %v are kept", got)
	}
	if got := slices.Collect(maps.Keys(s.sockets.wanted)); len(got) != 1 {
		t.Errorf("the hosted agent's session is ended: %v", got)
	}
	s.Connected(controller, native, connection("hosted"))
	s.idle() // its Connect record is the hosted agent's to send
	s.hosted.Store(bridged)
	again := func(when string) {
		t.Helper()
		if len(s.sockets.wanted) != 1 || len(s.unix.wanted) != 1 {
			t.Errorf("%s: %v and %v", when, s.sockets.wanted, s.unix.wanted)
		}
	}
	clear(s.sockets.wanted) // as the hosted agent leaves it
	s.hear(native)
	again("native again")
	clear(s.sockets.wanted) // hosted only between two sweeps
	s.settle(t.Context())
	again("at the next sweep")
}

// TestControllerOfTheRoutes: who writes to it is an agent, and it is listened for at
// brokers before it was ever heard.
func TestControllerOfTheRoutes(t *testing.T) {
	s := newSessionRig(t, func(c *Config) {
		c.Controllers = map[usp.EndpointID]mtp.Address{}
		c.Routes = map[usp.EndpointID]mtp.Address{lab: {Protocol: mtp.UDS, URL: labURL}}
	})
	if !s.stomp.hosts(lab) {
		t.Error("its queue is not subscribed to")
	}
	rec := message(t, native, lab, "1")
	s.receive(overBroker(mtp.STOMP, "/queue/home", rec))
	if !s.table.isAgent(native) {
		t.Fatal("who writes to it is not known as an agent")
	}
	via := mtp.Address{Protocol: mtp.UDS, Conn: "session"}
	s.Connected(lab, native, via)
	if got := s.await(s.unix.transport); decode(t, got.record).GetUdsConnect() == nil {
		t.Errorf("the session begins with %+v", got)
	}
	if got := s.await(s.unix.transport); got.record != string(rec) || got.at != via {
		t.Errorf("%+v", got)
	}
}

// BenchmarkSession: what a record on a session costs the relay.
func BenchmarkSession(b *testing.B) {
	t := newTable(time.Hour, 100)
	if _, err := t.learn(native, place{at: address(mtp.MQTT, "home"), heard: time.Unix(0, 0)}, true); err != nil {
		b.Fatal(err)
	}
	t.join(native, session{controller, mtp.WebSocket, "session"})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := t.session(native, controller); !ok {
			b.Fatal("no session")
		}
	}
}
