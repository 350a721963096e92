package coap

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	coapdtls "github.com/plgd-dev/go-coap/v3/dtls"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/options"
	coapudp "github.com/plgd-dev/go-coap/v3/udp"
	"github.com/plgd-dev/go-coap/v3/udp/client"
	"github.com/plgd-dev/go-coap/v3/udp/coder"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agentA     = usp.EndpointID("os::00259E-A%20B")
	controller = usp.EndpointID("proto::controller-1")
)

// serve runs a Transport until the test ends.
func serve(t *testing.T, cfg Config, h mtp.Handler) *Transport {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mtptest.Serve(t, tr, h)
	return tr
}

// addressOf is where a Transport takes records for any endpoint.
func addressOf(tr *Transport) string {
	scheme := "coap://"
	if tr.cfg.Secure {
		scheme = "coaps://"
	}
	return scheme + tr.Addr().String() + tr.cfg.Path
}

// ticking is what runs periodic work of a peer of these tests.
func ticking(t *testing.T) coapudp.Option {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	return options.WithPeriodicRunner(func(f func(time.Time) bool) {
		go func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case now := <-tick.C:
					if !f(now) {
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
	})
}

// connect is a peer that sends what it likes.
func connect(t *testing.T, tr *Transport) *client.Conn {
	t.Helper()
	cc, err := coapudp.Dial(tr.Addr().String(), ticking(t), options.WithErrors(func(error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cc.Close() //nolint:errcheck // the test is over
		<-cc.Done()
	})
	return cc
}

// request is a request of a peer, good where nothing is said.
type request struct {
	code    codes.Code
	path    string
	format  message.MediaType
	queries []string
	body    []byte
}

func good() request {
	return request{codes.POST, "/usp", message.AppOctets, []string{"reply-to=coap://127.0.0.1:5683/usp"}, []byte("record")}
}

func (r request) do(t *testing.T, cc *client.Conn) (codes.Code, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mtptest.Patience)
	defer cancel()
	req, err := cc.NewPostRequest(ctx, r.path, r.format, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.ReleaseMessage(req)
	req.SetCode(r.code)
	for _, q := range r.queries {
		req.AddQuery(q)
	}
	resp, err := cc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.ReleaseMessage(resp)
	text, err := resp.ReadBody()
	if err != nil {
		t.Fatal(err)
	}
	return resp.Code(), string(text)
}

func TestRequests(t *testing.T) {
	h := mtptest.NewRecorder()
	h.Verdict = func(in mtp.Inbound) error {
		if string(in.Record) == "garbage" {
			return errors.New("no USP record")
		}
		return nil
	}
	tr := serve(t, Config{MaxRecord: 10_000}, h)
	cc := connect(t, tr)
	tests := []struct {
		name   string
		change func(r *request)
		want   codes.Code
		says   string
	}{
		{"good", func(*request) {}, codes.Changed, ""}, // R-COAP.7
		{"to one agent", func(r *request) { r.path = "/usp/" + string(agentA) }, codes.Changed, ""},
		{"secure reply-to", func(r *request) { r.queries = []string{"x=y", "reply-to=coaps://127.0.0.1/c"} }, codes.Changed, ""},
		{"of blocks", func(r *request) { r.body = bytes.Repeat([]byte("x"), 9_999) }, codes.Changed, ""},            // R-COAP.5
		{"method", func(r *request) { r.code = codes.PUT }, codes.MethodNotAllowed, "POST"},                         // R-COAP.11
		{"format", func(r *request) { r.format = message.AppJSON }, codes.UnsupportedMediaType, "octet-stream"},     // R-COAP.12
		{"record", func(r *request) { r.body = []byte("garbage") }, codes.BadRequest, "no USP record"},              // R-COAP.13
		{"no reply-to", func(r *request) { r.queries = nil }, codes.BadRequest, "no reply-to"},                      // R-COAP.2
		{"reply-to with a query", func(r *request) { r.queries[0] += "?a=b" }, codes.BadRequest, "without a query"}, // R-COAP.2
		{"reply-to that is none", func(r *request) { r.queries[0] = "reply-to=http://x/" }, codes.BadRequest, "coap://"},
		{"reply-to a third party", func(r *request) { r.queries[0] = "reply-to=coap://192.0.2.1/usp" }, codes.Forbidden, "not the address"},
		{"path", func(r *request) { r.path = "/cwmp" }, codes.NotFound, "no USP endpoint"},
		{"path that only begins so", func(r *request) { r.path = "/uspx" }, codes.NotFound, "no USP endpoint"},
		{"agent that is none", func(r *request) { r.path = "/usp/nobody" }, codes.NotFound, "endpoint id"},
		{"discovery", func(r *request) { r.code, r.path, r.body = codes.GET, wellKnown, nil }, codes.Content, `</usp>;rt="bbf.usp.endpoint";if="bbf.usp.a"`}, // R-COAP.1
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.change(&r)
			code, text := r.do(t, cc)
			if code != tt.want || !strings.Contains(text, tt.says) {
				t.Errorf("answered %s %q, want %s with %q", code, text, tt.want, tt.says)
			}
			if tt.want != codes.Changed {
				if len(h.In) != 0 {
					t.Errorf("received %+v", <-h.In)
				}
				return
			}
			in := mtptest.Wait(t, h.In, "record")
			local := usp.EndpointID("")
			if r.path != "/usp" {
				local = agentA
			}
			want := strings.TrimPrefix(r.queries[len(r.queries)-1], "reply-to=")
			if !bytes.Equal(in.Record, r.body) || in.Reply.URL != want || in.Local != local || in.Peer != "" || in.Trusted {
				t.Errorf("received %d bytes, %+v", len(in.Record), in.Reply)
			}
		})
	}
}

