package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Subscriptions of many devices: 10,000 in the default fleet.
const subscriptionsEach = 10

// manySubscriptions has each of many devices report a change to which a
// controller holds several subscriptions.
func (m *measurement) manySubscriptions(ctx context.Context) error {
	devices := m.fleet.devices[:min(len(m.fleet.devices), getDevices)]
	ids := make([]string, subscriptionsEach)
	for i := range ids {
		ids[i] = fmt.Sprintf("many-%d", i)
	}
	err := inParallel(sessionsOpen, len(devices), func(i int) error {
		if err := m.subscribe(ctx, devices[i].agent, changedPath, ids...); err != nil {
			return err
		}
		// In this session, if not in one before, the CPE is told to notify.
		return devices[i].Inform(cwmp.Event{Code: cwmp.EventPeriodic})
	})
	if err := errors.Join(err, m.settle(ctx)); err != nil {
		return err
	}
	n := len(devices) * subscriptionsEach
	c, err := m.bridge.measure(ctx, "notify-many", func() error {
		for i, d := range devices {
			if err := d.Set(changedPath, fmt.Sprintf("many-%d", i)); err != nil {
				return err
			}
		}
		return m.notified(ctx, ids, n)
	})
	if err != nil {
		return err
	}
	m.table.add(row{what: fmt.Sprintf("Notify through %d subscriptions, %d in a session (CPU: its share of that)", n, subscriptionsEach),
		n: n, cpu: c.each(n), perSecond: c.rate(n)})
	return m.settle(ctx)
}

// notified waits until so many Notify through the subscriptions have come.
func (m *measurement) notified(ctx context.Context, ids []string, n int) error {
	over := time.NewTimer(patience)
	defer over.Stop()
	for got := 0; got < n; {
		select {
		case note, open := <-m.ctl.Notifications():
			if !open {
				return errors.New("the bridge closed the controller's connection")
			}
			if slices.Contains(ids, note.Notify.GetSubscriptionId()) {
				got++
				over.Reset(patience)
			}
		case <-over.C:
			return fmt.Errorf("%d of %d Notify have come, and none for %v", got, n, patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
