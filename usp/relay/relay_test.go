package relay

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// side is a transport as an endpoint uses it.
type side struct {
	on    *transport
	in    func(rec []byte, id usp.EndpointID) mtp.Inbound
	place func(id usp.EndpointID) mtp.Address
}

func sides(r *rig) map[mtp.Protocol]side {
	atBroker := func(b broker) side {
		return side{b.transport,
			func(rec []byte, id usp.EndpointID) mtp.Inbound {
				return overBroker(b.protocol, "home/"+string(id), rec)
			},
			func(id usp.EndpointID) mtp.Address { return address(b.protocol, "home/"+string(id)) }}
	}
	return map[mtp.Protocol]side{
		mtp.WebSocket: {r.ws,
			func(rec []byte, id usp.EndpointID) mtp.Inbound { return overSocket("conn "+string(id), id, rec) },
			func(id usp.EndpointID) mtp.Address { return connection("conn " + string(id)) }},
		mtp.MQTT: atBroker(r.mqtt), mtp.STOMP: atBroker(r.stomp),
	}
}

// TestAnyTransportToAnyOther: records pass untouched in both directions, and in
// order.
func TestAnyTransportToAnyOther(t *testing.T) {
	for _, from := range []mtp.Protocol{mtp.WebSocket, mtp.MQTT, mtp.STOMP} {
		for _, to := range []mtp.Protocol{mtp.WebSocket, mtp.MQTT, mtp.STOMP} {
			t.Run(string(from)+" to "+string(to), func(t *testing.T) {
				r := newRig(t, nil)
				a, c := sides(r)[from], sides(r)[to]
				// The controller is heard first, then the agent, which answers.
				hello := message(t, controller, native, "hello")
				r.receive(c.in(hello, controller))
				r.lanes.wait() // the agent is not known: dropped
				if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedUnreachable)); n != 1 {
					t.Fatalf("%v records were dropped for want of a way, want 1", n)
				}
				for _, id := range []string{"1", "2", "3"} {
					up := message(t, native, controller, id)
					r.receive(a.in(up, native))
					want := sent{native, controller, c.place(controller), string(up)}
					if got := r.await(c.on); got != want {
						t.Errorf("to the controller: %+v, want %+v", got, want)
					}
				}
				for _, rec := range [][]byte{
					message(t, controller, native, "4"),
					sessionContext(t, controller, native),
				} {
					r.receive(c.in(rec, controller))
					want := sent{controller, native, a.place(native), string(rec)}
					if got := r.await(a.on); got != want {
						t.Errorf("to the agent: %+v, want %+v", got, want)
					}
				}
				r.idle()
				if n := testutil.ToFloat64(r.metrics.records.WithLabelValues(string(from), string(to))); from != to && n != 3 {
					t.Errorf("%v records are counted, want 3", n)
				}
			})
		}
	}
}

// sessionContext returns a record with a TLS payload, a signature and a
// certificate.
func sessionContext(t testing.TB, from, to usp.EndpointID) []byte {
	t.Helper()
	return encode(t, &usppb.Record{
		Version: "1.4", FromId: string(from), ToId: string(to), PayloadSecurity: usppb.Record_TLS12,
		MacSignature: []byte("signature"), SenderCert: []byte("certificate"),
		RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{
			SessionId: 7, SequenceId: 1, ExpectedId: 1, Payload: [][]byte{{0x16, 0x03, 0x01}}}},
	})
}

