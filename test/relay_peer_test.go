package test

import (
	"context"
	"maps"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/coap"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The addresses of agents, bridged and native, at the brokers.
const (
	agentTopic = "usp/agent/{endpoint_id}"
	agentQueue = "/queue/usp.agent.{endpoint_id}"
)

// peer is a native endpoint of which the test sends and reads the records.
type peer struct {
	t       *testing.T
	id      usp.EndpointID
	link    client.Link
	records chan []byte
}

func newPeer(t *testing.T, id usp.EndpointID, link client.Link) *peer {
	p := &peer{t: t, id: id, link: link, records: make(chan []byte, 100)}
	go func() {
		defer close(p.records)
		for {
			b, err := link.Receive()
			if err != nil {
				return
			}
			p.records <- b
		}
	}()
	t.Cleanup(func() { _ = link.Close() }) // the bridge may have been killed
	return p
}

func (p *peer) send(to usp.EndpointID, rec []byte) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), testenv.Patience)
	defer cancel()
	if err := p.link.Send(ctx, to, rec); err != nil {
		p.t.Fatalf("%s to %s: %v", p.id, to, err)
	}
}

// expect wants these bytes next.
func (p *peer) expect(want []byte) {
	p.t.Helper()
	select {
	case got, ok := <-p.records:
		if !ok || string(got) != string(want) {
			p.t.Errorf("%s got %x, want %x", p.id, got, want)
		}
	case <-time.After(testenv.Patience):
		p.t.Fatalf("%s got nothing, want %x", p.id, want)
	}
}

// expectEnd wants the link to be closed, without a record before.
func (p *peer) expectEnd() {
	p.t.Helper()
	select {
	case got, more := <-p.records:
		if more {
			p.t.Errorf("%s got %x, want the end of its link", p.id, got)
		}
	case <-time.After(testenv.Patience):
		p.t.Errorf("the link of %s does not end", p.id)
	}
}

// tell sends a record to another endpoint, which must get just that.
func (p *peer) tell(to *peer, what string) {
	p.t.Helper()
	for _, rec := range [][]byte{plainRecord(p.t, p.id, to.id, what), sessionRecord(p.t, p.id, to.id, what)} {
		p.send(to.id, rec)
		to.expect(rec)
	}
}

// plainRecord has a message and a field that no version of the standard has.
func plainRecord(t *testing.T, from, to usp.EndpointID, what string) []byte {
	t.Helper()
	b, err := record.WrapMsg(from, to, "1.3", &usppb.Msg{Header: &usppb.Header{MsgId: what, MsgType: usppb.Header_GET}})
	if err != nil {
		t.Fatal(err)
	}
	return append(b, 0xfa, 0x07, 0x03, 'n', 'e', 'w')
}

