package agent

import (
	"context"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// bulkTimes says when what is due of a profile, in Unix milliseconds. While a
// report is made, Retry is when it is taken to have been lost with its process,
// and is made again.
type bulkTimes struct {
	Next     int64 `json:"next"`               // the next report
	Retry    int64 `json:"retry,omitempty"`    // the next attempt with what was not delivered
	Attempts int   `json:"attempts,omitempty"` // retries so far
}

// The bounds of what is made up for.
const (
	// reportLate is from when on a report is late because nobody was there to
	// make it, and not because there was much to do.
	reportLate = time.Minute
	// catchUp is over how long the reports that fell into such a time are
	// spread, so that a bridge that comes back does not report for all devices
	// at once. Reports that were due several times are made once.
	catchUp = 10 * time.Minute
	// postpone is how long a report waits at least for which there is no room
	// now, and again at most.
	postpone = 10 * time.Second
	// reportLease is longer than a report can take, its place in the queue
	// aside.
	reportLease = 5 * time.Minute
)

// scheduleBulk sets when the reports of each profile are due.
func (h *Host) scheduleBulk(tx *txn) {
	if tx.base == tx.next {
		return
	}
	profiles, before := tx.next.index(h.spec).profiles, tx.base.index(h.spec).profiles
	if len(profiles) == 0 && len(tx.next.bulk) == 0 {
		return
	}
	wanted := make(map[uint32]bulkTimes, len(profiles))
	for n, p := range profiles {
		t, scheduled := tx.next.bulk[n]
		if old := before[n]; !scheduled || old == nil || !old.timed(p) {
			t = bulkTimes{Next: p.next(h.cfg.Now(), tx.a.id).UnixMilli()}
		}
		wanted[n] = t
	}
	if !maps.Equal(wanted, tx.next.bulk) {
		tx.next.bulk = wanted
	}
}

// putBulkDues adds the entries that changed times need.
func (tx *txn) putBulkDues(b *store.Batch) {
	for n, t := range tx.next.bulk {
		old, rest := tx.base.bulk[n], strconv.FormatUint(uint64(n), 10)
		if t.Next != old.Next {
			b.Put(dueKey(time.UnixMilli(t.Next), dueReport, tx.a.id, rest), dueValue())
		}
		if t.Retry != old.Retry && t.Retry != 0 {
			b.Put(dueKey(time.UnixMilli(t.Retry), dueResend, tx.a.id, rest), dueValue())
		}
	}
}

// next returns when the next report is due, in step with TimeReference. Without
// one the agent chooses: each profile of each agent has a moment of its own in
// the interval, so that a fleet of equal profiles reports evenly.
func (p *profile) next(now time.Time, id usp.EndpointID) time.Time {
	interval := max(p.interval, time.Second).Milliseconds()
	phase := p.phase.UnixMilli()
	if p.phase.IsZero() {
		sum := fnv.New64a()
		sum.Write([]byte(id))
		sum.Write([]byte(strconv.FormatUint(uint64(p.instance), 10)))
		phase = int64(sum.Sum64() % uint64(interval))
	}
	since := (now.UnixMilli() - phase) % interval
	if since < 0 {
		since += interval
	}
	return time.UnixMilli(now.UnixMilli() + interval - since)
}

// setBulk changes the times of a profile.
func (tx *txn) setBulk(n uint32, t bulkTimes) *usp.Error {
	return tx.attempt(func(next *state) *usp.Error {
		next.bulk = maps.Clone(next.bulk)
		if next.bulk == nil {
			next.bulk = map[uint32]bulkTimes{}
		}
		next.bulk[n] = t
		return nil
	})
}

// bulkDue deals with a due report, or with a due attempt to send one again.
func (h *Host) bulkDue(ctx context.Context, e dueEntry) error {
	n, err := strconv.ParseUint(e.rest, 10, 32)
	if err != nil {
		return h.drop(ctx, e)
	}
	job := reportJob{agent: e.agent, profile: uint32(n), again: e.what == dueResend}
	err = h.locked(ctx, e.agent, func(d *device, tx *txn) error {
		p, t := tx.base.index(h.spec).profiles[job.profile], tx.base.bulk[job.profile]
		expected := t.Next
		if job.again {
			expected = t.Retry
		}
		if p == nil || expected != e.at.UnixMilli() {
			return nil // of an earlier schedule
		}
		if err := tx.setBulk(job.profile, h.startReport(job, e.at, p, t)); err != nil {
			return err
		}
		return h.commit(ctx, d, tx, nil, nil, nil)
	})
	if err != nil {
		return err
	}
	return h.drop(ctx, e)
}

// startReport puts what is due into the queue, or off, and returns when the
// profile is due next.
func (h *Host) startReport(job reportJob, at time.Time, p *profile, t bulkTimes) bulkTimes {
	now := h.cfg.Now()
	regular := p.next(now, job.agent)
	soonest := func(wait time.Duration) int64 { return min(regular.UnixMilli(), now.Add(wait).UnixMilli()) }
	switch {
	case !job.again && now.Sub(at) > reportLate:
		h.metrics.reports.WithLabelValues(p.protocol, reportPostponed).Inc()
		t.Next = soonest(rand.N(min(p.interval, catchUp)))
	case h.bulk.enqueue(h, job):
		t.Retry = now.Add(reportLease).UnixMilli()
		if !job.again {
			t.Next, t.Attempts = regular.UnixMilli(), 0 // R-BULK.4
		}
	case job.again:
		t.Retry = now.Add(postpone + rand.N(postpone)).UnixMilli()
	default:
		h.metrics.reports.WithLabelValues(p.protocol, reportPostponed).Inc()
		t.Next = soonest(postpone + rand.N(postpone))
	}
	return t
}

// forceCollection is Device.BulkData.Profile.{i}.ForceCollection(): a report is
// made now, apart from the schedule.
func forceCollection(o *operation, call Call) (map[string]string, error) {
	n := call.Command.Inst.At(0)
	if o.tx.next.index(o.host.spec).profiles[n] == nil {
		return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(),
			"the profile reports nothing: it, its Controller or Device.BulkData. is not enabled, or it has no Parameter row with a Reference")
	}
	if !o.host.bulk.enqueue(o.host, reportJob{agent: o.agent.id, profile: n}) {
		return nil, usp.Errorf(usp.ErrResourcesExceeded, call.Command.Path(), "a report of the profile is being made, or too many of others are")
	}
	return nil, nil
}
