package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// soon is a retry policy for tests that wait for the next try.
var soon = mtp.Backoff{Min: time.Millisecond, Max: 2 * time.Millisecond}

// listener is a controller that agents connect to.
type listener struct {
	*httptest.Server
	opened chan opened
}

// opened is a connection of an agent.
type opened struct {
	request *http.Request
	conn    *websocket.Conn
}

// listen runs a controller that answers an opening request with answer, if that is
// not nil, before it takes the connection.
func listen(t *testing.T, secure *tls.Config, answer func(w http.ResponseWriter, r *http.Request) (extra http.Header, take bool)) *listener {
	t.Helper()
	l := &listener{opened: make(chan opened, 100)}
	upgrader := websocket.Upgrader{Subprotocols: []string{Subprotocol}}
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var extra http.Header
		if answer != nil {
			var take bool
			if extra, take = answer(w, r); !take {
				return
			}
		}
		ws, err := upgrader.Upgrade(w, r, extra)
		if err != nil {
			return
		}
		l.opened <- opened{r, ws}
	}))
	if secure != nil {
		l.TLS = secure
		l.StartTLS()
	} else {
		l.Start()
	}
	t.Cleanup(l.Close)
	return l
}

// url is the controller's, with a path and a query of its own.
func (l *listener) url() string { return "ws" + strings.TrimPrefix(l.URL, "http") + "/usp?site=1" }

// accept waits for the next connection of an agent.
func (l *listener) accept(t *testing.T) opened {
	t.Helper()
	o := mtptest.Wait(t, l.opened, "connection of the agent")
	t.Cleanup(func() { o.conn.Close() })
	return o
}

// serveClient runs a Server that nobody can connect to.
func serveClient(t *testing.T, cfg Config, h mtp.Handler) *Server {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mtptest.Serve(t, s, h)
	return s
}

func TestAgentConnects(t *testing.T) {
	l := listen(t, nil, nil)
	h := mtptest.NewRecorder()
	s := serveClient(t, Config{}, h)
	s.Dial(agentB, controller, mtp.Target{URL: l.url(), Retry: soon})
	o := l.accept(t)
	if got, want := o.request.URL.RawQuery, "site=1&eid=os%3A%3A00259E-A%2520B"; got != want { // R-WS.10b, R-WS.10c
		t.Errorf("query %q, want %q", got, want)
	}
	if got := o.request.Header.Get("Sec-WebSocket-Protocol"); got != Subprotocol { // R-WS.10
		t.Errorf("subprotocol %q", got)
	}
	if got := o.request.Header.Get(extensionHeader); got != "" { // removed from the standard; ws of Node.js refuses an eid there
		t.Errorf("extensions %q", got)
	}
	if got, want := mtptest.Wait(t, h.Opened, "Connected"), (mtptest.Ends{Peer: controller, Local: agentB}); got != want {
		t.Errorf("Connected for %v, want %v", got, want)
	}
	send(t, o.conn, make([]byte, 2*maxHandshake)) // the bound is the handshake's
	if in := mtptest.Wait(t, h.In, "large record"); len(in.Record) != 2*maxHandshake {
		t.Errorf("received %d bytes", len(in.Record))
	}
	send(t, o.conn, []byte("down"))
	in := mtptest.Wait(t, h.In, "record")
	if string(in.Record) != "down" || in.Peer != controller || in.Local != agentB || in.Trusted || in.Proven {
		t.Errorf("received %+v", in)
	}
	if err := s.Send(t.Context(), agentB, controller, mtp.Address{Protocol: mtp.WebSocket, URL: l.url()}, []byte("up")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, o.conn); string(got) != "up" {
		t.Errorf("the controller got %q", got)
	}
	if err := s.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.WebSocket, URL: l.url()}, []byte("up")); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("an agent without a session sends: %v", err)
	}
	if s.Addr() != nil {
		t.Errorf("it listens at %v", s.Addr())
	}
}

// A Connect record that the Handler sends in Connected is the first (R-MTP.6).
func TestNothingOvertakesTheConnectRecord(t *testing.T) {
	l := listen(t, nil, nil)
	h := &greeter{Recorder: mtptest.NewRecorder()}
	h.server = serveClient(t, Config{}, h)
	h.server.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon})
	ws := l.accept(t).conn
	if got := receive(t, ws); string(got) != "connect" {
		t.Errorf("the first record is %q", got)
	}
	if !errors.Is(h.early, mtp.ErrUnreachable) {
		t.Errorf("a record without the connection's address was sent before Connected returned: %v", h.early)
	}
}

