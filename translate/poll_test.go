package translate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
)

// What a CPE does not notify is polled while somebody watches it: the CPE is woken
// for it.
func TestWhatIsNotNotifiedIsPolled(t *testing.T) {
	const interval = 5 * time.Minute
	r := newRig(t, func(c *Config) { c.Polling = Polling{Interval: interval, Rate: 100} })
	l := &listener{}
	r.Attach(r.acs, l)
	u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: &cpesim.Profile{NoAttributes: true}})
	u.watch(one+"Description", two+"Description")
	until(t, "its polls are planned", func() bool { return !u.record().NextPoll.IsZero() })
	want := "polled, next at " + dateTime(u.record().NextPoll)
	if got := u.record().Notifications(); len(got) != 2 || !strings.HasSuffix(got[0], want) {
		t.Errorf("notifications %q, want %q", got, want)
	}
	pass := func() {
		t.Helper()
		if _, err := r.dueNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.told()
	for _, value := range []string{"by itself", "again"} {
		if err := u.Set(one+"Description", value); err != nil {
			t.Fatal(err)
		}
		sessions := u.record().LastSession
		pass()
		l.expect(t, "before it is due")
		r.skew.Add(int64(interval))
		until(t, "the poll has ended", func() bool {
			pass() // what is due is written behind the device's back
			rec := u.record()
			return rec.LastSession.After(sessions) && rec.PollFailures == 0
		})
		l.expect(t, "when it is due", one+"Description="+value)
		if rec := u.record(); rec.NextPoll.Before(r.now().Add(interval-patience)) || rec.Due != rec.NextPoll.UnixMilli() {
			t.Errorf("the next poll is at %v, due %v", rec.NextPoll, time.UnixMilli(rec.Due))
		}
	}
	u.watch()
	reads := u.Called("GetParameterValues")
	r.skew.Add(int64(interval))
	until(t, "polls have ended", func() bool { pass(); return u.record().NextPoll.IsZero() })
	if n := u.Called("GetParameterValues") - reads; n != 0 || u.record().Due != 0 {
		t.Errorf("nobody watches, and there were %d reads", n)
	}
}

// A CPE that does not come is left alone for longer each time.
func TestPollsOfACPEThatDoesNotCome(t *testing.T) {
	b := &Bridge{cfg: Config{Polling: Polling{Interval: time.Minute}}}
	rec := &Record{Template: "t", Denied: []cwmp.Path{"Device.A"}}
	now := time.Unix(1_800_000_000, 0)
	var pauses []time.Duration
	for range 8 {
		if !b.beginPoll(rec, now) {
			t.Fatal("it is not polled")
		}
		pauses = append(pauses, rec.NextPoll.Sub(now)/time.Minute)
		now = rec.NextPoll
	}
	if want := []time.Duration{1, 2, 4, 8, 16, 16, 16, 16}; !slices.Equal(pauses, want) {
		t.Errorf("minutes %v, want %v", pauses, want)
	}
	rec.Denied = nil
	if b.beginPoll(rec, now) || !rec.NextPoll.IsZero() || rec.PollFailures != 0 {
		t.Errorf("what nobody watches is polled: %+v", rec)
	}
}

// Polls of a fleet that are due at once keep to the rate, and each comes to its
// turn.
func TestPollsKeepToTheRate(t *testing.T) {
	b := &Bridge{cfg: Config{Polling: Polling{Interval: time.Minute, Rate: 4}}, pace: pace{every: time.Second / 4}}
	now := time.Unix(1_800_000_000, 0)
	fleet := make([]*Record, 100)
	for i := range fleet {
		fleet[i] = &Record{Template: "t", Denied: []cwmp.Path{"Device.A"}, NextPoll: now}
	}
	for second := range 25 {
		polled := 0
		for _, rec := range fleet {
			for tick := range 4 {
				at := now.Add(time.Duration(second)*time.Second + time.Duration(tick)*time.Second/4)
				if !rec.NextPoll.After(at) && b.beginPoll(rec, at) {
					polled++
				}
			}
		}
		if polled != 4 {
			t.Errorf("%d polls in second %d", polled, second)
		}
	}
}
