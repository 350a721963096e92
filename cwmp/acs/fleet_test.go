package acs_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is a Fleet that does what a test tells it and writes down what it saw.
type fleet struct {
	inform  func(*acs.Session) error
	serve   func(context.Context, *acs.Session) error
	request func(cwmp.Message) (cwmp.Message, error)
	wake    func(context.Context, cwmp.DeviceKey) error

	mu   sync.Mutex
	seen []string
	more chan struct{} // closed and replaced at each note
}

func newFleet() *fleet { return &fleet{more: make(chan struct{})} }

func (f *fleet) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, fmt.Sprintf(format, args...))
	close(f.more)
	f.more = make(chan struct{})
}

// until waits for a note that contains text.
func (f *fleet) until(t *testing.T, text string) {
	t.Helper()
	f.wait(t, text, func(seen []string) bool {
		return slices.ContainsFunc(seen, func(s string) bool { return strings.Contains(s, text) })
	})
}

// untilCount waits for n notes.
func (f *fleet) untilCount(t *testing.T, n int) {
	t.Helper()
	f.wait(t, fmt.Sprint(n, " notes"), func(seen []string) bool { return len(seen) >= n })
}

func (f *fleet) wait(t *testing.T, what string, enough func([]string) bool) {
	t.Helper()
	deadline := time.After(3 * time.Minute) // also in a bubble, where time-outs are waited for
	for {
		f.mu.Lock()
		done, more := enough(f.seen), f.more
		f.mu.Unlock()
		if done {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("waited in vain for %s; seen: %q", what, f.notes())
		}
	}
}

func (f *fleet) notes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

func (f *fleet) Inform(_ context.Context, s *acs.Session) error {
	f.note("Inform %s", s.DeviceID().SerialNumber)
	if f.inform != nil {
		return f.inform(s)
	}
	return nil
}

func (f *fleet) Serve(ctx context.Context, s *acs.Session) error {
	if f.serve != nil {
		return f.serve(ctx, s)
	}
	return nil
}

func (f *fleet) Request(_ context.Context, _ *acs.Session, req cwmp.Message) (cwmp.Message, error) {
	f.note("Request %s", req.RPC())
	if f.request != nil {
		return f.request(req)
	}
	return &cwmp.TransferCompleteResponse{}, nil
}

func (f *fleet) Ended(s *acs.Session, err error) {
	if err == nil {
		f.note("Ended %s", s.DeviceID().SerialNumber)
		return
	}
	f.note("Ended %s: %v", s.DeviceID().SerialNumber, err)
}

func (f *fleet) Wake(ctx context.Context, key cwmp.DeviceKey) error {
	if f.wake == nil {
		return errors.New("no connection request in this test")
	}
	return f.wake(ctx, key)
}

// call runs an RPC and writes down what came of it.
func (f *fleet) call(ctx context.Context, s acs.Caller, req cwmp.Message) error {
	resp, err := s.Call(ctx, req)
	var fault *cwmp.Fault
	switch {
	case errors.As(err, &fault):
		f.note("%s: fault %d", req.RPC(), fault.Code)
	case errors.Is(err, acs.ErrSessionLost):
		f.note("%s: lost", req.RPC())
	case err != nil:
		f.note("%s: %v", req.RPC(), err)
	default:
		f.note("%s: %s", req.RPC(), resp.RPC())
	}
	return err
}

// calling returns a serve function that runs the RPCs one after another.
func (f *fleet) calling(reqs ...cwmp.Message) func(context.Context, *acs.Session) error {
	return func(ctx context.Context, s *acs.Session) error {
		for _, r := range reqs {
			if err := f.call(ctx, s, r); errors.Is(err, acs.ErrSessionLost) {
				return err
			}
		}
		return nil
	}
}

// listen serves the ACS on loopback and closes both at the test's end.
func listen(t testing.TB, cfg acs.Config) (*acs.Server, string) {
	t.Helper()
	s, err := acs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s)
	h.Config.ConnContext = acs.ConnContext
	h.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // whatever is still open is broken off
		_ = s.Close(ctx)
		h.Close()
	})
	return s, h.URL
}

// cpe is the CPE's end of a dialogue: raw HTTP and strings, so that it shares
// no code with what it tests.
type cpe struct {
	t         testing.TB
	url       string
	transport *http.Transport
	cookie    string
	header    http.Header
	lastID    string // cwmp:ID of the ACS's last message
	previous  string // and of the one before
}