func TestAnyReply(t *testing.T) {
	h := mtptest.NewRecorder()
	r := good()
	r.queries[0] = "reply-to=coap://controller.example/usp"
	if code, text := r.do(t, connect(t, serve(t, Config{AnyReply: true}, h))); code != codes.Changed {
		t.Errorf("answered %s %s", code, text)
	}
}

// rawPost is a confirmable POST as it goes over the wire.
func rawPost(t *testing.T, id int32, token byte, body []byte, block *uint32) []byte {
	t.Helper()
	m := pool.NewMessage(t.Context())
	if err := m.SetupPost("/usp", message.Token{token}, message.AppOctets, bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	m.AddQuery("reply-to=coap://127.0.0.1/usp")
	m.SetType(message.Confirmable)
	m.SetMessageID(id)
	if block != nil {
		m.SetOptionUint32(message.Block1, *block)
	}
	b, err := m.MarshalWithEncoder(coder.DefaultCoder)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}

func rawSocket(t *testing.T, tr *Transport) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", tr.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(mtptest.Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func exchange(t *testing.T, c net.Conn, datagram []byte) []byte {
	t.Helper()
	if _, err := c.Write(datagram); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 2000)
	n, err := c.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return answer[:n]
}

func TestDuplicatesAreAnsweredAndNotTaken(t *testing.T) { // RFC 7252 4.5
	h := mtptest.NewRecorder()
	c := rawSocket(t, serve(t, Config{}, h))
	datagram := rawPost(t, 77, 1, []byte("once"), nil)
	first := exchange(t, c, datagram)
	if second := exchange(t, c, datagram); !bytes.Equal(first, second) {
		t.Errorf("answers %x and %x", first, second)
	}
	exchange(t, c, rawPost(t, 78, 2, []byte("another"), nil))
	for _, want := range []string{"once", "another"} {
		if in := mtptest.Wait(t, h.In, "record"); string(in.Record) != want {
			t.Errorf("received %q, want %q", in.Record, want)
		}
	}
}

// slow is a handler that takes a record when it is let.
type slow struct {
	*mtptest.Recorder
	asked, let chan struct{}
}

func (s slow) Receive(in mtp.Inbound) error {
	s.asked <- struct{}{}
	<-s.let
	return s.Recorder.Receive(in)
}

// TestAnswersBeforeTheEnd: a record that was taken is confirmed, however soon the
// server ends, and none is taken behind.
func TestAnswersBeforeTheEnd(t *testing.T) {
	h := slow{mtptest.NewRecorder(), make(chan struct{}, 1), make(chan struct{})}
	tr, err := New(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- tr.Serve(ctx, h) }()
	mtptest.Wait(t, tr.Ready(), "the socket")
	taken, late := rawSocket(t, tr), rawSocket(t, tr)
	if _, err := taken.Write(rawPost(t, 1, 1, []byte("taken"), nil)); err != nil {
		t.Fatal(err)
	}
	mtptest.Wait(t, h.asked, "the record at its handler")
	cancel()
	mtptest.Until(t, "the server ends", func() bool {
		tr.asked.mu.Lock()
		defer tr.asked.mu.Unlock()
		return tr.asked.ending != nil
	})
	if _, err := late.Write(rawPost(t, 2, 2, []byte("late"), nil)); err != nil {
		t.Fatal(err)
	}
	close(h.let)
	answer := make([]byte, 64)
	if _, err := taken.Read(answer); err != nil || codes.Code(answer[1]) != codes.Changed {
		t.Errorf("answered %x, %v", answer, err)
	}
	if err := mtptest.Wait(t, ended, "the end of the server"); err != nil {
		t.Error(err)
	}
	if in := mtptest.Wait(t, h.In, "record"); string(in.Record) != "taken" || len(h.In) > 0 {
		t.Errorf("received %q and %d more", in.Record, len(h.In))
	}
}

