package cpesim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// work does what is due: ends a boot, runs transfers and diagnostics, opens a
// session. It is called by one goroutine at a time for a CPE.
func (c *CPE) work(ctx context.Context) {
	c.mu.Lock()
	c.busy = true
	now := c.now()
	if c.power.state == powerBooting && !now.Before(c.power.readyAt) {
		c.finishBoot(now)
	}
	var transfers []transfer
	if c.power.state == powerUp {
		transfers = c.collect(now)
	}
	c.mu.Unlock()

	for _, t := range transfers {
		c.perform(ctx, t)
	}
	c.mu.Lock()
	wanted := c.urgent && c.power.state == powerUp && !c.offline && !c.now().Before(c.notBefore)
	c.mu.Unlock()
	if wanted {
		c.hold(ctx)
	}

	c.mu.Lock()
	c.busy = false
	c.syncClients(ctx)
	err := c.save()
	c.fleet.timers.done(c, c.nextDue())
	c.mu.Unlock()
	if err != nil {
		c.log().Error("state of simulated CPE not saved", "error", err)
	}
}

// hold runs one session and draws the consequences: what was reported is done
// with or queued again, a failed session is retried later.
func (c *CPE) hold(ctx context.Context) {
	c.mu.Lock()
	sessionCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.abort = cancel
	c.urgent = false
	waiters := c.waiters
	c.waiters = nil
	s := newSession(c)
	c.mu.Unlock()

	begun := time.Now()
	err := s.run(sessionCtx)
	c.fleet.stats.session(time.Since(begun), err)

	c.mu.Lock()
	c.abort = nil
	switch {
	case !s.acknowledged:
		c.putBack(s.report)
		fallthrough
	case err != nil:
		c.urgent = true
		c.retries++
		if c.notBefore = c.now().Add(c.retryWait(err)); len(c.waiters) > 0 {
			c.notBefore = time.Time{} // Inform was called meanwhile: back-off or not
		}
		c.log().Debug("session failed", "error", err, "retries", c.retries, "again", c.notBefore)
	default:
		c.retries, c.notBefore = 0, time.Time{}
		if len(c.pending.Completed)+len(c.pending.Reports) > 0 && !c.urgent { // the ACS held requests to the end
			c.urgent, c.notBefore = true, c.now().Add(c.backOff(1))
		}
	}
	if c.pending.BootDue && len(c.pending.Completed) == 0 {
		c.pending.BootDue = false
		c.beginBoot()
	}
	switch {
	case s.factoryReset:
		c.restoreFactory()
		c.beginBoot()
	case s.reboot != nil:
		c.queue(cwmp.Event{Code: cwmp.EventMReboot, CommandKey: s.reboot.CommandKey})
		c.beginBoot()
	}
	c.dirty = true
	c.mu.Unlock()
	for _, done := range waiters {
		done <- err
	}
}

// retryWait is how long to wait after a failed session: the back-off, and no less
// than an ACS has asked for that answered 503.
func (c *CPE) retryWait(err error) time.Duration {
	if c.profile.RetryEvery > 0 {
		return c.profile.RetryEvery
	}
	wait := c.backOff(c.retries)
	if busy := (*busyError)(nil); errors.As(err, &busy) {
		wait = max(wait, busy.retryAfter)
	}
	return wait
}

// backOff is how long to wait before the n-th retry of a session: a random time
// between m·(k/1000)^(n-1) and m·(k/1000)^n seconds, n at most 10 (TR-069
// 3.2.1.1, table 3), m and k being ManagementServer parameters where the CPE has
// them.
func (c *CPE) backOff(n int) time.Duration {
	m := c.number("ManagementServer.CWMPRetryMinimumWaitInterval", 5)
	k := c.number("ManagementServer.CWMPRetryIntervalMultiplier", 2000)
	low := float64(m)
	for range min(n, 10) - 1 {
		low *= float64(k) / 1000
	}
	high := low * float64(k) / 1000
	return time.Duration((low + rand.Float64()*(high-low)) * float64(time.Second))
}

// number returns a numeric parameter by its path after the root.
func (c *CPE) number(afterRoot cwmp.Path, otherwise int64) int64 {
	name := c.tree.model.root + afterRoot
	if n := c.tree.find(name); n != nil {
		if v, err := strconv.ParseInt(c.value(name, n), 10, 64); err == nil {
			return v
		}
	}
	return otherwise
}

// text returns a parameter's value by its path after the root, "" without one.
func (c *CPE) text(afterRoot cwmp.Path) string {
	return c.textAt(string(c.tree.model.root + afterRoot))
}

// textAt returns a parameter's value by its path, "" without one.
func (c *CPE) textAt(path string) string {
	name := cwmp.Path(path)
	if n := c.tree.find(name); n != nil {
		return c.value(name, n)
	}
	return ""
}