// sessionRecord is one of a session context, signed, with a TLS payload.
func sessionRecord(t *testing.T, from, to usp.EndpointID, what string) []byte {
	t.Helper()
	b, err := proto.Marshal(&usppb.Record{
		Version: "1.4", FromId: string(from), ToId: string(to), PayloadSecurity: usppb.Record_TLS12,
		MacSignature: []byte("signature of " + what), SenderCert: []byte("certificate"),
		RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{
			SessionId: 7, SequenceId: 1, ExpectedId: 1, Payload: [][]byte{[]byte(what)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// relayRules let all native agents of the tests reach all their controllers.
var relayRules = []map[string]string{{"from": "os::NATIVE-*", "to": "proto::*"}, {"from": "proto::*", "to": "os::NATIVE-*"}}

// relayEnv is a bridge with an MQTT broker, a Unix domain socket and CoAP, and a STOMP
// broker where it is asked for.
type relayEnv struct {
	*testenv.Env
	mqtt   *testenv.Broker
	stomp  string
	socket string
	coap   string // address of the bridge
	ctl    string // address of the controller on CoAP

	further []testenv.ControllerRow // besides one for each transport
}

func startRelay(t *testing.T, keys map[string]any) relayEnv {
	t.Helper()
	e := relayEnv{mqtt: testenv.MosquittoBroker(t)}
	e.start(t, keys)
	return e
}

func (e *relayEnv) start(t *testing.T, keys map[string]any) {
	t.Helper()
	e.socket, e.coap, e.ctl = filepath.Join(t.TempDir(), "s"), testenv.FreeAddress(t), testenv.FreeAddress(t)
	all := map[string]any{
		"usp.mtp.mqtt.broker": "tcp://" + e.mqtt.Address, "usp.mtp.mqtt.topic": agentTopic, "usp.relay.rules": relayRules,
		"usp.mtp.uds.listen": e.socket, "usp.mtp.coap.listen": e.coap,
	}
	controllers := []testenv.ControllerRow{
		{EndpointID: "proto::c-MQTT", MTP: map[string]string{"protocol": "MQTT", "topic": "usp/controller/c-MQTT"}},
		{EndpointID: "proto::c-WebSocket"},
		{EndpointID: "proto::c-UDS", MTP: map[string]string{"protocol": "UDS"}},
		{EndpointID: "proto::c-CoAP", MTP: map[string]string{"protocol": "CoAP", "url": "coap://" + e.ctl + "/usp"}},
	}
	if e.stomp != "" {
		maps.Copy(all, map[string]any{
			"usp.mtp.stomp.broker": "tcp://" + e.stomp, "usp.mtp.stomp.destination": agentQueue,
			"usp.mtp.stomp.login": "guest", "usp.mtp.stomp.passcode": "guest",
		})
		controllers = append(controllers, testenv.ControllerRow{EndpointID: "proto::c-STOMP",
			MTP: map[string]string{"protocol": "STOMP", "destination": "/queue/usp.controller.c-STOMP"}})
	}
	controllers = append(controllers, e.further...)
	maps.Copy(all, keys)
	e.Env = testenv.Start(t, program, testenv.Config{Keys: all, Controllers: controllers})
}

// agent returns a native agent on a transport. At the brokers it listens where
// every agent has its address.
func (e relayEnv) agent(t *testing.T, id usp.EndpointID, on string) *peer {
	t.Helper()
	named := func(template string) string { return strings.ReplaceAll(template, "{endpoint_id}", string(id)) }
	return e.peer(t, id, on, inbox{named(agentTopic), named(agentQueue), testenv.FreeAddress(t)})
}

// controller returns a controller on a transport.
func (e relayEnv) controller(t *testing.T, on string) *peer {
	t.Helper()
	return e.peer(t, usp.EndpointID("proto::c-"+on), on, inbox{"usp/controller/c-MQTT", "/queue/usp.controller.c-STOMP", e.ctl})
}

// inbox is where an endpoint listens on the transports that have no connections of
// its own.
type inbox struct{ topic, queue, coap string }

func (e relayEnv) peer(t *testing.T, id usp.EndpointID, on string, at inbox) *peer {
	t.Helper()
	switch on {
	case "MQTT":
		return newPeer(t, id, testenv.MQTTLink(t, e.mqtt.Address, at.topic, agentTopic))
	case "STOMP":
		return newPeer(t, id, testenv.STOMPLink(t, e.stomp, at.queue, agentQueue))
	case "CoAP":
		return newPeer(t, id, coapLink(t, id, at.coap, e.coap))
	case "UDS":
		return e.connected(t, id, on, uds.Scheme+e.socket)
	}
	return e.connected(t, id, on, e.WebSocketURL())
}

// coapLink is an endpoint's end of CoAP with the bridge.
func coapLink(t *testing.T, id usp.EndpointID, own, bridge string) client.Link {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	tr, err := coap.New(coap.Config{Listen: own})
	if err != nil {
		t.Fatal(err)
	}
	link, err := client.OverLink(ctx, id, tr, func(to usp.EndpointID) mtp.Address {
		return mtp.Address{Protocol: mtp.CoAP, URL: "coap://" + bridge + "/usp/" + url.PathEscape(string(to))}
	})
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// connected is a peer with a connection of its own, which the relay knows of.
func (e relayEnv) connected(t *testing.T, id usp.EndpointID, on, at string) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	link, err := client.DialLink(ctx, client.Config{URL: at, Controller: id})
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, id, link)
	// The handshake is over before the relay knows of the connection, which is read
	// when it does.
	const nobody = "os::NOBODY-1"
	read := `uspbridge_mtp_records_received_total{protocol="` + on + `"}`
	before := e.Metric(read)
	p.send(nobody, plainRecord(t, id, nobody, "is anybody there?"))
	testenv.Until(t, "the connection is read", func() bool { return e.Metric(read) > before })
	return p
}
