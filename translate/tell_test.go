package translate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// listener is the agents of a rig: it keeps what they are told.
type listener struct {
	nobody
	mu     sync.Mutex
	events []string
	fail   error // DeliverWith fails with it before anything is kept
	kept   []store.Op
}

func (l *listener) DeliverWith(ctx context.Context, _ usp.EndpointID, events []agent.Event, b *store.Batch, keep func(*store.Batch) func(context.Context) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	for _, ev := range events {
		switch ev.Kind {
		case agent.ValueChanged:
			l.events = append(l.events, ev.Ref.Path()+"="+ev.Value)
		case agent.ObjectCreated:
			l.events = append(l.events, "+"+ev.Ref.Path())
		case agent.ObjectDeleted:
			l.events = append(l.events, "-"+ev.Ref.Path())
		case agent.Occurred:
			l.events = append(l.events, ev.Ref.Path())
		}
	}
	durable := keep(b)
	l.kept = append(l.kept, b.Ops...)
	return durable(ctx)
}

// told returns what was told since it was last asked.
func (l *listener) told() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.events
	l.events = nil
	return list
}

func (l *listener) expect(t *testing.T, when string, want ...string) {
	t.Helper()
	if got := l.told(); !slices.Equal(got, want) {
		t.Errorf("%s: told\n%q\nwant\n%q", when, got, want)
	}
}

// listened is a rig with a TR-181 CPE, of which two parameters are watched.
func listened(t *testing.T) (*unit, *listener) {
	r := newRig(t, nil)
	l := &listener{}
	r.Attach(r.acs, l)
	u := r.add(cpesim.Config{Model: cpesim.TR181()})
	u.watch(one+"Description", two+"Description")
	l.told()
	return u, l
}

// restart makes the bridge forget what it has in memory.
func (u *unit) restart() {
	u.rig.t.Helper()
	until(u.rig.t, "the device has left memory", func() bool {
		u.rig.devices.evict(u.rig.now().Add(1 << 40))
		return u.rig.devices.loaded() == 0
	})
}

// A change is told once: by a Set when the CPE has taken it, by the CPE when it
// made it; a value said again is none, also to a bridge that has restarted.
func TestEachChangeIsToldOnce(t *testing.T) {
	u, l := listened(t)
	inform := func() {
		t.Helper()
		if err := u.session(cwmp.Event{Code: cwmp.EventValueChange}); err != nil {
			t.Fatal(err)
		}
	}
	if res := u.set(false, assignment{path: one + "Description", value: "set"}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	l.expect(t, "a Set", one+"Description=set")
	inform()
	u.restart()
	inform()
	l.expect(t, "the CPE says what was set")
	if res := u.set(false, assignment{path: one + "Description", value: "set"}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	l.expect(t, "the same value set again")
	if err := u.Set(one+"Description", "by itself"); err != nil {
		t.Fatal(err)
	}
	until(t, "the change is told", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.events) > 0 })
	l.expect(t, "a change of the CPE", one+"Description=by itself")
	until(t, "the session has ended", func() bool { return !u.rig.acs.InSession(u.key) })
	u.restart()
	inform()
	l.expect(t, "said again after a restart")
}

// What is told and what is known are stored in one batch.
func TestToldAndKnownAreOneBatch(t *testing.T) {
	u, l := listened(t)
	l.kept = nil
	if res := u.set(false, assignment{path: one + "Description", value: "set"}); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	if !slices.ContainsFunc(l.kept, func(op store.Op) bool { return op.Key == treeKey(u.key) }) {
		t.Errorf("the batch of the notification has %v", l.kept)
	}
}

