package agent

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// orphaned deals with an entry of an agent that cannot be opened: one that is
// no longer hosted has nothing due.
func (h *Host) orphaned(ctx context.Context, e dueEntry, err error) error {
	if errors.Is(err, ErrUnknownEndpoint) {
		return h.drop(ctx, e)
	}
	return err
}

// locked runs f with an agent's write lock, on its data model and a txn.
func (h *Host) locked(ctx context.Context, id usp.EndpointID, f func(d *device, tx *txn) error) error {
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	a.write.Lock()
	defer a.write.Unlock()
	d, err := h.open(ctx, a)
	if err != nil {
		return err
	}
	return f(d, h.begin(a, nil, nil))
}

// putDues adds the entries that changed subscriptions and controllers need.
// Entries that hold no longer stay where they are and do nothing when their
// time comes.
func (h *Host) putDues(tx *txn, b *store.Batch) {
	for k, r := range tx.next.rows {
		if k.class != h.classes.subscription || tx.base.rows[k] == r {
			continue
		}
		if at := tx.next.deadline(k); !at.IsZero() {
			b.Put(dueKey(at, dueExpiry, tx.a.id, strconv.FormatUint(uint64(k.inst.At(0)), 10)), dueValue())
		}
	}
	for n, at := range tx.next.periodic {
		if tx.base.periodic[n] != at {
			b.Put(dueKey(time.UnixMilli(at), duePeriodic, tx.a.id, strconv.FormatUint(uint64(n), 10)), dueValue())
		}
	}
	tx.putBulkDues(b)
	for n, at := range tx.next.timers {
		if tx.base.timers[n] != at {
			b.Put(dueKey(time.UnixMilli(at), dueTimer, tx.a.id, strconv.FormatUint(uint64(n), 10)), dueValue())
		}
	}
}

// expire removes a subscription whose time is over.
func (h *Host) expire(ctx context.Context, e dueEntry) error {
	n, err := strconv.ParseUint(e.rest, 10, 32)
	if err != nil {
		return h.drop(ctx, e)
	}
	err = h.locked(ctx, e.agent, func(d *device, tx *txn) error {
		k := rowKey{h.classes.subscription, dm.Inst(uint32(n))}
		at := tx.next.deadline(k)
		if tx.next.rows[k] == nil || at.IsZero() || at.After(h.cfg.Now()) {
			return nil
		}
		if err := tx.remove(dm.Ref{Node: k.class.node, Inst: k.inst}); err != nil {
			return err
		}
		return h.commit(ctx, d, tx, nil, nil, nil)
	})
	if err != nil {
		return err
	}
	return h.drop(ctx, e)
}

// schedulePeriodic sets when the Periodic! of each controller is due: for those
// that have subscribed to it, every PeriodicNotifInterval, in step with
// PeriodicNotifTime if that is set.
func (h *Host) schedulePeriodic(tx *txn) {
	if tx.base == tx.next {
		return
	}
	wanted := map[uint32]int64{}
	idx, before := tx.next.index(h.spec), tx.base.index(h.spec)
	for _, sub := range idx.subscribers {
		c := sub.recipient
		if sub.kind != eventNotification || c == nil || !refersTo(sub, periodicEvent) {
			continue
		}
		at, scheduled := tx.next.periodic[c.instance]
		if old := before.byInstance[c.instance]; !scheduled || old == nil || old.interval != c.interval || !old.phase.Equal(c.phase) {
			at = c.nextPeriodic(h.cfg.Now()).UnixMilli()
		}
		wanted[c.instance] = at
	}
	if !maps.Equal(wanted, tx.next.periodic) {
		tx.next.periodic = wanted
	}
}

func (c *controller) nextPeriodic(now time.Time) time.Time {
	if c.phase.IsZero() || c.interval <= 0 {
		return now.Add(max(c.interval, time.Second))
	}
	since := now.Sub(c.phase) % c.interval
	if since < 0 {
		since += c.interval
	}
	return now.Add(c.interval - since)
}

// refersTo reports whether a subscription has an element of the agent's own
// among its references, itself or an object around it.
func refersTo(sub *subscription, element string) bool {
	for _, p := range sub.references {
		if s := p.String(); s == element || p.Kind == path.Object && len(s) < len(element) && element[:len(s)] == s {
			return true
		}
	}
	return false
}

