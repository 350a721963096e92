package acs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// retried is an Inform with a RetryCount.
func retried(serial string, n int) string {
	return envelope("1", strings.Replace(informOf(serial), "<RetryCount>0", "<RetryCount>"+strconv.Itoa(n), 1))
}

// A tenth of all sessions is for those who have tried before. Who opens a session
// anew takes no place besides its own.
func TestReserve(t *testing.T) {
	steps := []struct {
		serial string
		retry  int
		want   int
	}{
		{"0", 0, 200}, {"1", 0, 200}, {"2", 0, 200}, {"3", 0, 200}, {"4", 0, 200}, {"5", 0, 200}, {"6", 0, 200}, {"7", 0, 200}, {"8", 0, 200},
		{"9", 0, 503},  // the tenth place is kept
		{"9", 1, 200},  // for one that comes again
		{"10", 9, 503}, // there is no eleventh
	}
	bubble(t, acs.Config{Fleet: newFleet(), MaxSessions: 10}, func(t *testing.T, s *acs.Server) {
		var last *direct
		for i, step := range steps {
			c := &direct{s: s, cpe: cpe{t: t}}
			w := c.request(t.Context(), retried(step.serial, step.retry))
			if w.Code != step.want {
				t.Errorf("step %d: status %d, want %d", i, w.Code, step.want)
			}
			if w.Code == 200 {
				c.cookie, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
				last = c
			}
		}
		if got := last.post(t.Context(), envelope("1", informOf("9"))); got != "InformResponse" {
			t.Errorf("a new session in place of its own: %s", got)
		}
		synctest.Wait()
		if n := s.Sessions(); n != 10 {
			t.Errorf("%d sessions are open", n)
		}
	})
}

// Who is sent away is told to come again between once and twice RetryAfter, and
// to close the connection.
func TestRetryAfterIsSpread(t *testing.T) {
	bubble(t, acs.Config{Fleet: newFleet(), MaxSessions: 1, RetryAfter: 10 * time.Second}, func(t *testing.T, s *acs.Server) {
		(&direct{s: s, cpe: cpe{t: t}}).post(t.Context(), envelope("1", informOf("A")))
		seen := map[int]bool{}
		for range 500 {
			w := (&direct{s: s, cpe: cpe{t: t}}).request(t.Context(), envelope("1", informOf("B")))
			seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
			if w.Code != 503 || err != nil || seconds < 10 || seconds > 20 || w.Header().Get("Connection") != "close" {
				t.Fatalf("status %d, headers %v", w.Code, w.Header())
			}
			seen[seconds] = true
		}
		if len(seen) != 11 {
			t.Errorf("Retry-After had %d values, want 10 to 20", len(seen))
		}
	})
}

