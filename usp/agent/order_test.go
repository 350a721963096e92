package agent

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/uspbridge/uspbridge/store"
)

const friendlyName = "Device.DeviceInfo.FriendlyName"

// told takes so many Notify messages and returns the values that they tell, in
// the order in which they were sent, and their message ids.
func (b *bench) told(n int) (values, ids []string) {
	b.t.Helper()
	for range n {
		m, id := b.notify(primary)
		values, ids = append(values, m.GetValueChange().GetParamValue()), append(ids, id)
	}
	b.silence()
	return values, ids
}

func (b *bench) expectTold(when string, want ...string) (ids []string) {
	b.t.Helper()
	got, ids := b.told(len(want))
	if !slices.Equal(got, want) {
		b.t.Fatalf("%s: told %q, want %q", when, got, want)
	}
	return ids
}

// Notifications of a subscription are retried oldest first, and what is made
// while an older one is retried is sent behind it, also across a restart.
func TestNotificationsKeepTheirOrder(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "o", "ValueChange", friendlyName, kv{"NotifRetry", "true", true})
	b.change(friendlyName, "1")
	b.clock.Advance(4 * time.Second)
	b.change(friendlyName, "2")
	b.expectTold("first transmissions", "1", "2")
	b.clock.Advance(time.Minute)
	b.due()
	b.expectTold("first retries", "1", "2")
	b.change(friendlyName, "3")
	b.change(friendlyName, "4")
	b.expectTold("made while others are retried")
	b.restart()
	b.clock.Advance(time.Minute)
	b.due()
	ids := b.expectTold("second retries", "1", "2", "3", "4")
	b.change(friendlyName, "5")
	for _, id := range ids[:3] {
		b.acknowledge(primary, id)
	}
	b.due()
	b.expectTold("answered in part: 4 was sent and not retried yet", "5")
	b.acknowledge(primary, ids[3])
	b.clock.Advance(time.Hour)
	b.due()
	last := b.expectTold("only the last has no answer", "5")
	b.acknowledge(primary, last[0])
	if n := b.store.count(store.Notification) + b.store.count(store.Due); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// One that cannot be delivered holds nothing up for longer than its own time.
func TestExpiryReleasesWhatWasHeld(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "o", "ValueChange", friendlyName, kv{"NotifRetry", "true", true}, kv{"NotifExpiration", "30", true})
	b.change(friendlyName, "1")
	b.clock.Advance(11 * time.Second)
	b.due()
	b.expectTold("sent and retried", "1", "1")
	b.change(friendlyName, "2")
	b.clock.Advance(20 * time.Second)
	b.due()
	b.expectTold("1 has expired, 2 has not", "2")
}

// Subscriptions do not wait for each other.
func TestSubscriptionsAreApart(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "a", "ValueChange", friendlyName, kv{"NotifRetry", "true", true})
	b.subscribe(primary, "b", "ValueChange", "Device.DeviceInfo.Manufacturer", kv{"NotifRetry", "true", true})
	b.change(friendlyName, "1")
	b.clock.Advance(time.Minute)
	b.due()
	b.expectTold("sent and retried", "1", "1")
	b.change("Device.DeviceInfo.Manufacturer", "Other")
	b.expectTold("another subscription", "Other")
}

// R-NOT.1: order costs no retry its range as long as all are in the same one.
func TestOrderKeepsToTheRanges(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "o", "ValueChange", friendlyName, kv{"NotifRetry", "true", true})
	b.net.setDown(true)
	for _, v := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		b.change(friendlyName, v)
	}
	start := b.clock.Now()
	a, err := b.host.agents.acquire(t.Context(), testAgent)
	if err != nil {
		t.Fatal(err)
	}
	defer b.host.agents.release(a)
	for name, w := range a.waiting.trains[train{primary, 101}] {
		if wait := time.UnixMilli(w.due).Sub(start); wait < 5*time.Second || wait > 10*time.Second {
			t.Errorf("%s is due after %v", name, wait)
		}
	}
	if a.waiting.count != 8 {
		t.Errorf("%d wait", a.waiting.count)
	}
}

