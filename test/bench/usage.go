package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU time in /proc: 1/100 s on every Linux (USER_HZ).
const tick = 10 * time.Millisecond

// cpu returns the CPU time that the bridge has used, of user and kernel (proc(5)
// utime and stime).
func (b *bridge) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field is a name that may hold anything, in brackets.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has too few fields", b.process.Process.Pid)
	}
	var sum time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", b.process.Process.Pid, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// resident returns the memory that the bridge occupies, in bytes.
func (b *bridge) resident() (float64, error) { return b.status("VmRSS") }

// peak returns the most memory that the bridge has occupied since resetPeak.
func (b *bridge) peak() (float64, error) { return b.status("VmHWM") }

// resetPeak makes what is occupied now the most (proc(5), clear_refs).
func (b *bridge) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", b.process.Process.Pid), []byte("5"), 0)
}

// status returns a size in /proc/…/status, in bytes.
func (b *bridge) status(name string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kB * 1024, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", b.process.Process.Pid, name)
}

// onDisk returns the space that the data directory takes, in bytes.
func (b *bridge) onDisk() (bytes float64, err error) {
	err = filepath.WalkDir(b.data(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += float64(stat.Blocks) * 512
		}
		return nil
	})
	return bytes, err
}

// metric returns a metric without labels.
func (b *bridge) metric(ctx context.Context, names ...string) ([]float64, error) {
	text, err := b.get(ctx, "http://"+b.console+"/metrics")
	if err != nil {
		return nil, err
	}
	values := make([]float64, len(names))
	for i, name := range names {
		_, rest, ok := strings.Cut("\n"+string(text), "\n"+name+" ")
		if !ok {
			return nil, fmt.Errorf("/metrics has no %s", name)
		}
		line, _, _ := strings.Cut(rest, "\n")
		if values[i], err = strconv.ParseFloat(line, 64); err != nil {
			return nil, fmt.Errorf("/metrics: %s: %w", name, err)
		}
	}
	return values, nil
}

// connected waits until a transport has exactly so many connections.
func (b *bridge) connected(ctx context.Context, protocol string, want int) error {
	return within(ctx, fmt.Sprintf("%d connections of %s", want, protocol), func() (bool, error) {
		n, err := b.metric(ctx, fmt.Sprintf("uspbridge_mtp_connections{protocol=%q}", protocol))
		return err == nil && int(n[0]) == want, err
	})
}

// collections is how many times the bridge's garbage is collected before its
// heap is believed: the first may still have sweeping before it.
const collections = 3

// heap returns the heap that the bridge has in use, without garbage, in bytes:
// the least seen while it is collected. Reading metrics makes the garbage.
func (b *bridge) heap(ctx context.Context) (least float64, err error) {
	least, first := math.Inf(1), -1.0
	for {
		v, err := b.metric(ctx, "go_memstats_heap_inuse_bytes", "go_gc_duration_seconds_count")
		if err != nil {
			return 0, err
		}
		if first < 0 {
			first = v[1]
		}
		if v[1] > first { // a garbage collection since: not what was there before
			least = min(least, v[0])
		}
		if v[1]-first >= collections {
			return least, nil
		}
	}
}

// cost is what a piece of work took.
type cost struct {
	cpu, clock time.Duration
}

// measure runs work and returns what the bridge needed for it. name is the
// profile's.
func (b *bridge) measure(ctx context.Context, name string, work func() error) (c cost, err error) {
	end, err := b.profile(ctx, name)
	if err != nil {
		return c, err
	}
	before, err := b.cpu()
	if err != nil {
		return c, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	c.clock = time.Since(began)
	after, err := b.cpu()
	if err != nil {
		return c, err
	}
	c.cpu = after - before
	return c, end()
}