// TestBurst: many more CPE than places come at once. No more are served at a time
// than there are places, and all are in the end.
func TestBurst(t *testing.T) {
	const count, places = 200, 10
	f := newFleet()
	var mu sync.Mutex
	open, most := 0, 0
	enter := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		open += n
		most = max(most, open)
	}
	f.serve = func(context.Context, *acs.Session) error {
		enter(1)
		pass(time.Second)
		enter(-1)
		return nil
	}
	bubble(t, acs.Config{Fleet: f, MaxSessions: places, RetryAfter: 5 * time.Second}, func(t *testing.T, s *acs.Server) {
		var all sync.WaitGroup
		began, tries := time.Now(), make([]int, count)
		for i := range count {
			all.Go(func() {
				for {
					c := &direct{s: s, cpe: cpe{t: t}}
					w := c.request(t.Context(), retried(fmt.Sprint(i), tries[i]))
					if w.Code == 200 {
						c.cookie, _, _ = strings.Cut(w.Header().Get("Set-Cookie"), ";")
						if got := c.post(t.Context(), ""); got != "204" {
							t.Errorf("CPE %d: %s", i, got)
						}
						return
					}
					tries[i]++
					seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
					if w.Code != 503 || err != nil {
						t.Errorf("CPE %d: status %d, Retry-After %v", i, w.Code, err)
						return
					}
					pass(time.Duration(seconds) * time.Second)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); most != places || took > 10*time.Minute {
			t.Errorf("at most %d sessions at once, %v until all were served", most, took)
		}
	})
}

// A limit is told of once when it begins to be reached, and once when it no
// longer is.
func TestLimitsAreToldOnce(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	bubble(t, acs.Config{Fleet: newFleet(), Log: log, MaxSessions: 8, QueueDepth: 4}, func(t *testing.T, s *acs.Server) {
		for range 2 {
			cpes := make([]*direct, 20)
			for i := range cpes {
				cpes[i] = &direct{s: s, cpe: cpe{t: t}}
				cpes[i].post(t.Context(), retried(fmt.Sprint(i), 1))
			}
			for _, c := range cpes[:8] {
				c.post(t.Context(), "")
			}
			synctest.Wait() // a session gives up its place after its last answer
		}
		var jobs sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 {
			jobs.Go(func() {
				err := s.Do(ctx, keyOf("Q"), func(context.Context, *acs.Session) error { return nil })
				if !errors.Is(err, acs.ErrQueueFull) && !errors.Is(err, acs.ErrNoContact) {
					t.Errorf("a job that nobody runs: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		jobs.Wait()
	})
	for _, want := range []struct {
		line  string
		times int
	}{
		{`level=WARN msg="limit reached: CPE are sent away`, 2},
		{`level=INFO msg="limit no longer reached" limit=cwmp.limits.sessions value=8 times=12`, 2},
		{`level=WARN msg="limit reached: more operations on this CPE`, 1},
		{`level=INFO msg="limit no longer reached" limit=cwmp.limits.queue`, 1},
		{`request refused`, 0},
	} {
		if n := strings.Count(text.String(), want.line); n != want.times {
			t.Errorf("%q is there %d times, want %d", want.line, n, want.times)
		}
	}
	if t.Failed() {
		t.Log(text.String())
	}
}

// limited serves an ACS through its own listener.
func limited(t *testing.T, cfg acs.Config) (*acs.Server, string) {
	t.Helper()
	s, err := acs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s)
	h.Config.ConnContext = acs.ConnContext
	h.Listener = s.Limit(h.Listener)
	h.Start()
	t.Cleanup(func() {
		_ = s.Close(t.Context()) // the CPE of the test have gone
		h.Close()
	})
	return s, h.URL
}

// Connections beyond their limit wait until another is closed, and are served
// then.
func TestConnectionsWait(t *testing.T) {
	var text syncText
	_, url := limited(t, acs.Config{Fleet: newFleet(), MaxConnections: 2, Log: slog.New(slog.NewTextHandler(&text, nil))})
	first, second, third := dial(t, url), dial(t, url), dial(t, url)
	first.write(posted("", envelope("1", informOf("A"))))
	first.read()
	second.write("P") // takes its place
	waitFor(t, func() bool { return strings.Contains(text.String(), "limit=cwmp.limits.connections") })
	third.write(posted("", envelope("1", informOf("C"))))
	first.close()
	if got := third.read().sum(); got != "InformResponse" {
		t.Errorf("the one that waited got %s", got)
	}
	for _, c := range []*raw{second, third} {
		c.close()
	}
	waitFor(t, func() bool { return strings.Contains(text.String(), "limit no longer reached") })
}

// When connections are scarce a session that has ended does not keep its own.
func TestScarceConnectionsAreClosed(t *testing.T) {
	_, url := limited(t, acs.Config{Fleet: newFleet(), MaxConnections: 3})
	for _, others := range []int{0, 1} {
		for range others {
			dial(t, url).write("P")
		}
		c := dial(t, url)
		c.write(posted("", envelope("1", informOf("A"))))
		if got := c.read(); got.closes {
			t.Error("the connection is closed in mid-session")
		}
		c.write(posted("", ""))
		if got := c.read(); got.status != 204 || got.closes != (others > 0) {
			t.Errorf("%d others: status %d, closed: %v", others, got.status, got.closes)
		}
		c.close()
	}
}

// A listener that is full can be closed.
func TestFullListenerCloses(t *testing.T) {
	s, err := acs.New(acs.Config{Fleet: newFleet(), MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := s.Limit(inner)
	c := dial(t, "http://"+inner.Addr().String())
	held, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := l.Accept(); ended <- err }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if err := errors.Join(held.(interface{ CloseWrite() error }).CloseWrite(), held.Close()); err != nil {
		t.Error(err)
	}
	if _, err := c.in.ReadByte(); err != io.EOF {
		t.Errorf("the connection ended with %v", err)
	}
}

// syncText is a log that is read while it is written.
type syncText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
