package stomp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/server"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // go-stomp's server logs each connection
	// go-stomp's server leaves the goroutines of its queues behind.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/go-stomp/stomp/v3/server.(*requestProcessor).Serve"),
		goleak.IgnoreAnyFunction("github.com/go-stomp/stomp/v3/server.(*requestProcessor).Listen"))
}

const (
	agent      = usp.EndpointID("ops::00259E-BM632w-0123456789")
	agentB     = usp.EndpointID("os::00259E-A%20B")
	controller = usp.EndpointID("proto::controller-1")
)

func newTransport(t testing.TB, cfg Config) *Transport {
	t.Helper()
	cfg.Backoff = mtp.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// startServer runs go-stomp's server until the test ends.
func startServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go (&server.Server{Addr: l.Addr().String(), HeartBeat: time.Minute}).Serve(l) //nolint:errcheck // ends with its listener
	return l.Addr().String()
}

func TestRequestAndResponse(t *testing.T) {
	address := startServer(t)
	agents := newTransport(t, Config{Broker: "tcp://" + address, Destination: "/queue/usp.agent.{endpoint_id}"})
	ctrl := newTransport(t, Config{Broker: "tcp://" + address, Destination: "/queue/controller", Endpoint: controller})
	atAgents, atCtrl := mtptest.NewRecorder(), mtptest.NewRecorder()
	agents.Host(agent, agent) // before there is a connection, and twice
	mtptest.Serve(t, agents, atAgents)
	mtptest.Serve(t, ctrl, atCtrl)
	agents.Host(agentB, agent)
	for _, id := range []usp.EndpointID{agent, agentB} {
		if err := ctrl.Send(t.Context(), controller, id, agents.AgentAddress(id), []byte("re\x00quest\n")); err != nil {
			t.Fatal(err)
		}
		in := mtptest.Wait(t, atAgents.In, "request")
		if string(in.Record) != "re\x00quest\n" || in.Local != id || in.Peer != "" || in.Trusted {
			t.Errorf("got %+v, want a request for %s", in, id)
		}
		if in.Reply != (mtp.Address{Protocol: mtp.STOMP, Destination: "/queue/controller", Answer: true}) {
			t.Errorf("reply to %+v, want reply-to-dest", in.Reply)
		}
		if err := agents.Send(t.Context(), id, controller, in.Reply, []byte("response")); err != nil {
			t.Fatal(err)
		}
		answer := mtptest.Wait(t, atCtrl.In, "response")
		if string(answer.Record) != "response" || answer.Reply.Destination != "/queue/usp.agent."+string(id) || answer.Local != "" {
			t.Errorf("got %+v", answer)
		}
	}
	if s := agents.Status(); !s.Up || s.Sent != 2 || s.Received != 2 {
		t.Errorf("status %+v", s)
	}
}

// script is a STOMP server that a test plays itself.
type script struct {
	t        testing.TB
	listener net.Listener
}

type player struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func newScript(t testing.TB) *script {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &script{t, l}
}

func (s *script) accept() *player {
	s.t.Helper()
	if err := s.listener.(*net.TCPListener).SetDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		s.t.Fatal(err)
	}
	c, err := s.listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(mtptest.Patience))
	return &player{s.t, c, bufio.NewReader(c)}
}

func (p *player) expect(command string, want map[string]string) *frame {
	p.t.Helper()
	f, err := readFrame(p.r, 1<<20)
	if err != nil {
		p.t.Fatalf("waiting for %s: %v", command, err)
	}
	if f.command != command {
		p.t.Fatalf("got %s %v, want %s", f.command, f.headers, command)
	}
	for name, v := range want {
		if f.get(name) != v {
			p.t.Errorf("%s: %s is %q, want %q", command, name, f.get(name), v)
		}
	}
	return f
}

func (p *player) say(format string, args ...any) {
	p.t.Helper()
	if _, err := fmt.Fprintf(p, format, args...); err != nil {
		p.t.Fatal(err)
	}
}

// greet answers the STOMP frame.
func (p *player) greet(headers string) {
	p.t.Helper()
	p.expect("STOMP", nil)
	p.say("CONNECTED\nversion:1.2\n%s\n\x00", headers)
}

// confirm sends the RECEIPT that a frame asks for.
func (p *player) confirm(f *frame) {
	p.t.Helper()
	if f.get("receipt") == "" {
		p.t.Errorf("%s %v asks for no receipt", f.command, f.headers)
	}
	p.say("RECEIPT\nreceipt-id:%s\n\n\x00", f.get("receipt"))
}

// send runs Send, which waits for the receipt that the test gives.
func send(t testing.TB, tr *Transport, to string, record []byte) <-chan error {
	done := make(chan error, 1)
	go func() { done <- tr.Send(t.Context(), agent, controller, mtp.Address{Destination: to}, record) }()
	return done
}

