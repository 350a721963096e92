package connreq_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cpe is the connection request server of a CPE: what it challenges with, and
// what it does when the credentials are right.
type cpe struct {
	challenge  string // its WWW-Authenticate; "" for none
	refusal    int    // the status it challenges with; 401 if 0
	closeAfter bool   // closes the connection after the challenge
	then       int    // status after good credentials; 200 if 0
	stale      bool   // calls the first good answer stale

	requests, connections atomic.Int32
}

const user, password = "acs", `pa"ss`

func (c *cpe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := c.requests.Add(1)
	if c.challenge != "" && !c.accepts(r) {
		c.refuse(w, c.challenge)
		return
	}
	if c.stale && n == 2 {
		c.refuse(w, c.challenge+", stale=TRUE")
		return
	}
	w.WriteHeader(max(c.then, 200))
}

func (c *cpe) refuse(w http.ResponseWriter, challenge string) {
	for _, line := range strings.Split(challenge, "\n") {
		w.Header().Add("WWW-Authenticate", line)
	}
	if c.closeAfter {
		w.Header().Set("Connection", "close")
	}
	if c.refusal == 0 {
		c.refusal = http.StatusUnauthorized
	}
	w.WriteHeader(c.refusal)
}

// accepts checks the answer in its own way: from the header it was given.
func (c *cpe) accepts(r *http.Request) bool {
	h := r.Header.Get("Authorization")
	if name, pw, ok := r.BasicAuth(); ok {
		return name == user && pw == password
	}
	schemes := digest.Parse(h)
	if len(schemes) != 1 {
		return false
	}
	p := schemes[0].Params
	a, ok := digest.ParseAlgorithm(p["algorithm"])
	if !ok {
		return false
	}
	if _, given := p["opaque"]; given != strings.Contains(c.challenge, "opaque") {
		return false
	}
	if (p["qop"] != "") != strings.Contains(c.challenge, "qop") {
		return false
	}
	e := digest.Exchange{Algorithm: a, Username: user, Password: password, Realm: "CPE", Nonce: "abc", Method: "GET",
		URI: r.RequestURI, QOP: p["qop"], NonceCount: p["nc"], ClientN: p["cnonce"]}
	return e.Response() == p["response"]
}

