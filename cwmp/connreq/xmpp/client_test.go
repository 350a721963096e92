package xmpp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/cwmp/connreq/xmpp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	domain   = "example.com" // a name in the certificate of httptest
	cpe      = "cpe1@example.com/cwmp"
	patience = 5 * time.Second
)

// server is as much of an XMPP server as a client meets: it takes one account by
// PLAIN over TLS, binds its resource, and answers each connection request as the
// test says.
type server struct {
	t        *testing.T
	tls      *tls.Config
	password string
	answer   func(iq string) string // to an IQ with a connection request; "" for none
	deaf     atomic.Bool            // answers no pings
	logins   atomic.Int32

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	working  sync.WaitGroup
}

// certificate returns the certificate of httptest, and the pool that trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, pool
}

func serve(t *testing.T, answer func(iq string) string) (*server, xmpp.Account) {
	t.Helper()
	config, trusted := certificate(t)
	s := &server{t: t, tls: config, password: "secret", answer: answer, conns: map[net.Conn]bool{}}
	address := s.start("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s, xmpp.Account{Server: address, DirectTLS: true, TLS: &tls.Config{RootCAs: trusted},
		Username: "acs", Domain: domain, Resource: "bridge", Password: "secret"}
}

func (s *server) start(address string) string {
	s.t.Helper()
	l, err := tls.Listen("tcp", address, s.tls)
	if err != nil {
		s.t.Fatal(err)
	}
	s.listener = l
	s.working.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.working.Go(func() {
				defer conn.Close()
				s.talk(conn)
			})
		}
	})
	return l.Addr().String()
}

// stop cuts all connections off.
func (s *server) stop() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	clear(s.conns)
	s.mu.Unlock()
	s.working.Wait()
}

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0' from='` + domain + `'>`