type greeter struct {
	*mtptest.Recorder
	server *Server
	early  error
}

func (g *greeter) Connected(peer, local usp.EndpointID, via mtp.Address) {
	g.early = g.server.Send(context.Background(), local, peer, mtp.Address{Protocol: mtp.WebSocket}, []byte("notify"))
	if err := g.server.Send(context.Background(), local, peer, via, []byte("connect")); err != nil {
		panic(err)
	}
	g.Recorder.Connected(peer, local, via)
}

func TestAgentConnectsAgain(t *testing.T) {
	refuse := make(chan bool, 1)
	l := listen(t, nil, func(w http.ResponseWriter, _ *http.Request) (http.Header, bool) {
		select {
		case <-refuse:
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return nil, false
		default:
			return nil, true
		}
	})
	h := mtptest.NewRecorder()
	s := serveClient(t, Config{}, h)
	s.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon})
	first := l.accept(t)
	mtptest.Wait(t, h.Opened, "Connected")
	refuse <- true
	first.conn.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
	l.accept(t)
	mtptest.Wait(t, h.Opened, "Connected again")
	if got := s.Status().LastError; !strings.Contains(got, "503") || !strings.Contains(got, string(agentA)) {
		t.Errorf("the status tells of the refusal: %q", got)
	}
}

func TestOneSessionOverBothRoles(t *testing.T) { // R-WS.4
	l := listen(t, nil, nil)
	h := mtptest.NewRecorder()
	s := serve(t, Config{}, h)
	theirs := mustDial(t, s, "/usp/"+string(agentA)+"?eid="+string(controller))
	mtptest.Wait(t, h.Opened, "Connected")
	mtptest.Until(t, "the session is known", func() bool { return s.client.Joined(dialer.Pair{Local: agentA, Peer: controller}) })
	s.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon})
	// Another agent's connection, which is queued behind, tells that the first was
	// looked at.
	s.Dial(agentB, controller, mtp.Target{URL: l.url(), Retry: soon})
	if got := l.accept(t).request.URL.Query().Get("eid"); got != string(agentB) {
		t.Fatalf("%s has connected beside the controller's own session", got)
	}
	mtptest.Wait(t, h.Opened, "Connected")
	theirs.Close()
	if got := l.accept(t).request.URL.Query().Get("eid"); got != string(agentA) {
		t.Fatalf("%s has connected", got)
	}
	mtptest.Wait(t, h.Opened, "Connected")
	mtptest.Until(t, "the session is known", func() bool { return s.client.Joined(dialer.Pair{Local: agentA, Peer: controller}) })
	again := mustDial(t, s, "/usp/"+string(agentA)+"?eid="+string(controller))
	mtptest.Wait(t, h.Opened, "Connected")
	mtptest.Wait(t, h.Closed, "Disconnected of the controller's first")
	mtptest.Wait(t, h.Closed, "Disconnected of the agent's")
	send(t, again, []byte("still here"))
	mtptest.Wait(t, h.In, "record over the newer session")
}

func TestHangClosesInOrder(t *testing.T) {
	l := listen(t, nil, nil)
	h := mtptest.NewRecorder()
	s := serveClient(t, Config{}, h)
	s.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon})
	o := l.accept(t)
	mtptest.Wait(t, h.Opened, "Connected")
	s.Hang(agentA, controller)
	if err := o.conn.SetReadDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		t.Fatal(err)
	}
	_, _, err := o.conn.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("closed with %v, want code 1000", err)
	}
	o.conn.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
}

