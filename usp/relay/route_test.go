package relay

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/clock"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func encode(t testing.TB, r *usppb.Record) []byte {
	t.Helper()
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask sends a record of the controller to the agent and returns where it goes.
func (r *rig) ask(id string, on *transport) mtp.Address {
	r.t.Helper()
	r.receive(overSocket("controller", controller, message(r.t, controller, native, id)))
	return r.await(on).at
}

func TestAnEndpointThatMovesIsFollowed(t *testing.T) {
	r := newRig(t, nil)
	tell := func(in mtp.Inbound) {
		r.receive(in)
		r.lanes.wait()
		for len(r.ws.out) > 0 {
			<-r.ws.out
		}
	}
	tell(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	if at := r.ask("a", r.mqtt.transport); at != address(mtp.MQTT, "home") {
		t.Errorf("first at %+v", at)
	}
	tell(overBroker(mtp.STOMP, "/queue/home", message(t, native, controller, "2")))
	if at := r.ask("b", r.stomp.transport); at != address(mtp.STOMP, "/queue/home") {
		t.Errorf("then at %+v", at)
	}
	r.Connected(native, "", connection("n1"))
	if at := r.ask("c", r.ws); at != connection("n1") {
		t.Errorf("connected, at %+v", at)
	}
	// The old connection ends after the new one has begun.
	r.Connected(native, "", connection("n2"))
	r.Disconnected(native, "", connection("n1"))
	r.clock.Advance(1000 * time.Hour) // a connection does not expire
	if at := r.ask("d", r.ws); at != connection("n2") {
		t.Errorf("connected again, at %+v", at)
	}
	r.Disconnected(native, "", connection("n2"))
	r.receive(overSocket("controller", controller, message(t, controller, native, "e")))
	r.idle() // it is nowhere now
}

// TestConnectionsToSeveralControllers: an agent has one for each.
func TestConnectionsToSeveralControllers(t *testing.T) {
	const second = usp.EndpointID("proto::controller-2")
	r := newRig(t, nil)
	r.Connected(native, controller, connection("to 1"))
	r.clock.Advance(time.Second)
	r.Connected(native, second, connection("to 2"))
	if at := r.ask("a", r.ws); at != connection("to 1") {
		t.Errorf("the first controller's record goes to %+v", at)
	}
	r.receive(overBroker(mtp.MQTT, "c2", message(t, second, native, "b")))
	if at := r.await(r.ws).at; at != connection("to 2") {
		t.Errorf("the second controller's record goes to %+v", at)
	}
	for i := range 2 * maxConnections {
		r.Connected(native, "", mtp.Address{Protocol: mtp.WebSocket, Conn: i})
	}
	if e, _ := r.table.get(native); len(e.places) != maxConnections {
		t.Errorf("%d connections are kept", len(e.places))
	}
}

func TestRoutesExpire(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Expiry = time.Hour })
	r.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	r.idle() // the controller is not there
	r.clock.Advance(time.Hour - 1)
	r.ask("a", r.mqtt.transport)
	r.clock.Advance(1)
	r.receive(overSocket("controller", controller, message(t, controller, native, "b")))
	r.idle()
	if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedUnreachable)); n != 2 { // the first had nobody to go to
		t.Errorf("%v records had no way, want 2", n)
	}
}

func TestConfiguredRoutes(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Controllers[controller] = address(mtp.STOMP, "/queue/controller")
		c.Routes = map[usp.EndpointID]mtp.Address{native: address(mtp.MQTT, "configured")}
	})
	r.receive(overBroker(mtp.MQTT, "", message(t, native, controller, "1"))) // says nothing of where it listens
	if at := r.await(r.stomp.transport).at; at != address(mtp.STOMP, "/queue/controller") {
		t.Errorf("the controller is at %+v", at)
	}
	if at := r.ask("a", r.mqtt.transport); at != address(mtp.MQTT, "configured") {
		t.Errorf("the agent is at %+v", at)
	}
	r.receive(overBroker(mtp.MQTT, "heard", message(t, native, controller, "2")))
	if got := r.await(r.ws); got.to != controller { // it was heard since, connected
		t.Errorf("%+v", got)
	}
	if at := r.ask("b", r.mqtt.transport); at != address(mtp.MQTT, "heard") {
		t.Errorf("heard, the agent is at %+v", at)
	}
}

