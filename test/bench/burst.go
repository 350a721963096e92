package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bootWithin is the time in which the CPE of a mass reboot boot: they come back
// with the power, each after its own start-up.
const bootWithin = 10 * time.Second

// massReboot has many CPE boot within seconds, as after a power cut: first all
// are new to the bridge, then all are known to it. None may be lost.
func (m *measurement) massReboot(ctx context.Context) error {
	settings := ""
	if m.limits != "" {
		settings = ", limits: {" + m.limits + "}"
	}
	return m.onBridge(ctx, "burst", settings, func(b *bridge) (err error) {
		f, err := newFleet(ctx, fleetConfig{acs: "http://" + b.cwmp + "/", count: m.burst, open: m.burst, spread: bootWithin})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.close()) }()
		if err := m.burstRow(ctx, b, f, "first contact", "burst-new", f.Start); err != nil {
			return err
		}
		return m.burstRow(ctx, b, f, "known", "burst-known", f.rebootAll)
	})
}

// rebootAll has all CPE boot, spread over bootWithin.
func (f *fleet) rebootAll(ctx context.Context) error {
	tick := time.NewTicker(max(bootWithin/time.Duration(len(f.devices)), time.Microsecond))
	defer tick.Stop()
	for _, d := range f.devices {
		select {
		case <-tick.C:
			d.Reboot()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// burstRow measures from when boot begins until all CPE have been served: each
// has had a session that ended in order, and its tree is known.
func (m *measurement) burstRow(ctx context.Context, b *bridge, f *fleet, what, profile string, boot func(context.Context) error) error {
	if err := b.resetPeak(); err != nil {
		return err
	}
	before, busy := f.Stats(), time.Duration(0)
	c, err := b.measure(ctx, profile, func() error {
		began := time.Now()
		if err := boot(ctx); err != nil {
			return err
		}
		if err := f.served(ctx, before.Sessions+uint64(len(f.devices))); err != nil {
			return err
		}
		busy = time.Since(began)
		return b.discovered(ctx, len(f.devices))
	})
	if err != nil {
		return err
	}
	after := f.Stats()
	peak, err := b.peak()
	if err != nil {
		return err
	}
	if err := b.heapProfile(ctx, profile+"-heap"); err != nil {
		return err
	}
	away, err := b.metric(ctx, `uspbridge_cwmp_refused_total{reason="sessions"}`)
	if err != nil {
		away = []float64{0} // never counted
	}
	m.table.add(row{what: fmt.Sprintf("mass reboot, %s: %d CPE in %v, each served after %.1f s, all discovered after %.1f s; most RSS %.0f MB; 503 so far %.0f, sessions failed %d",
		what, len(f.devices), bootWithin, busy.Seconds(), c.clock.Seconds(), peak/1e6, away[0], after.FailedSessions-before.FailedSessions),
		n: len(f.devices), cpu: c.each(len(f.devices)), perSecond: c.rate(len(f.devices)), clock: c.clock})
	return nil
}

// served waits until so many sessions have ended in order, for as long as there
// is progress.
func (f *fleet) served(ctx context.Context, sessions uint64) error {
	return progress(ctx, func() (uint64, error) { return f.Stats().Sessions, nil }, sessions)
}

// discovered waits until so many trees are known.
func (b *bridge) discovered(ctx context.Context, count int) error {
	return progress(ctx, func() (uint64, error) {
		v, err := b.metric(ctx, `uspbridge_discoveries_total{outcome="done"}`)
		if err != nil {
			return 0, err
		}
		return uint64(v[0]), nil
	}, uint64(count))
}

// progress waits until a count has got to its aim, for as long as it grows.
func progress(ctx context.Context, count func() (uint64, error), aim uint64) error {
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	moved, before := time.Now(), uint64(0)
	for {
		n, err := count()
		switch {
		case err != nil || n >= aim:
			return err
		case n > before:
			moved, before = time.Now(), n
		case time.Since(moved) > 4*patience: // longer than any Retry-After
			return fmt.Errorf("%d of %d, and no progress for %v", n, aim, 4*patience)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
