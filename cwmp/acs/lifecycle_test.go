package acs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name  string
		steps []string
		after time.Duration
	}{
		{"after the Inform", nil, 60 * time.Second},
		{"while an RPC is outstanding", []string{""}, 2 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet()
			f.serve = f.calling(gpv)
			bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
				c := &direct{s: s, cpe: cpe{t: t}}
				c.post(t.Context(), envelope("1", informOf("A")))
				for _, body := range tt.steps {
					c.post(t.Context(), body)
				}
				start := time.Now()
				f.until(t, "Ended A: ")
				synctest.Wait()
				if d := time.Since(start); d != tt.after {
					t.Errorf("ended after %v, want %v", d, tt.after)
				}
				if got := c.post(t.Context(), ""); got != "400" {
					t.Errorf("the late CPE got %s, want 400", got)
				}
			})
		})
	}
}

// A session that has lasted too long ends in order; what waits wakes the CPE
// anew, once.
func TestSessionDuration(t *testing.T) {
	f := newFleet()
	var wakes atomic.Int32
	bubble(t, acs.Config{Fleet: f, SessionDuration: time.Minute}, func(t *testing.T, s *acs.Server) {
		f.wake = func(context.Context, cwmp.DeviceKey) error {
			wakes.Add(1)
			go visit(t, s, "A")
			return nil
		}
		f.serve = func(context.Context, *acs.Session) error {
			if wakes.Load() == 0 {
				pass(2 * time.Minute)
			}
			return nil
		}
		go visit(t, s, "A")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Do(ctx, keyOf("A"), func(context.Context, *acs.Session) error { return nil }); err != nil {
			t.Errorf("the job was not done in the next session: %v", err)
		}
		synctest.Wait()
		if n := wakes.Load(); n != 1 {
			t.Errorf("%d connection requests, want 1", n)
		}
	})
}

func TestMaxSessions(t *testing.T) {
	f := newFleet()
	bubble(t, acs.Config{Fleet: f, MaxSessions: 2}, func(t *testing.T, s *acs.Server) {
		open := make([]*direct, 3)
		for i := range open {
			open[i] = &direct{s: s, cpe: cpe{t: t}}
			w := open[i].request(t.Context(), envelope("1", informOf(fmt.Sprint(i))))
			if i < 2 && w.Code != 200 || i == 2 && (w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "") {
				t.Errorf("session %d: status %d, Retry-After %q", i, w.Code, w.Header().Get("Retry-After"))
			}
		}
		if s.Sessions() != 2 {
			t.Errorf("%d sessions open, want 2", s.Sessions())
		}
	})
}

func TestPanicEndsOneSession(t *testing.T) {
	boom := func(context.Context, *acs.Session) error { panic("boom") }
	f := newFleet()
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		other := &direct{s: s, cpe: cpe{t: t}}
		other.post(t.Context(), envelope("1", informOf("B")))
		f.wake = func(context.Context, cwmp.DeviceKey) error { go visit(t, s, "A"); return nil }
		if err := s.Do(t.Context(), keyOf("A"), boom); err == nil || !strings.Contains(err.Error(), "boom") {
			t.Errorf("error = %v", err)
		}
		f.until(t, "Ended A: ")
		f.serve = boom
		visit(t, s, "C")
		f.serve = nil
		f.request = func(cwmp.Message) (cwmp.Message, error) { panic("boom") }
		c := &direct{s: s, cpe: cpe{t: t}}
		c.post(t.Context(), envelope("1", informOf("D")))
		if got := c.post(t.Context(), envelope("2", transferComplete)); got != "Fault 8002" {
			t.Errorf("answer %s, want Fault 8002", got)
		}
		if got := other.post(t.Context(), ""); got != "204" {
			t.Errorf("the other CPE got %s", got)
		}
	})
}

func TestClose(t *testing.T) {
	f := newFleet()
	f.wake = func(context.Context, cwmp.DeviceKey) error { return nil }
	f.serve = f.calling(gpv)
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		waiting := make(chan error, 1)
		go func() {
			waiting <- s.Do(t.Context(), keyOf("W"), func(context.Context, *acs.Session) error { return nil })
		}()
		orderly, stuck := &direct{s: s, cpe: cpe{t: t}}, &direct{s: s, cpe: cpe{t: t}}
		orderly.post(t.Context(), envelope("1", informOf("A")))
		stuck.post(t.Context(), envelope("1", informOf("B")))
		orderly.post(t.Context(), "")
		stuck.post(t.Context(), "")

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- s.Close(ctx) }()
		if err := <-waiting; !errors.Is(err, acs.ErrClosed) {
			t.Errorf("a waiting job got %v", err)
		}
		late := &direct{s: s, cpe: cpe{t: t}}
		if got := late.post(t.Context(), envelope("1", informOf("C"))); got != "503" {
			t.Errorf("a new session got %s", got)
		}
		if got := orderly.post(t.Context(), envelope(orderly.lastID, getValues)); got != "204" {
			t.Errorf("an open session got %s", got)
		}
		if err := <-closed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close = %v, want a deadline", err)
		}
		if err := s.Do(t.Context(), keyOf("A"), nil); !errors.Is(err, acs.ErrClosed) {
			t.Errorf("Do after Close: %v", err)
		}
	})
	seen := strings.Join(f.notes(), "\n")
	for _, want := range []string{"Ended A\n", "Ended B: "} {
		if !strings.Contains(seen+"\n", want) {
			t.Errorf("%q was not seen: %s", want, seen)
		}
	}
}

