package upstream_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// existing is the operator's ACS: it writes down what came over which connection.
type existing struct {
	mu          sync.Mutex
	requests    []string // "connection METHOD path body"
	headers     []http.Header
	connections map[string]int
	closed      chan struct{} // one message for each connection closed
}

func (e *existing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	e.mu.Lock()
	if _, known := e.connections[r.RemoteAddr]; !known {
		e.connections[r.RemoteAddr] = len(e.connections) + 1
	}
	e.requests = append(e.requests, fmt.Sprintf("%d %s %s %d %s", e.connections[r.RemoteAddr], r.Method, r.RequestURI, r.ContentLength, body))
	h := r.Header.Clone()
	h.Set("Host", r.Host)
	e.headers = append(e.headers, h)
	e.mu.Unlock()
	w.Header().Set("Set-Cookie", "session=old-acs; Path=/")
	w.Header().Set("X-Odd", "kept")
	if bytes.Contains(body, []byte("close")) {
		w.Header().Set("Connection", "close")
	}
	if len(body) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	fmt.Fprintf(w, "existing ACS got %d bytes", len(body))
}

func (e *existing) seen() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// front is a door with a proxy behind it, listening on loopback.
func front(t *testing.T, cfg upstream.ProxyConfig, stage func(cwmp.DeviceID) upstream.Stage) (url string, e *existing) {
	t.Helper()
	e = &existing{connections: map[string]int{}, closed: make(chan struct{}, 100)}
	back := httptest.NewUnstartedServer(e)
	back.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			e.closed <- struct{}{}
		}
	}
	back.Start()
	t.Cleanup(back.Close)
	if cfg.URL == "" {
		cfg.URL = back.URL
	}
	p, err := upstream.NewProxy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bridge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Set-Cookie", acs.CookieName+"=1; Path=/")
		fmt.Fprintf(w, "bridge got %d bytes", len(body))
	})
	d, err := upstream.NewDoor(upstream.DoorConfig{Stage: stage, Bridged: bridge, Upstream: p, MaxBytes: 4000})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(d)
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return p.ConnContext(upstream.ConnContext(ctx, c), c)
	}
	s.Config.ConnState = p.ConnState
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, e
}

func inform(serial string) string {
	return `<E:Envelope xmlns:E="http://schemas.xmlsoap.org/soap/envelope/" xmlns:c="urn:dslforum-org:cwmp-1-0"><E:Body><c:Inform>` +
		`<DeviceId><Manufacturer>M</Manufacturer><OUI>00AA01</OUI><ProductClass>P</ProductClass><SerialNumber>` + serial +
		`</SerialNumber></DeviceId><Event></Event><MaxEnvelopes>1</MaxEnvelopes><CurrentTime>2026-01-01T00:00:00</CurrentTime>` +
		`<RetryCount>0</RetryCount><ParameterList></ParameterList></c:Inform></E:Body></E:Envelope>`
}

// bySerial gives each device the stage that its serial number names.
func bySerial(id cwmp.DeviceID) upstream.Stage {
	s, err := upstream.ParseStage(id.SerialNumber)
	if err != nil {
		panic(err)
	}
	return s
}

type client struct {
	t   *testing.T
	url string
	tr  *http.Transport
}

func newClient(t *testing.T, url string) *client {
	c := &client{t, url, &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}}
	t.Cleanup(c.tr.CloseIdleConnections)
	return c
}