func TestBridgedAgentsAreLeftToTheirHost(t *testing.T) {
	r := newRig(t, nil)
	for name, rec := range map[string][]byte{
		"a record for a hosted agent":          message(t, controller, bridged, "1"),
		"one of the command line":              message(t, cli, native, "2"),
		"one that no rule allows":              message(t, native, other, "3"),
		"what is no record":                    []byte("garbage"),
		"one from a stranger to a hosted one":  message(t, "x::y", bridged, "4"),
		"one from its own id to a hosted one":  message(t, bridged, bridged, "5"),
		"one from somebody who may not at all": message(t, "x::y", native, "6"),
	} {
		r.receive(overBroker(mtp.MQTT, "somewhere", rec))
		select {
		case in := <-r.next.in:
			if string(in.Record) != string(rec) {
				t.Errorf("%s: passed on as %x", name, in.Record)
			}
		default:
			t.Errorf("%s did not come to the hosted agents", name)
		}
	}
	r.idle()
}

// TestConnectionsOfHostedAgents are told to their host, those between native
// endpoints are not: it would refuse them.
func TestConnectionsOfHostedAgents(t *testing.T) {
	r := newRig(t, nil)
	r.receive(overSocket("agent's", native, message(t, native, controller, "1")))
	for _, c := range []struct {
		peer, local usp.EndpointID
		told        bool
	}{
		{native, controller, false},
		{controller, native, false},
		{controller, bridged, true},
		{controller, "", true},
	} {
		r.Connected(c.peer, c.local, connection("peer's"))
		select {
		case got := <-r.next.connected:
			if want := (ends{c.peer, c.local}); got != want || !c.told {
				t.Errorf("of %v the host is told %v", want, got)
			}
		default:
			if c.told {
				t.Errorf("the host is not told that %s is connected to %q", c.peer, c.local)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	home := "home"
	for _, c := range []struct {
		name   string
		in     func(t *testing.T) mtp.Inbound
		change func(*Config)
		reason string
	}{
		{name: "the connection is another endpoint's", reason: droppedForged,
			in: func(t *testing.T) mtp.Inbound {
				return overSocket("c", other, message(t, native, controller, "1"))
			}},
		{name: "the certificate is another endpoint's", reason: droppedForged,
			in: func(t *testing.T) mtp.Inbound {
				cert := new(x509.Certificate)
				other.AddTo(cert)
				return mtp.Inbound{Record: message(t, native, controller, "1"), Chain: []*x509.Certificate{cert},
					Reply: mtp.Address{Protocol: mtp.CoAP, URL: "coaps://192.0.2.1/usp"}}
			}},
		{name: "the reply topic is another endpoint's", reason: droppedForged,
			in: func(t *testing.T) mtp.Inbound {
				return overBroker(mtp.MQTT, "agent/"+string(other), message(t, native, controller, "1"))
			}},
		{name: "the topic told in a Connect record is another endpoint's", reason: droppedForged,
			in: func(t *testing.T) mtp.Inbound {
				rec, err := record.MQTTConnect(native, controller, "1.3", usppb.MQTTConnectRecord_V5, "agent/"+string(other))
				if err != nil {
					t.Fatal(err)
				}
				return overBroker(mtp.MQTT, home, rec)
			}},
		{name: "a connection proves nothing where proof is wanted", reason: droppedUnproven,
			change: func(c *Config) { c.Trusted = nil },
			in: func(t *testing.T) mtp.Inbound {
				return overSocket("c", native, message(t, native, controller, "1"))
			}},
		{name: "a broker that is not trusted proves nothing", reason: droppedUnproven,
			change: func(c *Config) { c.Trusted = nil },
			in: func(t *testing.T) mtp.Inbound {
				return overBroker(mtp.MQTT, home, message(t, native, controller, "1"))
			}},
		{name: "the sender has the id of a hosted agent", reason: droppedConflict,
			in: func(t *testing.T) mtp.Inbound {
				return overBroker(mtp.MQTT, home, message(t, bridged, controller, "1"))
			}},
		{name: "it came to another endpoint's address", reason: droppedAddress,
			in: func(t *testing.T) mtp.Inbound {
				in := overBroker(mtp.MQTT, home, message(t, native, controller, "1"))
				in.Local = other
				return in
			}},
		{name: "no rule allows it", reason: droppedForbidden,
			in: func(t *testing.T) mtp.Inbound {
				return overBroker(mtp.MQTT, home, message(t, "x::y", controller, "1"))
			}},
		{name: "an id that goes into no topic", reason: droppedMalformed,
			in: func(t *testing.T) mtp.Inbound {
				return overBroker(mtp.MQTT, home, message(t, "os::a\x00b", controller, "1"))
			}},
		{name: "more endpoints than may be", reason: droppedFull,
			change: func(c *Config) { c.Endpoints = 1 },
			in: func(t *testing.T) mtp.Inbound {
				return overBroker(mtp.MQTT, home, message(t, native, controller, "1"))
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.change)
			r.receive(overSocket("controller", controller, message(t, controller, bridged, "0")))
			<-r.next.in
			r.Connected(controller, "", connection("controller")) // it could be reached
			r.receive(c.in(t))
			r.idle()
			if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(c.reason)); n != 1 {
				t.Errorf("%v records were dropped for this, want 1", n)
			}
		})
	}
}

// TestBelief: what shows that the sender is who it says, where nothing is trusted.
func TestBelief(t *testing.T) {
	proven := overBroker(mtp.MQTT, "home", message(t, native, controller, "1"))
	proven.Proven, proven.Peer = true, native
	for name, in := range map[string]mtp.Inbound{
		"the broker vouches for it":           proven,
		"the reply topic is the sender's own": overBroker(mtp.MQTT, "agent/"+string(native), message(t, native, controller, "1")),
	} {
		r := newRig(t, func(c *Config) { c.Trusted = nil })
		r.Connected(controller, "", mtp.Address{Protocol: mtp.WebSocket, Conn: secure("controller")})
		r.receive(in)
		if got := r.await(r.ws); got.from != native {
			t.Errorf("%s: passed on %+v", name, got)
		}
		r.idle()
	}
}

func TestAConflictIsShown(t *testing.T) {
	r := newRig(t, nil)
	if c, ok := r.Conflict(bridged); ok {
		t.Fatalf("a conflict before there is one: %+v", c)
	}
	for _, id := range []string{"1", "2"} {
		r.receive(overBroker(mtp.MQTT, "home", message(t, bridged, controller, id)))
		r.clock.Advance(time.Second)
	}
	want := Conflict{Protocol: mtp.MQTT, Address: "home", Records: 2, Last: r.clock.Now().Add(-time.Second)}
	if got, ok := r.Conflict(bridged); !ok || got != want {
		t.Errorf("conflict %+v, %t, want %+v", got, ok, want)
	}
	r.idle()
}

// TestWhatOurOwnAgentsSendIsNoConflict: a controller may listen within our
// subscription, where their records are overheard.
func TestWhatOurOwnAgentsSendIsNoConflict(t *testing.T) {
	at := address(mtp.MQTT, "agent/"+string(controller))
	r := newRig(t, func(c *Config) { c.Controllers[controller] = at })
	in := overBroker(mtp.MQTT, "agent/"+string(bridged), message(t, bridged, controller, "1"))
	in.Local = controller
	r.receive(in)
	r.idle()
	if c, ok := r.Conflict(bridged); ok {
		t.Errorf("a conflict: %+v", c)
	}
	if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedDirect)); n != 1 {
		t.Errorf("%v records were left to the broker, want 1", n)
	}
}