func (s *server) talk(conn net.Conn) {
	say := func(format string, a ...any) { fmt.Fprintf(conn, format, a...) }
	in, authenticated := xml.NewDecoder(conn), false
	for {
		token, err := in.Token()
		if err != nil {
			return
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch start.Name.Local {
		case "stream":
			say(header)
			if authenticated {
				say(`<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>`)
			} else {
				say(`<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>`)
			}
		case "auth":
			var auth struct {
				Text string `xml:",chardata"`
			}
			if in.DecodeElement(&auth, &start) != nil {
				return
			}
			if auth.Text != plain("acs", s.password) {
				say(`<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure></stream:stream>`)
				return
			}
			say(`<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>`)
			authenticated = true
			in = xml.NewDecoder(conn)
		case "iq":
			var iq struct {
				ID    string `xml:"id,attr"`
				Inner string `xml:",innerxml"`
			}
			text := "<iq" + attributes(start)
			if in.DecodeElement(&iq, &start) != nil {
				return
			}
			switch {
			case strings.Contains(iq.Inner, "xmpp-bind"):
				s.logins.Add(1)
				resource := "chosen-by-the-server"
				if _, rest, ok := strings.Cut(iq.Inner, "<resource>"); ok {
					resource, _, _ = strings.Cut(rest, "</resource>")
				}
				say(`<iq type='result' id='%s'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>acs@%s/%s</jid></bind></iq>`, iq.ID, domain, resource)
			case strings.Contains(iq.Inner, "urn:xmpp:ping") && s.deaf.Load():
			case strings.Contains(iq.Inner, "urn:xmpp:ping"):
				say(`<iq type='result' id='%s' from='%s'/>`, iq.ID, domain)
			default:
				if a := s.answer(text + ">" + iq.Inner + "</iq>"); a != "" {
					say("%s", strings.ReplaceAll(a, "ID", iq.ID))
				}
			}
		}
	}
}

// plain is the initial response of SASL PLAIN (RFC 4616).
func plain(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}

// attributes writes those that a test looks at, in one order.
func attributes(start xml.StartElement) (text string) {
	for _, name := range []string{"type", "to"} {
		for _, a := range start.Attr {
			if a.Name.Local == name {
				text += fmt.Sprintf(` %s="%s"`, name, a.Value)
			}
		}
	}
	return text
}

// client is connected when it returns, and ends with the test.
func client(t *testing.T, cfg xmpp.Config) *xmpp.Client {
	t.Helper()
	c := run(t, cfg)
	until(t, "connected", func() bool { return c.Status() == nil })
	return c
}

func run(t *testing.T, cfg xmpp.Config) *xmpp.Client {
	t.Helper()
	c, err := xmpp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return c
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for over := time.After(patience); !condition(); {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// TestStanza: the IQ as Annex K shows it.
func TestStanza(t *testing.T) {
	const want = `<iq type="get" to="cpe1@example.com/cwmp">` +
		`<connectionRequest xmlns="urn:broadband-forum-org:cwmp:xmppConnReq-1-0">` +
		`<username>user</username><password>p&lt;w</password></connectionRequest></iq>`
	got := make(chan string, 1)
	_, account := serve(t, func(iq string) string {
		got <- iq
		return `<iq type='result' id='ID' from='` + cpe + `'/>`
	})
	c := client(t, xmpp.Config{Account: account})
	if err := c.Do(t.Context(), xmpp.Request{JID: cpe, Username: "user", Password: "p<w", Timeout: patience}); err != nil {
		t.Fatal(err)
	}
	if iq := <-got; iq != want {
		t.Errorf("sent %s\nwant %s", iq, want)
	}
}

func failure(typ, conditions string) string {
	return `<iq type='error' id='ID' from='` + cpe + `'><error ` + typ + `>` + conditions + `</error></iq>`
}

func TestAnswers(t *testing.T) {
	const ns = ` xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>`
	tests := []struct {
		name, answer string
		want         error
		says         string
	}{
		{"result", `<iq type='result' id='ID' from='` + cpe + `'/>`, nil, ""},
		{"wrong password", failure("type='auth'", "<not-authorized"+ns), connreq.ErrCredentials, "password is wrong"},
		{"both as of Annex K", failure("type='cancel' code='401'", "<service-unavailable"+ns), connreq.ErrCredentials, "password is wrong"},
		{"two conditions", failure("type='cancel'", "<service-unavailable"+ns+"<not-authorized"+ns), connreq.ErrCredentials, "not-authorized"},
		{"our Jabber id is not allowed", failure("type='cancel'", "<not-allowed"+ns), connreq.ErrCredentials, "ConnReqAllowedJabberIDs"},
		{"offline", failure("type='cancel'", "<service-unavailable"+ns), connreq.ErrNotConnected, "service-unavailable"},
		{"no such account", failure("type='cancel'", "<item-not-found"+ns), connreq.ErrNotConnected, "item-not-found"},
		{"its server is unknown", failure("type='cancel'", "<remote-server-not-found"+ns), connreq.ErrUnreachable, "domain"},
		{"its server is silent", failure("type='wait'", "<remote-server-timeout"+ns), connreq.ErrUnreachable, "domain"},
		{"busy", failure("type='wait'", "<resource-constraint"+ns), connreq.ErrBusy, "resource-constraint"},
		{"something else", failure("type='modify'", "<bad-request"+ns), connreq.ErrRefused, "bad-request"},
		{"no condition", failure("type='cancel'", ""), connreq.ErrRefused, ""},
		{"with a long text", failure("type='cancel'", "<bad-request"+ns+"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>"+strings.Repeat("a", 9999)+"</text>"),
			connreq.ErrRefused, "aaa"},
	}
	var mu sync.Mutex
	next := ""
	_, account := serve(t, func(string) string {
		mu.Lock()
		defer mu.Unlock()
		return next
	})
	c := client(t, xmpp.Config{Account: account})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mu.Lock()
			next = tt.answer
			mu.Unlock()
			err := c.Do(t.Context(), xmpp.Request{JID: cpe, Timeout: patience})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), cpe) || len(err.Error()) > 700) {
				t.Errorf("error %q should say %q and whom it is of", err, tt.says)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	asked := make(chan struct{}, 2)
	_, account := serve(t, func(string) string { asked <- struct{}{}; return "" })
	c := client(t, xmpp.Config{Account: account})
	if err := c.Do(t.Context(), xmpp.Request{JID: cpe, Timeout: 20 * time.Millisecond}); !errors.Is(err, connreq.ErrTimeout) {
		t.Errorf("a CPE that does not answer: %v", err)
	}
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Do(ctx, xmpp.Request{JID: cpe, Timeout: 100 * time.Millisecond}) }()
	<-asked
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
}

