package translate

import (
	"context"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
)

// What a CPE notifies neither actively nor passively, and somebody watches, is
// polled: when its time has come by the index of what is due, the CPE is asked for
// a session, in which look reads it. A CPE that comes by itself is looked at then,
// and its next poll is later by that. A time in the record is all that is kept.

// Polling is how CPE are polled.
type Polling struct {
	Interval time.Duration // at least lookedLasts; 0: CPE are looked at in the sessions that they open only
	Rate     int           // CPE a second; with more of them the interval gets longer (default 10)
}

// MinPollInterval is the shortest Polling.Interval: younger values are not read
// again.
const MinPollInterval = lookedLasts

// maxPollPause is how many intervals a CPE is left alone that could not be asked
// the last times.
const maxPollPause = 16

// pace spreads what is done over time.
type pace struct {
	every time.Duration

	mu   sync.Mutex
	last time.Time // turn given last
}

// turn returns when the next may be done: now, or when all that have been given a
// turn are through.
func (p *pace) turn(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last = p.last.Add(p.every); p.last.Before(now) {
		p.last = now
	}
	return p.last
}

// pollsFor reports whether a CPE has to be polled.
func (b *Bridge) pollsFor(rec *Record) bool {
	return b.cfg.Polling.Interval > 0 && len(rec.Denied) > 0 && rec.Template != ""
}

// pollPause is how long a CPE is left alone after so many polls in succession to
// which it has not come.
func (b *Bridge) pollPause(failures int) time.Duration {
	return b.cfg.Polling.Interval * time.Duration(min(1<<min(max(failures-1, 0), 8), maxPollPause))
}

// planPoll makes sure that a CPE which has to be polled is, and no other. looked:
// it has been looked at just now.
func (b *Bridge) planPoll(dev *device, looked bool) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	old := dev.state.Load().rec
	rec := old.clone()
	switch {
	case !b.pollsFor(old):
		rec.NextPoll, rec.PollTurn, rec.PollFailures = time.Time{}, false, 0
	case looked || old.NextPoll.IsZero():
		rec.NextPoll, rec.PollTurn, rec.PollFailures = b.now().Add(b.cfg.Polling.Interval), false, 0
	}
	if rec.NextPoll.Equal(old.NextPoll) {
		return
	}
	b.keepOperations(dev, rec, &store.Batch{})
}

// beginPoll settles what is next for a CPE whose time has come: to be polled now,
// for which it returns true, at its turn, or not at all.
func (b *Bridge) beginPoll(rec *Record, now time.Time) bool {
	if !b.pollsFor(rec) {
		rec.NextPoll, rec.PollTurn, rec.PollFailures = time.Time{}, false, 0
		return false
	}
	if !rec.PollTurn {
		if turn := b.pace.turn(now); turn.After(now) {
			rec.NextPoll, rec.PollTurn = turn, true
			return false
		}
	}
	rec.PollFailures++ // until it has been looked at
	rec.NextPoll, rec.PollTurn = now.Add(b.pollPause(rec.PollFailures)), false
	return true
}

// poll asks a CPE for a session if its time to be polled has come.
func (b *Bridge) poll(ctx context.Context, dev *device) error {
	now := b.now()
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	if rec.NextPoll.IsZero() || rec.NextPoll.After(now) {
		dev.mu.Unlock()
		return nil
	}
	begin := b.beginPoll(rec, now)
	durable := b.keepOperations(dev, rec, &store.Batch{})
	dev.mu.Unlock()
	if err := durable(ctx); err != nil || !begin {
		return err
	}
	b.inBackground(dev, func(ctx context.Context) {
		outcome := "read"
		if err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error { return b.look(ctx, s, dev) }); err != nil {
			outcome = "failed"
			b.log.Debug("a CPE could not be polled; it is looked at when it informs", "device", dev.key, "error", err)
		} else if dev.state.Load().rec.PollFailures > 0 { // what it has was read just before
			b.planPoll(dev, true)
		}
		b.metrics.polls.WithLabelValues(outcome).Inc()
	})
	return nil
}