// periodic raises the Periodic! event for one controller.
func (h *Host) periodic(ctx context.Context, e dueEntry) error {
	n, err := strconv.ParseUint(e.rest, 10, 32)
	if err != nil {
		return h.drop(ctx, e)
	}
	err = h.locked(ctx, e.agent, func(d *device, tx *txn) error {
		c := tx.base.index(h.spec).byInstance[uint32(n)]
		if c == nil || tx.base.periodic[c.instance] != e.at.UnixMilli() {
			return nil // of an earlier schedule
		}
		var subs []*subscription
		for _, sub := range tx.base.index(h.spec).subscribers {
			if sub.recipient == c {
				subs = append(subs, sub)
			}
		}
		ref := dm.Ref{Node: h.spec.schema.Lookup(periodicEvent)}
		notes := h.notifications(d, tx.a, subs, []Event{{Kind: Occurred, Ref: ref}})
		if err := tx.attempt(func(next *state) *usp.Error {
			next.periodic = maps.Clone(next.periodic)
			next.periodic[c.instance] = c.nextPeriodic(h.cfg.Now()).UnixMilli()
			return nil
		}); err != nil {
			return err
		}
		return h.commit(ctx, d, tx, nil, notes, nil)
	})
	if err != nil {
		return err
	}
	return h.drop(ctx, e)
}

// sendOnBoardRequest is Device.LocalAgent.Controller.{i}.SendOnBoardRequest()
// (R-NOT.5.1).
func sendOnBoardRequest(o *operation, call Call) (map[string]string, error) {
	k := rowKey{o.host.classes.controller, call.Command.Inst}
	if o.tx.next.named(k, "Enable") != "true" {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the controller is not enabled")
	}
	o.tx.write(k, "OnBoardingComplete", "false")
	if o.tx.onboard == nil {
		o.tx.onboard = map[uint32]bool{}
	}
	o.tx.onboard[call.Command.Inst.At(0)] = true
	return nil, nil
}

// onboardNotes makes the OnBoardRequests that a change asks for: by command, or
// because a controller is now enabled with its onboarding not complete (R-NOT.5).
func (h *Host) onboardNotes(d *device, tx *txn) []*notification {
	if tx.base == tx.next {
		return nil
	}
	open := func(s *state, k rowKey) bool {
		return s.rows[k] != nil && s.named(k, "Enable") == "true" && s.named(k, "OnBoardingComplete") == "false"
	}
	var notes []*notification
	for n, c := range tx.next.index(h.spec).byInstance {
		k := rowKey{h.classes.controller, dm.Inst(n)}
		changed := tx.base.rows[k] != tx.next.rows[k] && open(tx.next, k) && !open(tx.base, k)
		if changed || tx.onboard[n] {
			if note := h.onboardNote(d, tx.a, c); note != nil {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

// onboardNote makes an OnBoardRequest: it wants a response and does not expire
// (R-NOT.6, R-NOT.6a).
func (h *Host) onboardNote(d *device, a *agent, to *controller) *notification {
	return h.note(a, to, nil, &usppb.Notify{Notification: &usppb.Notify_OnBoardReq{OnBoardReq: &usppb.Notify_OnBoardRequest{
		Oui: utf8Text(d.identity.OUI), ProductClass: utf8Text(d.identity.ProductClass), SerialNumber: utf8Text(d.identity.SerialNumber),
		AgentSupportedProtocolVersions: versions(),
	}}}, "OnBoardRequest")
}

// restartOnboarding begins to wait for OnBoardingRestartTime when a controller
// has responded to an OnBoardRequest.
func (h *Host) restartOnboarding(a *agent, controller usp.EndpointID, b *store.Batch) {
	st := a.state.Load()
	c := st.index(h.spec).controllers[controller]
	if c == nil || c.onboarding <= 0 || st.named(rowKey{h.classes.controller, dm.Inst(c.instance)}, "OnBoardingComplete") == "true" {
		return
	}
	b.Put(dueKey(h.cfg.Now().Add(c.onboarding), dueOnboard, a.id, strconv.FormatUint(uint64(c.instance), 10)), dueValue())
}

// onboardAgain sends another OnBoardRequest if onboarding is still not complete.
func (h *Host) onboardAgain(ctx context.Context, e dueEntry) error {
	n, err := strconv.ParseUint(e.rest, 10, 32)
	if err != nil {
		return h.drop(ctx, e)
	}
	err = h.locked(ctx, e.agent, func(d *device, tx *txn) error {
		c := tx.base.index(h.spec).byInstance[uint32(n)]
		k := rowKey{h.classes.controller, dm.Inst(uint32(n))}
		if c == nil || !c.enabled || c.onboarding <= 0 || tx.base.named(k, "OnBoardingComplete") == "true" {
			return nil
		}
		note := h.onboardNote(d, tx.a, c)
		if note == nil {
			return nil
		}
		return h.commit(ctx, d, tx, nil, []*notification{note}, nil)
	})
	if err != nil {
		return err
	}
	return h.drop(ctx, e)
}
