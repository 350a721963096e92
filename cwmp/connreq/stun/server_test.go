package stun_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/connreq/stun"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const device = cwmp.DeviceKey("00005E-HG200-SN1")

func passwordOf(key cwmp.DeviceKey) string { return "password of " + string(key) }

// patience bounds each wait for a datagram.
const patience = 5 * time.Second

type learnt struct {
	key     cwmp.DeviceKey
	binding netip.AddrPort
}

// server is a STUN server on loopback with a clock that stands.
type server struct {
	*stun.Server
	addr  *net.UDPAddr
	learn chan learnt
	now   atomic.Int64 // unix seconds
}

func serve(t *testing.T, change func(*stun.Config)) *server {
	t.Helper()
	s := &server{learn: make(chan learnt, 100)}
	s.now.Store(1_700_000_000)
	cfg := stun.Config{
		Password: passwordOf,
		Learn:    func(_ context.Context, key cwmp.DeviceKey, b netip.AddrPort) { s.learn <- learnt{key, b} },
		Now:      func() time.Time { return time.Unix(s.now.Load(), 0) },
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if s.Server, err = stun.New(cfg); err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s.addr = conn.LocalAddr().(*net.UDPAddr)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// cpe is a CPE's socket.
type cpe struct {
	t    *testing.T
	conn *net.UDPConn
	at   netip.AddrPort
}

func (s *server) cpe(t *testing.T) *cpe {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &cpe{t, conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (c *cpe) receive() []byte {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := c.conn.Read(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return b[:n]
}

func (c *cpe) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a datagram and returns the answer.
func (c *cpe) ask(b []byte) (m stun.Message, raw []byte) {
	c.t.Helper()
	c.send(b)
	raw = c.receive()
	if err := m.Parse(raw); err != nil {
		c.t.Fatalf("answer %x: %v", raw, err)
	}
	return m, raw
}

// request is a Binding Request of the device, from the port that it listens on.
func request(attributes ...stun.Attribute) []byte {
	m := stun.Message{Type: stun.BindingRequest, TransactionID: [16]byte{9, 8, 7}, Attributes: append([]stun.Attribute{
		attribute(stun.Username, string(device)), attribute(stun.ConnectionRequestBinding, stun.BindingValue)}, attributes...)}
	return m.Append(nil)
}

func signed() []byte { return stun.Sign(request(), passwordOf(device)) }

func code(m stun.Message) int {
	if v, ok := m.Get(stun.ErrorCode); ok {
		return int(v[2])*100 + int(v[3])
	}
	return 0
}

func mapped(m stun.Message) netip.AddrPort {
	v, _ := m.Get(stun.MappedAddress)
	a, _ := stun.ParseAddress(v, nil)
	return a
}

func (s *server) nothingLearnt(t *testing.T) {
	t.Helper()
	if b, ok := s.Binding(device); ok || len(s.learn) > 0 {
		t.Errorf("learnt binding %v, %d told", b, len(s.learn))
	}
}

// TestBinding: a CPE is challenged once, proves itself, keeps its binding open
// without a signature, and is challenged again when it has moved (TR-069
// G.2.1.1, G.2.2.1).
func TestBinding(t *testing.T) {
	s := serve(t, nil)
	c := s.cpe(t)
	if m, _ := c.ask(request()); code(m) != 401 {
		t.Fatalf("first request answered with %+v, want 401", m)
	}
	s.nothingLearnt(t)

	m, raw := c.ask(signed())
	if mapped(m) != c.at || !stun.Signed(raw, passwordOf(device)) {
		t.Errorf("signed request answered with %v, want %v, signed", mapped(m), c.at)
	}
	if got := <-s.learn; got != (learnt{device, c.at}) {
		t.Errorf("learnt %v, want %v of %s", got, c.at, device)
	}
	if b, ok := s.Binding(device); !ok || b != c.at {
		t.Errorf("Binding is %v, %v", b, ok)
	}

	if m, _ := c.ask(request()); mapped(m) != c.at {
		t.Errorf("keep-alive answered with %+v", m)
	}
	if len(s.learn) != 0 {
		t.Error("a keep-alive was told as something new")
	}

	moved := s.cpe(t)
	if m, _ := moved.ask(request(attribute(stun.BindingChange, ""))); code(m) != 401 {
		t.Errorf("BINDING-CHANGE answered with %+v, want 401", m)
	}
	moved.ask(stun.Sign(request(attribute(stun.BindingChange, "")), passwordOf(device)))
	if got := <-s.learn; got.binding != moved.at {
		t.Errorf("after the move learnt %v, want %v", got, moved.at)
	}
	if b, _ := s.Binding(device); b != moved.at {
		t.Errorf("after the move Binding is %v, want %v", b, moved.at)
	}
}

// TestSend: a UDP Connection Request leaves from the address that the CPE asks.
func TestSend(t *testing.T) {
	s := serve(t, nil)
	c := s.cpe(t) // connected: the kernel drops what comes from elsewhere
	c.ask(signed())
	b, _ := s.Binding(device)
	if err := s.Send([]byte("GET"), b); err != nil {
		t.Fatal(err)
	}
	if got := c.receive(); string(got) != "GET" {
		t.Errorf("received %q", got)
	}
}

// TestUnproven: what is not authenticated is answered, but not believed.
func TestUnproven(t *testing.T) {
	t.Run("wrong password", func(t *testing.T) {
		s := serve(t, nil)
		if m, _ := s.cpe(t).ask(stun.Sign(request(), "guess")); code(m) != 431 {
			t.Errorf("answered with %+v, want 431", m)
		}
		s.nothingLearnt(t)
	})
	t.Run("another device's password", func(t *testing.T) {
		s := serve(t, nil)
		if m, _ := s.cpe(t).ask(stun.Sign(request(), passwordOf("other"))); code(m) != 431 {
			t.Errorf("answered with %+v, want 431", m)
		}
		s.nothingLearnt(t)
	})
	t.Run("no user name", func(t *testing.T) {
		s := serve(t, nil)
		c := s.cpe(t)
		m := stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{attribute(stun.ConnectionRequestBinding, stun.BindingValue)}}
		if m, _ := c.ask(m.Append(nil)); mapped(m) != c.at {
			t.Errorf("answered with %+v", m)
		}
		s.nothingLearnt(t)
	})
	t.Run("from a port that takes no connection requests", func(t *testing.T) {
		s := serve(t, nil)
		c := s.cpe(t)
		m := stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{attribute(stun.Username, string(device))}}
		if m, _ := c.ask(stun.Sign(m.Append(nil), passwordOf(device))); mapped(m) != c.at {
			t.Errorf("answered with %+v", m)
		}
		s.nothingLearnt(t)
	})
	t.Run("stolen name", func(t *testing.T) {
		s := serve(t, nil)
		owner, thief := s.cpe(t), s.cpe(t)
		owner.ask(signed())
		for range 5 {
			thief.ask(request(attribute(stun.BindingChange, "")))
		}
		if b, _ := s.Binding(device); b != owner.at {
			t.Errorf("the binding is %v, not its owner's %v", b, owner.at)
		}
	})
}

// Deviation: CPE whose STUN client knows no MESSAGE-INTEGRITY – ask again after a
// 401 as they did before; they are answered after two challenges, so that they
// find out that they are behind NAT and tell their address in an Inform.
func TestNoIntegrity(t *testing.T) {
	s := serve(t, nil)
	c := s.cpe(t)
	for try, want := range []int{401, 401, 0, 0} {
		m, _ := c.ask(request())
		if code(m) != want || want == 0 && mapped(m) != c.at {
			t.Errorf("try %d answered with %+v, want code %d", try, m, want)
		}
	}
	s.nothingLearnt(t)
	other := s.cpe(t)
	if m, _ := other.ask(request()); code(m) != 401 {
		t.Errorf("another address has its challenges used up: %+v", m)
	}
}

// TestSecondPort: a CPE tests from a second port whether the binding of its first
// is still open (TR-069 G.2.1.1): the answer goes to the first.
func TestSecondPort(t *testing.T) {
	s := serve(t, nil)
	first, second := s.cpe(t), s.cpe(t)
	m := stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{
		{Type: stun.ResponseAddress, Value: stun.AppendAddress(nil, first.at, nil)}}}
	second.send(m.Append(nil))
	var got stun.Message
	if err := got.Parse(first.receive()); err != nil || mapped(got) != second.at {
		t.Errorf("the first port got %+v (%v), want the second's address %v", got, err, second.at)
	}
	v, _ := got.Get(stun.ReflectedFrom)
	if a, _ := stun.ParseAddress(v, nil); a != second.at {
		t.Errorf("REFLECTED-FROM is %v, want %v", a, second.at)
	}
}

// TestModern: a client of RFC 5389 gets XOR-MAPPED-ADDRESS too.
func TestModern(t *testing.T) {
	s := serve(t, nil)
	c := s.cpe(t)
	m := stun.Message{Type: stun.BindingRequest, TransactionID: [16]byte{0x21, 0x12, 0xa4, 0x42, 1}}
	got, _ := c.ask(m.Append(nil))
	v, _ := got.Get(stun.XORMappedAddress)
	if a, _ := stun.ParseAddress(v, got.TransactionID[:]); a != c.at || mapped(got) != c.at {
		t.Errorf("XOR-MAPPED-ADDRESS %v, MAPPED-ADDRESS %v, want %v", a, mapped(got), c.at)
	}
}

// TestHostile: what a datagram can make the server do to others is next to
// nothing.
func TestHostile(t *testing.T) {
	victim := netip.MustParseAddrPort("127.0.0.2:9")
	bare := stun.Message{Type: stun.BindingRequest}
	silent := map[string][]byte{
		"garbage":    []byte("\x00\x01 this is no STUN"),
		"empty":      {},
		"a response": (&stun.Message{Type: stun.BindingResponse}).Append(nil),
		"an answer to somebody else": (&stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{
			{Type: stun.ResponseAddress, Value: stun.AppendAddress(nil, victim, nil)}}}).Append(nil),
		"an answer to nowhere": (&stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{
			{Type: stun.ResponseAddress, Value: []byte{1}}}}).Append(nil),
		"oversized": append(bare.Append(nil), make([]byte, 1400)...),
	}
	s := serve(t, nil)
	c := s.cpe(t)
	for name, b := range silent {
		c.send(b)
		// The next answer has to be that to a good request.
		if m, _ := c.ask(bare.Append(nil)); mapped(m) != c.at {
			t.Errorf("%s was answered with %+v", name, m)
		}
	}
	unknown := stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{{Type: stun.ChangeRequest, Value: []byte{0, 0, 0, 6}}}}
	if m, _ := c.ask(unknown.Append(nil)); code(m) != 420 {
		t.Errorf("CHANGE-REQUEST answered with %+v, want 420", m)
	}
	const most = 32 // bytes that an answer may be longer
	for name, b := range map[string][]byte{"bare": bare.Append(nil), "unknown": unknown.Append(nil), "unsigned": request(),
		"wrong password": stun.Sign(request(), "guess"), "signed": signed()} {
		if _, raw := c.ask(b); len(raw) > len(b)+most {
			t.Errorf("%s: %d bytes are answered with %d", name, len(b), len(raw))
		}
	}
}

