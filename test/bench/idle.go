package main

import (
	"context"
	"fmt"
	"os"
)

// emptyBridge sees what a bridge takes without devices.
func (m *measurement) emptyBridge(ctx context.Context) (err error) {
	m.emptyHeap, err = m.bridge.heap(ctx)
	fmt.Fprintf(os.Stderr, "bench: heap of an empty bridge: %.1f MB\n", m.emptyHeap/1e6)
	return err
}

// disk is what the fleet takes in the store after its first contact.
func (m *measurement) disk(context.Context) error {
	bytes, err := m.bridge.onDisk()
	if err != nil {
		return err
	}
	m.table.add(row{what: "disk of a device", n: m.devices, bytes: bytes / float64(m.devices), peer: "GenieACS 94 kB of documents", aim: "12 kB"})
	return nil
}

// memory is what devices take that have been used a moment ago.
func (m *measurement) memory(ctx context.Context) error {
	return m.memoryRow(ctx, "heap-used", row{what: "heap of a device that informed or was asked lately"})
}

// idle is what devices take that nobody has used since the start.
func (m *measurement) idle(ctx context.Context) error {
	return m.memoryRow(ctx, "heap-idle", row{what: "heap of an idle device", peer: "obuspa 10.5 MB", aim: "3 kB"})
}

func (m *measurement) memoryRow(ctx context.Context, name string, r row) error {
	resident, err := m.bridge.resident()
	if err != nil {
		return err
	}
	heap, err := m.bridge.heap(ctx)
	if err != nil {
		return err
	}
	r.what += fmt.Sprintf(" (whole process: heap %.0f MB, RSS %.0f MB)", heap/1e6, resident/1e6)
	r.n, r.bytes = m.devices, max(heap-m.emptyHeap, 1)/float64(m.devices)
	m.table.add(r)
	return m.bridge.heapProfile(ctx, name)
}