func (c *client) post(body string, header ...string) (answer string, resp *http.Response) {
	c.t.Helper()
	r, err := http.NewRequest("POST", c.url+"/cpe?x=1", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err = c.tr.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	who, _, _ := strings.Cut(string(b), " ")
	return who, resp
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func TestDoorDecides(t *testing.T) {
	oldCookie, ourCookie := []string{"Cookie", "session=old-acs"}, []string{"Cookie", acs.CookieName + "=1"}
	type step struct {
		body   string
		header []string
		want   string // "existing", "bridge"
	}
	answer := "<E:Envelope>an answer</E:Envelope>"
	tests := []struct {
		name  string
		steps []step
	}{
		{"legacy", []step{{inform("legacy"), nil, "existing"}, {answer, oldCookie, "existing"}}},
		{"shadow and dual are the existing ACS's too", []step{{inform("shadow"), nil, "existing"}, {inform("dual"), nil, "existing"}}},
		{"bridged", []step{{inform("bridged"), nil, "bridge"}, {answer, ourCookie, "bridge"}}},
		{"native", []step{{inform("native"), nil, "bridge"}}},
		{"compressed Inform", []step{{gzipped(inform("legacy")), []string{"Content-Encoding", "gzip"}, "existing"}}},
		{"each Inform decides anew", []step{{inform("legacy"), nil, "existing"}, {inform("bridged"), oldCookie, "bridge"}, {answer, oldCookie, "bridge"}}},
		{"a new connection with our cookie", []step{{answer, ourCookie, "bridge"}}},
		{"a new connection with another cookie", []step{{answer, oldCookie, "existing"}}},
		{"a stranger", []step{{answer, nil, "bridge"}}},
		{"unreadable Inform", []step{{"<DeviceId>", nil, "bridge"}}},
		{"a lie about compression", []step{{"hello", []string{"Content-Encoding", "gzip"}, "bridge"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, _ := front(t, upstream.ProxyConfig{}, bySerial)
			c := newClient(t, url)
			for i, s := range tt.steps {
				if got, _ := c.post(s.body, s.header...); got != s.want {
					t.Errorf("step %d went to %s, want %s", i+1, got, s.want)
				}
			}
		})
	}
}

// What the existing ACS gets is what the CPE sent, and the other way round.
func TestProxyChangesNothing(t *testing.T) {
	url, e := front(t, upstream.ProxyConfig{}, bySerial)
	c := newClient(t, url)
	body := inform("legacy") + "\n<!-- to the last byte -->\x00\xff"
	_, resp := c.post(inform("legacy"), "Authorization", "Digest x", "Soapaction", `""`, "Cookie", "$Version=0; a=b", "User-Agent", "CPE/1")
	if resp.Header.Get("Set-Cookie") != "session=old-acs; Path=/" || resp.Header.Get("X-Odd") != "kept" {
		t.Errorf("headers of the answer: %v", resp.Header)
	}
	c.post(body)
	if _, resp := c.post(""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("status %d, want 204", resp.StatusCode)
	}
	want := []string{
		fmt.Sprintf("1 POST /cpe?x=1 %d %s", len(inform("legacy")), inform("legacy")),
		fmt.Sprintf("1 POST /cpe?x=1 %d %s", len(body), body),
		"1 POST /cpe?x=1 0 ",
	}
	if got := e.seen(); !slices.Equal(got, want) {
		t.Errorf("the existing ACS got %q, want %q", got, want)
	}
	h := e.headers[0]
	for name, want := range map[string]string{"Authorization": "Digest x", "Soapaction": `""`, "Cookie": "$Version=0; a=b", "User-Agent": "CPE/1",
		"X-Forwarded-For": "", "Accept-Encoding": "", "Host": strings.TrimPrefix(url, "http://")} {
		if got := h.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// One upstream connection for each CPE connection, closed with it.
//
// Deviation: GenieACS – binds a session to the connection and the cookie, and the digest nonce to the connection; each connection of a CPE has one of its own to the ACS
func TestConnectionsArePaired(t *testing.T) {
	url, e := front(t, upstream.ProxyConfig{}, bySerial)
	a, b := newClient(t, url), newClient(t, url)
	for range 2 {
		a.post(inform("legacy"))
		b.post(inform("legacy"))
	}
	var by []string
	for _, r := range e.seen() {
		by = append(by, r[:1])
	}
	if !slices.Equal(by, []string{"1", "2", "1", "2"}) {
		t.Errorf("requests came over connections %v", by)
	}
	a.tr.CloseIdleConnections()
	select {
	case <-e.closed:
	case <-time.After(10 * time.Second):
		t.Error("the upstream connection outlived the CPE's")
	}
}

// The existing ACS closes: so does the CPE's connection.
func TestCloseIsPassedOn(t *testing.T) {
	url, _ := front(t, upstream.ProxyConfig{}, bySerial)
	if _, resp := newClient(t, url).post(inform("legacy") + "<!-- close -->"); !resp.Close {
		t.Error("the CPE's connection was kept")
	}
}

// Deviation: FreeACS – reads a chunked Inform as an empty POST; requests are passed on with a length
func TestChunkedInformGetsALength(t *testing.T) {
	url, e := front(t, upstream.ProxyConfig{}, bySerial)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := inform("legacy")
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := fmt.Sprintf("1 POST / %d %s", len(body), body); !slices.Equal(e.seen(), []string{want}) {
		t.Errorf("the existing ACS got %q", e.seen())
	}
}

func TestUpstreamPathAndHost(t *testing.T) {
	e := &existing{connections: map[string]int{}}
	back := httptest.NewServer(e)
	defer back.Close()
	url, _ := front(t, upstream.ProxyConfig{URL: back.URL + "/old/acs", Host: "acs.example"}, bySerial)
	c := newClient(t, url)
	c.post(inform("legacy"))
	if got := e.seen(); len(got) != 1 || !strings.HasPrefix(got[0], "1 POST /old/acs ") || e.headers[0].Get("Host") != "acs.example" {
		t.Errorf("got %q, Host %q", got, e.headers[0].Get("Host"))
	}
	c.tr.CloseIdleConnections()
}

func TestFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	url, _ := front(t, upstream.ProxyConfig{URL: "http://" + l.Addr().String()}, bySerial)
	if _, resp := newClient(t, url).post(inform("legacy")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !resp.Close {
		t.Errorf("existing ACS down: status %d, %v", resp.StatusCode, resp.Header)
	}
	if _, resp := newClient(t, url).post(strings.Repeat("x", 5000)); resp.StatusCode != 413 {
		t.Errorf("oversized: status %d, want 413", resp.StatusCode)
	}
	for _, bad := range []string{"", "acs.example", "ftp://acs.example", "http://"} {
		if _, err := upstream.NewProxy(upstream.ProxyConfig{URL: bad}); err == nil {
			t.Errorf("upstream URL %q was accepted", bad)
		}
	}
	if _, err := upstream.NewDoor(upstream.DoorConfig{}); err == nil {
		t.Error("an empty DoorConfig was accepted")
	}
	if _, err := upstream.ParseStage("retired"); err == nil {
		t.Error("an unknown stage was accepted")
	}
}
