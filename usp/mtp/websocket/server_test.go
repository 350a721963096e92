package websocket

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agentA     = usp.EndpointID("ops::00259E-BM632w-0123456789")
	agentB     = usp.EndpointID("os::00259E-A%20B")
	controller = usp.EndpointID("proto::controller-1")
)

// serve runs a Server until the test ends.
func serve(t testing.TB, cfg Config, h mtp.Handler) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mtptest.Serve(t, s, h)
	return s
}

func dial(t testing.TB, s *Server, path string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{Subprotocol}, HandshakeTimeout: mtptest.Patience}
	ws, resp, err := d.Dial("ws://"+s.Addr().String()+path, header)
	if err == nil {
		t.Cleanup(func() { ws.Close() })
	}
	return ws, resp, err
}

func mustDial(t testing.TB, s *Server, path string) *websocket.Conn {
	t.Helper()
	ws, _, err := dial(t, s, path, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", path, err)
	}
	return ws
}

func send(t testing.TB, ws *websocket.Conn, rec []byte) {
	t.Helper()
	if err := ws.WriteMessage(websocket.BinaryMessage, rec); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, ws *websocket.Conn) []byte {
	t.Helper()
	if err := ws.SetReadDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		t.Fatal(err)
	}
	kind, b, err := ws.ReadMessage()
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if kind != websocket.BinaryMessage {
		t.Fatalf("frame of kind %d, want binary", kind)
	}
	return b
}

