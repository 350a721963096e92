package bulk

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icholy/digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is a collector that keeps what it is sent and answers as told.
type fakeCollector struct {
	*httptest.Server
	mu       sync.Mutex
	requests []received
	answer   http.HandlerFunc
}

type received struct {
	method, uri string
	header      http.Header
	body        string
}

func newCollector(t *testing.T, tls bool, answer http.HandlerFunc) *fakeCollector {
	t.Helper()
	c := &fakeCollector{answer: answer}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		c.requests = append(c.requests, received{r.Method, r.URL.RequestURI(), r.Header.Clone(), string(b)})
		c.mu.Unlock()
		if c.answer != nil {
			c.answer(w, r)
		}
	})
	if tls {
		c.Server = httptest.NewTLSServer(handler)
	} else {
		c.Server = httptest.NewServer(handler)
	}
	t.Cleanup(c.Close)
	return c
}

func (c *fakeCollector) got() []received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]received(nil), c.requests...)
}

func newClient(t *testing.T, roots *x509.CertPool, patterns ...string) *Client {
	t.Helper()
	if patterns == nil {
		patterns = []string{"127.0.0.0/8"}
	}
	p, err := NewPolicy(patterns)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(ClientConfig{Policy: p, Roots: roots, Now: func() time.Time { return collected }})
	t.Cleanup(c.Close)
	return c
}

func upload(url string) *Upload {
	return &Upload{
		URL: url, Method: "POST", Date: true, Format: csvFormat(ParameterPerRow, NoStamp), Body: []byte("report"),
		Query: []Parameter{{"oui", "00259E"}, {"pc", "HG 8245"}, {"sn", "a&b"}},
	}
}

