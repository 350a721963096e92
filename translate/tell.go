package translate

import (
	"context"
	"fmt"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// news makes up a change of what is known of a CPE, and the events that it is for
// controllers. dev.mu is held; the events are asked for without it, with the
// device as it was and as it is.
type news func(old *snapshot) (c change, events func(old, now *snapshot) []agent.Event)

// spread makes a change of what is known of a CPE and tells controllers of it: the
// change and the notifications that wait for a response come into the store in
// one batch, so that a bridge that dies has told it or will take it for new when
// it is said again. What is known is what was told last, so a value that is said
// again is no event, whoever made the change. The returned function waits until
// all is durable; notifications that want a response are when spread returns.
//
// Changes of one device are told in the order they were made; the caller holds
// dev.order.
func (b *Bridge) spread(ctx context.Context, dev *device, p news) (old *snapshot, durable func(context.Context) error, err error) {
	dev.mu.Lock()
	old = dev.state.Load()
	c, events := p(old)
	if c.rec != nil && b.noteImages(old, &c) {
		b.schedule(dev.key, c.rec, c.rec.nextDue(), &c.batch)
		b.inBackground(dev, func(ctx context.Context) { b.tell(ctx, dev) })
	}
	now := c.onto(old)
	dev.state.Store(now)
	if c.tree != nil {
		dev.compared.Store(false)
	}
	dev.mu.Unlock()
	keep := func(batch *store.Batch) func(context.Context) error {
		dev.mu.Lock()
		defer dev.mu.Unlock()
		dev.apply(c.latest(old, dev.state.Load()), batch)
		durable = b.keep(dev, batch)
		return durable
	}
	list := events(old, now)
	if len(list) == 0 {
		keep(&c.batch)
		return old, durable, nil
	}
	err = b.agents.DeliverWith(ctx, now.rec.Endpoint, list, &c.batch, keep)
	if err != nil {
		err = fmt.Errorf("notifications of %s: %w", now.rec.Endpoint, err)
	}
	if durable == nil {
		durable = func(context.Context) error { return err } // the agent did not come so far
	}
	return old, durable, err
}

// latest returns what of the change is stored, as others have made it since. That
// a CPE has informed at all is stored when its session has ended.
func (c change) latest(old, s *snapshot) change {
	out := change{}
	if c.rec != nil && !c.rec.moment(old.rec) {
		out.rec = s.rec
	}
	if c.tree != nil {
		out.tree = s.tree
	}
	if c.numbers != nil {
		out.numbers = s.numbers
	}
	return out
}

// publish tells what a CPE has said of itself. If that fails it is as if the CPE
// had not said it, so that it is new when it is said again.
func (b *Bridge) publish(ctx context.Context, dev *device, p news) error {
	dev.order.Lock()
	defer dev.order.Unlock()
	old, _, err := b.spread(ctx, dev, p)
	if err == nil {
		return nil
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	undone := change{rec: dev.state.Load().rec.clone(), tree: old.tree, numbers: old.numbers} // what others have changed meanwhile stays
	undone.rec.Software, undone.rec.Reboot, undone.rec.LastEvents = old.rec.Software, old.rec.Reboot, old.rec.LastEvents
	undone.rec.Notified = old.rec.Notified
	var batch store.Batch
	dev.apply(undone, &batch)
	b.keep(dev, &batch)
	return err
}

// establish tells what the bridge itself has done to a CPE, or has found there. That
// stands, whether or not controllers could be told; it is durable when establish
// returns nil.
func (b *Bridge) establish(ctx context.Context, dev *device, p news) error {
	dev.order.Lock()
	defer dev.order.Unlock()
	_, durable, err := b.spread(ctx, dev, p)
	if err != nil {
		dev.unsaved.Store(true) // the next batch carries it
		return err
	}
	return durable(ctx)
}

// changeEvents returns the ValueChange events for CPE parameters that changed:
// those whose value as controllers see it is another. Nothing is made up for a
// device of which nobody watches anything.
func (b *Bridge) changeEvents(old, now *snapshot, changed []source) (events []agent.Event) {
	if len(changed) == 0 || len(now.rec.Watched) == 0 {
		return nil
	}
	view := now.See(b.now)
	for _, c := range changed {
		for _, ref := range view.Targets(c.param, c.inst) {
			events = b.appendChange(events, old, now, ref)
		}
	}
	return events
}

// appendChange appends the event of a parameter that has another value now: that
// it has, or the event of Device:2 that this stands for on a CPE.
func (b *Bridge) appendChange(events []agent.Event, old, now *snapshot, ref dm.Ref) []agent.Event {
	if ref.Node.Kind == dm.Event {
		if args, ok := now.See(b.now).EventArgs(ref); ok {
			events = append(events, agent.Event{Kind: agent.Occurred, Ref: ref, Args: args})
		}
		return events
	}
	v := b.peek(now, ref)
	if v.Err != nil {
		return events
	}
	if before := b.peek(old, ref); before.Err == nil && before.Text == v.Text {
		return events
	}
	return append(events, agent.Event{Kind: agent.ValueChanged, Ref: ref, Value: v.Text})
}

// rowEvents returns the events for rows that came and went, and for the counts of
// their tables.
func (b *Bridge) rowEvents(old, now *snapshot, created, deleted []dm.Ref) []agent.Event {
	if len(created)+len(deleted) == 0 {
		return nil
	}
	events := make([]agent.Event, 0, len(created)+len(deleted)+1)
	for _, r := range created {
		events = append(events, agent.Event{Kind: agent.ObjectCreated, Ref: r})
	}
	for _, r := range deleted {
		events = append(events, agent.Event{Kind: agent.ObjectDeleted, Ref: r})
	}
	counted := map[dm.Ref]bool{}
	for _, rows := range [][]dm.Ref{created, deleted} {
		for _, row := range rows {
			if count, ok := now.program.Schema.CountOf(row); ok && !counted[count] {
				counted[count] = true
				events = b.appendChange(events, old, now, count)
			}
		}
	}
	return events
}
