package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// What can be due: the first part of a store.Due record's name.
const (
	dueNotify   = "n" // a notification's next attempt
	dueExpiry   = "s" // a subscription's TimeToLive is over
	duePeriodic = "p" // a controller's Periodic!
	dueOnboard  = "o" // a controller's OnBoardingRestartTime is over
	dueTimer    = "t" // a ScheduleTimer() has run out, or was canceled
	dueReport   = "b" // a bulk data report
	dueResend   = "r" // a bulk data report that was not delivered
)

// dueEntry is a record of the due index.
type dueEntry struct {
	key   store.Key
	at    time.Time
	what  string
	agent usp.EndpointID
	rest  string
}

func dueKey(at time.Time, what string, id usp.EndpointID, rest string) store.Key {
	return store.Key{Kind: store.Due, Owner: fmt.Sprintf("%016x", max(0, at.UnixMilli())), Name: what + "/" + string(id) + "/" + rest}
}

// dueValue is the value of every due record; a node that deals with one takes
// it away by comparing and deleting.
func dueValue() []byte { return []byte{1} }

func parseDue(k store.Key) (dueEntry, bool) {
	ms, err := strconv.ParseInt(k.Owner, 16, 64)
	what, rest, ok := strings.Cut(k.Name, "/")
	last := strings.LastIndexByte(rest, '/')
	if err != nil || !ok || last < 0 {
		return dueEntry{}, false
	}
	return dueEntry{key: k, at: time.UnixMilli(ms), what: what, agent: usp.EndpointID(rest[:last]), rest: rest[last+1:]}, true
}

// due runs what is due, from the index in the store: one timer for all agents.
type due struct {
	h    *Host
	wake chan struct{}
}

// The scheduler looks at the index again after a poll at the latest, since
// another node may have put something there; it takes so many entries at once,
// and deals with so many at a time.
const (
	duePoll    = time.Minute
	dueBatch   = 512
	dueWorkers = 16
)

// poke makes the scheduler look at the index again.
func (d *due) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run deals with what is due until ctx ends.
func (d *due) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		next, err := d.pass(ctx)
		if err != nil && ctx.Err() == nil {
			d.h.log.Error("what is due cannot be read; trying again", "error", err)
		}
		timer.Reset(min(max(time.Until(next), 0), duePoll))
		if err != nil {
			timer.Reset(time.Second)
		}
	}
}

// pass deals with all that is due now and returns when the next is.
func (d *due) pass(ctx context.Context) (next time.Time, err error) {
	for ctx.Err() == nil {
		now := d.h.cfg.Now()
		next = now.Add(duePoll)
		var ready []dueEntry
		err := d.h.cfg.Store.Scan(ctx, store.Query{Kind: store.Due, Limit: dueBatch}, func(k store.Key, _ []byte) bool {
			e, ok := parseDue(k)
			if ok && e.at.After(now) {
				next = e.at
				return false
			}
			if ok {
				ready = append(ready, e)
			}
			return true
		})
		if err != nil || len(ready) == 0 {
			return next, err
		}
		if !d.all(ctx, ready) {
			return now.Add(time.Second), nil
		}
	}
	return next, nil
}

// all deals with entries, those of one agent in order. It returns false if
// something failed that is still due then.
func (d *due) all(ctx context.Context, ready []dueEntry) bool {
	byAgent := map[usp.EndpointID][]dueEntry{}
	for _, e := range ready {
		byAgent[e.agent] = append(byAgent[e.agent], e)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	good := true
	slots := make(chan struct{}, dueWorkers)
	for _, entries := range byAgent {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			for _, e := range entries {
				if err := d.one(ctx, e); err != nil {
					d.h.log.Error("what is due failed; trying again", "agent", e.agent, "what", e.key.Name, "error", err)
					mu.Lock()
					good = false
					mu.Unlock()
				}
			}
		}()
	}
	wg.Wait()
	return good
}

func (d *due) one(ctx context.Context, e dueEntry) error {
	ctx, cancel := context.WithTimeout(ctx, d.h.cfg.Deadline)
	defer cancel()
	if _, _, err := d.h.cfg.Devices.Model(ctx, e.agent); err != nil {
		return d.h.orphaned(ctx, e, err)
	}
	switch e.what {
	case dueNotify:
		return d.h.retry(ctx, e)
	case dueExpiry:
		return d.h.expire(ctx, e)
	case duePeriodic:
		return d.h.periodic(ctx, e)
	case dueOnboard:
		return d.h.onboardAgain(ctx, e)
	case dueTimer:
		return d.h.timerOver(ctx, e)
	case dueReport, dueResend:
		return d.h.bulkDue(ctx, e)
	}
	return d.h.drop(ctx, e)
}

// drop takes an entry away that nothing has to be done for.
func (h *Host) drop(ctx context.Context, e dueEntry) error {
	var b store.Batch
	b.Delete(e.key)
	return h.cfg.Store.Commit(ctx, &b)
}