func TestFramesAsTheStandardHasThem(t *testing.T) {
	s := newScript(t)
	tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/usp.agent.{endpoint_id}",
		Login: "u", Passcode: "p:w", Host: "/", Endpoint: "proto::bridge", HeartBeat: 40 * time.Second})
	tr.Host(agent)
	h := mtptest.NewRecorder()
	stop := mtptest.Start(t, tr, h)
	p := s.accept()
	p.expect("STOMP", map[string]string{"accept-version": "1.2", "host": "/", "login": "u", "passcode": "p:w",
		"heart-beat": "40000,40000", "endpoint-id": `proto\c\cbridge`}) // R-STOMP.3, R-STOMP.4, R-STOMP.5
	p.say("CONNECTED\nversion:1.2\n\n\x00")
	sub := p.expect("SUBSCRIBE", map[string]string{"destination": "/queue/usp.agent." + string(agent), "ack": "auto"}) // R-STOMP.13, R-STOMP.17
	mtptest.Wait(t, tr.Ready(), "readiness")

	done := send(t, tr, "/queue/c", []byte("rec\x00ord"))
	sent := p.expect("SEND", map[string]string{"destination": "/queue/c", "content-length": "7", "content-type": contentType,
		"reply-to-dest": "/queue/usp.agent." + string(agent)}) // R-STOMP.19, R-STOMP.20, R-STOMP.21
	if string(sent.body) != "rec\x00ord" {
		t.Errorf("body %q", sent.body)
	}
	p.confirm(sent) // R-STOMP.30
	if err := mtptest.Wait(t, done, "end of Send"); err != nil {
		t.Error(err)
	}

	p.say("MESSAGE\nsubscription:%s\nmessage-id:1\ndestination:x\ncontent-type:application/vnd.bbf.usp.error\n\nold\x00", sub.get("id"))
	p.say("\nRECEIPT\nreceipt-id:7\n\n\x00")
	p.say("MESSAGE\nsubscription:%s\nmessage-id:2\ndestination:x\nreply-to-dest:/queue/c\\cd\ncontent-length:3\n\na\x00b\x00", sub.get("id"))
	in := mtptest.Wait(t, h.In, "record")
	if string(in.Record) != "a\x00b" || in.Local != agent || in.Reply.Destination != "/queue/c:d" {
		t.Errorf("got %+v", in)
	}
	if st := tr.Status(); st.Refused != 1 || st.Received != 1 {
		t.Errorf("status %+v, want one refused and one received", st)
	}

	tr.Unhost(agent, agentB)
	p.expect("UNSUBSCRIBE", map[string]string{"id": sub.get("id")})
	go stop()
	p.expect("DISCONNECT", nil)
}

func TestServerNamesTheDestination(t *testing.T) { // R-STOMP.6, R-STOMP.14
	s := newScript(t)
	tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/usp.agent.{endpoint_id}"})
	tr.Host(agent)
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p := s.accept()
	p.greet("subscribe-dest:/given\n")
	p.expect("SUBSCRIBE", map[string]string{"destination": "/given"})
	mtptest.Wait(t, tr.Ready(), "readiness")
	tr.Host(agentB) // nothing to subscribe to
	done := send(t, tr, "/c", nil)
	p.confirm(p.expect("SEND", map[string]string{"reply-to-dest": "/given"}))
	if err := mtptest.Wait(t, done, "end of Send"); err != nil {
		t.Error(err)
	}
}

func TestReconnectSubscribesAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*player)
	}{
		{"connection lost", func(p *player) { p.Close() }},
		{"ERROR frame", func(p *player) { p.say("ERROR\nmessage:go away\n\n\x00") }}, // R-STOMP.25
		{"garbage", func(p *player) { p.say("MESSAGE\nnonsense\n\n\x00") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/{endpoint_id}"})
			tr.Host(agent)
			mtptest.Start(t, tr, mtptest.NewRecorder())
			first := s.accept()
			first.greet("")
			first.expect("SUBSCRIBE", nil)
			mtptest.Wait(t, tr.Ready(), "readiness")
			tt.end(first)
			mtptest.Until(t, "the loss shows", func() bool { return tr.Status().LastError != "" })
			if err := tr.Send(t.Context(), agent, controller, mtp.Address{Destination: "c"}, nil); !errors.Is(err, mtp.ErrUnreachable) {
				t.Errorf("Send without a connection: %v, want ErrUnreachable", err)
			}
			tr.Host(agentB) // while away
			second := s.accept()
			second.greet("")
			got := map[string]bool{}
			for range 2 {
				got[second.expect("SUBSCRIBE", nil).get("destination")] = true
			}
			if !got["/queue/"+string(agent)] || !got["/queue/"+string(agentB)] {
				t.Errorf("subscribed to %v", got)
			}
		})
	}
}