func TestAnswersThatEndTheHandshake(t *testing.T) {
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request) (http.Header, bool)
		want   string
	}{
		{"no subprotocol", func(_ http.ResponseWriter, r *http.Request) (http.Header, bool) { // R-WS.12
			r.Header.Del("Sec-WebSocket-Protocol")
			return nil, true
		}, "subprotocol"},
		{"another endpoint", func(http.ResponseWriter, *http.Request) (http.Header, bool) {
			return http.Header{extensionHeader: {`bbf-usp-protocol; eid="proto::other"`}}, true
		}, `it is "proto::other"`},
		{"endless headers", func(http.ResponseWriter, *http.Request) (http.Header, bool) {
			return http.Header{"X": {strings.Repeat("x", maxHandshake)}}, true
		}, errLongHandshake.Error()},
		{"no WebSocket", func(w http.ResponseWriter, _ *http.Request) (http.Header, bool) {
			http.NotFound(w, nil)
			return nil, false
		}, "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, nil, tt.answer)
			s := serveClient(t, Config{}, mtptest.NewRecorder())
			s.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon})
			mtptest.Until(t, "the status tells why", func() bool { return strings.Contains(s.Status().LastError, tt.want) })
			if open := s.Status(); !open.Up || s.meter.Connections() != 0 {
				t.Errorf("status %+v with %d connections", open, s.meter.Connections())
			}
			s.Hang(agentA, controller)
		})
	}
	t.Run("its own extension", func(t *testing.T) { // R-WS.11a
		l := listen(t, nil, func(http.ResponseWriter, *http.Request) (http.Header, bool) {
			return http.Header{extensionHeader: {`bbf-usp-protocol; eid="` + string(controller) + `"`}}, true
		})
		h := mtptest.NewRecorder()
		s := serveClient(t, Config{}, h)
		s.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon})
		mtptest.Wait(t, h.Opened, "Connected")
	})
	t.Run("not a WebSocket URL", func(t *testing.T) {
		s := serveClient(t, Config{}, mtptest.NewRecorder())
		s.Dial(agentA, controller, mtp.Target{URL: "http://x/", Retry: soon})
		mtptest.Until(t, "the status tells why", func() bool { return strings.Contains(s.Status().LastError, "not a ws://") })
	})
}

func TestAgentsOfACertificateEach(t *testing.T) { // R-WS.22
	ca := pki.NewCA(t, "operator")
	own := ca.Client("controller")
	l := listen(t, &tls.Config{Certificates: []tls.Certificate{own.TLS()}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}, nil)
	url := "wss" + strings.TrimPrefix(l.URL, "https")
	certificate := func(_ context.Context, agent usp.EndpointID) (*tls.Certificate, error) {
		if agent == agentB {
			return nil, errors.New("none was issued")
		}
		pair := ca.Client(string(agent)).TLS()
		return &pair, nil
	}
	h := mtptest.NewRecorder()
	s := serveClient(t, Config{Client: ClientConfig{TLS: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}, Certificate: certificate}}, h)
	s.Dial(agentA, controller, mtp.Target{URL: url, Retry: soon})
	o := l.accept(t)
	if got := o.request.TLS.PeerCertificates[0].Subject.CommonName; got != string(agentA) {
		t.Errorf("the controller was shown the certificate of %q", got)
	}
	send(t, o.conn, []byte("x"))
	if in := mtptest.Wait(t, h.In, "record"); len(in.Chain) != 1 || in.Chain[0].Subject.CommonName != "controller" {
		t.Errorf("the record came with the chain %v", in.Chain)
	}
	s.Dial(agentB, controller, mtp.Target{URL: url, Retry: soon})
	mtptest.Until(t, "the status tells why", func() bool { return strings.Contains(s.Status().LastError, "none was issued") })
	s.Hang(agentB, controller)

	stranger := serveClient(t, Config{}, mtptest.NewRecorder()) // trusts the system's CAs
	stranger.Dial(agentA, controller, mtp.Target{URL: url, Retry: soon})
	mtptest.Until(t, "the certificate is refused", func() bool { return strings.Contains(stranger.Status().LastError, "unknown authority") })
}

func TestKeepAliveOfTheController(t *testing.T) { // R-WS.18
	l := listen(t, nil, nil)
	s := serveClient(t, Config{PingInterval: time.Hour, PongTimeout: time.Second}, mtptest.NewRecorder())
	s.Dial(agentA, controller, mtp.Target{URL: l.url(), Retry: soon, KeepAlive: 20 * time.Millisecond})
	ws := l.accept(t).conn
	pinged := make(chan string, 100)
	ws.SetPingHandler(func(data string) error { pinged <- data; return nil }) // and no Pong
	go func() {
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	mtptest.Wait(t, pinged, "Ping")
	l.accept(t) // the silent one was given up
}
