package cpesim

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// post is a request of a CPE as it was on the wire.
type post struct {
	header   http.Header
	protocol string
	chunked  bool
	body     string
}

// scriptedACS answers Informs and, on the empty POST, sends what was queued, one
// RPC at a time. It knows a session by its cookie, else by the connection.
type scriptedACS struct {
	*httptest.Server
	informs chan *cwmp.Inform

	mu        sync.Mutex
	queue     []cwmp.Message
	answers   []cwmp.Message // responses and faults to queued RPCs
	requests  []cwmp.Message // the CPE's own, but Inform
	replies   []int          // HTTP status of the next Informs, 0: an InformResponse
	hold      int            // so many answers hold the CPE's requests
	cookies   []string       // as seen with each POST
	posts     []post
	remotes   map[string]bool
	informErr cwmp.FaultCode // answers each Inform

	retryAfter string // header with each of replies
	end        int    // HTTP status that ends a session; 204 if 0
}

func newACS(t testing.TB) *scriptedACS {
	a := &scriptedACS{informs: make(chan *cwmp.Inform, 20_000), remotes: map[string]bool{}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *scriptedACS) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cookies = append(a.cookies, r.Header.Get("Cookie"))
	a.remotes[r.RemoteAddr] = true
	a.posts = append(a.posts, post{r.Header, r.Proto, len(r.TransferEncoding) > 0, string(body)})
	var in soap.Envelope
	if len(body) > 0 {
		e, err := soap.Read(body, r.Header.Get("Content-Type"), soap.DefaultLimits())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		in = *e
	}
	switch m := in.Body.(type) {
	case *cwmp.Inform:
		a.inform(w, in, m)
		return
	case *cwmp.TransferComplete, *cwmp.AutonomousTransferComplete, *cwmp.DUStateChangeComplete, *cwmp.AutonomousDUStateChangeComplete,
		*cwmp.RequestDownload, *cwmp.Kicked:
		a.requests = append(a.requests, m)
		a.send(w, &soap.Envelope{ID: in.ID, HasID: true, Version: in.Version, Body: responseTo(m)})
		return
	case nil:
	default:
		a.answers = append(a.answers, m)
	}
	if len(a.queue) == 0 {
		w.WriteHeader(cmp.Or(a.end, http.StatusNoContent))
		return
	}
	next := a.queue[0]
	a.queue = a.queue[1:]
	a.send(w, &soap.Envelope{ID: "acs-" + strconv.Itoa(len(a.queue)), HasID: true, Version: cwmp.Version1_2, Body: next})
}

func responseTo(m cwmp.Message) cwmp.Message {
	switch m.(type) {
	case *cwmp.TransferComplete:
		return &cwmp.TransferCompleteResponse{}
	case *cwmp.AutonomousTransferComplete:
		return &cwmp.AutonomousTransferCompleteResponse{}
	case *cwmp.DUStateChangeComplete:
		return &cwmp.DUStateChangeCompleteResponse{}
	case *cwmp.AutonomousDUStateChangeComplete:
		return &cwmp.AutonomousDUStateChangeCompleteResponse{}
	case *cwmp.RequestDownload:
		return &cwmp.RequestDownloadResponse{}
	}
	return &cwmp.KickedResponse{NextURL: "/next"}
}

func (a *scriptedACS) inform(w http.ResponseWriter, in soap.Envelope, m *cwmp.Inform) {
	if len(a.replies) > 0 {
		status := a.replies[0]
		a.replies = a.replies[1:]
		if status != 0 {
			w.Header().Set("Retry-After", a.retryAfter)
			w.WriteHeader(status)
			return
		}
	}
	if a.informErr != 0 {
		a.send(w, &soap.Envelope{ID: in.ID, HasID: true, Version: in.Version, Body: cwmp.NewFault(a.informErr)})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "session", Value: strconv.Itoa(len(a.cookies))})
	a.send(w, &soap.Envelope{ID: in.ID, HasID: true, Version: in.Version, Body: &cwmp.InformResponse{MaxEnvelopes: 1}})
	a.informs <- m
}

