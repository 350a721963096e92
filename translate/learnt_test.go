package translate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/uspbridge/uspbridge/cwmp"
)

// readings is what happens to reads: lost or answered, of names n to m.
type readings struct {
	from, to int
	lost     bool
	first    bool // of its session
}

// Sessions that break while names are read: what is concluded, and when nothing
// is.
func TestWhatBrokenReadsTeach(t *testing.T) {
	list, _ := names(400)
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name     string
		happened []readings
		want     Learnt
	}{
		{"once is no sign of anything but where to look", []readings{{0, 200, true, true}}, Learnt{Suspects: list[:200], Doubt: 200}},
		{"a hiccup is forgotten when all is read", []readings{{0, 200, true, true}, {200, 400, false, true}, {0, 50, false, false}, {50, 200, false, false}}, Learnt{}},
		{"others are lost too: they are too many", []readings{{0, 200, true, true}, {200, 400, true, true}},
			Learnt{Habits: Habits{MaxNames: 50}, Limited: now, Crashed: true, Suspects: list[200:400]}},
		{"others are lost too, but so many were read before: neither they nor their number", []readings{{0, 200, true, true}, {100, 300, false, true}, {300, 400, true, false}},
			Learnt{Suspects: list[300:400]}},
		{"some of them are lost again: it is one of those", []readings{{0, 200, true, true}, {50, 100, true, false}}, Learnt{Suspects: list[50:100], Doubt: 200}},
		{"a single one, but late in its session: it is tried first", []readings{{0, 4, true, true}, {2, 3, true, false}}, Learnt{Suspects: list[2:3], Doubt: 4}},
		{"a single one, first in its session: it is not read again", []readings{{0, 4, true, true}, {2, 3, true, false}, {2, 3, true, true}}, Learnt{Habits: Habits{Avoided: list[2:3]}}},
	} {
		var l Learnt
		for _, h := range c.happened {
			if h.lost {
				l.lostRead(list[h.from:h.to], h.first, now)
			} else {
				l.read(list[h.from:h.to])
			}
		}
		if diff := cmp.Diff(c.want, l, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestLimitsAreTriedAgainAfterATime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := Learnt{Habits: Habits{MaxNames: 50, MaxValues: 4}, Limited: now}
	for _, c := range []struct {
		after time.Duration
		due   bool
	}{{faultsLast - time.Second, false}, {faultsLast, true}} {
		if l.due(now.Add(c.after)) != c.due {
			t.Errorf("after %v: more is tried %v, want %v", c.after, !c.due, c.due)
		}
	}
	l.Crashed = true
	if l.due(now.Add(faultsLast)) || !l.due(now.Add(crashesLast)) {
		t.Error("a limit that comes of crashes is to be kept for longer")
	}
	l.raise(now)
	l.raise(now)
	if l.MaxNames != 0 || l.MaxValues != 16 || l.Crashed {
		t.Errorf("raised twice the limits are %d and %d, want none and 16", l.MaxNames, l.MaxValues)
	}
	if (&Learnt{}).due(now) {
		t.Error("there is nothing to raise")
	}
}

func TestUnsupportedMethodsAreAskedForAgainAfterATime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := Learnt{Methods: []string{"AddObject", "Upload"}}
	l.answered("Upload", false, now)
	for rpc, want := range map[string]bool{"AddObject": true, "Upload": false, "Download": false} {
		if l.Supports(rpc, now) != want {
			t.Errorf("%s is supported: %v, want %v", rpc, !want, want)
		}
	}
	if !l.Supports("Upload", now.Add(unsupportedLasts)) {
		t.Error("what was refused a day ago is not tried again")
	}
	l.answered("Upload", true, now)
	if !l.Supports("Upload", now) || len(l.Unsupported) != 0 {
		t.Error("what was answered is still taken for unsupported")
	}
}

func TestPauses(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, 1: 0, 2: 0, 3: 5 * time.Minute, 4: 10 * time.Minute, 9: 320 * time.Minute, 10: longestPause, 1000: longestPause} {
		if got := pauseAfter(failures); got != want {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
}

func TestInnermostRow(t *testing.T) {
	for name, want := range map[cwmp.Path]struct {
		table cwmp.Path
		row   uint32
	}{
		"Device.Hosts.Host.7.IP":             {"Device.Hosts.Host.", 7},
		"Device.A.1.B.724.C.D":               {"Device.A.1.B.", 724},
		"Device.DeviceInfo.UpTime":           {},
		"Device.X.0.Y":                       {},
		"1.2":                                {},
		"Device.Hosts.Host.99999999999.Name": {},
	} {
		table, row, ok := innermostRow(name)
		if table != want.table || row != want.row || ok != (want.row > 0) {
			t.Errorf("%s lies in %s %d, want %+v", name, table, row, want)
		}
	}
}