func sampleRecord(t testing.TB, from, to usp.EndpointID) []byte {
	t.Helper()
	rec, err := record.WrapMsg(from, to, "1.4", &usppb.Msg{Header: &usppb.Header{MsgId: "1", MsgType: usppb.Header_GET}})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// found waits until so many connections of the controller are found for an agent, or
// for any. The Handler is told of a connection before.
func found(t *testing.T, s *Server, local usp.EndpointID, n int) {
	t.Helper()
	e := ends{controller, local}
	mtptest.Until(t, "the connection is found", func() bool {
		in := s.index.of(e)
		in.mu.RLock()
		defer in.mu.RUnlock()
		return len(in.byEnds[e]) == n
	})
}

func TestSendFindsTheConnection(t *testing.T) {
	h := mtptest.NewRecorder()
	s := serve(t, Config{}, h)
	open := func(path string, local usp.EndpointID, n int) *websocket.Conn {
		ws := mustDial(t, s, path)
		found(t, s, local, n)
		return ws
	}
	toAny := open("/usp?eid=proto::controller-1", "", 1)
	toB := open("/usp/os::00259E-A%2520B?eid=proto::controller-1", agentB, 1)
	toAnyAgain := open("/usp?eid=proto::controller-1", "", 2)
	older := open("/usp/"+string(agentA)+"?eid=proto::controller-1", agentA, 1)
	newer := mustDial(t, s, "/usp/"+string(agentA)+"?eid=proto::controller-1")
	older.SetReadDeadline(time.Now().Add(mtptest.Patience))
	if _, _, err := older.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) { // R-WS.4
		t.Errorf("the older session ended with %v", err)
	}
	mtptest.Wait(t, h.Closed, "Disconnected")

	expect := func(name string, from usp.EndpointID, addr mtp.Address, ws *websocket.Conn) {
		t.Helper()
		if err := s.Send(t.Context(), from, controller, addr, []byte(name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := string(receive(t, ws)); got != name {
			t.Errorf("got %q, want %q", got, name)
		}
	}
	expect("the newest of the pair", agentA, mtp.Address{}, newer)
	expect("another agent's own", agentB, mtp.Address{}, toB)
	expect("for any agent", "os::00259E-3", mtp.Address{}, toAnyAgain)

	send(t, toAny, []byte{1})
	reply := mtptest.Wait(t, h.In, "record").Reply
	expect("the exact one", agentA, reply, toAny)

	toAny.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
	expect("another than the closed one", agentA, reply, newer)
	newer.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
	expect("that for any agent is left", agentA, reply, toAnyAgain)

	err := s.Send(t.Context(), agentA, "proto::other", mtp.Address{}, []byte{1})
	if !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("to an unknown endpoint: %v, want ErrUnreachable", err)
	}
}

// Deviation: usp-js – gives no eid; the connection is bound to the sender of its first record
func TestFirstRecordNamesThePeer(t *testing.T) {
	h := mtptest.NewRecorder()
	s := serve(t, Config{}, h)
	ws := mustDial(t, s, "/usp")
	send(t, ws, sampleRecord(t, controller, agentA))
	if in := mtptest.Wait(t, h.In, "record"); in.Peer != "" {
		t.Errorf("peer %q before anything was known", in.Peer)
	}
	if got := mtptest.Wait(t, h.Opened, "Connected"); got != (mtptest.Ends{Peer: controller}) {
		t.Errorf("Connected(%v)", got)
	}
	if err := s.Send(t.Context(), agentA, controller, mtp.Address{}, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, ws); string(got) != "hello" {
		t.Errorf("got %q", got)
	}
	send(t, ws, sampleRecord(t, "proto::other", agentA))
	if in := mtptest.Wait(t, h.In, "record"); in.Peer != controller {
		t.Errorf("peer %q, want that of the first record", in.Peer)
	}
}

func TestFragmentedAndLargeRecords(t *testing.T) { // R-WS.14b
	h := mtptest.NewRecorder()
	s := serve(t, Config{MaxRecord: 1 << 20}, h)
	ws := mustDial(t, s, "/usp")
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	w, err := ws.NextWriter(websocket.BinaryMessage)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(want); i += 1 << 14 { // each Write beyond the buffer is a fragment
		if _, err := w.Write(want[i : i+1<<14]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in := mtptest.Wait(t, h.In, "record")
	if !bytes.Equal(in.Record, want) {
		t.Fatalf("record of %d bytes differs from the %d sent", len(in.Record), len(want))
	}
	if err := s.Send(t.Context(), agentA, controller, in.Reply, want); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, ws); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back, want %d", len(got), len(want))
	}
}

func TestCloseCodes(t *testing.T) {
	h := mtptest.NewRecorder()
	h.Verdict = func(in mtp.Inbound) error {
		switch string(in.Record) {
		case "garbage":
			return errors.New("no USP record")
		case "flood":
			return mtp.ErrFlood
		}
		return nil
	}
	s := serve(t, Config{MaxRecord: 1000}, h)
	tests := []struct {
		name string
		kind int
		data []byte
		code int
	}{
		{"text frame", websocket.TextMessage, []byte("hello"), websocket.CloseUnsupportedData}, // R-WS.16
		{"refused record", websocket.BinaryMessage, []byte("garbage"), websocket.CloseUnsupportedData},
		{"one record of too many", websocket.BinaryMessage, []byte("flood"), websocket.ClosePolicyViolation},
		{"record too large", websocket.BinaryMessage, make([]byte, 200_000), websocket.CloseMessageTooBig},
		{"the peer's own close", websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), websocket.CloseNormalClosure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ws := mustDial(t, s, "/usp?eid=proto::controller-1")
			mtptest.Wait(t, h.Opened, "Connected")
			if err := ws.WriteMessage(tt.kind, tt.data); err != nil {
				t.Fatal(err)
			}
			ws.SetReadDeadline(time.Now().Add(mtptest.Patience))
			_, _, err := ws.ReadMessage()
			var closed *websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != tt.code {
				t.Errorf("got %v, want close code %d", err, tt.code)
			}
			mtptest.Wait(t, h.Closed, "Disconnected")
		})
	}
}

func TestStopClosesWithGoingAway(t *testing.T) {
	s, err := NewServer(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	stop := mtptest.Start(t, s, mtptest.NewRecorder())
	mtptest.Wait(t, s.Ready(), "listener")
	ws := mustDial(t, s, "/usp")
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	ws.SetReadDeadline(time.Now().Add(mtptest.Patience))
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("got %v, want close code 1001", err)
	}
	mtptest.Wait(t, stopped, "end of Serve")
	if st := s.Status(); st.Up {
		t.Error("still up")
	}
}