// So are a report of the CPE and what it tells, and the rows that a discovery
// finds.
func TestReportsAndDiscoveriesAreOneBatch(t *testing.T) {
	u, l := listened(t)
	stored := func(what string, keys ...store.Key) {
		t.Helper()
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range keys {
			if !slices.ContainsFunc(l.kept, func(op store.Op) bool { return op.Key == k }) {
				t.Errorf("%s: the batch of the notification lacks %v", what, k)
			}
		}
		l.kept = nil
	}
	l.kept = nil
	u.Kick(cwmp.Kicked{Command: "go"})
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	l.expect(t, "a report", "Device.X_USPBRIDGE_CWMP.Kicked!")
	stored("a report", recordKey(u.key))

	if _, err := u.AddRow("Device.NAT.PortMapping."); err != nil {
		t.Fatal(err)
	}
	dev, err := u.rig.devices.acquire(t.Context(), u.key)
	if err != nil {
		t.Fatal(err)
	}
	u.rig.amend(dev, func(r *Record) { r.Rediscover = true }) // before tables are listed
	u.rig.devices.release(dev)
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if told := l.told(); !slices.ContainsFunc(told, func(s string) bool { return s[0] == '+' }) {
		t.Errorf("a discovery told %q", told)
	}
	stored("a discovery", treeKey(u.key), numbersKey(u.key), recordKey(u.key))
}

// What could not be told is new when the CPE says it again.
func TestUntoldIsNewAgain(t *testing.T) {
	u, l := listened(t)
	l.mu.Lock()
	l.fail = fmt.Errorf("the store is gone")
	l.mu.Unlock()
	if err := u.Set(one+"Description", "x"); err != nil {
		t.Fatal(err)
	}
	_ = u.session(cwmp.Event{Code: cwmp.EventValueChange}) // refused
	l.mu.Lock()
	l.fail = nil
	l.mu.Unlock()
	until(t, "the change is told", func() bool {
		_ = u.session(cwmp.Event{Code: cwmp.EventValueChange})
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.events) > 0
	})
	l.expect(t, "told at last", one+"Description=x")
}

// Rows that controllers add and delete are told with the count of their table,
// which no CPE reports of itself: TR-069 has an ACS not told of its own changes.
func TestCountsOfRowsAreTold(t *testing.T) {
	u, l := listened(t)
	const table = "Device.NAT.PortMapping."
	m := u.model()
	ref, ok := lookup(m.Schema(), table)
	if !ok {
		t.Fatal("no such table")
	}
	before := len(m.Instances(ref))
	res := m.Add(t.Context(), []agent.NewRow{{Table: ref}}, false)
	if res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	row := res[0].Row.Path()
	l.expect(t, "an Add", "+"+row, fmt.Sprintf("Device.NAT.PortMappingNumberOfEntries=%d", before+1))
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	l.expect(t, "the CPE counts its rows")
	if errs := u.model().Delete(t.Context(), []dm.Ref{res[0].Row}, false); errs[0] != nil {
		t.Fatal(errs[0])
	}
	l.expect(t, "a Delete", "-"+row, fmt.Sprintf("Device.NAT.PortMappingNumberOfEntries=%d", before))
}

// What a CPE does not notify is read in each of its sessions while it is watched,
// and controllers are told of what is another value by then.
func TestWhatIsNotNotifiedIsLookedFor(t *testing.T) {
	r := newRig(t, nil)
	l := &listener{}
	r.Attach(r.acs, l)
	u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: &cpesim.Profile{NoAttributes: true}})
	u.watch(one+"Description", two+"Description")
	want := []string{one + "Description: read in each session", two + "Description: read in each session"}
	if got := u.record().Notifications(); !slices.Equal(got, want) {
		t.Errorf("notifications %q, want %q", got, want)
	}
	l.told()
	come := func(after time.Duration) {
		t.Helper()
		r.skew.Add(int64(after))
		if err := u.session(); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Set(one+"Description", "by itself"); err != nil {
		t.Fatal(err)
	}
	come(2 * lookedLasts)
	l.expect(t, "in the next session", one+"Description=by itself")
	reads := u.Called("GetParameterValues")
	come(lookedLasts / 2)
	if n := u.Called("GetParameterValues") - reads; n != 0 {
		t.Errorf("%d reads of what was read just now", n)
	}
	u.watch()
	reads = u.Called("GetParameterValues")
	come(2 * lookedLasts)
	if n := u.Called("GetParameterValues") - reads; n != 0 {
		t.Errorf("%d reads of what nobody watches", n)
	}
}
