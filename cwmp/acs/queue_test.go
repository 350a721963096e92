package acs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// bubble runs a test in a bubble of synctest: its clock stands still until all
// wait, so that hours of time-outs pass at once and in order.
func bubble(t *testing.T, cfg acs.Config, test func(t *testing.T, s *acs.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := acs.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
		synctest.Wait() // visits that go on come to their end
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Close(ctx) // also fails for what a test has left open on purpose
		if n := s.Entries(); n != 0 {
			t.Errorf("%d CPE are remembered though all are idle", n)
		}
	})
}

// pass lets the bubble's clock go on.
func pass(d time.Duration) { <-time.After(d) }

const getValues = `<c:GetParameterValuesResponse><ParameterList></ParameterList></c:GetParameterValuesResponse>`

// visit is a CPE's whole session: Inform, empty POST, then answers to whatever
// is asked until 204.
func visit(t *testing.T, s *acs.Server, serial string) (asked []string) {
	t.Helper()
	c := &direct{s: s, cpe: cpe{t: t}}
	if got := c.post(t.Context(), envelope("1", informOf(serial))); got != "InformResponse" {
		t.Errorf("Inform answered with %s", got)
		return nil
	}
	for body := ""; ; {
		got := c.post(t.Context(), body)
		switch got {
		case "204":
			return asked
		case "GetParameterValues":
			body = envelope(c.lastID, getValues)
		default:
			t.Errorf("asked for %s", got)
			return asked
		}
		asked = append(asked, got)
	}
}

func TestDoWakesTheCPE(t *testing.T) {
	f := newFleet()
	var wakes atomic.Int32
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		f.wake = func(context.Context, cwmp.DeviceKey) error {
			wakes.Add(1)
			go func() {
				pass(time.Second) // as CPE are
				visit(t, s, "A")
			}()
			return nil
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				err := s.Do(t.Context(), keyOf("A"), func(ctx context.Context, x *acs.Session) error { return f.call(ctx, x, gpv) })
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		if n := wakes.Load(); n != 1 {
			t.Errorf("%d connection requests for ten jobs", n)
		}
		if s.Sessions() != 0 || s.InSession(keyOf("A")) {
			t.Error("the session is still open")
		}
	})
	if n := strings.Count(strings.Join(f.notes(), "\n"), "GetParameterValues: GetParameterValuesResponse"); n != 10 {
		t.Errorf("%d jobs ran, want 10: %q", n, f.notes())
	}
}

// A slow connection request is cut short when the CPE comes by itself.
func TestWakeEndsWhenTheCPEComes(t *testing.T) {
	f := newFleet()
	f.wake = func(ctx context.Context, _ cwmp.DeviceKey) error { <-ctx.Done(); return ctx.Err() }
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		done := make(chan error, 1)
		start := time.Now()
		go func() {
			done <- s.Do(t.Context(), keyOf("A"), func(context.Context, *acs.Session) error { return nil })
		}()
		synctest.Wait()
		visit(t, s, "A")
		if err := <-done; err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the job waited %v for the connection request", d)
		}
	})
}

func TestDoFails(t *testing.T) {
	refused := errors.New("connection request: 401, the next periodic Inform is expected in 12 min")
	tests := []struct {
		name  string
		wake  func(context.Context, cwmp.DeviceKey) error
		want  []error
		says  string
		after time.Duration
		wakes int
	}{
		{"the CPE cannot be woken", func(context.Context, cwmp.DeviceKey) error { return refused },
			[]error{acs.ErrNoContact, refused}, "12 min", 25 * time.Second, 3},
		{"the CPE accepts and does not come", func(context.Context, cwmp.DeviceKey) error { return nil },
			[]error{acs.ErrNoContact, context.DeadlineExceeded}, "has not come", 25 * time.Second, 3},
		{"the connection request hangs", func(ctx context.Context, _ cwmp.DeviceKey) error { <-ctx.Done(); return ctx.Err() },
			[]error{acs.ErrNoContact, context.DeadlineExceeded}, "A", 25 * time.Second, 1},
		{"the connection request panics", func(context.Context, cwmp.DeviceKey) error { panic("boom") },
			[]error{acs.ErrNoContact}, "boom", 25 * time.Second, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet()
			wakes := 0
			f.wake = func(ctx context.Context, key cwmp.DeviceKey) error { wakes++; return tt.wake(ctx, key) }
			bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
				ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
				defer cancel()
				start := time.Now()
				err := s.Do(ctx, keyOf("A"), func(context.Context, *acs.Session) error { t.Error("a withdrawn job ran"); return nil })
				for _, want := range tt.want {
					if !errors.Is(err, want) {
						t.Errorf("error %v is not %v", err, want)
					}
				}
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error %v does not say %q", err, tt.says)
				}
				if d := time.Since(start); d != tt.after {
					t.Errorf("it took %v, want %v", d, tt.after)
				}
				visit(t, s, "A") // the job is gone
				if wakes != tt.wakes {
					t.Errorf("%d connection requests, want %d", wakes, tt.wakes)
				}
			})
		})
	}
}