func (a *scriptedACS) send(w http.ResponseWriter, e *soap.Envelope) {
	if a.hold > 0 {
		a.hold--
		e.HoldRequests = true
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.Write(soap.Append(nil, e))
}

// ask queues RPCs, has the CPE open a session and returns its answers.
func (a *scriptedACS) ask(t testing.TB, c *CPE, requests ...cwmp.Message) []cwmp.Message {
	t.Helper()
	a.mu.Lock()
	a.queue = append(a.queue, requests...)
	a.answers = nil
	a.mu.Unlock()
	if err := c.Inform(cwmp.Event{Code: cwmp.EventConnectionRequest}); err != nil {
		t.Fatalf("session: %v", err)
	}
	a.next(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.answers) != len(requests) {
		t.Fatalf("%d RPCs were asked, %d answered: %v", len(requests), len(a.answers), a.answers)
	}
	return slices.Clone(a.answers)
}

// next waits for an Inform.
func (a *scriptedACS) next(t testing.TB) *cwmp.Inform {
	t.Helper()
	select {
	case m := <-a.informs:
		return m
	case <-time.After(patience):
		t.Fatal("no Inform came")
		return nil
	}
}

func (a *scriptedACS) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// manualClock moves when the test says so.
type manualClock struct {
	mu      sync.Mutex
	now     time.Time
	waiting map[chan time.Time]time.Time
}

func newClock() *manualClock {
	return &manualClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), waiting: map[chan time.Time]time.Time{}}
}

func (m *manualClock) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

func (m *manualClock) At(t time.Time) (<-chan time.Time, func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := make(chan time.Time, 1)
	if !t.After(m.now) {
		c <- m.now
		return c, func() {}
	}
	m.waiting[c] = t
	return c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.waiting, c)
	}
}

func (m *manualClock) advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	for c, t := range m.waiting {
		if !t.After(m.now) {
			c <- m.now
			delete(m.waiting, c)
		}
	}
}

// bench is one CPE at one ACS, booted and past its first session.
type bench struct {
	acs   *scriptedACS
	clock *manualClock
	fleet *Fleet
	cpe   *CPE
}

func startFleet(t testing.TB, config FleetConfig) *Fleet {
	t.Helper()
	f, err := NewFleet(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFleet(t, f) })
	return f
}

func closeFleet(t testing.TB, f *Fleet) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		t.Errorf("closing the fleet: %v", err)
	}
}

func newBench(t testing.TB, config Config) *bench {
	t.Helper()
	b := &bench{acs: newACS(t), clock: newClock()}
	b.fleet = startFleet(t, FleetConfig{Clock: b.clock, BootTime: time.Minute})
	b.cpe = b.add(t, config)
	first := b.acs.next(t)
	if len(first.Events) == 0 {
		t.Fatal("the first Inform has no event")
	}
	b.settle(t)
	return b
}

func (b *bench) add(t testing.TB, config Config) *CPE {
	t.Helper()
	config.ACSURL = b.acs.URL
	if config.Model == nil && config.Replay == nil {
		config.Model = TR181()
	}
	c, err := b.fleet.Add(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// settle waits until the CPE is not at work.
func (b *bench) settle(t testing.TB) {
	t.Helper()
	wait(t, "the CPE to be idle", func() bool {
		b.cpe.mu.Lock()
		defer b.cpe.mu.Unlock()
		b.fleet.timers.mu.Lock()
		defer b.fleet.timers.mu.Unlock()
		return !b.cpe.busy && !b.cpe.out && !b.cpe.due.IsZero() && (b.cpe.due.After(b.clock.Now()) || b.cpe.slot == 0)
	})
}

// wait polls a condition that nothing signals.
func wait(t testing.TB, what string, met func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func codes(m *cwmp.Inform) []cwmp.EventCode {
	var list []cwmp.EventCode
	for _, e := range m.Events {
		list = append(list, e.Code)
	}
	return list
}

func wantEvents(t *testing.T, m *cwmp.Inform, want ...cwmp.EventCode) {
	t.Helper()
	if got := codes(m); !slices.Equal(got, want) {
		t.Errorf("the Inform has events %q, want %q", got, want)
	}
}

func wantFault(t *testing.T, m cwmp.Message, code cwmp.FaultCode) *cwmp.Fault {
	t.Helper()
	f, ok := m.(*cwmp.Fault)
	if !ok || f.Code != code {
		t.Fatalf("the answer is %s %v, want fault %d", m.RPC(), m, code)
	}
	return f
}

func reportedValue(m *cwmp.Inform, name cwmp.Path) (string, bool) {
	for _, p := range m.ParameterList {
		if p.Name == name {
			return p.Value.Text, true
		}
	}
	return "", false
}
