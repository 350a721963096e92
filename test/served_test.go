package test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
	"github.com/uspbridge/uspbridge/usp/record"
)

// servedController is a controller that is a WebSocket server with TLS, to which each
// agent has a session of its own.
type servedController struct {
	t       *testing.T
	id      usp.EndpointID
	at      string // address
	secure  *tls.Config
	server  *http.Server
	opened  chan session
	waiting map[usp.EndpointID]*websocket.Conn // opened, but not yet asked for
}

// session is one that an agent has opened, by what the handshake says.
type session struct {
	agent usp.EndpointID
	conn  *websocket.Conn
}

func newServedController(t *testing.T, id usp.EndpointID, own *pki.Pair) *servedController {
	t.Helper()
	c := &servedController{t: t, id: id, at: testenv.FreeAddress(t), secure: &tls.Config{Certificates: []tls.Certificate{own.TLS()}},
		opened: make(chan session, 100), waiting: map[usp.EndpointID]*websocket.Conn{}}
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *servedController) start() {
	c.t.Helper()
	l, err := net.Listen("tcp", c.at)
	if err != nil {
		c.t.Fatal(err)
	}
	c.server = &http.Server{Handler: http.HandlerFunc(c.serve)}
	go func(s *http.Server) { _ = s.Serve(tls.NewListener(l, c.secure)) }(c.server) // ends when it is closed
}

// stop closes the listener; sessions are the peers' that were made of them.
func (c *servedController) stop() { _ = c.server.Close() }

func (c *servedController) serve(w http.ResponseWriter, r *http.Request) {
	u := websocket.Upgrader{Subprotocols: []string{"v1.usp"}}
	if conn, err := u.Upgrade(w, r, nil); err == nil {
		c.opened <- session{usp.EndpointID(r.URL.Query().Get("eid")), conn}
	}
}

// accept returns the controller's end of the next session of an agent, which begins
// with a Connect record.
func (c *servedController) accept(agent usp.EndpointID) *peer {
	c.t.Helper()
	patience := time.After(testenv.Patience)
	for c.waiting[agent] == nil {
		select {
		case s := <-c.opened:
			c.waiting[s.agent] = s.conn
		case <-patience:
			c.t.Fatalf("%s has opened no session with %s", agent, c.id)
		}
	}
	p := newPeer(c.t, c.id, &testenv.WebSocketLink{Conn: c.waiting[agent]})
	delete(c.waiting, agent)
	p.expect(greeting(c.t, agent, c.id))
	return p
}