func newCPE(t testing.TB, url string) *cpe {
	c := &cpe{t: t, url: url, transport: &http.Transport{MaxConnsPerHost: 1}, header: http.Header{}}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

var (
	idPattern    = regexp.MustCompile(`:ID[^>]*>([^<]*)<`)
	bodyPattern  = regexp.MustCompile(`Body[^>]*>\s*<(?:[\w-]+:)?(\w+)`)
	retryPattern = regexp.MustCompile(`retry=(\d+)`)
	faultPattern = regexp.MustCompile(`FaultCode>(\d+)<`)
)

// post sends a body and sums the answer up: "204", "InformResponse",
// "Fault 8003", with the text of the answer beside it.
func (c *cpe) post(body string) (summary, text string) {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = c.header.Clone()
	req.Header.Set("Content-Type", "text/xml")
	if c.cookie != "" {
		req.Header.Set("Cookie", c.cookie)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if set := resp.Header.Get("Set-Cookie"); set != "" {
		c.cookie, _, _ = strings.Cut(set, ";")
	}
	return c.sum(resp.StatusCode, b), string(b)
}

func (c *cpe) sum(status int, b []byte) string {
	if status != http.StatusOK {
		return fmt.Sprint(status)
	}
	if m := idPattern.FindSubmatch(b); m != nil {
		c.previous, c.lastID = c.lastID, string(m[1])
	}
	m := bodyPattern.FindSubmatch(b)
	if m == nil {
		return "200 without a body"
	}
	if name := string(m[1]); name != "Fault" {
		return name
	}
	return "Fault " + string(faultPattern.FindSubmatch(b)[1])
}

// envelope writes what a CPE of CWMP 1.0 says.
func envelope(id, body string) string {
	header := ""
	if id != "" {
		header = `<E:Header><c:ID E:mustUnderstand="1">` + id + `</c:ID></E:Header>`
	}
	return `<E:Envelope xmlns:E="http://schemas.xmlsoap.org/soap/envelope/" xmlns:c="urn:dslforum-org:cwmp-1-0">` +
		header + `<E:Body>` + body + `</E:Body></E:Envelope>`
}

func informOf(serial string) string {
	return `<c:Inform><DeviceId><Manufacturer>M</Manufacturer><OUI>00AA01</OUI><ProductClass>P</ProductClass><SerialNumber>` +
		serial + `</SerialNumber></DeviceId><Event><EventStruct><EventCode>2 PERIODIC</EventCode><CommandKey></CommandKey></EventStruct></Event>` +
		`<MaxEnvelopes>1</MaxEnvelopes><CurrentTime>2026-01-01T00:00:00</CurrentTime><RetryCount>0</RetryCount><ParameterList></ParameterList></c:Inform>`
}

func keyOf(serial string) cwmp.DeviceKey {
	return cwmp.DeviceID{OUI: "00AA01", ProductClass: "P", SerialNumber: serial}.Key()
}

const transferComplete = `<c:TransferComplete><CommandKey>k</CommandKey><FaultStruct><FaultCode>0</FaultCode><FaultString></FaultString></FaultStruct>` +
	`<StartTime>0001-01-01T00:00:00Z</StartTime><CompleteTime>0001-01-01T00:00:00Z</CompleteTime></c:TransferComplete>`

// say sends one line of a dialogue: what it is, then "id=…" to give another id
// than the right one ("id=" for none). An Inform may be of a "boot", and have
// "retry=…".
func (c *cpe) say(line string) string {
	c.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	arg, id := "", c.lastID
	for _, f := range strings.Fields(rest) {
		if v, ok := strings.CutPrefix(f, "id="); ok {
			if id = v; v == "previous" {
				id = c.previous
			}
		} else if arg == "" {
			arg = f
		}
	}
	body := ""
	switch {
	case word == "empty":
	case word == "newline":
		body = "\r\n"
	case word == "garbage":
		body = "<E:Envelope><not xml"
	case word == "nobody":
		body = envelope(id, "")
	case word == "Inform":
		body = envelope("cpe-1", informOf(arg))
		if strings.Contains(rest, " boot") {
			body = strings.Replace(body, "2 PERIODIC", "1 BOOT", 1)
		}
		if n := retryPattern.FindStringSubmatch(rest); n != nil {
			body = strings.Replace(body, "<RetryCount>0", "<RetryCount>"+n[1], 1)
		}
	case word == "TransferComplete" && arg == "holding":
		body = strings.Replace(envelope("cpe-7", transferComplete), "</E:Header>", "<c:HoldRequests>1</c:HoldRequests></E:Header>", 1)
	case word == "TransferComplete":
		body = envelope("cpe-7", transferComplete)
	case word == "GetParameterValuesResponse":
		body = envelope(id, `<c:GetParameterValuesResponse><ParameterList></ParameterList></c:GetParameterValuesResponse>`)
	case word == "AddObjectResponse":
		body = envelope(id, `<c:AddObjectResponse><InstanceNumber>5</InstanceNumber><Status>0</Status></c:AddObjectResponse>`)
	case word == "Fault":
		body = envelope(id, `<E:Fault><faultcode>Client</faultcode><faultstring>CWMP fault</faultstring><detail><c:Fault><FaultCode>`+
			arg+`</FaultCode><FaultString>no</FaultString></c:Fault></detail></E:Fault>`)
	default:
		body = envelope(id, "<c:"+word+"/>")
	}
	got, _ := c.post(body)
	return got
}

// direct is a CPE without a network: its requests end by their contexts, and it
// can be used in a bubble of package synctest.
type direct struct {
	cpe
	s *acs.Server
}

func (d *direct) request(ctx context.Context, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
	if d.cookie != "" {
		r.Header.Set("Cookie", d.cookie)
	}
	w := httptest.NewRecorder()
	d.s.ServeHTTP(w, r)
	return w
}

func (d *direct) post(ctx context.Context, body string) string {
	w := d.request(ctx, body)
	if set := w.Header().Get("Set-Cookie"); set != "" {
		d.cookie, _, _ = strings.Cut(set, ";")
	}
	return d.sum(w.Code, w.Body.Bytes())
}

func request(method, url, body string, h http.Header) *http.Request {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		panic(err) // the test's own mistake
	}
	if h != nil {
		r.Header = h
	}
	return r
}

// deflated compresses with or without the zlib format around it.
func deflated(s string, wrapped bool) string {
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if !wrapped {
		var err error
		if w, err = flate.NewWriter(&b, flate.DefaultCompression); err != nil {
			panic(err)
		}
	}
	if _, err := io.WriteString(w, s); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
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
