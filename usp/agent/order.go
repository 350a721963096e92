package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// Notifications of one subscription reach their controller in the order in which
// they were made: a value that is told late must not hide a newer one. TR-369 has
// each retried by itself (R-NOT.1) and says nothing of their order, so the waits
// keep to its table as far as order allows:
//
//   - A retry is never due before that of an older one. As all draw from the same
//     table, it stays in its range.
//   - One that is made while an older one is being retried is held: it is sent for
//     the first time behind the next retry of the older one, or as soon as that is
//     answered. A controller that does not answer gets no more of what it has
//     missed before it gets what it has missed.
//   - When the device has rebooted all are due at once, with retry counts of zero
//     (R-NOT.4).

// waiting is what an agent keeps in memory of a notification that is in the
// store.
type waiting struct {
	due      int64 // Unix milliseconds
	attempts int
	held     bool
}

// train is what notifications are kept in order in.
type train struct {
	controller   usp.EndpointID
	subscription uint32 // instance; 0 for OnBoardRequests, which are not in order
}

func (n *notification) train() train { return train{n.Controller, n.Subscription} }

func (n *notification) waiting() waiting { return waiting{n.Due, n.Attempts, n.Held} }

// waitings are the notifications of an agent that wait for their response, by
// name.
type waitings struct {
	trains map[train]map[string]waiting
	count  int
}

func (w *waitings) put(n *notification) {
	t := w.trains[n.train()]
	if t == nil {
		if w.trains == nil {
			w.trains = map[train]map[string]waiting{}
		}
		t = map[string]waiting{}
		w.trains[n.train()] = t
	}
	if _, had := t[n.name]; !had {
		w.count++
	}
	t[n.name] = n.waiting()
}

func (w *waitings) remove(n *notification) (was waiting, ok bool) {
	t := w.trains[n.train()]
	if was, ok = t[n.name]; !ok {
		return was, false
	}
	w.count--
	if delete(t, n.name); len(t) == 0 {
		delete(w.trains, n.train())
	}
	return was, true
}

// await takes a new notification among those that wait, behind the older ones of
// its subscription. It returns false if the agent has as many as it may.
func (a *agent) await(n *notification, most int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting.count >= most {
		return false
	}
	n.Held = a.queue(n)
	for _, w := range a.waiting.trains[n.train()] {
		if w.attempts == afresh { // all are due now, and this one behind them
			n.Due = w.due
		}
	}
	a.waiting.put(n)
	if a.sending == nil {
		a.sending = map[string]bool{}
	}
	a.sending[n.name] = false
	return true
}

// queue makes a notification due no sooner than the older ones of its
// subscription, and reports whether one of them is being retried. a.mu is held.
func (a *agent) queue(n *notification) (behindRetry bool) {
	if n.Subscription == 0 {
		return false
	}
	for name, w := range a.waiting.trains[n.train()] {
		if name < n.name {
			n.Due = max(n.Due, w.due)
			behindRetry = behindRetry || w.attempts != 0 || w.held
		}
	}
	return behindRetry
}

// again makes a notification that is sent once more due for its next retry.
func (a *agent) again(n *notification, now time.Time) {
	if !n.Held {
		n.Attempts++ // the retries so far: the table of R-NOT.1 counts from 1
	}
	n.Held = false
	n.Due = now.Add(retryWait(n.to, n.Attempts)).UnixMilli()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue(n)
	a.waiting.put(n)
}

// unawait forgets a notification that waits no more, and returns the names of
// those that it held up, the oldest first.
func (a *agent) unawait(n *notification) (held []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if was, ok := a.waiting.remove(n); !ok || was.attempts == 0 {
		return nil
	}
	for other, o := range a.waiting.trains[n.train()] {
		switch {
		case o.held:
			held = append(held, other)
		case o.attempts > 0:
			return nil // this one holds them up as well
		}
	}
	slices.Sort(held)
	return held
}

// unput forgets notifications that did not come into the store, and which values
// were told, so that what they told is news when it is told again.
func (a *agent) unput(notes []*notification) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.last)
	for _, n := range notes {
		if n.kept && !n.dropped {
			a.waiting.remove(n)
			delete(a.sending, n.name)
		}
	}
}

// unhold makes notifications due now that an undelivered one has held up.
func (h *Host) unhold(ctx context.Context, a *agent, names []string) error {
	var b store.Batch
	now := h.cfg.Now().UnixMilli()
	for _, name := range names {
		p, err := h.pendingOf(ctx, a.id, name)
		if err != nil {
			return err
		}
		n := &notification{agent: a, name: name, pending: p}
		b.Delete(n.dueKey())
		n.Due = now
		b.Put(n.key(), encodeJSON(n.pending))
		b.Put(n.dueKey(), dueValue())
	}
	if b.Len() == 0 {
		return nil
	}
	return h.cfg.Store.Commit(ctx, &b)
}

// loadWaiting reads what waits for an agent.
func (h *Host) loadWaiting(ctx context.Context, id usp.EndpointID) (list waitings, err error) {
	var failed error
	err = h.cfg.Store.Scan(ctx, store.Query{Kind: store.Notification, Owner: string(id), WholeOwner: true}, func(k store.Key, v []byte) bool {
		n := notification{name: k.Name}
		if failed = json.Unmarshal(v, &n.pending); failed == nil {
			list.put(&n)
		}
		return failed == nil
	})
	if err = cmp.Or(err, failed); err != nil {
		return waitings{}, fmt.Errorf("notifications of agent %s cannot be read: %w", id, err)
	}
	return list, nil
}

// afresh is the Attempts of a notification whose retry count is zero again: the
// next transmission counts as its first.
const afresh = -1

// afreshTries bounds how often a reset is tried while controllers answer what it
// is about.
const afreshTries = 3

// retryAfresh makes what waits for an agent's controllers due now, with retry
// counts of zero: the device has rebooted (R-NOT.4).
func (h *Host) retryAfresh(ctx context.Context, a *agent) (err error) {
	for range afreshTries {
		a.mu.Lock()
		waiting := a.waiting.count
		a.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		if err = h.resetRetries(ctx, a); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	h.log.Debug("retry counts were not reset: controllers are answering", "agent", a.id, "error", err)
	return nil
}

// resetRetries is one try of retryAfresh; it fails with store.ErrConflict if one of
// the notifications has changed meanwhile.
func (h *Host) resetRetries(ctx context.Context, a *agent) error {
	var b store.Batch
	var reset []*notification
	now := h.cfg.Now().UnixMilli()
	var failed error
	err := h.cfg.Store.Scan(ctx, store.Query{Kind: store.Notification, Owner: string(a.id), WholeOwner: true}, func(k store.Key, v []byte) bool {
		n := &notification{agent: a, name: k.Name}
		if failed = json.Unmarshal(v, &n.pending); failed != nil || n.Attempts <= 0 && !n.Held {
			return failed == nil
		}
		b.Delete(n.dueKey())
		n.Attempts, n.Held, n.Due = afresh, false, now
		b.CompareAndSet(k, slices.Clone(v), encodeJSON(n.pending))
		b.Put(n.dueKey(), dueValue())
		reset = append(reset, n)
		return true
	})
	if err = cmp.Or(err, failed); err != nil {
		return fmt.Errorf("notifications of agent %s cannot be read: %w", a.id, err)
	}
	if len(reset) == 0 {
		return nil
	}
	if err := h.cfg.Store.Commit(ctx, &b); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range reset {
		if _, waits := a.waiting.trains[n.train()][n.name]; waits { // else it was answered just now
			a.waiting.put(n)
		}
	}
	h.due.poke()
	return nil
}