// TestControllerThatIsAServer: native agents on each transport have a session each
// with a controller that the bridge has to connect to, over restarts of either, as
// long as they are known.
func TestControllerThatIsAServer(t *testing.T) {
	t.Parallel() // starting brokers is mostly waiting
	dir, ca := t.TempDir(), pki.NewCA(t, "operator")
	writeCA(t, ca, filepath.Join(dir, "ca.pem"))
	c := newServedController(t, "proto::served", ca.Client("controller"))
	lab := newServedController(t, "proto::lab", ca.Client("lab"))
	env := relayEnv{mqtt: testenv.MosquittoBroker(t), stomp: testenv.RabbitMQ(t),
		further: []testenv.ControllerRow{{EndpointID: c.id, MTP: map[string]string{"protocol": "WebSocket", "url": "wss://" + c.at + "/usp"}}}}
	env.start(t, map[string]any{
		"usp.mtp.websocket.client.tls.ca": filepath.Join(dir, "ca.pem"),
		"usp.relay.routes":                []map[string]any{{"endpoint_id": lab.id, "mtp": map[string]string{"protocol": "WebSocket", "url": "wss://" + lab.at + "/usp"}}},
	})
	protocols := []string{"MQTT", "STOMP", "WebSocket", "UDS", "CoAP"}
	agents, sessions := map[string]*peer{}, map[string]*peer{}
	both := func(on, when string) {
		t.Helper()
		agents[on].tell(sessions[on], when+" from "+on)
		sessions[on].tell(agents[on], when+" to "+on)
	}
	for _, on := range protocols {
		a := env.agent(t, usp.EndpointID("os::NATIVE-"+on), on)
		first := plainRecord(t, a.id, c.id, "before there is a session")
		a.send(c.id, first)
		agents[on], sessions[on] = a, c.accept(a.id)
		sessions[on].expect(first)
		both(on, "with a session")
		unasked := lab.accept(a.id)
		unasked.tell(a, "a controller of the routes may speak first")
		a.tell(unasked, "and is answered")
	}
	open := func(n float64) {
		t.Helper()
		testenv.Until(t, "all sessions are open", func() bool { return env.Metric("uspbridge_relay_sessions_open") == n })
	}
	open(10)

	c.stop()
	for _, s := range sessions {
		if err := s.link.Close(); err != nil {
			t.Error(err)
		}
	}
	open(5)
	c.start()
	for _, on := range protocols {
		sessions[on] = c.accept(agents[on].id)
		both(on, "behind a restart of the controller")
	}

	env.Kill()
	env.Restart()
	for _, on := range []string{"MQTT", "STOMP", "CoAP"} { // their addresses are remembered
		sessions[on] = c.accept(agents[on].id)
		sessions[on].tell(agents[on], "behind a restart of the bridge")
	}
	for _, on := range []string{"WebSocket", "UDS"} {
		agents[on] = env.agent(t, agents[on].id, on) // connects again
		sessions[on] = c.accept(agents[on].id)
	}
	for _, on := range protocols {
		both(on, "after all")
	}
	// One session for two endpoints, whoever opens it.
	id := agents["STOMP"].id
	own := env.connected(t, c.id, "WebSocket", env.WebSocketURL()+"/"+string(id))
	own.expect(greeting(t, id, c.id))
	sessions["STOMP"].expectEnd()
	own.tell(agents["STOMP"], "by the controller's own session")
	agents["STOMP"].tell(own, "and back")
	if err := own.link.Close(); err != nil {
		t.Error(err)
	}
	sessions["STOMP"] = c.accept(id)
	both("STOMP", "by the agent's again")

	env.Run("device", "forget", string(agents["MQTT"].id))
	sessions["MQTT"].expectEnd()
	both("STOMP", "without the one forgotten")
}

// greeting is the record that a WebSocket session begins with.
func greeting(t *testing.T, agent, controller usp.EndpointID) []byte {
	t.Helper()
	hello, err := record.WebSocketConnect(agent, controller, "")
	if err != nil {
		t.Fatal(err)
	}
	return hello
}

// TestControllerAtASocket: the same on a Unix domain socket.
func TestControllerAtASocket(t *testing.T) {
	t.Parallel() // starting a broker is mostly waiting
	const id = usp.EndpointID("proto::socket")
	socket := filepath.Join(t.TempDir(), "c")
	env := relayEnv{mqtt: testenv.MosquittoBroker(t),
		further: []testenv.ControllerRow{{EndpointID: id, MTP: map[string]string{"protocol": "UDS", "url": uds.Scheme + socket}}}}
	env.start(t, nil)
	server, err := uds.New(uds.Config{Listen: socket, Endpoint: id})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	link, err := client.OverLink(ctx, id, server, live(mtp.UDS))
	if err != nil {
		t.Fatal(err)
	}
	c := newPeer(t, id, link)
	for _, on := range []string{"MQTT", "WebSocket"} {
		a := env.agent(t, usp.EndpointID("os::NATIVE-"+on), on)
		first := plainRecord(t, a.id, id, "before there is a session")
		a.send(id, first)
		hello, err := record.UDSConnect(a.id, id, "")
		if err != nil {
			t.Fatal(err)
		}
		c.expect(hello)
		c.expect(first)
		a.tell(c, "there")
		c.tell(a, "and back")
	}
}
