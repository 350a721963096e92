package translate

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
)

// TestMakeRoom: devices leave memory when they have been idle for long enough, and
// sooner when there are too many; one in use stays.
func TestMakeRoom(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name    string
		max     int
		devices int           // of which each was used a second later than the one before; the last just now
		after   time.Duration // the look
		left    int           // and the one in use
	}{
		{"few, idle for a short time", 100, 50, 0, 51},
		{"few, idle for long", 100, 50, time.Hour, 1},
		{"some idle for long", 100, 90, 0, 62},
		{"too many", 40, 59, 0, 32},
		{"far too many", 5, 59, 0, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clock := now
			d := newDevices(nil, nil, nil, slog.New(slog.DiscardHandler), func() time.Time { return clock })
			d.pin(deviceKey(-1)) // in use
			for i := range tt.devices {
				clock = now.Add(time.Duration(i-tt.devices+1) * time.Second)
				d.release(d.pin(deviceKey(i)))
			}
			clock = now.Add(tt.after)
			d.makeRoom(tt.max, time.Minute)
			if n := d.loaded(); n != tt.left {
				t.Errorf("%d devices are in memory, want %d", n, tt.left)
			}
		})
	}
}

// That there is no room is said once, and once that there is.
func TestMakeRoomTellsOnce(t *testing.T) {
	var log strings.Builder
	d := newDevices(nil, nil, nil, slog.New(slog.NewTextHandler(&log, nil)), time.Now)
	for i := range 10 {
		d.pin(deviceKey(i))
	}
	for range 3 {
		d.makeRoom(5, time.Minute)
	}
	for i := range 10 {
		d.discard(d.pin(deviceKey(i)))
	}
	for range 3 {
		d.makeRoom(5, time.Minute)
	}
	if n := strings.Count(log.String(), "limit reached"); n != 1 || strings.Count(log.String(), "limit no longer reached") != 1 {
		t.Errorf("said:\n%s", log.String())
	}
}

// What a discovery keeps with the device is none of the envelope's memory, which
// is a hundred times as large.
func TestDiscoveryLetsGoOfTheEnvelope(t *testing.T) {
	envelope := []byte("Device.DeviceInfo.SoftwareVersion")
	d := &discovery{reading: &reading{}}
	name := cwmp.Path(unsafe.String(&envelope[0], len(envelope)))
	if err := d.take([]cwmp.ParameterInfo{{Name: name}}, ""); err != nil {
		t.Fatal(err)
	}
	clear(envelope)
	if d.root != "Device." {
		t.Errorf("the root became %q with the envelope", d.root)
	}
}

// writes counts what goes to a store.
type writes struct {
	store.Store
	batches atomic.Int32
}

func (w *writes) Enqueue(b *store.Batch, done func(error)) {
	w.batches.Add(1)
	w.Store.Enqueue(b, done)
}

// TestWritesOfASession: an Inform that says nothing new costs one write, when its
// session has ended, in whatever way; one that does is not left to that.
func TestWritesOfASession(t *testing.T) {
	var st *writes
	r := newRig(t, func(c *Config) { st = &writes{Store: c.Store}; c.Store = st })
	u := r.add(cpesim.Config{})
	u.discover(3)
	until(t, "the bridge has written what the session's end means", func() bool { return r.acs.Sessions() == 0 })
	told := acs.Detached(&cwmp.Inform{DeviceID: u.Identity()}, nil) // from now on it always says the same of itself
	if err := r.Inform(t.Context(), told); err != nil {
		t.Fatal(err)
	}
	r.Ended(told, nil)
	boot := &cwmp.Inform{DeviceID: u.Identity(), Events: []cwmp.Event{{Code: cwmp.EventBoot}}}
	periodic := &cwmp.Inform{DeviceID: u.Identity(), Events: []cwmp.Event{{Code: cwmp.EventPeriodic}}}
	tests := []struct {
		name             string
		inform           *cwmp.Inform
		end              error
		atInform, atEnds int32
	}{
		{"nothing new", periodic, nil, 0, 1},
		{"nothing new, the session breaks", periodic, acs.ErrSessionLost, 0, 1},
		{"it has booted", boot, nil, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.skew.Add(int64(time.Minute)) // no two moments are the same
			s := acs.Detached(tt.inform, nil)
			before := st.batches.Load()
			if err := r.Inform(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			informed := st.batches.Load()
			r.Ended(s, tt.end)
			if a, e := informed-before, st.batches.Load()-informed; a != tt.atInform || e != tt.atEnds {
				t.Errorf("%d writes at the Inform and %d at the end, want %d and %d", a, e, tt.atInform, tt.atEnds)
			}
			until(t, "the Inform is stored", func() bool {
				b, err := st.Get(t.Context(), recordKey(u.key))
				if err != nil {
					t.Fatal(err)
				}
				rec, err := decodeRecord(b)
				return err == nil && rec.LastInform.Equal(u.record().LastInform)
			})
		})
	}
}
