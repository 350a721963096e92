package relay

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// sleeper is a rig with an agent that was connected and is away.
func sleeper(t *testing.T, lim HoldConfig) *rig {
	t.Helper()
	lim.Enabled = true
	r := newRig(t, func(c *Config) { c.Hold = lim })
	r.Connected(controller, "", connection("controller"))
	r.receive(overSocket("n", native, message(t, native, controller, "hello")))
	r.await(r.ws)
	r.Disconnected(native, "", connection("n"))
	return r
}

// wakeUp is the agent's return.
func (r *rig) wakeUp(id string) {
	r.t.Helper()
	r.receive(overSocket("n2", native, message(r.t, native, controller, id)))
}

// write sends records of the controller to the agent, in order.
func (r *rig) write(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		r.receive(overSocket("controller", controller, message(r.t, controller, native, id)))
	}
	r.lanes.wait()
}

// expectAtAgent wants those records to be sent to the agent next, besides what
// goes to the controller.
func (r *rig) expectAtAgent(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		got := r.await(r.ws)
		for got.to == controller {
			got = r.await(r.ws)
		}
		if want := string(message(r.t, controller, native, id)); got.record != want {
			r.t.Errorf("the agent gets %x, want %x", got.record, want)
		}
	}
}

func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%03d", i)
	}
	return ids
}

// TestRecordsWaitForAnAgentThatSleeps, over a restart, in their order, and those
// that come meanwhile behind them.
func TestRecordsWaitForAnAgentThatSleeps(t *testing.T) {
	r := sleeper(t, HoldConfig{})
	ids := names(3*drainBatch + 1)
	r.write(ids...)
	r.idle()
	if a, err := r.Show(native); err != nil || a.Held != len(ids) || a.HeldBytes == 0 || a.Reachable {
		t.Errorf("shown is %+v, %v", a, err)
	}
	r.restart()
	r.Connected(controller, "", connection("controller"))
	r.wakeUp("back")
	r.write("behind")
	r.expectAtAgent(append(ids, "behind")...)
	r.lanes.wait()
	if a, err := r.Show(native); err != nil || a.Held != 0 || a.HeldBytes != 0 || len(r.held.all) != 0 {
		t.Errorf("shown is %+v, %v; %d queues are left", a, err, len(r.held.all))
	}
	r.write("live")
	r.expectAtAgent("live")
}

// TestAnAgentThatIsAwayAgain: what was not sent waits on.
func TestAnAgentThatIsAwayAgain(t *testing.T) {
	r := sleeper(t, HoldConfig{})
	r.write(names(3)...)
	r.ws.setDown(true)
	r.wakeUp("back")
	r.lanes.wait()
	r.idle()
	if n, _ := r.held.of(native); n != 3 {
		t.Errorf("%d records wait, want 3", n)
	}
	r.ws.setDown(false)
	r.sweep(t.Context()) // the agent is there, the transport was not
	r.expectAtAgent(names(3)...)
}

func TestWaitingIsBounded(t *testing.T) {
	size := len(message(t, controller, native, "000"))
	for name, lim := range map[string]HoldConfig{
		"records of one agent":    {Records: 2},
		"bytes of one agent":      {Bytes: 2*size + 1},
		"records of all together": {TotalRecords: 2},
		"bytes of all together":   {TotalBytes: 2*size + 1},
	} {
		r := sleeper(t, lim)
		r.write(names(3)...)
		if n, _ := r.held.of(native); n != 2 {
			t.Errorf("%s: %d records wait, want 2", name, n)
		}
		if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedHeld)); n != 1 {
			t.Errorf("%s: %v records were dropped, want 1", name, n)
		}
	}
}

func TestWaitingEnds(t *testing.T) {
	r := sleeper(t, HoldConfig{Expiry: time.Hour})
	r.write("000")
	r.clock.Advance(time.Minute)
	r.write("001")
	r.clock.Advance(time.Hour - time.Minute)
	r.sweep(t.Context())
	if n, _ := r.held.of(native); n != 1 {
		t.Errorf("%d records wait, want 1", n)
	}
	r.clock.Advance(time.Minute) // nobody has swept since
	r.wakeUp("back")
	r.lanes.wait()
	if got := r.await(r.ws); got.to != controller {
		t.Errorf("an expired record was sent: %+v", got)
	}
	r.idle()
	if n := testutil.ToFloat64(r.metrics.dropped.WithLabelValues(droppedExpired)); n != 2 {
		t.Errorf("%v records have expired, want 2", n)
	}
}

// TestRecordsAreCountedOutOnce: an agent may be forgotten, or its records expire,
// while they are being sent.
func TestRecordsAreCountedOutOnce(t *testing.T) {
	r := sleeper(t, HoldConfig{})
	r.write(names(3)...)
	r.lanes.wait()
	batch, err := r.held.first(t.Context(), native)
	if err != nil || len(batch) != 3 {
		t.Fatalf("%d records wait, %v", len(batch), err)
	}
	r.write("more")
	for range 2 {
		if err := r.held.remove(t.Context(), native, batch...); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := r.held.of(native); n != 1 || r.held.records.Load() != 1 {
		t.Errorf("%d records wait, %d of all; want 1", n, r.held.records.Load())
	}
}

// TestNothingWaits where it must not.
func TestNothingWaits(t *testing.T) {
	r := sleeper(t, HoldConfig{})
	r.Disconnected(controller, "", connection("controller"))
	r.receive(overSocket("x", other, message(t, other, controller, "1"))) // for a controller
	r.lanes.wait()
	r.receive(overBroker(mtp.MQTT, "controller", message(t, controller, "os::never-heard", "2")))
	r.idle()
	if n := r.held.records.Load(); n != 0 {
		t.Errorf("%d records wait", n)
	}
	r.write("000")
	if err := r.Forget(t.Context(), native); err != nil {
		t.Fatal(err)
	}
	if n, bytes := r.held.records.Load(), r.held.bytes.Load(); n != 0 || bytes != 0 {
		t.Errorf("%d records, %d bytes wait for an agent that is forgotten", n, bytes)
	}
}