func TestDetached(t *testing.T) {
	c := callerFunc(func(context.Context, cwmp.Message) (cwmp.Message, error) { return &cwmp.RebootResponse{}, nil })
	x := acs.Detached(&cwmp.Inform{DeviceID: cwmp.DeviceID{OUI: "1", SerialNumber: "2"}}, c)
	if resp, err := x.Call(t.Context(), rebootQ); err != nil || resp.RPC() != "RebootResponse" || x.Key() != "1--2" {
		t.Errorf("%v, %v, %s", resp, err, x.Key())
	}
}

// TestThrough: with somebody in front of it a session shows the same of itself.
func TestThrough(t *testing.T) {
	f := newFleet()
	shown := make(chan [2][]any, 1)
	f.serve = func(_ context.Context, s *acs.Session) error {
		s.SetData("data")
		var both [2][]any
		for i, s := range []*acs.Session{s, s.Through(callerFunc(nil))} {
			both[i] = []any{s.Key(), s.DeviceID(), s.Inform(), s.Version(), s.Speaks(), s.User(), s.RemoteAddr(), s.BaseURL(), s.Started(), s.Data()}
		}
		shown <- both
		return nil
	}
	_, url := listen(t, acs.Config{Fleet: f})
	c := newCPE(t, url)
	c.post(envelope("1", informOf("A")))
	c.post("")
	both := <-shown
	if !reflect.DeepEqual(both[0], both[1]) || both[0][7] != url {
		t.Errorf("a session shows %v, and through another %v; it was opened at %s", both[0], both[1], url)
	}
}

type callerFunc func(context.Context, cwmp.Message) (cwmp.Message, error)

func (f callerFunc) Call(ctx context.Context, m cwmp.Message) (cwmp.Message, error) { return f(ctx, m) }

func TestCallOutOfTurn(t *testing.T) {
	f := newFleet()
	f.inform = func(x *acs.Session) error {
		if _, err := x.Call(t.Context(), gpv); err == nil {
			t.Error("an RPC was sent before the InformResponse")
		}
		return nil
	}
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) { visit(t, s, "A") })
}

func TestConfig(t *testing.T) {
	for _, cfg := range []acs.Config{{}, {Fleet: newFleet(), MaxSessions: -1}, {Fleet: newFleet(), RPCTimeout: -1}} {
		if _, err := acs.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// Many CPE at once, each breaking off at random places: nothing is left behind
// and each job is run at most once.
func TestStorm(t *testing.T) {
	f := newFleet()
	f.serve = f.calling(gpv)
	s, url := listen(t, acs.Config{Fleet: f, SessionTimeout: 200 * time.Millisecond, RPCTimeout: 200 * time.Millisecond})
	f.wake = func(context.Context, cwmp.DeviceKey) error { return nil }
	var all sync.WaitGroup
	var ran atomic.Int32
	for i := range 20 {
		serial := fmt.Sprint(i)
		all.Go(func() {
			c := newCPE(t, url)
			for n := range 6 {
				c.say("Inform " + serial)
				for step, body := 0, "empty"; step < n; step++ {
					if got := c.say(body); got != "GetParameterValues" {
						break
					}
					body = "GetParameterValuesResponse"
				}
			}
		})
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_ = s.Do(ctx, keyOf(serial), func(context.Context, *acs.Session) error { ran.Add(1); return nil }) // may come too late
		})
	}
	all.Wait()
	if ran.Load() > 20 {
		t.Errorf("%d runs of 20 jobs", ran.Load())
	}
	waitFor(t, func() bool { return s.Sessions() == 0 && s.Entries() == 0 })
}

// The counters say how sessions ended and who was refused.
func TestMetrics(t *testing.T) {
	f := newFleet()
	f.serve = f.calling(gpv)
	reg := prometheus.NewRegistry()
	cfg := acs.Config{Fleet: f, Metrics: reg}
	bubble(t, cfg, func(t *testing.T, s *acs.Server) {
		visit(t, s, "A")
		c := &direct{s: s, cpe: cpe{t: t}}
		c.post(t.Context(), envelope("1", informOf("B")))
		c.post(t.Context(), "garbage")
		c.post(t.Context(), "")
	})
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, fam := range families {
		for _, m := range fam.GetMetric() {
			name := fam.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"uspbridge_cwmp_informs_total": 2, "uspbridge_cwmp_sessions_total ok": 1, "uspbridge_cwmp_sessions_total unreadable": 1,
		"uspbridge_cwmp_rpc_total ok GetParameterValues": 1, "uspbridge_cwmp_refused_total no_session": 1,
		"uspbridge_cwmp_sessions_open": 0, "uspbridge_cwmp_session_seconds": 2,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %v, want %v; all: %v", name, v, want, got)
		}
	}
	if _, err := acs.New(cfg); err == nil {
		t.Error("metrics were registered twice")
	}
}