func TestSilentPeerIsPingedAndGivenUp(t *testing.T) { // R-WS.17
	h := mtptest.NewRecorder()
	s := serve(t, Config{PingInterval: 30 * time.Millisecond, PongTimeout: 200 * time.Millisecond}, h)
	alive := mustDial(t, s, "/usp?eid=proto::alive")
	mustDial(t, s, "/usp?eid=proto::dead") // reads nothing and so answers no Ping
	mtptest.Wait(t, h.Opened, "Connected")
	mtptest.Wait(t, h.Opened, "Connected")

	pings := make(chan struct{}, 1000)
	answer := alive.PingHandler()
	alive.SetPingHandler(func(data string) error {
		pings <- struct{}{}
		return answer(data)
	})
	go func() {
		for {
			if _, _, err := alive.ReadMessage(); err != nil {
				return
			}
		}
	}()
	if got := mtptest.Wait(t, h.Closed, "Disconnected"); got.Peer != "proto::dead" {
		t.Fatalf("%v ended, want proto::dead", got)
	}
	for range 5 {
		mtptest.Wait(t, pings, "Ping")
	}
	select {
	case got := <-h.Closed:
		t.Errorf("%v ended although it answers", got)
	default:
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	h := mtptest.NewRecorder()
	s := serve(t, Config{WriteTimeout: 200 * time.Millisecond, MaxPending: 1 << 20}, h)
	mustDial(t, s, "/usp?eid=proto::controller-1")
	found(t, s, "", 1)
	rec := make([]byte, 1<<20)
	deadline := time.Now().Add(mtptest.Patience)
	for {
		err := s.Send(t.Context(), agentA, controller, mtp.Address{}, rec)
		if errors.Is(err, mtp.ErrUnreachable) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a peer that never reads is still written to")
		}
	}
	mtptest.Wait(t, h.Closed, "Disconnected")
}

func TestConnectionsAreLimited(t *testing.T) {
	h := mtptest.NewRecorder()
	s := serve(t, Config{MaxConns: 1}, h)
	first := mustDial(t, s, "/usp?eid=proto::controller-1")
	_, resp, err := dial(t, s, "/usp", nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("second connection: %v, want status 503", err)
	}
	first.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
	deadline := time.Now().Add(mtptest.Patience)
	for {
		if _, _, err = dial(t, s, "/usp", nil); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the first has ended: %v", err)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no port", Config{Listen: "127.0.0.1"}, "listen address"},
		{"relative path", Config{Listen: ":0", Path: "usp"}, "path"},
		{"negative limit", Config{Listen: ":0", MaxConns: -1}, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewServer(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, err := NewServer(Config{Listen: taken.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), mtptest.NewRecorder()); err == nil {
		t.Error("Serve returned nil")
	}
	if s.Status().LastError == "" {
		t.Error("the status does not tell")
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := mtptest.NewRecorder()
	s := serve(t, Config{Registerer: reg}, h)
	ws := mustDial(t, s, "/usp")
	send(t, ws, []byte("abc"))
	in := mtptest.Wait(t, h.In, "record")
	if err := s.Send(t.Context(), agentA, controller, in.Reply, []byte("abcd")); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	for name, want := range map[string]float64{"records_sent_total": 1, "records_received_total": 1, "sent_bytes_total": 4,
		"received_bytes_total": 3, "connections": 1, "up": 1, "records_refused_total": 0, "send_failures_total": 0} {
		if v, ok := got["uspbridge_mtp_"+name]; !ok || v != want {
			t.Errorf("%s = %v, want %v", name, v, want)
		}
	}
	if _, err := NewServer(Config{Listen: ":0", Registerer: reg}); err == nil {
		t.Error("two servers on one registry were accepted")
	}
}
