package conformance

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/test/testenv"
)

// listener is the primary controller as a WebSocket server, to which the agent of
// a trial connects.
type listener struct {
	t      *trial
	frame  int    // bytes of the largest frame sent; 0: as long as the message
	row    string // of the controller's MTP table
	opened chan opened
	refuse atomic.Int32 // so many connections
	tried  chan time.Time
}

// opened is a connection of the agent.
type opened struct {
	*socket
	request *http.Request
}

// listenConfig says what is particular about a listener.
type listenConfig struct {
	secure bool
	frame  int
}

// listen has the agent connect to the primary controller.
func (t *trial) listen(c listenConfig) *listener {
	t.Helper()
	l := &listener{t: t, frame: c.frame, opened: make(chan opened, 10), tried: make(chan time.Time, 10)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(l.serve))
	if c.secure {
		pair, err := tls.LoadX509KeyPair(t.field.certificate.certFile, t.field.certificate.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	l.row = t.row(t.own(primaryID)+"MTP.", "*WebSocket.SessionRetryMinimumWaitInterval="+strconv.Itoa(t.seconds(5, 1)), "*Enable=true", "*Protocol=WebSocket", "*WebSocket.Host="+u.Hostname(),
		"*WebSocket.Port="+u.Port(), "*WebSocket.Path=/controller", "*WebSocket.EnableEncryption="+map[bool]string{false: "false", true: "true"}[c.secure])
	t.Cleanup(func() { t.Delete(whole, l.row) })
	return l
}

func (l *listener) serve(w http.ResponseWriter, r *http.Request) {
	l.tried <- time.Now()
	if l.refuse.Add(-1) >= 0 {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"v1.usp"}, WriteBufferSize: l.frame}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	l.opened <- opened{&socket{t: l.t, agent: l.t.agent, conn: conn}, r}
}

// accept waits for the agent to connect.
func (l *listener) accept() opened {
	l.t.Helper()
	o := await(l.t.T, l.opened, "connection of the agent")
	l.t.Cleanup(o.end)
	if err := o.conn.SetReadDeadline(time.Now().Add(testenv.Patience)); err != nil {
		l.t.Fatal(err)
	}
	return o
}

// await returns what comes from ch, or ends the test.
func await[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(testenv.Patience):
		t.Fatalf("no %s within %v", what, testenv.Patience)
		panic("unreachable")
	}
}

// end closes the connection, which the agent may have done.
func (s *socket) end() { _ = s.conn.Close() }

// eitherSide plays a script on a session that the controller has opened, and on
// one that the agent has.
func (t *trial) eitherSide(script func(s *socket)) {
	t.Helper()
	theirs := t.socket(socketConfig{})
	script(theirs)
	theirs.end() // while it lasts the agent opens none
	script(t.listen(listenConfig{}).accept().socket)
}

// triesAgain is test 7.8.
func (t *trial) triesAgain() {
	t.Helper()
	m := t.seconds(5, 1) // and a multiplier of 2, as is the default
	l := t.listen(listenConfig{})
	s := l.accept()
	s.get(l.row)
	await(t.T, l.tried, "first session")
	l.refuse.Store(1)
	if err := s.conn.NetConn().(*net.TCPConn).SetLinger(0); err != nil { // a reset, as the plan has it
		t.Fatal(err)
	}
	cut := time.Now()
	if err := s.conn.Close(); err != nil {
		t.Fatal(err)
	}
	first := await(t.T, l.tried, "try")
	second := await(t.T, l.tried, "second try")
	t.between("the first try", first.Sub(cut), m, 2*m)
	t.between("the second try", second.Sub(first), 2*m, 4*m)
	l.accept().get("Device.DeviceInfo.")
}
