package cpesim

import (
	"context"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

func TestRun(t *testing.T) {
	acs := newACS(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for range 40 {
			<-acs.informs
		}
		cancel()
	}()
	progress := make(chan Stats, 1000)
	report, err := Run(ctx, RunConfig{ACSURL: acs.URL, Count: 40, Model: "mixed", OUI: "00AABB", SerialPrefix: "T", MaxSessions: 4,
		Ramp: 50 * time.Millisecond, Duration: patience, Progress: func(s Stats) { progress <- s }, ProgressEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if report.CPE != 40 || report.Informs != 40 || report.Never != 0 || report.FailedSessions != 0 || report.InformsPerSecond <= 0 {
		t.Errorf("report %+v", report)
	}
	if len(progress) == 0 {
		t.Error("no progress was reported")
	}
}

func TestRunRefuses(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree.csv")
	writeFile(t, tree, "nothing")
	tests := []struct {
		name   string
		config RunConfig
		want   string
	}{
		{"model", RunConfig{ACSURL: "http://127.0.0.1:1", Model: "tr069"}, "tr098, tr181 or mixed"},
		{"count", RunConfig{ACSURL: "http://127.0.0.1:1", Count: -1}, "negative"},
		{"URL", RunConfig{ACSURL: "acs"}, "ACS URL"},
		{"tree", RunConfig{ACSURL: "http://127.0.0.1:1", TreeFile: tree}, "tree.csv"},
		{"no tree", RunConfig{ACSURL: "http://127.0.0.1:1", TreeFile: tree + "x"}, "no such file"},
		{"listener", RunConfig{ACSURL: "http://127.0.0.1:1", Listen: "256.0.0.1:0"}, "listener"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Run(t.Context(), tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// BenchmarkIdleCPE reports what one more idle CPE costs in a fleet of 10,000,
// each with the parameters that an ACS sets at first contact.
func BenchmarkIdleCPE(b *testing.B) {
	const count = 10_000
	for b.Loop() {
		f, err := NewFleet(FleetConfig{})
		if err != nil {
			b.Fatal(err)
		}
		model := TR181()
		before := heapInUse()
		for i := range count {
			c, err := f.Add(Config{ACSURL: "http://127.0.0.1:1/", Model: model, JournalSize: -1,
				Identity: cwmp.DeviceID{OUI: "00AABB", SerialNumber: "B" + strconv.Itoa(i)}})
			if err != nil {
				b.Fatal(err)
			}
			c.mu.Lock()
			for _, name := range []cwmp.Path{"ConnectionRequestUsername", "ConnectionRequestPassword", "PeriodicInformInterval"} {
				c.tree.set("Device.ManagementServer."+name, "0123456789abcdef"+strconv.Itoa(i))
			}
			c.mu.Unlock()
		}
		b.ReportMetric(float64(heapInUse()-before)/count, "B/CPE")
		closeFleet(b, f)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSession is a session of Inform, empty POST and 204, the scripted ACS
// included.
func BenchmarkSession(b *testing.B) {
	benchmarkSession(b)
}

// BenchmarkSessionGetAll adds a GetParameterValues of the whole tree.
func BenchmarkSessionGetAll(b *testing.B) {
	benchmarkSession(b, &cwmp.GetParameterValues{Names: []cwmp.Path{"Device."}})
}

func benchmarkSession(b *testing.B, requests ...cwmp.Message) {
	acs := newACS(b)
	f := startFleet(b, FleetConfig{})
	c, err := f.Add(Config{ACSURL: acs.URL, Model: TR181(), JournalSize: -1})
	if err != nil {
		b.Fatal(err)
	}
	acs.next(b)
	b.ReportAllocs()
	for b.Loop() {
		acs.ask(b, c, requests...)
	}
}

// BenchmarkWalk is the resolution of a partial path of the whole tree.
func BenchmarkWalk(b *testing.B) {
	tr := tree{model: TR181()}
	tr.addRow(mappings)
	b.ReportAllocs()
	for b.Loop() {
		if len(tr.walk("Device.")) == 0 {
			b.Fatal("nothing")
		}
	}
}
