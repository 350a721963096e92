package agent

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Deliver tells an agent what happened on its device. Subscriptions are matched
// and the notifications sent at once, while those that want a response are
// stored, in one commit; when Deliver returns nil they are durable. Without
// subscriptions nothing is written. It fails with ErrUnknownEndpoint, or if the
// store does.
//
// An OperationEnded waits for what a controller changes on the agent at the
// moment: it must not be delivered by what such a change waits for, as is a
// session of the device. One whose Request row is gone has been told before and
// is left out, so it can be delivered again until Deliver returns nil.
func (h *Host) Deliver(ctx context.Context, id usp.EndpointID, events []Event) error {
	if len(events) == 0 {
		return nil
	}
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	if events, err = h.endOperations(ctx, a, events); err != nil {
		return err
	}
	st := a.state.Load()
	boot := booted(events)
	if boot {
		h.connectAll(ctx, id, st)
		if len(st.bulk) > 0 {
			h.forgetReports(a)
		}
	}
	subs := st.index(h.spec).subscribers
	if len(subs) == 0 || len(events) == 0 {
		return nil
	}
	d, err := h.open(ctx, a)
	if err != nil {
		return err
	}
	if boot {
		subs = h.endSession(a, st, subs)
	}
	notes := h.notifications(d, a, subs, events)
	if err := h.keepAndSend(ctx, a, notes); err != nil {
		return err
	}
	if slices.ContainsFunc(events, func(ev Event) bool { return ev.Kind == ObjectCreated || ev.Kind == ObjectDeleted }) {
		h.watch(d, a)
	}
	return nil
}

func booted(events []Event) bool {
	return slices.ContainsFunc(events, func(ev Event) bool { return ev.Kind == Occurred && ev.Ref.Node.Path == bootEvent })
}

// endSession drops the subscriptions that do not outlive a reboot of the
// device. Their rows go in the background: whoever reports the reboot may be
// what a Set of this agent waits for.
func (h *Host) endSession(a *agent, st *state, subs []*subscription) []*subscription {
	gone := map[rowKey]bool{}
	var stay []*subscription
	for _, sub := range subs {
		if sub.via != nil || sub.persists(st) {
			stay = append(stay, sub)
		} else {
			gone[sub.key] = true
		}
	}
	if len(gone) == 0 {
		return subs
	}
	h.agents.repin(a)
	h.background.Add(1)
	go func() {
		defer h.background.Done()
		defer h.agents.release(a)
		ctx, cancel := context.WithTimeout(h.ctx, 2*h.cfg.Deadline)
		defer cancel()
		if err := h.removeWhere(ctx, a, func(k rowKey, _ *row) bool { return gone[k] }); err != nil {
			h.log.Warn("subscriptions that do not persist could not be removed", "agent", a.id, "error", err)
		}
	}()
	return stay
}

// keepAndSend stores notifications and sends them meanwhile.
func (h *Host) keepAndSend(ctx context.Context, a *agent, notes []*notification) error {
	var b store.Batch
	for _, n := range notes {
		n.put(h, &b)
	}
	defer h.configure(ctx, a, notes, false)
	if b.Len() == 0 {
		h.sendAll(notes)
		return nil
	}
	done := make(chan error, 1)
	h.cfg.Store.Enqueue(&b, func(err error) { done <- err })
	h.sendAll(notes)
	select {
	case err := <-done:
		if err != nil {
			a.unput(notes)
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	h.stored(a, notes)
	return nil
}

// watch tells the Model which parameters anybody wants to hear of: those of
// ValueChange subscriptions, and for tables whose rows are watched their numbers
// of entries.
func (h *Host) watch(d *device, a *agent) {
	a.watching.Lock()
	defer a.watching.Unlock()
	st := a.state.Load()
	view := *d
	view.state = st
	r := resolver{device: &view, grants: h.builtin.roles.in(&view), left: h.cfg.Limits.Matches}
	set := map[dm.Ref]bool{}
	for _, sub := range st.index(h.spec).subscribers {
		for _, p := range sub.references {
			switch sub.kind {
			case valueChange:
				if res, err := r.resolvePath(p, ""); err == nil {
					for _, ref := range res.refs {
						view.parametersBelow(ref, set, h.cfg.Limits.Matches)
					}
				}
			case objectCreation, objectDeletion:
				if res, err := r.resolvePath(p, ""); err == nil {
					for _, ref := range res.refs {
						view.countsBelow(ref, set)
					}
				}
			}
		}
	}
	params := make([]dm.Ref, 0, len(set))
	for ref := range set {
		params = append(params, ref)
	}
	slices.SortFunc(params, func(x, y dm.Ref) int {
		if x.Node.Path != y.Node.Path {
			if x.Node.Path < y.Node.Path {
				return -1
			}
			return 1
		}
		return x.Inst.Compare(y.Inst)
	})
	print := fingerprint(params)
	if a.watched == print {
		return
	}
	a.watched = print
	if err := d.model.Watch(params); err != nil && !errors.Is(err, context.Canceled) {
		h.log.Warn("the device was not told which parameters are watched", "agent", a.id, "parameters", len(params), "error", err)
	}
}

func fingerprint(params []dm.Ref) string {
	sum := fnv.New64a()
	for _, ref := range params {
		sum.Write(append(ref.AppendPath(nil), 0))
	}
	return strconv.Itoa(len(params)) + "-" + strconv.FormatUint(sum.Sum64(), 16)
}

// parametersBelow adds the device's parameters of an element, all those below
// it if it is an object.
func (d *device) parametersBelow(ref dm.Ref, set map[dm.Ref]bool, most int) {
	switch {
	case ref.Node.Local && ref.Node.Name != "" || len(set) >= most:
	case ref.Node.Kind == dm.Param:
		set[ref] = true
	case ref.IsTable():
		for _, n := range d.instances(ref) {
			d.parametersBelow(dm.Ref{Node: ref.Node, Inst: ref.Inst.Append(n)}, set, most)
		}
	case ref.Node.IsObject():
		for _, c := range ref.Node.Children {
			d.parametersBelow(dm.Ref{Node: c, Inst: ref.Inst}, set, most)
		}
	}
}

// countsBelow adds the NumberOfEntries of a table or row, and of all tables
// below an object.
func (d *device) countsBelow(ref dm.Ref, set map[dm.Ref]bool) {
	n := ref.Node
	if n.Local || !n.IsObject() {
		return
	}
	if n.Kind == dm.Table {
		parent := d.schema.Lookup(n.Path[:len(n.Path)-len(n.Name)-len(".{i}.")])
		if parent == nil {
			return
		}
		if c := parent.Child(n.Name + "NumberOfEntries"); c != nil && c.Kind == dm.Param {
			set[dm.Ref{Node: c, Inst: ref.Inst.Prefix(n.Depth - 1)}] = true
		}
		return
	}
	for _, c := range n.Children {
		if c.IsObject() {
			d.countsBelow(dm.Ref{Node: c, Inst: ref.Inst}, set)
		}
	}
}