// TestAClaimDoesNotReplaceWhatIsProven while that is live.
func TestAClaimDoesNotReplaceWhatIsProven(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Expiry = time.Hour })
	r.Connected(controller, "", connection("controller"))
	in := overSocket("n", native, message(t, native, controller, "1"))
	in.Proven = true
	r.receive(in)
	r.await(r.ws)
	claim := overBroker(mtp.MQTT, "elsewhere", message(t, native, controller, "2"))
	r.receive(claim)
	r.idle()
	if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedUnproven)); n != 1 {
		t.Errorf("%v claims were refused, want 1", n)
	}
	if at := r.ask("a", r.ws); at != connection("n") {
		t.Errorf("the agent is at %+v", at)
	}
	r.Disconnected(native, "", connection("n"))
	r.receive(claim)
	if got := r.await(r.ws); got.from != native {
		t.Errorf("%+v", got)
	}
	if at := r.ask("b", r.mqtt.transport); at != address(mtp.MQTT, "elsewhere") {
		t.Errorf("now the agent is at %+v", at)
	}
}

// TestNothingGoesBackWhereItCameFrom: the wildcard subscription sees records for
// agents that listen at the same broker.
// TestAConnectionAloneProvesNothing: where senders have to prove who they are, nobody
// draws an endpoint's records to himself by connecting in its name.
func TestAConnectionAloneProvesNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Trusted = []mtp.Protocol{mtp.MQTT} })
	r.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	r.lanes.wait()
	r.Connected(native, "", connection("thief"))
	in := overSocket("controller", controller, message(t, controller, native, "2"))
	in.Proven = true
	r.receive(in)
	if at := r.await(r.mqtt.transport).at; at != address(mtp.MQTT, "home") {
		t.Errorf("sent to %+v", at)
	}
	// Whoever connects is greeted all the same, and may prove who it is then.
	r.Connected(controller, native, connection("another"))
	if s := r.await(r.ws); s.at != connection("another") || decode(t, s.record).GetWebsocketConnect() == nil {
		t.Errorf("greeted with %+v", s)
	}
	r.idle()
}

func TestNothingGoesBackWhereItCameFrom(t *testing.T) {
	r := newRig(t, nil)
	own := "agent/" + string(native)
	r.receive(overBroker(mtp.MQTT, own, message(t, native, controller, "1")))
	r.idle() // the controller is not there
	rec := message(t, controller, native, "2")
	in := overBroker(mtp.MQTT, "controller", rec)
	in.Local = native
	r.receive(in)
	r.idle()
	if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedDirect)); n != 1 {
		t.Errorf("%v records were left to the broker, want 1", n)
	}
	// From elsewhere the same agent is written to there, and what the broker sends
	// back of it is not taken for the controller's.
	other := message(t, controller, native, "3")
	r.receive(overSocket("controller", controller, other))
	if got := r.await(r.mqtt.transport); got.at != address(mtp.MQTT, own) {
		t.Errorf("%+v", got)
	}
	echo := overBroker(mtp.MQTT, "agent/"+string(controller), other)
	echo.Local = native
	r.receive(echo)
	r.idle()
	if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedEcho)); n != 1 {
		t.Errorf("%v echoes, want 1", n)
	}
	if at, _ := r.route(controller, ""); at != connection("controller") {
		t.Errorf("the echo has moved the controller to %+v", at)
	}
}