// TestFlood: one source gets so many answers in a second and no more, another is
// not held up by it, and the next second it is heard again.
func TestFlood(t *testing.T) {
	const most = 10
	now := time.Unix(1_700_000_000, 0)
	s, err := stun.New(stun.Config{Password: passwordOf, MaxRate: most, Now: func() time.Time { return now },
		Learn: func(context.Context, cwmp.DeviceKey, netip.AddrPort) {}})
	if err != nil {
		t.Fatal(err)
	}
	m := stun.Message{Type: stun.BindingRequest}
	answered := func(from string) (n int) {
		for port := range uint16(3 * most) {
			if _, to := s.Answer(m.Append(nil), netip.AddrPortFrom(netip.MustParseAddr(from), port+1)); to.IsValid() {
				n++
			}
		}
		return n
	}
	if n := answered("192.0.2.1"); n != most {
		t.Errorf("%d requests were answered in a second, %d are allowed", n, most)
	}
	if n := answered("192.0.2.2"); n != most {
		t.Errorf("another source got %d answers of %d", n, most)
	}
	now = now.Add(time.Second)
	if n := answered("192.0.2.1"); n != most {
		t.Errorf("a second later %d requests were answered, %d are allowed", n, most)
	}
}

// TestExpire: a binding that is not kept open is forgotten; the server says when
// it has run long enough to know.
func TestExpire(t *testing.T) {
	s := serve(t, func(c *stun.Config) { c.Expire = time.Minute })
	c := s.cpe(t)
	c.ask(signed())
	s.now.Add(50)
	c.ask(request())
	s.now.Add(50)
	if _, ok := s.Binding(device); !ok {
		t.Error("the binding was kept open but is forgotten")
	}
	s.now.Add(50)
	if b, ok := s.Binding(device); ok {
		t.Errorf("binding %v was not kept open but is believed", b)
	}
	if !s.Settled() {
		t.Error("not settled after two and a half times what a binding lives")
	}
}

