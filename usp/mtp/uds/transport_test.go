package uds

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agentA     = usp.EndpointID("os::00259E-A")
	agentB     = usp.EndpointID("os::00259E-B")
	controller = usp.EndpointID("proto::controller-1")
)

// soon is a retry policy for tests that wait for the next try.
var soon = mtp.Backoff{Min: time.Millisecond, Max: 2 * time.Millisecond}

// socketPath is in a directory with a short name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "uds")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "s")
}

// serve runs a Transport that listens until the test ends.
func serve(t *testing.T, cfg Config, h mtp.Handler) *Transport {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = socketPath(t)
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mtptest.Serve(t, tr, h)
	return tr
}

// peer is the other end of a connection, which speaks in frames.
type peer struct {
	t    *testing.T
	conn net.Conn
	read *Reader
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		t.Fatal(err)
	}
	return &peer{t, conn, NewReader(conn, 0)}
}

func connect(t *testing.T, tr *Transport) *peer {
	t.Helper()
	conn, err := net.Dial("unix", tr.cfg.Listen)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

func (p *peer) send(f Frame) {
	p.t.Helper()
	b, err := f.Append(nil)
	if err == nil {
		_, err = p.conn.Write(b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) want(f Frame) {
	p.t.Helper()
	got, err := p.read.Next()
	if diff := cmp.Diff(f, got); err != nil || diff != "" {
		p.t.Fatalf("%v\n%s", err, diff)
	}
}

// wantEnd reads an Error about what, and the end of the connection.
func (p *peer) wantEnd(what string) {
	p.t.Helper()
	f, err := p.read.Next()
	if msg, ok := f.Find(Error); err != nil || !ok || !strings.Contains(string(msg), what) {
		p.t.Fatalf("got %v, %v; want an Error about %q", f, err, what)
	}
	p.wantClosed()
}

func (p *peer) wantClosed() {
	p.t.Helper()
	if f, err := p.read.Next(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Errorf("got %v, %v; want the end", f, err)
	}
}

// shaken connects as id and shakes hands.
func shaken(t *testing.T, tr *Transport, id usp.EndpointID) *peer {
	t.Helper()
	p := connect(t, tr)
	p.send(NewHandshake(id))
	p.want(NewHandshake(DefaultEndpoint)) // R-UDS.17
	return p
}

func TestPeerConnects(t *testing.T) {
	h := mtptest.NewRecorder()
	tr := serve(t, Config{}, h)
	p := connect(t, tr)
	p.send(NewRecord([]byte("too early"))) // R-UDS.20
	p.send(NewHandshake(controller))
	p.want(NewHandshake(DefaultEndpoint))
	if got := mtptest.Wait(t, h.Opened, "Connected"); got != (mtptest.Ends{Peer: controller}) {
		t.Errorf("Connected for %v", got)
	}
	p.send(NewHandshake("proto::other")) // R-UDS.19
	p.send(Frame{{Record, []byte("a")}, {Record, []byte("b")}})
	for _, want := range []string{"a", "b"} {
		in := mtptest.Wait(t, h.In, "record")
		if string(in.Record) != want || in.Peer != controller || in.Local != "" || !in.Trusted || in.Reply.Protocol != mtp.UDS {
			t.Errorf("received %+v", in)
		}
		if err := tr.Send(t.Context(), agentA, controller, in.Reply, []byte("re "+want)); err != nil {
			t.Fatal(err)
		}
		p.want(NewRecord([]byte("re " + want)))
	}
	if err := tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.UDS}, []byte("notify")); err != nil {
		t.Fatal(err)
	}
	p.want(NewRecord([]byte("notify")))
	p.conn.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
	if err := tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.UDS}, nil); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("sent to nobody: %v", err)
	}
	if got, want := tr.AgentAddress(agentA).URL, Scheme+tr.cfg.Listen; got != want {
		t.Errorf("agents are at %s, want %s", got, want)
	}
}

