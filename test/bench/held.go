package main

import (
	"context"
	"errors"
	"fmt"
)

// holdSessions has many CPE in session at the same time, each with an RPC of the
// bridge that it has not answered, and sees what memory they take. All sessions
// then come to their end.
func (m *measurement) holdSessions(ctx context.Context) error {
	// Nothing is put off: each CPE is new, and the RPC is its discovery's first.
	settings := fmt.Sprintf(", limits: {sessions: %d, connections: %d, discoveries: %d}", 2*m.held, 2*m.held, m.held)
	return m.onBridge(ctx, "held", settings, func(b *bridge) (err error) {
		heapBefore, err := b.heap(ctx)
		if err != nil {
			return err
		}
		residentBefore, err := b.resident()
		if err != nil {
			return err
		}
		wires := make([]*wire, m.held)
		defer func() {
			for _, w := range wires {
				if w != nil {
					err = errors.Join(err, w.conn.Close())
				}
			}
		}()
		opened, err := b.measure(ctx, "held-open", func() error { return openAll(b.cwmp, wires) })
		if err != nil {
			return err
		}
		open, err := b.metric(ctx, "uspbridge_cwmp_sessions_open")
		if err != nil || int(open[0]) != len(wires) {
			return errors.Join(err, fmt.Errorf("%v sessions are open, want %d", open, len(wires)))
		}
		resident, err := b.resident()
		if err != nil {
			return err
		}
		heap, err := b.heap(ctx)
		if err != nil {
			return err
		}
		if err := b.heapProfile(ctx, "held-heap"); err != nil {
			return err
		}
		ended, err := b.measure(ctx, "held-end", func() error { return endAll(wires) })
		if err != nil {
			return err
		}
		m.table.add(row{what: "RSS of an open session with its connection and its device", n: m.held, bytes: (resident - residentBefore) / float64(m.held)})
		m.table.add(row{what: "heap of the same (stacks are not in it)", n: m.held, bytes: (heap - heapBefore) / float64(m.held)})
		all := cost{cpu: opened.cpu + ended.cpu, clock: opened.clock + ended.clock}
		m.table.add(row{what: "the same, from Inform over a first contact to 204", n: m.held, cpu: all.each(m.held), perSecond: all.rate(m.held)})
		return nil
	})
}

// openAll brings each CPE to where it owes the bridge an answer.
func openAll(acs string, wires []*wire) error {
	return inParallel(sessionsOpen, len(wires), func(i int) (err error) {
		if wires[i], err = newWire(acs, fmt.Sprintf("HELD%06d", i)); err != nil {
			return err
		}
		if err := wires[i].inform(); err != nil {
			return err
		}
		if wires[i].ended {
			return fmt.Errorf("%s was asked nothing", wires[i].serial)
		}
		return nil
	})
}

// endAll goes through each session to its end.
func endAll(wires []*wire) error {
	return inParallel(sessionsOpen, len(wires), func(i int) error {
		for !wires[i].ended {
			if err := wires[i].answer(); err != nil {
				return err
			}
		}
		return nil
	})
}
