package agent

import (
	"context"
	"strconv"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// commit makes the changes of a message durable, with the notifications they
// cause and the audit record. Whoever has asked has the response before them.
func (s *session) commit(ctx context.Context, tx *txn, events []Event, log *auditLog) *usp.Error {
	d := s.device
	if events = s.agent.untold(events); len(events) > 0 {
		// What was created can have more than the view of before knows.
		if now, err := s.host.open(ctx, s.agent); err == nil {
			d = now
		}
	}
	notes := append(s.host.notesOf(d, tx, events), s.host.onboardNotes(d, tx)...)
	if err := s.host.store(ctx, d, tx, notes, log); err != nil {
		return usp.Errorf(usp.ErrInternal, "", "the change could not be stored: %w", err)
	}
	if moved(events) {
		s.host.watch(d, tx.a)
	}
	s.host.transmit(tx.a, notes, s)
	if s.host.reconnects(tx) {
		s.after = append(s.after, func() { s.host.applyConnections(tx.a) })
	}
	if s.host.touched(tx, s.host.classes.controller) {
		if gone := s.host.unspoken(tx.base, tx.next); len(gone) > 0 {
			s.after = append(s.after, func() { s.host.endSessions(tx.a.id, gone) })
		}
	}
	if !s.triggered {
		s.host.configure(ctx, tx.a, notes, true)
	}
	return nil
}

// commit is session.commit for the agent's own changes. The caller holds a.write.
func (h *Host) commit(ctx context.Context, d *device, tx *txn, events []Event, notes []*notification, log *auditLog) error {
	notes = append(notes, h.notesOf(d, tx, events)...)
	notes = append(notes, h.onboardNotes(d, tx)...)
	if err := h.store(ctx, d, tx, notes, log); err != nil {
		return err
	}
	h.transmit(tx.a, notes, nil)
	if h.reconnects(tx) {
		h.applyConnections(tx.a)
	}
	h.configure(ctx, tx.a, notes, true)
	return nil
}

// store commits in one batch. When it returns nil the new state is the agent's.
func (h *Host) store(ctx context.Context, d *device, tx *txn, notes []*notification, log *auditLog) error {
	var b store.Batch
	h.schedulePeriodic(tx)
	h.scheduleBulk(tx)
	if err := h.dropReports(ctx, tx, h.staleReports(tx)); err != nil {
		return err
	}
	tx.diff(&b)
	if h.reconnects(tx) {
		b.Put(connectionsKey(d.id), nil)
	}
	h.putDues(tx, &b)
	for _, n := range notes {
		n.put(h, &b)
	}
	log.put(h, &b, d.id)
	if b.Len() > 0 {
		// A change that was begun is ended: the caller's deadline does not count.
		if err := h.cfg.Store.Commit(context.WithoutCancel(ctx), &b); err != nil {
			tx.a.unput(notes)
			return err
		}
	}
	h.adopt(d, tx)
	return nil
}

// adopt makes the stored state the agent's and does what follows from it.
func (h *Host) adopt(d *device, tx *txn) {
	tx.a.state.Store(tx.next)
	if tx.base == tx.next {
		return
	}
	h.keepVolatile(tx)
	h.dial(tx.a.id, tx.base, tx.next)
	subscriptions := h.touched(tx, h.classes.subscription)
	if subscriptions {
		tx.a.mu.Lock()
		clear(tx.a.last)
		tx.a.mu.Unlock()
	}
	if subscriptions || h.touched(tx, h.classes.controller) {
		h.watch(d, tx.a)
	}
	h.due.poke()
}

// touched reports whether rows of a class were changed.
func (h *Host) touched(tx *txn, class *class) bool {
	for k, r := range tx.next.rows {
		if k.class == class && tx.base.rows[k] != r {
			return true
		}
	}
	for k := range tx.base.rows {
		if k.class == class && tx.next.rows[k] == nil {
			return true
		}
	}
	return false
}

// notesOf returns the notifications for a change: of the agent's own objects as
// the txn changed them, and of the device as events tell. Only subscriptions
// that were there before and still are get them.
func (h *Host) notesOf(d *device, tx *txn, events []Event) []*notification {
	after := *d
	after.state = tx.next
	subs := h.continuing(tx)
	if len(subs) == 0 {
		return nil
	}
	events = append(events, h.ownEvents(tx)...)
	return h.notifications(&after, tx.a, subs, events)
}

// continuing returns the subscriptions that a change leaves in place.
func (h *Host) continuing(tx *txn) []*subscription {
	subs := tx.next.index(h.spec).subscribers
	if tx.base == tx.next {
		return subs
	}
	var out []*subscription
	for _, sub := range subs {
		if tx.base.rows[sub.key] != nil {
			out = append(out, sub)
		}
	}
	return out
}

// ownEvents returns what a txn changed in the agent's own objects, as events.
func (h *Host) ownEvents(tx *txn) []Event {
	var events []Event
	if tx.base == tx.next {
		return nil
	}
	counts := map[dm.Ref]bool{}
	counted := func(k rowKey) {
		if k.class.counts != nil {
			counts[dm.Ref{Node: k.class.counts.node, Inst: k.inst.Prefix(k.inst.Len() - 1)}] = true
		}
	}
	for k, r := range tx.next.rows {
		old := tx.base.rows[k]
		switch {
		case old == r:
		case old == nil:
			events = append(events, Event{Kind: ObjectCreated, Ref: dm.Ref{Node: k.class.node, Inst: k.inst}})
			counted(k)
		default:
			for i, p := range k.class.params {
				if p.get == nil && !p.hidden && old.values[i] != r.values[i] {
					events = append(events, Event{Kind: ValueChanged, Ref: dm.Ref{Node: p.node, Inst: k.inst}, Value: r.values[i]})
				}
			}
		}
	}
	for k := range tx.base.rows {
		if tx.next.rows[k] == nil && k.class.node != nil {
			events = append(events, Event{Kind: ObjectDeleted, Ref: dm.Ref{Node: k.class.node, Inst: k.inst}})
			counted(k)
		}
	}
	for ref := range counts {
		p := h.spec.params[ref.Node.ID]
		for _, c := range h.spec.classes {
			if c.counts == p {
				n := len(tx.next.index(h.spec).tables[rowKey{c, ref.Inst}])
				events = append(events, Event{Kind: ValueChanged, Ref: ref, Value: strconv.Itoa(n)})
			}
		}
	}
	return events
}

// keepVolatile pins an agent while it has subscriptions that live in memory
// only, and remembers on which connections.
func (h *Host) keepVolatile(tx *txn) {
	for k, r := range tx.next.rows {
		if r.via != nil && tx.base.rows[k] == nil {
			if h.volatile.subscribed(r.via, tx.a) {
				h.agents.repin(tx.a)
			}
		}
	}
	for k, r := range tx.base.rows {
		if r.via != nil && tx.next.rows[k] == nil {
			if h.volatile.unsubscribed(r.via, tx.a) {
				h.agents.release(tx.a)
			}
		}
	}
}

// endVolatile removes the subscriptions that lived on a connection.
func (h *Host) endVolatile(ctx context.Context, via any) {
	for _, a := range h.volatile.take(via) {
		if err := h.removeWhere(ctx, a, func(k rowKey, r *row) bool { return r.via == via }); err != nil {
			h.log.Warn("subscriptions of a closed connection could not be removed", "agent", a.id, "error", err)
		}
		h.agents.release(a)
	}
}

// removeWhere removes rows on behalf of the agent itself.
func (h *Host) removeWhere(ctx context.Context, a *agent, gone func(rowKey, *row) bool) error {
	a.write.Lock()
	defer a.write.Unlock()
	tx := h.begin(a, nil, nil)
	if err := tx.attempt(func(next *state) *usp.Error {
		for k, r := range next.rows {
			if gone(k, r) {
				next.remove(k)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	d, err := h.open(ctx, a)
	if err != nil {
		return err
	}
	return h.commit(ctx, d, tx, nil, nil, nil)
}

// subscribed counts a subscription of an agent that lives on a connection and
// reports whether it is the agent's first there.
func (v *volatile) subscribed(via any, a *agent) (first bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byConn[via] == nil {
		v.byConn[via] = map[*agent]int{}
	}
	v.byConn[via][a]++
	return v.byConn[via][a] == 1
}

// unsubscribed is the reverse; it reports whether it was the last.
func (v *volatile) unsubscribed(via any, a *agent) (last bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byConn[via][a] == 0 {
		return false
	}
	if v.byConn[via][a]--; v.byConn[via][a] > 0 {
		return false
	}
	delete(v.byConn[via], a)
	if len(v.byConn[via]) == 0 {
		delete(v.byConn, via)
	}
	return true
}

// take returns the agents with subscriptions on a connection, and forgets them.
func (v *volatile) take(via any) []*agent {
	v.mu.Lock()
	defer v.mu.Unlock()
	var agents []*agent
	for a := range v.byConn[via] {
		agents = append(agents, a)
	}
	delete(v.byConn, via)
	return agents
}

func (v *volatile) has(via any) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.byConn[via]) > 0
}