func serve(t *testing.T, h http.Handler, connections *atomic.Int32) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestDo(t *testing.T) {
	const digestMD5 = `Digest realm="CPE", nonce="abc"`
	tests := []struct {
		name        string
		cpe         cpe
		user, pw    string
		want        error // nil: accepted
		requests    int32
		connections int32
	}{
		{"no authentication", cpe{}, user, password, nil, 1, 1},
		// Deviation: several CPE – accept a connection request with 204; it is a success
		{"204 for 200", cpe{then: 204}, user, password, nil, 1, 1},
		{"digest with qop, opaque, algorithm", cpe{challenge: digestMD5 + `, qop="auth,auth-int", opaque="o", algorithm=MD5`}, user, password, nil, 2, 1},
		// Deviation: several CPE – challenge without qop and opaque; answered as RFC 2069 has it
		{"digest without qop and opaque", cpe{challenge: digestMD5}, user, password, nil, 2, 1},
		{"digest, SHA-256", cpe{challenge: digestMD5 + `, qop="auth", algorithm=SHA-256`}, user, password, nil, 2, 1},
		{"digest, MD5-sess", cpe{challenge: digestMD5 + `, qop="auth", algorithm=MD5-sess`}, user, password, nil, 2, 1},
		// Deviation: several CPE – challenge with an algorithm that nobody has; another challenge is taken if there is one
		{"odd algorithm is passed over for the other challenge", cpe{challenge: `Digest realm="CPE", nonce="abc", algorithm=MD9` + "\n" + digestMD5}, user, password, nil, 2, 1},
		{"basic", cpe{challenge: `Basic realm="CPE"`}, user, password, nil, 2, 1},
		// Deviation: several CPE – challenge with 403; it is taken for 401
		{"403 for 401", cpe{challenge: digestMD5, refusal: 403}, user, password, nil, 2, 1},
		// Deviation: several CPE – close the connection after their challenge; the answer goes out on a new one
		{"connection closed after the challenge", cpe{challenge: digestMD5, closeAfter: true}, user, password, nil, 2, 2},
		// Deviation: as a precaution – a nonce refused as stale; the new one is tried once
		{"stale nonce", cpe{challenge: digestMD5, stale: true}, user, password, nil, 3, 1},
		{"wrong password", cpe{challenge: digestMD5}, user, "other", connreq.ErrCredentials, 2, 1},
		{"stale for ever", cpe{challenge: digestMD5 + ", stale=true"}, user, "other", connreq.ErrCredentials, 3, 1},
		{"no credentials to give", cpe{challenge: digestMD5}, "", "", connreq.ErrCredentials, 1, 1},
		{"unknown scheme", cpe{challenge: "Negotiate"}, user, password, connreq.ErrCredentials, 1, 1},
		{"only auth-int", cpe{challenge: digestMD5 + `, qop="auth-int"`}, user, password, connreq.ErrCredentials, 1, 1},
		// Deviation: several CPE – answer 503 while they are in a session; told apart from a refusal, as busy
		{"busy", cpe{then: 503}, user, password, connreq.ErrBusy, 1, 1},
		{"plain 403", cpe{then: 403}, user, password, connreq.ErrCredentials, 1, 1},
		{"wrong path", cpe{then: 404}, user, password, connreq.ErrURL, 1, 1},
		{"redirection", cpe{then: 302}, user, password, connreq.ErrRefused, 1, 1},
		{"internal error of the CPE", cpe{then: 500}, user, password, connreq.ErrRefused, 1, 1},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, &tt.cpe, &tt.cpe.connections)
			err := connreq.New(connreq.Config{}).Do(t.Context(), connreq.Request{URL: url + "/cr?x=1", Username: tt.user, Password: tt.pw})
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
			if got := tt.cpe.requests.Load(); got != tt.requests {
				t.Errorf("%d requests, want %d", got, tt.requests)
			}
			if got := tt.cpe.connections.Load(); got != tt.connections {
				t.Errorf("%d connections, want %d", got, tt.connections)
			}
			if err != nil && tt.pw != "" && strings.Contains(err.Error(), tt.pw) && tt.pw == password {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

// Deviation: CPE that are busy – answer 503 for a moment, or close without a word;
// they are asked again after a while.
func TestRetry(t *testing.T) {
	var n, connections atomic.Int32
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			panic(http.ErrAbortHandler) // closes without an answer
		}
	}), &connections)
	if err := connreq.New(connreq.Config{}).Do(t.Context(), connreq.Request{URL: url, Retries: 2, Backoff: time.Millisecond}); err != nil {
		t.Error(err)
	}
}