// Beyond the bound what is new is dropped, and counted; within a batch as well.
func TestDroppedIsCounted(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Notifications = 2 })
	b.subscribe(primary, "o", "ValueChange", "Device.WiFi.", kv{"NotifRetry", "true", true})
	var events []Event
	for _, v := range []string{"1", "2", "3"} {
		events = append(events, Event{Kind: ValueChanged, Ref: b.ref("Device.WiFi.SSID.{i}.SSID", 1), Value: v})
	}
	b.raise(events...)
	b.expectTold("a batch", "1", "2")
	if n := testutil.ToFloat64(b.host.metrics.notifications.WithLabelValues("ValueChange", "dropped")); n != 1 {
		t.Errorf("%v counted as dropped", n)
	}
}

// A batch that the store refuses leaves nothing that waits.
func TestRefusedBatchLeavesNothing(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Notifications = 1 })
	b.subscribe(primary, "o", "ValueChange", friendlyName, kv{"NotifRetry", "true", true})
	b.store.mu.Lock()
	b.store.fail = errStore
	b.store.mu.Unlock()
	if err := b.host.Deliver(t.Context(), testAgent, []Event{{Kind: ValueChanged, Ref: b.ref(friendlyName), Value: "x"}}); err == nil {
		t.Fatal("no error")
	}
	b.store.mu.Lock()
	b.store.fail = nil
	b.store.mu.Unlock()
	b.notify(primary) // it was under way before the store refused
	b.change(friendlyName, "x")
	b.expectTold("said again", "x")
	if n := b.store.count(store.Notification); n != 1 {
		t.Errorf("%d notifications are stored", n)
	}
}

// R-NOT.4: when the device reboots what waits is sent at once and counts its
// retries from zero, in order, also after a restart.
func TestRebootResetsRetryCounts(t *testing.T) {
	b := newBench(t)
	const persistent = "Persistent"
	b.subscribe(primary, "o", "ValueChange", friendlyName, kv{"NotifRetry", "true", true}, kv{persistent, "true", true})
	b.subscribe(primary, "b", "Event", "Device.Boot!", kv{"NotifRetry", "true", true}, kv{persistent, "true", true})
	b.change(friendlyName, "1")
	for range 5 {
		b.clock.Advance(3 * time.Hour)
		b.due()
	}
	b.change(friendlyName, "2") // held behind the retries of 1
	b.expectTold("retries", "1", "1", "1", "1", "1", "1")
	b.raise(Event{Kind: Occurred, Ref: b.ref("Device.Boot!"), Args: map[string]string{"Cause": "LocalReboot"}})
	b.change(friendlyName, "3")
	if n, _ := b.notify(primary); n.GetEvent().GetEventName() != "Boot!" {
		t.Fatalf("told %v", n)
	}
	b.expectTold("nothing before what is older")
	b.restart()
	b.due()
	b.expectTold("after the reboot", "1", "2", "3")
	now := b.clock.Now()
	a, err := b.host.agents.acquire(t.Context(), testAgent)
	if err != nil {
		t.Fatal(err)
	}
	defer b.host.agents.release(a)
	for name, w := range a.waiting.trains[train{primary, 101}] {
		if wait := time.UnixMilli(w.due).Sub(now); w.attempts != 0 || wait < 5*time.Second || wait > 10*time.Second {
			t.Errorf("%s has been retried %d times and is due after %v", name, w.attempts, wait)
		}
	}
}

// An answer that comes while retry counts are reset is not undone by that.
func TestResetMeetsAnAnswer(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "o", "ValueChange", friendlyName, kv{"NotifRetry", "true", true})
	b.change(friendlyName, "1")
	_, id := b.notify(primary)
	b.clock.Advance(time.Minute)
	b.due()
	a, err := b.host.agents.acquire(t.Context(), testAgent)
	if err != nil {
		t.Fatal(err)
	}
	defer b.host.agents.release(a)
	once := true
	b.store.atCommit = func() {
		if once {
			once = false
			b.host.removeNotification(t.Context(), a, id, pending{Controller: primary, Subscription: 101})
		}
	}
	if err := b.host.retryAfresh(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if n := b.store.count(store.Notification); n != 0 || a.waiting.count != 0 {
		t.Errorf("%d are stored, %d wait", n, a.waiting.count)
	}
}