// TestALoopEnds: between two bridges a record goes round; a repetition by its
// sender passes.
func TestALoopEnds(t *testing.T) {
	r := newRig(t, nil)
	r.receive(overSocket("n", native, message(t, native, controller, "0")))
	r.idle() // the controller is not there
	rec := message(t, controller, native, "1")
	for range 10 * maxCopies {
		r.receive(overBroker(mtp.MQTT, "controller", rec))
	}
	for range maxCopies {
		if got := r.await(r.ws); got.record != string(rec) {
			t.Errorf("%+v", got)
		}
	}
	r.idle()
	r.clock.Advance(2 * markWindow)
	r.receive(overBroker(mtp.MQTT, "controller", rec))
	r.await(r.ws)
	r.idle()
}

func TestMarksAreBounded(t *testing.T) {
	c := clock.At(time.Unix(1000, 0))
	m := newMarks(c.Now)
	for i := range uint64(5 * maxMarks) {
		m.add(i)
	}
	if n := len(m.fresh) + len(m.previous); n > 2*maxMarks {
		t.Errorf("%d marks are kept", n)
	}
}

// TestInboxes: the relay listens for an endpoint wherever that does not listen
// itself.
// TestLanesStayBounded: what is refused for the number of records takes nothing from
// the count of bytes.
func TestLanesStayBounded(t *testing.T) {
	blocked := make(chan struct{})
	l := newLanes([]mtp.Transport{newTransport(mtp.MQTT)}, func(job) { <-blocked })
	t.Cleanup(func() { close(blocked); l.wait() })
	for range maxWaiting {
		if !l.submit(string(mtp.MQTT), job{}) {
			t.Fatal("refused within the bound")
		}
	}
	for range 10 {
		if l.submit(string(mtp.MQTT), job{record: make([]byte, 1000)}) {
			t.Fatal("taken beyond the bound")
		}
	}
	if w := l.waiting[string(mtp.MQTT)]; w.records.Load() != maxWaiting || w.bytes.Load() != 0 {
		t.Errorf("%d records of %d bytes are counted", w.records.Load(), w.bytes.Load())
	}
}

func TestInboxes(t *testing.T) {
	at := address(mtp.MQTT, "usp/controller/1")
	queue := address(mtp.STOMP, "/queue/controller.1")
	r := newRig(t, func(c *Config) { c.Inboxes = []Inbox{{controller, at}, {controller, queue}} })
	expect := func(when string, host bool, listen usp.EndpointID) {
		t.Helper()
		r.lanes.wait()
		if got := r.stomp.hosts(native); got != host {
			t.Errorf("%s: the agent's queue is subscribed to: %t", when, got)
		}
		if got := r.stomp.listensAt("/queue/controller.1"); got != listen {
			t.Errorf("%s: at the controller's queue for %q", when, got)
		}
	}
	expect("at the start", false, controller)
	if !r.stomp.hosts(controller) || r.mqtt.listensAt("usp/controller/1") != controller {
		t.Error("agents that write to the controller first are not heard")
	}
	r.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	expect("the agent is at MQTT", true, controller)
	r.receive(overBroker(mtp.STOMP, "agent/"+string(native), message(t, native, controller, "2")))
	expect("the agent has a queue of its own", false, controller)
	r.receive(overBroker(mtp.STOMP, "/queue/controller.1", message(t, controller, native, "3")))
	expect("the controller listens at its queue", false, "")
	r.Connected(native, "", connection("n"))
	r.Connected(controller, "", connection("c"))
	expect("both are connected", true, controller)
	if err := r.Forget(t.Context(), native); err != nil {
		t.Error(err)
	}
	expect("the agent is forgotten", false, controller)
}