func TestFloods(t *testing.T) {
	t.Run("requests of one source", func(t *testing.T) {
		h := mtptest.NewRecorder()
		tr := serve(t, Config{PeerShare: 3}, h)
		c := rawSocket(t, tr)
		for i := range int32(50) {
			if _, err := c.Write(rawPost(t, i, byte(i), []byte("x"), nil)); err != nil {
				t.Fatal(err)
			}
		}
		mtptest.Until(t, "most are dropped", func() bool { return tr.Status().Refused > 30 })
		exchange(t, rawSocket(t, tr), rawPost(t, 1, 1, []byte("another source"), nil))
	})
	t.Run("sources", func(t *testing.T) {
		tr := serve(t, Config{MaxPeers: 2}, mtptest.NewRecorder())
		for range 2 {
			exchange(t, rawSocket(t, tr), rawPost(t, 1, 1, []byte("x"), nil))
		}
		if _, err := rawSocket(t, tr).Write(rawPost(t, 1, 1, []byte("x"), nil)); err != nil {
			t.Fatal(err)
		}
		mtptest.Until(t, "the third is refused", func() bool { return tr.Status().Refused > 0 })
		if n := tr.meter.Connections(); n != 2 {
			t.Errorf("%d sources are remembered", n)
		}
	})
	t.Run("blocks without an end", func(t *testing.T) {
		tr := serve(t, Config{MaxRecord: 2048}, mtptest.NewRecorder())
		c := rawSocket(t, tr)
		for i := range int32(50) { // each begins a record of its own
			more := uint32(0x8 | 6) // block 0 of 1024 bytes, more follow
			if _, err := c.Write(rawPost(t, i, byte(i), make([]byte, 1024), &more)); err != nil {
				t.Fatal(err)
			}
		}
		mtptest.Until(t, "those beyond two records are dropped", func() bool { return tr.Status().Refused == 46 })
	})
}

func TestSend(t *testing.T) {
	atController := mtptest.NewRecorder()
	atController.Verdict = func(in mtp.Inbound) error {
		if string(in.Record) == "bad" {
			return errors.New("no USP record")
		}
		return nil
	}
	peer := serve(t, Config{}, atController)
	atBridge := mtptest.NewRecorder()
	tr := serve(t, Config{}, atBridge)
	to := mtp.Address{Protocol: mtp.CoAP, URL: addressOf(peer)}
	for _, record := range [][]byte{[]byte("short"), bytes.Repeat([]byte("0123456789"), 5000)} { // R-COAP.5
		if err := tr.Send(t.Context(), agentA, controller, to, record); err != nil {
			t.Fatal(err)
		}
		in := mtptest.Wait(t, atController.In, "record")
		if !bytes.Equal(in.Record, record) {
			t.Fatalf("%d bytes came, %d were sent", len(in.Record), len(record))
		}
		if want := "coap://" + tr.Addr().String() + "/usp/os::00259E-A%2520B"; in.Reply.URL != want { // R-COAP.2
			t.Fatalf("reply-to %s, want %s", in.Reply.URL, want)
		}
		if err := peer.Send(t.Context(), controller, agentA, in.Reply, []byte("answer")); err != nil { // R-COAP.2a
			t.Fatal(err)
		}
		if in := mtptest.Wait(t, atBridge.In, "answer"); in.Local != agentA || string(in.Record) != "answer" {
			t.Errorf("the answer came as %+v", in)
		}
	}
	err := tr.Send(t.Context(), agentA, controller, to, []byte("bad"))
	if err == nil || !strings.Contains(err.Error(), "BadRequest") || errors.Is(err, mtp.ErrUnreachable) { // R-COAP.10
		t.Errorf("a record that is refused: %v", err)
	}
	for name, bad := range map[string]string{"no URI": "", "not CoAP": "http://x/", "query": addressOf(peer) + "?x=y"} {
		if err := tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.CoAP, URL: bad}, nil); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
}

