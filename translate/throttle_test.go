package translate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/uspbridge/uspbridge/cwmp"
)

func quietThrottle(limit int) *throttle { return newThrottle(limit, slog.New(slog.DiscardHandler)) }

func deviceKey(i int) cwmp.DeviceKey { return cwmp.DeviceKey(fmt.Sprint("00AA01-P-", i)) }

// hold takes a turn that must be free.
func hold(t *testing.T, th *throttle, i int) (release func()) {
	t.Helper()
	release, err := th.acquire(t.Context(), deviceKey(i))
	if err != nil {
		t.Fatalf("device %d got no turn: %v", i, err)
	}
	return release
}

func wantState(t *testing.T, th *throttle, running, waiting int) {
	t.Helper()
	if r, w := th.state(); r != running || w != waiting {
		t.Errorf("%d run and %d wait, want %d and %d", r, w, running, waiting)
	}
}

// A session waits for its turn a moment and no longer.
func TestThrottleLetsNobodyWaitLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := quietThrottle(2)
		hold(t, th, 1)
		release := hold(t, th, 2)
		began := time.Now()
		if _, err := th.acquire(t.Context(), deviceKey(3)); !errors.Is(err, errMustWait) {
			t.Fatalf("a third at once: %v", err)
		}
		if d := time.Since(began); d != turnPatience {
			t.Errorf("waited %v, want %v", d, turnPatience)
		}
		time.AfterFunc(turnPatience/2, release)
		hold(t, th, 3)()
		wantState(t, th, 1, 0)
	})
}

// A discovery that takes very long waits for its CPE: others go on.
func TestThrottleSlowDiscoveryHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := quietThrottle(1)
		release := hold(t, th, 1)
		<-time.After(turnTime)
		synctest.Wait()
		second := hold(t, th, 2)
		release() // its turn is over already
		wantState(t, th, 1, 0)
		second()
		wantState(t, th, 0, 0)
	})
}

// Sessions that end while they wait leave nothing behind.
func TestThrottleSessionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := quietThrottle(1)
		defer hold(t, th, 1)()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(turnPatience/2, cancel)
		if _, err := th.acquire(ctx, deviceKey(2)); !errors.Is(err, context.Canceled) {
			t.Errorf("a session that was lost: %v", err)
		}
		wantState(t, th, 1, 0)
	})
}

// waking runs a throttle whose devices come, do not come or come late when they
// are woken, as come says.
func waking(t *testing.T, th *throttle, come func(ctx context.Context, key cwmp.DeviceKey)) {
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { th.run(ctx, come) })
	t.Cleanup(func() { cancel(); run.Wait() })
}

// Listed devices are woken in order as turns become free, half of them at most.
func TestThrottleWakesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := quietThrottle(4)
		var mu sync.Mutex
		var woken []cwmp.DeviceKey
		atOnce, most := 0, 0
		waking(t, th, func(_ context.Context, key cwmp.DeviceKey) {
			mu.Lock()
			woken = append(woken, key)
			atOnce++
			most = max(most, atOnce)
			mu.Unlock()
			<-time.After(time.Minute)
			mu.Lock()
			atOnce-- // it comes: another can be woken
			mu.Unlock()
			release, err := th.acquire(t.Context(), key)
			if err != nil {
				t.Errorf("%s was woken and had to wait: %v", key, err)
				return
			}
			release()
		})
		var want []cwmp.DeviceKey
		for i := range 20 {
			want = append(want, deviceKey(i))
			th.list(deviceKey(i))
			th.list(deviceKey(i)) // once is enough
		}
		<-time.After(time.Hour)
		// Two are begun at once, in whatever order.
		for i := 0; i < len(woken); i += 2 {
			slices.Sort(woken[i:min(i+2, len(woken))])
			slices.Sort(want[i : i+2])
		}
		if !slices.Equal(woken, want) || most != 2 {
			t.Errorf("woken, at most %d at once: %q", most, woken)
		}
		wantState(t, th, 0, 0)
	})
}

// A device that cannot be woken delays the others no longer than it takes to
// find that out, and loses its place.
func TestThrottleUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := quietThrottle(2)
		began := time.Now()
		done := make(chan time.Duration, 1)
		waking(t, th, func(ctx context.Context, key cwmp.DeviceKey) {
			if key == deviceKey(1) {
				time.AfterFunc(3*time.Second, func() { th.giveUp(key) }) // the connection request has failed
				<-ctx.Done()
				return
			}
			done <- time.Since(began)
		})
		th.list(deviceKey(1))
		th.list(deviceKey(2))
		if d := <-done; d != 3*time.Second {
			t.Errorf("the second was woken after %v, want 3 s", d)
		}
		synctest.Wait()
		wantState(t, th, 0, 0)
	})
}

