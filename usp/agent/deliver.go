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
	"github.com/uspbridge/uspbridge/usp/path"
)

// Deliver tells an agent what happened on its device. Subscriptions are matched
// and the notifications are on their way at once, while those that want a response
// are stored, in one commit; when Deliver returns nil they are durable. Without
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
	return h.DeliverWith(ctx, id, events, &store.Batch{}, h.enqueue)
}

// DeliverWith is Deliver for a Model that stores what it tells in the same batch:
// the notifications are added to batch, which is then handed to keep. Keep adds
// what it has to and enqueues the batch; what it returns waits until that is
// durable. It is called once unless DeliverWith fails before, and waited for if
// any notification is stored.
func (h *Host) DeliverWith(ctx context.Context, id usp.EndpointID, events []Event, batch *store.Batch, keep func(*store.Batch) (durable func(context.Context) error)) error {
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
		h.connectAll(id, st)
		if len(st.bulk) > 0 {
			h.forgetReports(a)
		}
		if err := h.retryAfresh(ctx, a); err != nil {
			return err
		}
	}
	subs := st.index(h.spec).subscribers
	if len(subs) == 0 || len(events) == 0 {
		keep(batch)
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
	if err := h.keepWith(ctx, a, notes, batch, keep); err != nil {
		return err
	}
	a.told(events)
	if moved(events) {
		h.watch(d, a)
	}
	return nil
}

// moved reports whether rows came or went: other parameters are watched then.
func moved(events []Event) bool {
	return slices.ContainsFunc(events, func(ev Event) bool { return ev.Kind == ObjectCreated || ev.Kind == ObjectDeleted })
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

// keepAndSend stores notifications and has them sent meanwhile.
func (h *Host) keepAndSend(ctx context.Context, a *agent, notes []*notification) error {
	return h.keepWith(ctx, a, notes, &store.Batch{}, h.enqueue)
}

// keepWith is keepAndSend in a batch with what keep adds, see DeliverWith.
func (h *Host) keepWith(ctx context.Context, a *agent, notes []*notification, b *store.Batch, keep func(*store.Batch) func(context.Context) error) error {
	before := b.Len()
	for _, n := range notes {
		n.put(h, b)
	}
	stored := b.Len() > before
	defer h.configure(ctx, a, notes, false)
	durable := keep(b)
	h.sendAll(notes, nil)
	if !stored {
		return nil
	}
	if err := durable(ctx); err != nil {
		a.unput(notes)
		return err
	}
	h.due.poke() // before they were in the store there was nothing to see
	h.stored(a, notes)
	return nil
}

// enqueue is what keeps a batch that has notifications only.
func (h *Host) enqueue(b *store.Batch) (durable func(context.Context) error) {
	if b.Len() == 0 {
		return func(context.Context) error { return nil }
	}
	done := make(chan error, 1)
	h.cfg.Store.Enqueue(b, func(err error) { done <- err })
	return func(ctx context.Context) error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch tells the Model which parameters anybody wants to hear of: those of
// ValueChange subscriptions, and for tables whose rows are watched their numbers
// of entries. Events are among them: a device may have one as a parameter.
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
				if res, err := r.resolvePath(allRows(p), ""); err == nil {
					for _, ref := range res.refs {
						view.parametersBelow(ref, set, h.cfg.Limits.Matches)
					}
				}
			case eventNotification:
				if res, err := r.resolvePath(allRows(p), ""); err == nil {
					for _, ref := range res.refs {
						view.eventsBelow(ref, set, h.cfg.Limits.Matches)
					}
				}
			case objectCreation, objectDeletion:
				if res, err := r.resolvePath(allRows(p), ""); err == nil {
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

// allRows returns a path with a wildcard for each search expression: which rows
// it holds for is decided when something happens, and may be others by then.
func allRows(p path.Path) path.Path {
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		if p.Steps[i].Kind == path.Search {
			p.Steps[i] = path.Step{Kind: path.Wildcard}
		}
	}
	return p
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
		if ref.Node.Change != dm.ValueChangeWillIgnore {
			set[ref] = true
		}
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

// eventsBelow adds an event of the device, and all events below an object.
func (d *device) eventsBelow(ref dm.Ref, set map[dm.Ref]bool, most int) {
	switch {
	case ref.Node.Local && ref.Node.Name != "" || len(set) >= most:
	case ref.Node.Kind == dm.Event:
		set[ref] = true
	case ref.IsTable():
		for _, n := range d.instances(ref) {
			d.eventsBelow(dm.Ref{Node: ref.Node, Inst: ref.Inst.Append(n)}, set, most)
		}
	case ref.Node.IsObject():
		for _, c := range ref.Node.Children {
			d.eventsBelow(dm.Ref{Node: c, Inst: ref.Inst}, set, most)
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
		if count, ok := d.schema.CountOf(ref); ok {
			set[count] = true
		}
		return
	}
	for _, c := range n.Children {
		if c.IsObject() {
			d.countsBelow(dm.Ref{Node: c, Inst: ref.Inst}, set)
		}
	}
}
