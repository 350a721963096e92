package translate

import (
	"log/slog"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/uspbridge/uspbridge/cwmp"
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