// collect moves what has come due into the queues and returns the transfers to
// make now. c.mu is held.
func (c *CPE) collect(now time.Time) []transfer {
	if !c.periodicAt.IsZero() && !now.Before(c.periodicAt) {
		c.queue(cwmp.Event{Code: cwmp.EventPeriodic})
		c.urgent = true
		c.periodicAt = c.nextPeriodic(now)
	}
	c.pending.Schedules = slices.DeleteFunc(c.pending.Schedules, func(s schedule) bool {
		if now.Before(s.At) {
			return false
		}
		c.queue(cwmp.Event{Code: cwmp.EventScheduled})
		c.queue(cwmp.Event{Code: cwmp.EventMScheduleInform, CommandKey: s.CommandKey})
		c.urgent = true
		return true
	})
	c.runDiagnostics(now)
	c.runChanges()
	var due []transfer
	for _, t := range c.pending.Transfers {
		if !now.Before(t.At) {
			due = append(due, t)
		}
	}
	return due
}

// nextDue returns when work has something to do, zero for never. c.mu is held.
func (c *CPE) nextDue() time.Time {
	switch c.power.state {
	case powerOff:
		return time.Time{}
	case powerBooting:
		return c.power.readyAt
	}
	now := c.now()
	var due time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if len(c.pending.Changes) > 0 {
		at(now)
	}
	if len(c.pending.Diagnostics) > 0 && !c.profile.StuckDiagnostics {
		at(c.pending.DiagnosticsAt)
	}
	for _, t := range c.pending.Transfers {
		at(t.At)
	}
	for _, s := range c.pending.Schedules {
		at(s.At)
	}
	at(c.periodicAt)
	if c.clients.resync {
		at(now)
	}
	if c.urgent && !c.offline {
		if c.notBefore.After(now) {
			at(c.notBefore)
		} else {
			at(now)
		}
	}
	return due
}

func (c *CPE) reschedule() { c.fleet.timers.set(c, c.nextDue()) }

// nextPeriodic returns when the next periodic Inform is due, zero if they are
// off. PeriodicInformTime, if it is known, sets the phase (TR-069, TR-181
// ManagementServer.PeriodicInformTime).
func (c *CPE) nextPeriodic(now time.Time) time.Time {
	if c.text("ManagementServer.PeriodicInformEnable") == "false" {
		return time.Time{}
	}
	interval := time.Duration(max(c.number("ManagementServer.PeriodicInformInterval", 3600), 1)) * time.Second
	phase, err := parseDateTime(c.text("ManagementServer.PeriodicInformTime"))
	if err != nil || phase.Year() < 1970 {
		return now.Add(interval)
	}
	since := now.Sub(phase) % interval
	if since < 0 {
		since += interval
	}
	return now.Add(interval - since)
}

// written follows up a parameter that changed, by the ACS or locally. c.mu is
// held.
func (c *CPE) written(name cwmp.Path) {
	after := string(name[len(name.Root()):])
	switch {
	case strings.HasPrefix(after, "ManagementServer.PeriodicInform"):
		c.periodicAt = c.nextPeriodic(c.now())
	case after == "ManagementServer.URL":
		// Another ACS is another bootstrap: what waits for the old one is not
		// for the new one (TR-069 3.7.1.5, "0 BOOTSTRAP").
		c.pending.Events, c.pending.Changed, c.pending.Bootstrapped = nil, nil, false
		c.queue(cwmp.Event{Code: cwmp.EventBootstrap})
		c.urgent = true
	}
}

// powerOn boots the CPE at a time, as after a power failure.
func (c *CPE) powerOn(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.power = power{powerBooting, at}
	c.reschedule()
}

// beginBoot takes the CPE down; it is back after the fleet's BootTime. c.mu is
// held.
func (c *CPE) beginBoot() {
	c.power = power{powerBooting, c.now().Add(c.fleet.config.BootTime)}
	c.dirty = true
}

// finishBoot brings the CPE up with the events of a boot. c.mu is held.
func (c *CPE) finishBoot(now time.Time) {
	c.power.state = powerUp
	c.bootedAt = now
	c.bootSlot()
	c.dropDiagnostics()
	c.retries, c.notBefore, c.urgent = 0, time.Time{}, true
	boot := []cwmp.Event{{Code: cwmp.EventBoot}}
	switch {
	case c.pending.Bootstrapped:
	case c.profile.PeriodicFirstContact:
		boot = []cwmp.Event{{Code: cwmp.EventPeriodic}}
		c.pending.Bootstrapped = true
	default:
		boot = []cwmp.Event{{Code: cwmp.EventBootstrap}, {Code: cwmp.EventBoot}}
	}
	kept := slices.DeleteFunc(c.pending.Events, func(e cwmp.Event) bool { return e.Code == cwmp.EventConnectionRequest })
	c.pending.Events = dedupe(append(boot, kept...))
	c.periodicAt = c.nextPeriodic(now)
	c.dirty = true
}

// restoreFactory forgets everything since the factory. c.mu is held.
func (c *CPE) restoreFactory() {
	c.tree, c.recalled = tree{model: c.tree.model}, nil
	c.pending = pending{}
}

// shutDown ends the CPE with its fleet.
func (c *CPE) shutDown() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.release(ErrClosed)
	return c.save()
}