// A listed device that comes by itself goes before sessions that asked later.
func TestThrottleKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := quietThrottle(1)
		release := hold(t, th, 0)
		th.list(deviceKey(1))
		var order []int
		var all sync.WaitGroup
		for _, i := range []int{2, 1} {
			all.Go(func() {
				release := hold(t, th, i)
				order = append(order, i)
				release()
			})
			synctest.Wait()
		}
		release()
		all.Wait()
		if !slices.Equal(order, []int{1, 2}) {
			t.Errorf("discovered in the order %v", order)
		}
		wantState(t, th, 0, 0)
	})
}

// That devices have to wait is said once, and once that none does any more.
func TestThrottleTellsOnce(t *testing.T) {
	var log strings.Builder
	th := newThrottle(1, slog.New(slog.NewTextHandler(&log, nil)))
	release := hold(t, th, 0)
	for i := range 100 {
		th.list(deviceKey(i))
	}
	release()
	for i := range 100 {
		hold(t, th, i)()
	}
	for text, times := range map[string]int{"limit reached": 1, "limit no longer reached": 1, "times=100": 1} {
		if n := strings.Count(log.String(), text); n != times {
			t.Errorf("%q was said %d times, want %d:\n%s", text, n, times, log.String())
		}
	}
}

func TestThrottleListIsBounded(t *testing.T) {
	var log strings.Builder
	th := newThrottle(1, slog.New(slog.NewTextHandler(&log, nil)))
	defer hold(t, th, 0)()
	th.absent = make([]turn, maxListed-1) // no more than their number counts here
	for i := range 3 {
		th.list(deviceKey(i + 1))
	}
	wantState(t, th, 1, 1)
	if n := strings.Count(log.String(), "further devices are not woken"); n != 1 {
		t.Errorf("that the list is full was said %d times:\n%s", n, log.String())
	}
}

// visitor is a device of TestThrottleProperty.
type visitor struct {
	reachable bool          // comes when it is woken
	after     time.Duration // of its first session
	long      time.Duration // its discovery takes
}

// Whatever devices do, no more than the limit run at once, each gets its turn in
// the end, and nothing is left.
func TestThrottleProperty(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(r, "limit")
		fleet := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) visitor {
			return visitor{rapid.Bool().Draw(r, "reachable"), time.Duration(rapid.IntRange(0, 5000).Draw(r, "after")) * time.Millisecond,
				time.Duration(rapid.IntRange(0, 10000).Draw(r, "long")) * time.Millisecond}
		}), 1, 30).Draw(r, "devices")
		var th *throttle
		var most int
		var missed []int
		synctest.Test(t, func(t *testing.T) {
			th = quietThrottle(limit) // in the bubble, for its channel
			most, missed = visits(t, th, fleet)
		})
		if most > limit {
			r.Fatalf("%d discoveries at once, at most %d are allowed", most, limit)
		}
		if len(missed) > 0 {
			r.Fatalf("devices %d were never discovered", missed)
		}
		if running, waiting := th.state(); running+waiting != 0 {
			r.Fatalf("%d run and %d wait when all is over", running, waiting)
		}
	})
}

// visits has each device come by itself, come when it is woken, and come by
// itself again when all is quiet. It returns how many were discovered at once,
// at most, and which never.
func visits(t *testing.T, th *throttle, fleet []visitor) (most int, missed []int) {
	var mu sync.Mutex
	running, found := 0, make([]bool, len(fleet))
	visit := func(ctx context.Context, i int) {
		mu.Lock()
		done := found[i]
		mu.Unlock()
		if done {
			return
		}
		release, err := th.acquire(ctx, deviceKey(i))
		if errors.Is(err, errMustWait) {
			th.list(deviceKey(i))
		}
		if err != nil {
			return
		}
		defer release()
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		<-time.After(fleet[i].long)
		mu.Lock()
		running--
		found[i] = true
		mu.Unlock()
	}
	byKey := map[cwmp.DeviceKey]int{}
	for i := range fleet {
		byKey[deviceKey(i)] = i
	}
	waking(t, th, func(ctx context.Context, key cwmp.DeviceKey) {
		if i := byKey[key]; fleet[i].reachable {
			<-time.After(time.Second)
			visit(ctx, i)
		}
	})
	var all sync.WaitGroup
	for i, v := range fleet {
		all.Go(func() {
			<-time.After(v.after)
			visit(t.Context(), i)
			<-time.After(time.Hour + time.Duration(i)*time.Minute) // the periodic Inform, when all is quiet
			visit(t.Context(), i)
		})
	}
	all.Wait()
	synctest.Wait()
	for i, ok := range found {
		if !ok {
			missed = append(missed, i)
		}
	}
	return most, missed
}