func TestConflictsAreBounded(t *testing.T) {
	c := conflicts{all: map[usp.EndpointID]*conflict{}}
	at := time.Unix(0, 0)
	for i := range 3 * maxConflicts {
		c.note(usp.EndpointID("os::"+time.Duration(i).String()), mtp.Address{}, at.Add(time.Duration(i)))
	}
	if len(c.all) != maxConflicts {
		t.Errorf("%d conflicts are remembered, want %d", len(c.all), maxConflicts)
	}
	if _, ok := c.of(usp.EndpointID("os::" + time.Duration(3*maxConflicts-1).String())); !ok {
		t.Error("the latest is not among them")
	}
}

// TestConnectRecords: each ends on its transport; for the other one another is
// made, which tells where the bridge listens for the agent.
func TestConnectRecords(t *testing.T) {
	r := newRig(t, nil)
	all := sides(r)
	connects := map[mtp.Protocol]func() ([]byte, error){
		mtp.WebSocket: func() ([]byte, error) { return record.WebSocketConnect(native, controller, "1.2") },
		mtp.MQTT: func() ([]byte, error) {
			return record.MQTTConnect(native, controller, "1.2", usppb.MQTTConnectRecord_V3_1_1, "home/"+string(native))
		},
		mtp.STOMP: func() ([]byte, error) {
			return record.STOMPConnect(native, controller, "1.2", "home/"+string(native))
		},
	}
	for to, c := range all {
		r.receive(c.in(message(t, controller, other, string(to)), controller)) // the controller is here now
		for from, a := range all {
			rec, err := connects[from]()
			if err != nil {
				t.Fatal(err)
			}
			r.clock.Advance(time.Minute)
			r.receive(a.in(rec, native))
			got := r.await(c.on)
			d := decode(t, got.record)
			if got.at != c.place(controller) || d.GetVersion() != "1.2" || d.GetFromId() != string(native) || d.GetToId() != string(controller) {
				t.Errorf("%s to %s: %+v", from, to, got)
			}
			var right bool
			switch to {
			case mtp.WebSocket:
				right = d.GetWebsocketConnect() != nil
			case mtp.MQTT:
				right = d.GetMqttConnect().GetSubscribedTopic() == "agent/"+string(native)
			case mtp.STOMP:
				right = d.GetStompConnect().GetSubscribedDestination() == "agent/"+string(native)
			}
			if !right {
				t.Errorf("%s to %s: made %v", from, to, d)
			}
		}
	}
	r.idle()
}