// One who waits takes the connection request over from one who gave up.
func TestWakeIsTakenOver(t *testing.T) {
	f := newFleet()
	var wakes atomic.Int32
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		f.wake = func(ctx context.Context, _ cwmp.DeviceKey) error {
			if wakes.Add(1) == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			go visit(t, s, "A")
			return nil
		}
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		nothing := func(context.Context, *acs.Session) error { return nil }
		first := make(chan error, 1)
		go func() { first <- s.Do(short, keyOf("A"), nothing) }()
		synctest.Wait()
		start := time.Now()
		if err := s.Do(t.Context(), keyOf("A"), nothing); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("taken over after %v, want 3 s", d)
		}
		if err := <-first; !errors.Is(err, acs.ErrNoContact) {
			t.Errorf("the first got %v", err)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	f := newFleet()
	f.wake = func(context.Context, cwmp.DeviceKey) error { return nil }
	bubble(t, acs.Config{Fleet: f, QueueDepth: 3}, func(t *testing.T, s *acs.Server) {
		for range 3 {
			go s.Do(t.Context(), keyOf("A"), func(context.Context, *acs.Session) error { return nil })
		}
		synctest.Wait()
		err := s.Do(t.Context(), keyOf("A"), func(context.Context, *acs.Session) error { return nil })
		if !errors.Is(err, acs.ErrQueueFull) {
			t.Errorf("error = %v, want ErrQueueFull", err)
		}
		if err := s.Do(canceled(t), keyOf("B"), nil); !errors.Is(err, acs.ErrNoContact) {
			t.Errorf("with a context that has ended: %v", err)
		}
		visit(t, s, "A")
	})
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// A job that comes while the last answer is being worked on still gets in.
func TestJobDuringTheLastStep(t *testing.T) {
	f := newFleet()
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		done := make(chan error, 1)
		f.serve = func(context.Context, *acs.Session) error {
			go func() {
				done <- s.Do(t.Context(), keyOf("A"), func(ctx context.Context, x *acs.Session) error { return f.call(ctx, x, gpv) })
			}()
			pass(time.Second) // until Do has queued its job
			if !s.InSession(keyOf("A")) {
				t.Error("not in session during Serve")
			}
			return nil
		}
		if asked := visit(t, s, "A"); len(asked) != 1 {
			t.Errorf("asked for %q, want one GetParameterValues", asked)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Jobs behind one whose session broke run in the next session, the broken one not again.
func TestJobsOutliveABrokenSession(t *testing.T) {
	f := newFleet()
	f.wake = func(context.Context, cwmp.DeviceKey) error { return errors.New("unreachable") }
	bubble(t, acs.Config{Fleet: f, SessionTimeout: time.Second, RPCTimeout: time.Second}, func(t *testing.T, s *acs.Server) {
		job := func(name string, err chan error) {
			go func() {
				err <- s.Do(t.Context(), keyOf("A"), func(ctx context.Context, x *acs.Session) error {
					f.note("job %s", name)
					return f.call(ctx, x, gpv)
				})
			}()
			synctest.Wait()
		}
		one, two := make(chan error, 1), make(chan error, 1)
		job("one", one)
		job("two", two)
		c := &direct{s: s, cpe: cpe{t: t}}
		c.post(t.Context(), envelope("1", informOf("A")))
		if got := c.post(t.Context(), ""); got != "GetParameterValues" {
			t.Errorf("asked for %s", got)
		}
		if err := <-one; !errors.Is(err, acs.ErrSessionLost) { // the CPE is silent
			t.Errorf("job one: %v", err)
		}
		visit(t, s, "A")
		if err := <-two; err != nil {
			t.Errorf("job two: %v", err)
		}
	})
	if n := strings.Count(fmt.Sprint(f.notes()), "job one"); n != 1 {
		t.Errorf("job one was started %d times", n)
	}
}

// A job given up in mid-RPC leaves the session whole: the CPE's late answer is
// waited for and not taken for the next RPC's.
func TestJobGivenUpInMidRPC(t *testing.T) {
	f := newFleet()
	f.wake = func(context.Context, cwmp.DeviceKey) error { return nil }
	bubble(t, acs.Config{Fleet: f}, func(t *testing.T, s *acs.Server) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		one, two := make(chan error, 1), make(chan error, 1)
		do := func(ctx context.Context, req cwmp.Message, err chan error) {
			go func() {
				err <- s.Do(ctx, keyOf("A"), func(ctx context.Context, x *acs.Session) error { return f.call(ctx, x, req) })
			}()
			synctest.Wait()
		}
		do(ctx, add, one)
		do(t.Context(), gpv, two)
		c := &direct{s: s, cpe: cpe{t: t}}
		c.post(t.Context(), envelope("1", informOf("A")))
		c.post(t.Context(), "")
		if err := <-one; !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, acs.ErrSessionLost) {
			t.Errorf("job given up: %v", err)
		}
		late := `<c:AddObjectResponse><InstanceNumber>5</InstanceNumber><Status>0</Status></c:AddObjectResponse>`
		if got := c.post(t.Context(), envelope(c.lastID, late)); got != "GetParameterValues" {
			t.Fatalf("asked for %s", got)
		}
		if got := c.post(t.Context(), envelope(c.lastID, getValues)); got != "204" {
			t.Errorf("answer %s, want 204", got)
		}
		if err := <-two; err != nil {
			t.Errorf("job two: %v", err)
		}
	})
}

// waitFor waits until a condition holds that nothing announces.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}