func TestServersThatCannotBeUsed(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want string
		trouble            mtp.Trouble
	}{
		{"refuses", "ERROR\nmessage:Bad CONNECT\n\nAccess refused\x00", "Bad CONNECT: Access refused", mtp.Unauthorized},
		{"refuses without a word", "ERROR\n\nAccess refused\x00", "Access refused", mtp.Unauthorized},
		{"refuses for another reason", "ERROR\nmessage:too many connections\n\n\x00", "too many connections", mtp.Unclear},
		{"old version", "CONNECTED\nversion:1.0\n\n\x00", "version", mtp.Misconfigured},
		{"says nothing", "", "waiting for CONNECTED", mtp.Unreachable},
		{"not STOMP", "HTTP/1.1 400 Bad Request\r\n\r\n", "", mtp.Unreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/{endpoint_id}"})
			mtptest.Start(t, tr, mtptest.NewRecorder())
			p := s.accept()
			p.expect("STOMP", nil)
			p.say("%s", tt.answer)
			p.Close()
			mtptest.Until(t, "the failure shows", func() bool {
				s := tr.Status()
				return s.LastError != "" && strings.Contains(s.LastError, tt.want) && s.Trouble == tt.trouble
			})
			s.accept() // it tries again (R-STOMP.7)
		})
	}
}

func TestHeartBeats(t *testing.T) { // R-STOMP.11
	s := newScript(t)
	tr := newTransport(t, Config{Broker: "tcp://" + s.listener.Addr().String(), Destination: "/queue/all",
		HeartBeat: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
	mtptest.Start(t, tr, mtptest.NewRecorder())
	p := s.accept()
	p.greet("heart-beat:300,50\n")
	p.expect("SUBSCRIBE", nil)
	for range 3 {
		if b, err := p.r.ReadByte(); err != nil || b != '\n' {
			t.Fatalf("got %q, %v, want a heart-beat", b, err)
		}
	}
	s.accept() // we sent none: the connection was given up and made anew
}

func TestAgreedHeartBeat(t *testing.T) {
	const s = time.Second
	tests := []struct {
		theirs  string
		ours    time.Duration
		out, in time.Duration
	}{
		{"0,0", 30 * s, 0, 0},
		{"", 30 * s, 0, 0},
		{"10000,60000", 30 * s, 60 * s, 30 * s},
		{"60000,10000", 30 * s, 30 * s, 60 * s},
		{"10000,10000", 0, 0, 0},
		{"x,-1", 30 * s, 0, 0},
	}
	for _, tt := range tests {
		if out, in := agreeHeartBeat(tt.theirs, tt.ours, tt.ours); out != tt.out || in != tt.in {
			t.Errorf("%q with %s: %s, %s; want %s, %s", tt.theirs, tt.ours, out, in, tt.out, tt.in)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	good := Config{Broker: "tcp://127.0.0.1", Destination: "/queue/{endpoint_id}"}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no broker", func(c *Config) { c.Broker = "" }, "broker"},
		{"unknown scheme", func(c *Config) { c.Broker = "ws://x" }, "broker"},
		{"passcode in URL", func(c *Config) { c.Broker = "tcp://u:p@x" }, "passcode"},
		{"no destination", func(c *Config) { c.Destination = "" }, "destination"},
		{"line end", func(c *Config) { c.Login = "a\nhost:b" }, "line end"},
		{"endpoint", func(c *Config) { c.Endpoint = "x" }, "endpoint id"},
		{"negative", func(c *Config) { c.MaxRecord = -1 }, "negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %q", err, tt.want)
			}
		})
	}
	if _, err := New(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// BenchmarkSend sends records to a server that confirms each.
func BenchmarkSend(b *testing.B) {
	tr := newTransport(b, Config{Broker: "tcp://" + startServer(b), Destination: "/queue/{endpoint_id}"})
	mtptest.Serve(b, tr, mtptest.NewRecorder())
	rec := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		if err := tr.Send(b.Context(), agent, controller, mtp.Address{Destination: "/queue/c"}, rec); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHost shows the time and memory that hosting an endpoint takes.
func BenchmarkHost(b *testing.B) {
	b.ReportAllocs()
	tr := newTransport(b, Config{Broker: "tcp://127.0.0.1", Destination: "/queue/{endpoint_id}"})
	for i := 0; b.Loop(); i++ {
		tr.Host(usp.EndpointID(fmt.Sprintf("ops::00259E-BM632w-%010d", i)))
	}
}