func TestNobodyAnswers(t *testing.T) { // R-COAP.9
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	tr := serve(t, Config{Timeout: 50 * time.Millisecond}, mtptest.NewRecorder())
	to := mtp.Address{Protocol: mtp.CoAP, URL: "coap://" + silent.LocalAddr().String() + "/usp"}
	if err := tr.Send(t.Context(), agentA, controller, to, []byte("x")); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestDTLS(t *testing.T) { // R-COAP.14, R-COAP.16
	ca := pki.NewCA(t, "operator")
	side := func(name string) Config {
		return Config{Secure: true, Certificates: []tls.Certificate{ca.Client(name).TLS()}, Roots: ca.Pool()}
	}
	atController, atBridge := mtptest.NewRecorder(), mtptest.NewRecorder()
	peer, tr := serve(t, side("controller"), atController), serve(t, side("bridge"), atBridge)
	record := bytes.Repeat([]byte("0123456789"), 1000)
	if err := tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.CoAP, URL: addressOf(peer)}, record); err != nil {
		t.Fatal(err)
	}
	in := mtptest.Wait(t, atController.In, "record")
	if !bytes.Equal(in.Record, record) || len(in.Chain) != 1 || in.Chain[0].Subject.CommonName != "bridge" {
		t.Errorf("%d bytes came with the chain %v", len(in.Record), in.Chain)
	}
	if !strings.HasPrefix(in.Reply.URL, "coaps://") {
		t.Errorf("reply-to %s", in.Reply.URL)
	}
	if err := peer.Send(t.Context(), controller, agentA, in.Reply, []byte("answer")); err != nil {
		t.Fatal(err)
	}
	mtptest.Wait(t, atBridge.In, "answer")

	stranger := pki.NewCA(t, "stranger")
	for name, cfg := range map[string]*dtls.Config{
		"no certificate":         {RootCAs: ca.Pool(), ServerName: "127.0.0.1"},
		"certificate of another": {RootCAs: ca.Pool(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{stranger.Client("x").TLS()}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), mtptest.Patience)
		cc, err := coapdtls.Dial(tr.Addr().String(), cfg, ticking(t), options.WithErrors(func(error) {}))
		if err == nil {
			_, err = cc.Post(ctx, "/usp", message.AppOctets, bytes.NewReader([]byte("x")), message.Option{ID: message.URIQuery, Value: []byte("reply-to=coaps://127.0.0.1/usp")})
			cc.Close() //nolint:errcheck // it has failed
			<-cc.Done()
		}
		cancel()
		if err == nil {
			t.Errorf("%s: a record was taken", name)
		}
	}
	other := serve(t, Config{Secure: true, Certificates: []tls.Certificate{stranger.Client("c").TLS()}}, mtptest.NewRecorder())
	if err := tr.Send(t.Context(), agentA, controller, mtp.Address{Protocol: mtp.CoAP, URL: addressOf(other)}, []byte("x")); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("a controller with a certificate of another CA: %v", err)
	}
}

func TestBadConfiguration(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no address", Config{}, "listen address"},
		{"path", Config{Listen: ":0", Path: "usp"}, "path"},
		{"told address", Config{Listen: ":0", Address: "x"}, "address"},
		{"DTLS without certificate", Config{Listen: ":0", Secure: true}, "certificate"},
		{"negative limit", Config{Listen: ":0", MaxPeers: -1}, "negative"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", tt.name, err, tt.want)
		}
	}
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tr, err := New(Config{Listen: taken.LocalAddr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Serve(t.Context(), mtptest.NewRecorder()); err == nil || tr.Status().LastError == "" {
		t.Errorf("an address that is taken: %v, status %+v", err, tr.Status())
	}
}

func TestAgentAddress(t *testing.T) {
	tr, err := New(Config{Listen: ":0", Address: "usp.example:5683"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tr.AgentAddress(agentA).URL, "coap://usp.example:5683/usp/os::00259E-A%2520B"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzURI: no text panics, and what is taken has an address.
func FuzzURI(f *testing.F) {
	for _, s := range []string{"coap://127.0.0.1/usp", "coaps://[::1]:5684/usp/os::1-2%2520x", "coap://h:0", "coap://", "coap://h/?", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, u, err := replyTo([]string{"reply-to=" + s})
		if err != nil {
			return
		}
		if host, port, err := net.SplitHostPort(u.address()); err != nil || host == "" || port == "" {
			t.Errorf("%q was taken with the address %q", s, u.address())
		}
	})
}