// raw is a CPE that speaks no proper HTTP: it writes answer and closes.
func raw(t *testing.T, answers ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			if _, err := c.Read(buf); err == nil {
				io.WriteString(c, answers[min(i, len(answers)-1)])
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String() + "/"
}

func TestBadAnswers(t *testing.T) {
	tests := []struct {
		name    string
		answers []string
		want    error
	}{
		// Deviation: several CPE – cut the connection after a 401 that promised to keep it; the answer goes out on a new one
		{"connection cut after a 401 that promised to stay", []string{
			"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, nil},
		// Deviation: several CPE – answer in HTTP/1.0 without a length; it is a success
		{"200 without length", []string{"HTTP/1.0 200 OK\r\n\r\nhello"}, nil},
		{"nothing", []string{""}, connreq.ErrNoAnswer},
		{"not HTTP", []string{"SSH-2.0-dropbear\r\n"}, connreq.ErrNoAnswer},
		{"endless header", []string{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"}, connreq.ErrNoAnswer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := connreq.New(connreq.Config{}).Do(t.Context(), connreq.Request{URL: raw(t, tt.answers...), Username: "u", Password: "p"})
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	opError := func(err error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	tests := []struct {
		name, url string
		dial      func(context.Context, string, string) (net.Conn, error)
		want      error
		says      string
	}{
		{"refused", "http://192.0.2.1:7547/", opError(os.NewSyscallError("connect", syscall.ECONNREFUSED)), connreq.ErrUnreachable, "192.0.2.1:7547"},
		{"no route to a public address", "http://192.0.2.1/", opError(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), connreq.ErrUnreachable, "online"},
		{"no route to a private address", "http://192.168.1.1/", opError(os.NewSyscallError("connect", syscall.ENETUNREACH)), connreq.ErrNAT, "STUN"},
		{"silence of a public address", "http://192.0.2.1/", silent, connreq.ErrTimeout, "offline"},
		// Deviation: CPE behind NAT – give a connection request URL that cannot be reached; the error says so and what to do
		{"silence of a private address", "http://10.1.2.3/", silent, connreq.ErrNAT, "STUN"},
		{"silence behind a carrier's NAT", "http://100.64.3.4/", silent, connreq.ErrNAT, "STUN"},
		{"no URL", "", nil, connreq.ErrURL, "next one"},
		{"no host", "http:///x", nil, connreq.ErrURL, "no host"},
		{"another scheme", "ftp://192.0.2.1/", nil, connreq.ErrURL, "ftp"},
		{"not a URL", "http://acs:secret@[::1", nil, connreq.ErrURL, "not a URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := connreq.New(connreq.Config{Dial: tt.dial}).Do(t.Context(), connreq.Request{URL: tt.url, Timeout: 20 * time.Millisecond})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error = %v, want %v", err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q should say %q and no secret", err, tt.says)
			}
		})
	}
}

func TestCallerGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	err := connreq.New(connreq.Config{Dial: dial}).Do(ctx, connreq.Request{URL: "http://192.0.2.1/", Retries: 5})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the caller's own", err)
	}
}

// TestConcurrency: of many requests only so many are under way; the others wait,
// in the order they came, and who gives up waiting makes room.
func TestConcurrency(t *testing.T) {
	const most = 2
	var underWay, peak atomic.Int32
	arrived, release := make(chan string, 8), make(chan struct{})
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		peak.Store(max(peak.Load(), underWay.Add(1)))
		arrived <- r.URL.Path
		<-release
		underWay.Add(-1)
	}), new(atomic.Int32))
	c := connreq.New(connreq.Config{MaxConcurrent: most})
	done := make(chan error, 8)
	start := func(ctx context.Context, path string) {
		go func() { done <- c.Do(ctx, connreq.Request{URL: url + path}) }()
	}
	start(t.Context(), "/1")
	start(t.Context(), "/2")
	<-arrived
	<-arrived
	gone, leave := context.WithCancel(t.Context())
	start(gone, "/3")
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up waiting got %v", err)
	}
	start(t.Context(), "/4")
	close(release)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if path := <-arrived; path != "/4" || peak.Load() > most {
		t.Errorf("%s came third with %d under way, want /4 and at most %d", path, peak.Load(), most)
	}
}

func TestOutcome(t *testing.T) {
	for err, want := range map[error]string{
		nil: "accepted", context.Canceled: "given_up",
		&connreq.Error{Kind: connreq.ErrNAT}:                            "nat",
		fmt.Errorf("device: %w", &connreq.Error{Kind: connreq.ErrBusy}): "busy",
	} {
		if got := connreq.Outcome(err); got != want {
			t.Errorf("Outcome(%v) = %q, want %q", err, got, want)
		}
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	trusting := connreq.New(connreq.Config{TLS: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}})
	if err := trusting.Do(t.Context(), connreq.Request{URL: s.URL}); err != nil {
		t.Error(err)
	}
	if err := connreq.New(connreq.Config{}).Do(t.Context(), connreq.Request{URL: s.URL}); !errors.Is(err, connreq.ErrCertificate) {
		t.Errorf("a certificate nobody vouches for: %v", err)
	}
}

func ExampleClient_Do() {
	c := connreq.New(connreq.Config{})
	err := c.Do(context.Background(), connreq.Request{URL: ""})
	fmt.Println(err)
	// Output: connection request: the CPE's ConnectionRequestURL cannot be used: the CPE has given no ConnectionRequestURL; the CPE announces its URL in each Inform: wait for the next one
}