func TestSend(t *testing.T) {
	c := newCollector(t, false, nil)
	if err := newClient(t, nil).Send(context.Background(), upload(c.URL+"/in?x=1")); err != nil {
		t.Fatal(err)
	}
	r := c.got()[0]
	if r.method != "POST" || r.uri != "/in?x=1&oui=00259E&pc=HG+8245&sn=a%26b" || r.body != "report" {
		t.Errorf("got %+v", r)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/csv; charset=UTF-8; header=present", "Bbf-Report-Format": "ParameterPerRow",
		"Date": "Fri, 29 Mar 2013 03:52:29 GMT", "Content-Encoding": "", "Authorization": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := (Format{Encoding: JSON}).ContentType(); got != "application/json; charset=UTF-8" {
		t.Errorf("JSON is %s", got)
	}
}

func TestPutCompressedWithoutDate(t *testing.T) {
	for compression, c := range map[string]struct {
		coding string
		reader func(io.Reader) (io.ReadCloser, error)
	}{
		"GZIP":    {"gzip", func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
		"Deflate": {"deflate", zlib.NewReader},
	} {
		server := newCollector(t, false, nil)
		up := upload(server.URL)
		up.Method, up.Compression, up.Date = "PUT", compression, false
		if err := newClient(t, nil).Send(context.Background(), up); err != nil {
			t.Fatal(err)
		}
		got := server.got()[0]
		r, err := c.reader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil || string(body) != "report" || got.method != "PUT" || got.header.Get("Content-Encoding") != c.coding || got.header.Get("Date") != "" {
			t.Errorf("%s: got %+v, %q, %v", compression, got, body, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for code, good := range map[int]bool{200: true, 201: true, 202: true, 204: true, 304: false, 303: false, 400: false, 401: false, 404: false, 500: false, 503: false} {
		c := newCollector(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		err := newClient(t, nil).Send(context.Background(), upload(c.URL))
		var status *StatusError
		if good != (err == nil) || !good && (!errors.As(err, &status) || status.Code != code) {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// Credentials are sent when they are asked for, by digest rather than by basic.
func TestAuthentication(t *testing.T) {
	const challenge = `Digest realm="bdc", nonce="n1", qop="auth", algorithm=SHA-256`
	for _, c := range []struct {
		name       string
		challenges []string
		check      func(r *http.Request) bool
	}{
		{"basic", []string{`Basic realm="bdc"`}, func(r *http.Request) bool {
			u, p, ok := r.BasicAuth()
			return ok && u == "cpe" && p == "secret"
		}},
		{"digest", []string{`Basic realm="bdc"`, challenge}, func(r *http.Request) bool {
			cred, err := digest.ParseCredentials(r.Header.Get("Authorization"))
			if err != nil {
				return false
			}
			chal, err := digest.ParseChallenge(challenge)
			if err != nil {
				t.Fatal(err)
			}
			want, err := digest.Digest(chal, digest.Options{Method: "POST", URI: r.URL.RequestURI(), Username: "cpe", Password: "secret", Count: 1, Cnonce: cred.Cnonce})
			return err == nil && cred.Response == want.Response && cred.Algorithm == "SHA-256"
		}},
	} {
		server := newCollector(t, false, func(w http.ResponseWriter, r *http.Request) {
			if !c.check(r) {
				for _, ch := range c.challenges {
					w.Header().Add("WWW-Authenticate", ch)
				}
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		up := upload(server.URL + "/in")
		up.Username, up.Password = "cpe", "secret"
		if err := newClient(t, nil).Send(context.Background(), up); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := server.got(); len(got) != 2 || got[0].header.Get("Authorization") != "" || got[1].body != "report" {
			t.Errorf("%s: %+v", c.name, got)
		}
		up.Password = "wrong"
		var status *StatusError
		if err := newClient(t, nil).Send(context.Background(), up); !errors.As(err, &status) || status.Code != 401 {
			t.Errorf("%s with a wrong password: %v", c.name, err)
		}
	}
}

// A redirect gets the whole report, but the credentials only if it is to the
// collector that they are for.
func TestRedirects(t *testing.T) {
	for _, code := range []int{301, 302, 307, 308} {
		second := newCollector(t, false, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Basic realm="other"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		first := newCollector(t, false, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, second.URL+"/moved", code)
		})
		up := upload(first.URL)
		up.Username, up.Password = "cpe", "secret"
		var status *StatusError
		if err := newClient(t, nil).Send(context.Background(), up); !errors.As(err, &status) || status.Code != 401 {
			t.Errorf("%d: %v", code, err)
		}
		if got := second.got(); len(got) != 1 || got[0].method != "POST" || got[0].body != "report" || got[0].uri != "/moved" || got[0].header.Get("Authorization") != "" {
			t.Errorf("%d: %+v", code, got)
		}
	}
	loop := newCollector(t, false, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	})
	if err := newClient(t, nil).Send(context.Background(), upload(loop.URL)); err == nil || len(loop.got()) != maxRedirects {
		t.Errorf("a loop of redirects: %v after %d", err, len(loop.got()))
	}
}

func TestTLS(t *testing.T) {
	c := newCollector(t, true, nil)
	roots := x509.NewCertPool()
	roots.AddCert(c.Certificate())
	if err := newClient(t, roots).Send(context.Background(), upload(c.URL)); err != nil {
		t.Errorf("with the collector's certificate as root: %v", err)
	}
	if err := newClient(t, x509.NewCertPool()).Send(context.Background(), upload(c.URL)); err == nil || len(c.got()) != 1 {
		t.Errorf("a collector that nobody vouches for got the report: %v", err)
	}
	plain := newCollector(t, false, nil)
	c.answer = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
	}
	if err := newClient(t, roots).Send(context.Background(), upload(c.URL)); err == nil || len(plain.got()) != 0 {
		t.Errorf("from https to http: %v", err)
	}
}

// Only URLs of http and https without credentials are those of collectors, and only
// where the policy allows them.
func TestCollectorURL(t *testing.T) {
	client := newClient(t, nil)
	for url, ok := range map[string]bool{
		"http://127.0.0.1:8080/in": true, "https://127.0.0.1/": true, "http://192.0.2.7/": false,
		"ftp://127.0.0.1/": false, "127.0.0.1": false, "http://u:p@127.0.0.1/": false, "http:///x": false, "": false,
		"http://127.0.0.1/" + strings.Repeat("x", maxURL): false,
	} {
		if err := client.Check(url); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A name that leads to a forbidden address is refused when it is connected to.
func TestPolicyOfAddresses(t *testing.T) {
	c := newCollector(t, false, nil)
	port := netip.MustParseAddrPort(c.Listener.Addr().String()).Port()
	byName := fmt.Sprintf("http://localhost:%d/", port)
	client := NewClient(ClientConfig{})
	t.Cleanup(client.Close)
	if err := client.Send(context.Background(), upload(byName)); !errors.Is(err, ErrForbidden) || len(c.got()) != 0 {
		t.Errorf("localhost by default: %v", err)
	}
	if err := newClient(t, nil, "localhost").Send(context.Background(), upload(byName)); err != nil {
		t.Errorf("localhost where it is allowed: %v", err)
	}
	// A redirect leads nowhere else.
	outside := newCollector(t, false, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, c.URL, http.StatusTemporaryRedirect) })
	allowed := outside.Listener.Addr().String()
	if err := newClient(t, nil, allowed).Send(context.Background(), upload(outside.URL)); !errors.Is(err, ErrForbidden) || len(c.got()) != 1 {
		t.Errorf("redirected: %v, %d", err, len(c.got()))
	}
}

// A collector that does not answer is asked once in a while, so that it holds
// nothing up; one that answers is not held back.
func TestDeadCollector(t *testing.T) {
	now := collected
	s := collectors{now: func() time.Time { return now }}
	attempt := func(answered bool) error {
		done, err := s.begin("h")
		if err == nil {
			done(answered)
		}
		return err
	}
	for range restAfter {
		if err := attempt(false); err != nil {
			t.Fatal(err)
		}
	}
	if err := attempt(true); !errors.Is(err, ErrResting) {
		t.Fatalf("asked again at once: %v", err)
	}
	now = now.Add(restPause)
	probe, err := s.begin("h")
	if err != nil {
		t.Fatal(err)
	}
	if err := attempt(true); !errors.Is(err, ErrResting) {
		t.Fatalf("a second beside the first that asks: %v", err)
	}
	probe(true)
	if err := attempt(true); err != nil {
		t.Fatalf("after an answer: %v", err)
	}
	if len(s.byHost) != 0 {
		t.Errorf("%d collectors are remembered", len(s.byHost))
	}
	for i := range 3 * maxResting {
		done, err := s.begin(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		done(false)
	}
	if len(s.byHost) > maxResting {
		t.Errorf("%d collectors are remembered", len(s.byHost))
	}
}

// One collector is sent so many at once.
func TestBusyCollector(t *testing.T) {
	s := collectors{now: time.Now, most: 2}
	var done func(bool)
	for range 2 {
		var err error
		if done, err = s.begin("h"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.begin("h"); !errors.Is(err, ErrBusy) {
		t.Errorf("a third: %v", err)
	}
	if _, err := s.begin("other"); err != nil {
		t.Errorf("to another: %v", err)
	}
	done(true)
	if _, err := s.begin("h"); err != nil {
		t.Errorf("when one has ended: %v", err)
	}
}

// What a collector answers costs bounded memory.
func TestEndlessAnswer(t *testing.T) {
	c := newCollector(t, false, func(w http.ResponseWriter, r *http.Request) {
		chunk := bytes.Repeat([]byte("x"), 64<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	if err := newClient(t, nil).Send(context.Background(), upload(c.URL)); err != nil {
		t.Error(err)
	}
}