// TestEndpointsAreRemembered over a restart, those at brokers with where they are.
func TestEndpointsAreRemembered(t *testing.T) {
	r := newRig(t, nil)
	r.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	r.Connected(other, "", connection("other"))
	r.receive(overSocket("other", other, message(t, other, controller, "2")))
	r.lanes.wait()
	r.restart()
	if !r.stomp.hosts(native) {
		t.Error("records for the agent are not heard at the other broker")
	}
	if at := r.ask("a", r.mqtt.transport); at != address(mtp.MQTT, "home") {
		t.Errorf("the agent is at %+v", at)
	}
	var ids []usp.EndpointID
	list := func(filter string, after usp.EndpointID, most int) []usp.EndpointID {
		ids = nil
		if err := r.List(t.Context(), filter, after, func(a Agent) bool {
			ids = append(ids, a.ID)
			return len(ids) < most
		}); err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if got := list("", "", 10); len(got) != 2 || got[0] != native || got[1] != other {
		t.Errorf("known are %v", got)
	}
	if got := list("", native, 10); len(got) != 1 || got[0] != other {
		t.Errorf("behind the first are %v", got)
	}
	if got := list("NATIVE", "", 10); len(got) != 1 || got[0] != native {
		t.Errorf("filtered are %v", got)
	}
	a, err := r.Show(other)
	if err != nil || a.Protocol != mtp.WebSocket || a.Reachable || !a.Last.Equal(r.clock.Now()) {
		t.Errorf("shown is %+v, %v", a, err)
	}
	if _, err := r.Show(controller); !errors.Is(err, ErrUnknown) {
		t.Errorf("a controller is shown as an agent: %v", err)
	}
	if err := r.Forget(t.Context(), native); err != nil {
		t.Error(err)
	}
	if err := r.Forget(t.Context(), native); !errors.Is(err, ErrUnknown) {
		t.Errorf("forgotten twice: %v", err)
	}
	r.restart()
	if got := list("", "", 10); len(got) != 1 || got[0] != other {
		t.Errorf("after forgetting one, %v", got)
	}
}

// TestWhoIsAnAgent: by pattern; without any, who writes to a known controller.
func TestWhoIsAnAgent(t *testing.T) {
	const unknownController = usp.EndpointID("proto::unknown")
	for _, c := range []struct {
		patterns []string
		from, to usp.EndpointID
		agent    bool
	}{
		{nil, native, controller, true},
		{nil, controller, native, false},
		{nil, unknownController, native, false},
		{nil, native, unknownController, false},
		{[]string{"os::*"}, native, unknownController, true},
		{[]string{"os::00AABB-*"}, native, controller, false},
	} {
		r := newRig(t, func(cfg *Config) { cfg.Agents = c.patterns })
		r.receive(overBroker(mtp.MQTT, "home", message(t, c.from, c.to, "1")))
		if _, err := r.Show(c.from); (err == nil) != c.agent {
			t.Errorf("patterns %q, %s to %s: agent %t, want %t", c.patterns, c.from, c.to, err == nil, c.agent)
		}
		r.stopRun()
	}
}

// TestWhoIsAnAgentOnceConnected: an agent that writes to nobody before it is asked is
// one by pattern. What nobody has proven is not believed of a transport without trust.
func TestWhoIsAnAgentOnceConnected(t *testing.T) {
	for _, c := range []struct {
		name     string
		patterns []string
		peer     usp.EndpointID
		trusted  []mtp.Protocol
		agent    bool
	}{
		{"by pattern", []string{"os::*"}, native, []mtp.Protocol{mtp.WebSocket}, true},
		{"another's pattern", []string{"os::00AABB-*"}, native, []mtp.Protocol{mtp.WebSocket}, false},
		{"without patterns", nil, native, []mtp.Protocol{mtp.WebSocket}, false},
		{"not believed", []string{"os::*"}, native, nil, false},
		{"bridged", []string{"ops::*"}, bridged, []mtp.Protocol{mtp.WebSocket}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *Config) { cfg.Agents, cfg.Trusted = c.patterns, c.trusted })
			r.Connected(c.peer, "", connection("agent's"))
			if _, err := r.Show(c.peer); (err == nil) != c.agent {
				t.Errorf("agent %t, want %t", err == nil, c.agent)
			}
		})
	}
}