func TestNotSettled(t *testing.T) {
	s := serve(t, nil)
	s.cpe(t).ask(signed())
	if s.Settled() {
		t.Error("settled right after the start")
	}
}

// TestBounded: a table that is full takes the newest.
func TestBounded(t *testing.T) {
	const most = 640
	s := serve(t, func(c *stun.Config) {
		c.MaxBindings = most
		c.Learn = func(context.Context, cwmp.DeviceKey, netip.AddrPort) {}
	})
	c := s.cpe(t)
	known := 0
	key := func(i int) cwmp.DeviceKey { return cwmp.DeviceKey(fmt.Sprintf("00005E-HG200-%06d", i)) }
	for i := range 3 * most {
		m := stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{
			attribute(stun.Username, string(key(i))), attribute(stun.ConnectionRequestBinding, stun.BindingValue)}}
		if m, _ := c.ask(stun.Sign(m.Append(nil), passwordOf(key(i)))); mapped(m) != c.at {
			t.Fatalf("%s answered with %+v", key(i), m)
		}
	}
	for i := range 3 * most {
		if _, ok := s.Binding(key(i)); ok {
			known++
		}
	}
	if known == 0 || known > most {
		t.Errorf("%d bindings are kept, at most %d are allowed", known, most)
	}
	if _, ok := s.Binding(key(3*most - 1)); !ok {
		t.Error("the newest is not kept")
	}
}