// TestAConnectRecordTellsWhereItsSenderListens, where the message does not: MQTT
// 3.1.1 has no Response Topic.
func TestAConnectRecordTellsWhereItsSenderListens(t *testing.T) {
	r := newRig(t, nil)
	rec, err := record.MQTTConnect(native, controller, "1.3", usppb.MQTTConnectRecord_V3_1_1, "its/topic")
	if err != nil {
		t.Fatal(err)
	}
	r.receive(mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.MQTT}})
	r.idle() // the controller is not there
	r.receive(overSocket("c", controller, message(t, controller, native, "1")))
	if got := r.await(r.mqtt.transport); got.at != address(mtp.MQTT, "its/topic") {
		t.Errorf("sent to %+v", got.at)
	}
	r.idle()
}

// TestDisconnectRecordsPass: nothing in them belongs to a transport, and they are
// signed by who sent them.
func TestDisconnectRecordsPass(t *testing.T) {
	r := newRig(t, nil)
	rec, err := record.Disconnect(native, controller, "1.3", usp.ErrSessionContextDenied, "no session")
	if err != nil {
		t.Fatal(err)
	}
	r.Connected(controller, "", connection("c"))
	r.receive(overBroker(mtp.MQTT, "home", rec))
	if got := r.await(r.ws); got.record != string(rec) {
		t.Errorf("passed on as %x", got.record)
	}
	r.idle()
}

// TestAControllerIsGreeted when it has connected to a native agent that is
// reached over another transport (R-MTP.6).
func TestAControllerIsGreeted(t *testing.T) {
	r := newRig(t, nil)
	r.receive(overBroker(mtp.MQTT, "home", message(t, native, controller, "1")))
	r.idle() // the controller is not there
	r.Connected(controller, native, connection("c"))
	got := r.await(r.ws)
	if d := decode(t, got.record); d.GetWebsocketConnect() == nil || d.GetFromId() != string(native) || got.at != connection("c") {
		t.Errorf("greeted with %v at %+v", d, got.at)
	}
	r.idle()
}