// TestConcurrency: of many requests only so many are with the server.
func TestConcurrency(t *testing.T) {
	asked := make(chan struct{}, 8)
	_, account := serve(t, func(string) string { asked <- struct{}{}; return "" })
	c := client(t, xmpp.Config{Account: account, MaxConcurrent: 1})
	first := make(chan error, 1)
	go func() { first <- c.Do(t.Context(), xmpp.Request{JID: cpe, Timeout: 50 * time.Millisecond}) }()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, xmpp.Request{JID: cpe, Timeout: patience}); !errors.Is(err, context.Canceled) || len(asked) > 0 {
		t.Errorf("a second request while the first is under way: %v", err)
	}
	if err := <-first; !errors.Is(err, connreq.ErrTimeout) {
		t.Error(err)
	}
}

// TestReconnect: the server restarts; meanwhile requests fail with the reason,
// after it they work.
func TestReconnect(t *testing.T) {
	s, account := serve(t, func(string) string { return `<iq type='result' id='ID' from='` + cpe + `'/>` })
	c := client(t, xmpp.Config{Account: account, Backoff: 10 * time.Millisecond})
	s.stop()
	until(t, "not connected", func() bool { return c.Status() != nil })
	err := c.Do(t.Context(), xmpp.Request{JID: cpe, Timeout: patience})
	if !errors.Is(err, connreq.ErrOurSide) || !strings.Contains(err.Error(), account.Server) {
		t.Errorf("without a server: %v", err)
	}
	s.start(account.Server)
	until(t, "connected again", func() bool { return c.Status() == nil })
	if err := c.Do(t.Context(), xmpp.Request{JID: cpe, Timeout: patience}); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// TestPing: a server that has gone without a word is left for a new connection.
func TestPing(t *testing.T) {
	s, account := serve(t, nil)
	client(t, xmpp.Config{Account: account, Backoff: 10 * time.Millisecond, PingInterval: 150 * time.Millisecond})
	s.deaf.Store(true)
	until(t, "a second login", func() bool { return s.logins.Load() > 1 })
}

// TestResource: the resource is the one that is asked for; without one the server
// chooses.
func TestResource(t *testing.T) {
	_, account := serve(t, nil)
	for asked, want := range map[string]string{"bridge": "acs@example.com/bridge", "": "acs@example.com/chosen-by-the-server"} {
		account.Resource = asked
		s, end, err := account.Login(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := s.LocalAddr().String(); got != want {
			t.Errorf("asked for %q and bound as %s, want %s", asked, got, want)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

func TestLoginFails(t *testing.T) {
	_, account := serve(t, nil)
	wrong, untrusted := account, account
	wrong.Password = "guess"
	untrusted.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	other := account
	other.Domain = "other.example"
	for name, tt := range map[string]struct {
		account xmpp.Account
		says    string
	}{
		"wrong password":            {wrong, "not-authorized"},
		"certificate nobody trusts": {untrusted, "certificate"},
		"certificate of another":    {other, "certificate"},
		"nobody listens":            {xmpp.Account{Server: "127.0.0.1:1", Username: "acs", Domain: domain}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c := run(t, xmpp.Config{Account: tt.account, Backoff: time.Hour})
			until(t, "the reason "+tt.says, func() bool {
				err := c.Status()
				return err != nil && strings.Contains(err.Error(), tt.says)
			})
			if strings.Contains(c.Status().Error(), "guess") {
				t.Errorf("the password is in %q", c.Status())
			}
		})
	}
}

func TestRefusedBeforeSending(t *testing.T) {
	if _, err := xmpp.New(xmpp.Config{}); err == nil {
		t.Error("a client without a server was made")
	}
	if _, err := xmpp.New(xmpp.Config{Account: xmpp.Account{Server: "h:1", Username: "a@b", Domain: domain}}); err == nil {
		t.Error("a client with a wrong name was made")
	}
	c, err := xmpp.New(xmpp.Config{Account: xmpp.Account{Server: "h:1", Username: "a", Domain: domain}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), xmpp.Request{JID: "@"}); !errors.Is(err, connreq.ErrRefused) {
		t.Errorf("a CPE without a Jabber id: %v", err)
	}
}