func TestClosed(t *testing.T) {
	s, err := stun.New(stun.Config{Password: passwordOf, Learn: func(context.Context, cwmp.DeviceKey, netip.AddrPort) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9")); err != stun.ErrClosed {
		t.Errorf("Send of a server that does not run: %v", err)
	}
	if s.Settled() || s.Addr() != nil {
		t.Error("a server that does not run is settled or has an address")
	}
	if _, err := stun.New(stun.Config{}); err == nil {
		t.Error("a server without passwords was made")
	}
}

// FuzzServer: no datagram stops the server or is answered with much more.
func FuzzServer(f *testing.F) {
	f.Add(request())
	f.Add(signed())
	f.Add(wire(f, bindingResponse))
	s, err := stun.New(stun.Config{Password: passwordOf, Learn: func(context.Context, cwmp.DeviceKey, netip.AddrPort) {}})
	if err != nil {
		f.Fatal(err)
	}
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	f.Fuzz(func(t *testing.T, b []byte) {
		answer, to := s.Answer(bytes.Clone(b), from)
		if to.IsValid() && (to.Addr() != from.Addr() || len(answer) > len(b)+48) {
			t.Errorf("%x is answered to %v with %x", b, to, answer)
		}
	})
}

func BenchmarkKeepAlive(b *testing.B) {
	s, err := stun.New(stun.Config{Password: passwordOf, Learn: func(context.Context, cwmp.DeviceKey, netip.AddrPort) {}, MaxRate: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	s.Answer(signed(), from)
	in := request()
	b.ReportAllocs()
	for b.Loop() {
		s.Answer(in, from)
	}
}