func TestConnectionsThatEnd(t *testing.T) {
	refusing := &mtptest.Recorder{Verdict: func(mtp.Inbound) error { return errors.New("no USP record") },
		Opened: make(chan mtptest.Ends, 100), Closed: make(chan mtptest.Ends, 100)}
	tr := serve(t, Config{MaxRecord: 100, MaxConns: 1, Handshake: 50 * time.Millisecond}, refusing)
	for _, c := range []struct {
		name string
		end  func(p *peer)
	}{
		{"no handshake in time", func(p *peer) { p.wantClosed() }},
		{"handshake without endpoint id", func(p *peer) { // R-UDS.21
			p.send(Frame{{Handshake, []byte("nobody")}})
			p.wantEnd("endpoint id")
		}},
		{"handshake in our name", func(p *peer) {
			p.send(NewHandshake(DefaultEndpoint))
			p.wantEnd("this side's")
		}},
		{"what is no frame", func(p *peer) { // R-UDS.24
			if _, err := io.WriteString(p.conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			p.wantEnd("begins with")
		}},
		{"an Error", func(p *peer) { // R-UDS.25
			p.send(NewError("bye"))
			p.wantClosed()
		}},
		{"a record that is none", func(p *peer) { // R-UDS.23
			p.send(NewHandshake(controller))
			p.want(NewHandshake(DefaultEndpoint))
			p.send(NewRecord([]byte("x")))
			p.wantEnd("no USP record")
			mtptest.Wait(t, refusing.Opened, "Connected")
			mtptest.Wait(t, refusing.Closed, "Disconnected")
		}},
		{"a record too large", func(p *peer) {
			p.send(NewHandshake(controller))
			p.want(NewHandshake(DefaultEndpoint))
			p.send(NewRecord(make([]byte, 100+frameRoom)))
			p.wantEnd("at most")
		}},
		{"one connection too many", func(p *peer) {
			p.send(NewHandshake(controller))
			p.want(NewHandshake(DefaultEndpoint))
			connect(t, tr).wantEnd("open already")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := connect(t, tr)
			p.t = t
			c.end(p)
			p.conn.Close()
			mtptest.Until(t, "the connection is gone", func() bool { return tr.meter.Connections() == 0 })
		})
	}
}

// controllerSocket is a controller that agents connect to.
func controllerSocket(t *testing.T) (url string, accept func() *peer) {
	t.Helper()
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return Scheme + path, func() *peer {
		t.Helper()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return newPeer(t, conn)
	}
}

func TestAgentConnects(t *testing.T) {
	url, accept := controllerSocket(t)
	h := mtptest.NewRecorder()
	tr := serve(t, Config{}, h)
	tr.Dial(agentA, controller, mtp.Target{URL: url, Retry: soon})
	p := accept()
	p.want(NewHandshake(agentA)) // R-UDS.16
	p.send(NewHandshake("proto::other"))
	p.wantEnd("was expected") // R-UDS.21
	p = accept()              // R-UDS.5
	p.want(NewHandshake(agentA))
	p.send(NewHandshake(controller))
	if got := mtptest.Wait(t, h.Opened, "Connected"); got != (mtptest.Ends{Peer: controller, Local: agentA}) {
		t.Errorf("Connected for %v", got)
	}
	p.send(NewRecord([]byte("down")))
	if in := mtptest.Wait(t, h.In, "record"); in.Local != agentA || in.Peer != controller || in.Trusted {
		t.Errorf("received %+v", in)
	}
	if err := tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.UDS, URL: url}, []byte("up")); err != nil {
		t.Fatal(err)
	}
	p.want(NewRecord([]byte("up")))
	if err := tr.Send(t.Context(), agentB, controller, mtp.Address{Protocol: mtp.UDS, URL: url}, nil); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("an agent without a connection sends: %v", err)
	}
	p.conn.Close()
	mtptest.Wait(t, h.Closed, "Disconnected")
	p = accept()
	p.want(NewHandshake(agentA))
	tr.Hang(agentA, controller)
	p.send(NewHandshake(controller))
	p.wantClosed()
}

func TestControllerThatDoesNotShakeHands(t *testing.T) { // R-UDS.18
	url, accept := controllerSocket(t)
	tr := serve(t, Config{Handshake: 20 * time.Millisecond}, mtptest.NewRecorder())
	tr.Dial(agentA, controller, mtp.Target{URL: url, Retry: soon})
	p := accept()
	p.want(NewHandshake(agentA))
	p.wantClosed()
	tr.Hang(agentA, controller)
	tr.Dial(agentB, controller, mtp.Target{URL: "ws://x", Retry: soon})
	mtptest.Until(t, "the status tells what is wrong", func() bool { return strings.Contains(tr.Status().LastError, "not a unix://") })
}

func TestSlowReaderIsCutOff(t *testing.T) {
	h := mtptest.NewRecorder()
	tr := serve(t, Config{WriteTimeout: 20 * time.Millisecond}, h)
	shaken(t, tr, controller)
	mtptest.Wait(t, h.Opened, "Connected")
	mtptest.Until(t, "a write fails", func() bool {
		return tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.UDS}, make([]byte, 1<<20)) != nil
	})
	mtptest.Wait(t, h.Closed, "Disconnected")
}

func TestSocketFile(t *testing.T) {
	path := socketPath(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false) // as a process that was killed leaves it
	left.Close()

	ctx, stop := context.WithCancel(t.Context())
	first, err := New(Config{Listen: path, Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- first.Serve(ctx, mtptest.NewRecorder()) }()
	mtptest.Wait(t, first.Ready(), "readiness in place of the stale socket")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	second, err := New(Config{Listen: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Serve(t.Context(), mtptest.NewRecorder()); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("beside one that listens: %v", err)
	}
	stop()
	if err := mtptest.Wait(t, ended, "end of Serve"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := New(Config{Listen: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Serve(t.Context(), mtptest.NewRecorder()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("in place of a file: %v", err)
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"relative path", Config{Listen: "s"}, "absolute"},
		{"long path", Config{Listen: "/" + strings.Repeat("x", maxPath)}, "can have 107"},
		{"endpoint id", Config{Endpoint: "x"}, "endpoint id"},
		{"mode", Config{Mode: fs.ModeSetuid | 0o600}, "only permissions"},
		{"negative limit", Config{MaxConns: -1}, "negative"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", tt.name, err, tt.want)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := mtptest.NewRecorder()
	tr := serve(t, Config{Registerer: reg}, h)
	p := shaken(t, tr, controller)
	p.send(NewRecord([]byte("abc")))
	mtptest.Wait(t, h.In, "record")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	for name, want := range map[string]float64{"records_received_total": 1, "received_bytes_total": 3, "connections": 1, "up": 1} {
		if got["uspbridge_mtp_"+name] != want {
			t.Errorf("%s = %v, want %v", name, got["uspbridge_mtp_"+name], want)
		}
	}
}

// called is an io.Writer that calls a function.
type called func()

func (c called) Write(b []byte) (int, error) { c(); return len(b), nil }

// TestAcceptGoesOn when a connection cannot be taken, as for want of files.
func TestAcceptGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tr, err := New(Config{Listen: socketPath(t), Log: slog.New(slog.NewTextHandler(called(cancel), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tr.listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.SetDeadline(time.Unix(1, 0)); err != nil { // each Accept fails
		t.Fatal(err)
	}
	if err := tr.accept(ctx, listener); err != nil || ctx.Err() == nil {
		t.Errorf("ended with %v before it was to", err)
	}
}
