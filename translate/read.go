package translate

import (
	"context"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Instances implements agent.Model from the cache.
func (m *model) Instances(table dm.Ref) []uint32 { return m.state().See(m.bridge.now).Instances(table) }

// Peek implements agent.Model: the cache, of whatever age.
func (m *model) Peek(params []dm.Ref) []agent.Value {
	s := m.state()
	out := make([]agent.Value, len(params))
	for i, ref := range params {
		out[i] = m.bridge.peek(s, ref)
	}
	return out
}

// Get implements agent.Model. Values younger than their class allows come from
// the cache; if any is older, all that are older are asked of the CPE at once.
// If it does not answer, the cached value stands in; a value never read is an
// error that says why.
func (m *model) Get(ctx context.Context, params []dm.Ref) []agent.Value {
	s := m.state()
	out := make([]agent.Value, len(params))
	var stale []int
	var sources []mapping.Source
	now := m.bridge.now()
	for i, ref := range params {
		fresh := false
		if out[i], fresh = m.bridge.read(s, ref, now); !fresh {
			stale = append(stale, i)
			sources = s.See(m.bridge.now).Sources(ref, sources)
		}
	}
	m.bridge.metrics.reads.WithLabelValues("cache").Add(float64(len(params) - len(stale)))
	if len(stale) == 0 {
		return out
	}
	held, release, err := m.hold(ctx)
	if err == nil {
		defer release()
		m = held
		err = m.bridge.fetch(ctx, m.dev, s.paths(sources))
	}
	if err == nil {
		m.bridge.metrics.reads.WithLabelValues("cpe").Add(float64(len(stale)))
	} else {
		m.bridge.metrics.reads.WithLabelValues("stale").Add(float64(len(stale)))
	}
	s = m.state()
	for _, i := range stale {
		out[i] = m.bridge.peek(s, params[i])
		if out[i].Err != nil && err != nil {
			out[i].Err = uspError(err, params[i].Path())
			out[i].Err.Msg = "never read from the CPE, and " + out[i].Err.Msg
		}
	}
	return out
}

// peek reads one parameter from the cache.
func (b *Bridge) peek(s *snapshot, ref dm.Ref) agent.Value {
	v, _ := b.read(s, ref, time.Time{})
	return v
}

// read reads one parameter from the cache and tells whether it is young enough.
func (b *Bridge) read(s *snapshot, ref dm.Ref, now time.Time) (v agent.Value, fresh bool) {
	if name, own := s.program.Own(ref.Node); own {
		return agent.Value{Text: b.own(s, name, ref.Inst)}, true
	}
	if len(s.rec.Firmware.Shown) > 0 && ref.Node.Path == imageStatus {
		if text, ok := s.shownImage(b, ref); ok {
			return agent.Value{Text: text}, true
		}
	}
	text, at, state := s.See(b.now).Read(ref)
	switch state {
	case mapping.Computed:
		return agent.Value{Text: text}, true
	case mapping.Known:
		age := s.program.MaxAge(ref.Node)
		return agent.Value{Text: text}, age == 0 || now.Sub(time.Unix(int64(at), 0)) <= age
	case mapping.Unsure:
		return agent.Value{Text: text}, false
	case mapping.Unread:
		return agent.Value{Err: usp.Errorf(usp.ErrInternal, ref.Path(), "its value was never read from the CPE")}, false
	}
	return agent.Value{Err: usp.Errorf(usp.ErrUnsupportedParameter, ref.Path(), "the CPE has no such parameter in this row")}, true
}

// paths names CPE parameters in full: their ids hold for one template only, and
// the CPE may have another by the time it is asked.
func (s *snapshot) paths(sources []mapping.Source) []cwmp.Path {
	out := make([]cwmp.Path, len(sources))
	for i, src := range sources {
		out[i] = tree.Join(s.tree.Template().Param(src.Param).Path, src.Inst)
	}
	return out
}

// fetches joins the live reads of one device: what several controllers ask for
// at once goes to the CPE in one session and is asked there once.
type fetches struct {
	mu   sync.Mutex
	next *fetch // not yet begun: more can be added
}

// giveUp ends a read that has not begun: the CPE does not come.
func (f *fetches) giveUp(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != nil {
		f.next.cancel(err)
	}
}

// fetch is one live read.
type fetch struct {
	want map[cwmp.Path]struct{}
	ctx  context.Context

	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error // valid when done is closed
}

// fetch reads parameters live and returns when the tree has their values.
func (b *Bridge) fetch(ctx context.Context, dev *device, want []cwmp.Path) error {
	f := b.join(dev, want)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join adds to the read that has not begun yet, or makes one.
func (b *Bridge) join(dev *device, want []cwmp.Path) *fetch {
	dev.fetch.mu.Lock()
	defer dev.fetch.mu.Unlock()
	f := dev.fetch.next
	if f == nil {
		f = &fetch{want: make(map[cwmp.Path]struct{}, len(want)), done: make(chan struct{})}
		f.ctx, f.cancel = context.WithCancelCause(context.Background())
		dev.fetch.next = f
		dev.pins.Add(1)
		go b.runFetch(dev, f)
	}
	for _, w := range want {
		f.want[w] = struct{}{}
	}
	return f
}

// runFetch carries a read out. It lives as long as the read, which the deadline
// of live operations bounds; the callers' own contexts end their waiting only.
func (b *Bridge) runFetch(dev *device, f *fetch) {
	defer b.devices.release(dev)
	defer f.cancel(nil)
	f.err = b.run(f.ctx, dev, func(ctx context.Context, s *acs.Session) error {
		return b.readLive(ctx, s, dev, dev.fetch.begin(f))
	})
	if cause := context.Cause(f.ctx); f.err != nil && cause != nil {
		f.err = cause
	}
	dev.fetch.begin(f)
	close(f.done)
}

// begin closes f for further wants and returns them.
func (f *fetches) begin(one *fetch) map[cwmp.Path]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == one {
		f.next = nil
	}
	return one.want
}

// readLive reads parameters inside a session into the tree.
func (b *Bridge) readLive(ctx context.Context, cpe acs.Caller, dev *device, want map[cwmp.Path]struct{}) error {
	s := dev.state.Load()
	names := make([]cwmp.Path, 0, len(want))
	for w := range want {
		names = append(names, w)
	}
	names, gone, err := b.present(ctx, cpe, dev, names)
	if err != nil {
		return err
	}
	r, err := readValues(ctx, cpe, names, lessOf(s.rec.MaxNames, b.profile(s.rec).MaxNames))
	r.absent = append(r.absent, gone...)
	if len(r.values) > 0 || len(r.absent) > 0 {
		if err := b.absorb(ctx, dev, r); err != nil {
			return err
		}
	}
	if limit := r.learnt(); limit != 0 {
		b.note(dev, func(l *Learnt) { l.MaxNames, l.Limited = lessOf(l.MaxNames, limit), b.now() })
	}
	if err != nil {
		return err
	}
	return b.relist(ctx, cpe, dev)
}

// absorb makes what was read part of the tree, and tells controllers of what
// has changed.
func (b *Bridge) absorb(ctx context.Context, dev *device, r *reading) error {
	return b.publish(ctx, dev, func(old *snapshot) (c change, events func(old, now *snapshot) []agent.Event) {
		changed := c.update(old, r.values, b.now())
		created, deleted := c.reconcile(old.program, old.numbers)
		if len(r.absent) > 0 {
			c.markAbsent(r.absent)
		}
		return c, func(old, now *snapshot) []agent.Event {
			return append(b.rowEvents(old, now, created, deleted), b.changeEvents(old, now, changed)...)
		}
	})
}

// markAbsent notes parameters that the CPE says it does not have.
func (c *change) markAbsent(names []cwmp.Path) {
	t := c.writable()
	for _, name := range names {
		if p, inst, ok := locate(t, name); ok {
			t.MarkAbsent(p, inst)
		}
	}
}

// markUnsure notes parameters whose value may be another than is known.
func (c *change) markUnsure(values []cwmp.ParameterValue) {
	t := c.writable()
	for _, v := range values {
		if p, inst, ok := locate(t, v.Name); ok {
			t.MarkUnsure(p, inst)
		}
	}
}

// writable returns the tree that the change makes, to be written to the store.
func (c *change) writable() *tree.Tree {
	if c.tree == nil {
		c.tree = c.aged
	}
	return c.tree
}

// locate finds a CPE parameter in a tree.
func locate(t *tree.Tree, name cwmp.Path) (p tree.ParamID, inst dm.Instance, ok bool) {
	schema, inst, ok := tree.Split(name)
	if !ok {
		return p, inst, false
	}
	p, ok = t.Template().Lookup(schema)
	return p, inst, ok
}
