package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// What the program looks for in a transport it finds in both forms.
var (
	_ interface {
		mtp.Transport
		mtp.Hosting
		mtp.Addressing
		mtp.Listening
		mtp.Publisher
		mtp.Counting
	} = (*Transport)(nil)
	_ interface {
		mtp.Transport
		mtp.Hosting
		mtp.Addressing
		mtp.Listening
		mtp.Publisher
		mtp.PerEndpoint
		mtp.Counting
	} = (*PerAgent)(nil)
)

func newPerAgent(t testing.TB, cfg Config) *PerAgent {
	t.Helper()
	cfg.Backoff = mtp.Backoff{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	tr, err := NewPerAgent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// up waits until agents have their connections.
func up(t testing.TB, tr *PerAgent, agents ...usp.EndpointID) {
	t.Helper()
	for _, a := range agents {
		mtptest.Until(t, "connection of "+string(a), func() bool {
			c, _ := tr.Connection(a)
			return c.Up
		})
	}
}

func TestConnectionOfItsOwn(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newPerAgent(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}", Username: "user-{endpoint_id}",
		Will: &Will{Topic: "status/{endpoint_id}", Payload: []byte("{endpoint_id} is away")}})
	tr.Host(agent, agentB)
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	up(t, tr, agent, agentB)
	for range 2 {
		c := mtptest.Wait(t, b.connects, "CONNECT")
		id := c.Connect.ClientIdentifier
		if c.Properties.User[0].Val != id || string(c.Connect.Username) != "user-"+id || c.Connect.WillTopic != "status/"+id ||
			string(c.Connect.WillPayload) != id+" is away" || id != string(agent) && id != string(agentB) { // R-MQTT.13
			t.Errorf("CONNECT %+v, %+v", c.Connect, c.Properties.User)
		}
	}
	for _, id := range []usp.EndpointID{agent, agentB} {
		if err := b.Publish("usp/agent/"+string(id), []byte("request"), false, 1); err != nil {
			t.Fatal(err)
		}
		in := mtptest.Wait(t, h.In, "record")
		if in.Local != id {
			t.Errorf("a record for %s came to %s", id, in.Local)
		}
		if err := tr.Send(t.Context(), id, controller, mtp.Address{Topic: "c"}, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		mtptest.Wait(t, b.publishes, "request")
		if pub := mtptest.Wait(t, b.publishes, "answer"); pub.Origin != string(id) || pub.Properties.ResponseTopic != "usp/agent/"+string(id) {
			t.Errorf("published by %s, to be answered to %s", pub.Origin, pub.Properties.ResponseTopic)
		}
	}
	if err := tr.Publish(t.Context(), mtp.Publication{From: agentB, Topic: "bulk", Payload: []byte("{}")}); err != nil {
		t.Error(err)
	}
	if pub := mtptest.Wait(t, b.publishes, "report"); pub.Origin != string(agentB) {
		t.Errorf("published by %s", pub.Origin)
	}
	if s := tr.Status(); !s.Up || s.Sent != 2 || s.Received != 2 {
		t.Errorf("status %+v, want the sum", s)
	}
	tr.Unhost(agentB)
	mtptest.Until(t, "the connection ends", func() bool { cl, ok := b.Clients.Get(string(agentB)); return !ok || cl.Closed() })
}

// Topics move on the connection that there is; what CONNECT says needs another.
func TestConfigure(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newPerAgent(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}"})
	tr.Host(agent)
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	up(t, tr, agent)
	mtptest.Wait(t, b.connects, "CONNECT")
	subscribed := func(topic string, n int) {
		t.Helper()
		mtptest.Until(t, fmt.Sprintf("%d subscriptions to %s", n, topic), func() bool { return len(b.Topics.Subscribers(topic).Subscriptions) == n })
	}
	s := tr.Defaults(agent)
	if s.Inbox != "usp/agent/"+string(agent) || s.ClientID != string(agent) || s.KeepAlive != time.Minute {
		t.Errorf("defaults %+v", s)
	}

	s.Inbox, s.Subscriptions = "moved", []mtp.Subscription{{Topic: "more/+", QoS: 2}}
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	subscribed("moved", 1)
	subscribed("more/1", 1)
	subscribed("usp/agent/"+string(agent), 0) // R-MQTT.34
	if got := tr.AgentAddress(agent).Topic; got != "moved" {
		t.Errorf("address %q", got)
	}
	if len(b.connects) > 0 {
		t.Error("connected again for another topic")
	}

	s.ClientID, s.KeepAlive = "", 0 // R-MQTT.9: the broker assigns one
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	if c := mtptest.Wait(t, b.connects, "CONNECT with the new settings"); c.Connect.ClientIdentifier != "" || c.Connect.Keepalive != 0 {
		t.Errorf("CONNECT %+v", c.Connect)
	}
	mtptest.Until(t, "the assigned client id shows", func() bool {
		c, _ := tr.Connection(agent)
		return c.Up && c.ClientID != "" && c.ClientID != string(agent)
	})

	s.Disabled = true
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	mtptest.Until(t, "the connection ends", func() bool { c, _ := tr.Connection(agent); return !c.Up && c.LastError == mtp.ErrDisabled.Error() })
	s.Disabled = false
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	up(t, tr, agent)
}

func TestSettingsThatCannotWork(t *testing.T) {
	tr := newPerAgent(t, Config{Broker: "tcp://127.0.0.1", Topic: "usp/agent/{endpoint_id}"})
	for name, change := range map[string]func(*mtp.Settings){
		"inbox":         func(s *mtp.Settings) { s.Inbox = "a/#" },
		"keep-alive":    func(s *mtp.Settings) { s.KeepAlive = 24 * time.Hour },
		"client id":     func(s *mtp.Settings) { s.ClientID = "a\x00" },
		"topic filter":  func(s *mtp.Settings) { s.Subscriptions = []mtp.Subscription{{Topic: "a+"}} },
		"user property": func(s *mtp.Settings) { s.UserProperties = []mtp.UserProperty{{Name: "a\x00"}} },
		"endpoint id": func(s *mtp.Settings) {
			s.UserProperties = []mtp.UserProperty{{Name: "usp-endpoint-id", Value: "another"}}
		},
		"user bytes": func(s *mtp.Settings) {
			s.UserProperties = []mtp.UserProperty{{Name: "a", Value: strings.Repeat("b", maxUserBytes)}}
		},
		"subscriptions": func(s *mtp.Settings) { s.Subscriptions = make([]mtp.Subscription, maxSubscriptions+1) },
	} {
		s := tr.Defaults(agent)
		change(&s)
		if err := tr.Configure(agent, s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	old := newPerAgent(t, Config{Broker: "tcp://127.0.0.1", Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"})
	s := old.Defaults(agent)
	s.UserProperties = []mtp.UserProperty{{Name: "site"}}
	if err := old.Check(s); err == nil || !strings.Contains(err.Error(), "3.1.1") {
		t.Errorf("user properties in 3.1.1: %v", err)
	}
	for name, cfg := range map[string]Config{
		"shared topic":  {Topic: "usp/agents"},
		"one client id": {Topic: "usp/agent/{endpoint_id}", ClientID: "bridge"},
		"share group":   {Topic: "usp/agent/{endpoint_id}", ShareGroup: "nodes"},
	} {
		cfg.Broker = "tcp://127.0.0.1"
		if _, err := NewPerAgent(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Each agent shows its own certificate, and the broker sees whose it is.
func TestCertificateOfItsOwn(t *testing.T) {
	ca := pki.NewCA(t, "operator")
	trusted := ca.Pool()
	seen := make(chan string, 10)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{ca.Client("broker").TLS()}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error { seen <- s.PeerCertificates[0].Subject.CommonName; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, c, 1) // the handshake, and the first byte of CONNECT
			_ = c.Close()
		}
	}()
	tr := newPerAgent(t, Config{Broker: "ssl://" + l.Addr().String(), Topic: "usp/agent/{endpoint_id}", TLS: &tls.Config{RootCAs: trusted},
		Certificate: func(_ context.Context, id usp.EndpointID) (*tls.Certificate, error) {
			c := ca.Client(string(id)).TLS()
			return &c, nil
		}})
	tr.Host(agent)
	mtptest.Start(t, tr, mtptest.NewRecorder())
	if got := mtptest.Wait(t, seen, "certificate"); got != string(agent) {
		t.Errorf("the broker sees %q, want %q", got, agent)
	}
}

// BenchmarkPerAgent shows the time and memory that the connection of an agent
// takes, together with a peer that does as little as a broker can.
func BenchmarkPerAgent(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go bareBroker(c)
		}
	}()
	const agents = 2000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := newPerAgent(b, Config{Broker: "tcp://" + l.Addr().String(), Version: "3.1.1", Topic: "usp/agent/{endpoint_id}"})
		stop := mtptest.Start(b, tr, mtptest.NewRecorder())
		var all []usp.EndpointID
		for i := range agents {
			all = append(all, usp.EndpointID(fmt.Sprintf("ops::00259E-BM632w-%010d", i)))
		}
		tr.Host(all...)
		up(b, tr, all...)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/agents, "B/agent")
		stop()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/agents, "µs/agent")
}

// bareBroker grants a connection of 3.1.1 and its subscription, and says nothing
// more.
func bareBroker(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 512)
	for {
		n, err := c.Read(buf)
		switch {
		case err != nil:
			return
		case buf[0]>>4 == packets.Connect:
			_, err = c.Write([]byte("\x20\x02\x00\x00"))
		case buf[0]>>4 == packets.Subscribe:
			_, err = c.Write([]byte{0x90, 4, buf[2], buf[3], 1, 1})
		}
		if err != nil || n == 0 {
			return
		}
	}
}
