package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// creation is one row on its way to the CPE. It outlives a broken session, so
// that a second try looks for what the first has done instead of repeating it.
type creation struct {
	row    agent.NewRow
	plan   mapping.Plan
	before map[uint32]bool // rows the CPE had when AddObject was first sent
	add    string          // ID of its PendingAdd; "" until AddObject is about to be sent
	lost   bool            // AddObject was sent, and its answer has not come
	number uint32          // the CPE's instance number; 0 until known
	alone  bool            // the Add has no other row
	alias  string          // that the controller has given, where the CPE keeps none
	done   bool
	result agent.AddResult
}

// object returns the path of the new row on the CPE.
func (c *creation) object() cwmp.Path {
	return c.plan.AddObject + cwmp.Path(strconv.FormatUint(uint64(c.number), 10)) + "."
}

// Add implements agent.Model: AddObject, then one SetParameterValues, then
// DeleteObject if a required value is refused (TR-369 R-ADD.2 ff.).
func (m *model) Add(ctx context.Context, rows []agent.NewRow, allowPartial bool) []agent.AddResult {
	m, release, err := m.hold(ctx)
	if err != nil {
		return refusedRows(rows, err)
	}
	defer release()
	work := make([]*creation, len(rows))
	view := m.state().See(m.bridge.now)
	for i, row := range rows {
		work[i] = &creation{row: row, alone: len(rows) == 1}
		values := make(map[string]string, len(row.Params))
		for _, a := range row.Params {
			values[a.Param.Name] = a.Value
		}
		work[i].plan, work[i].result.Err = view.CreatePlan(row.Table, values)
	}
	if !rejectRows(work, allowPartial) {
		m.bridge.addRows(ctx, m.dev, work, allowPartial)
	}
	results := make([]agent.AddResult, len(rows))
	for i, w := range work {
		results[i] = w.result
	}
	return results
}

func refusedRows(rows []agent.NewRow, err error) []agent.AddResult {
	results := make([]agent.AddResult, len(rows))
	for i := range results {
		results[i].Err = usp.AsError(err, rows[i].Table.Path())
	}
	return results
}

// addRows creates the planned rows in one session, or in a second one if the
// first breaks.
func (b *Bridge) addRows(ctx context.Context, dev *device, work []*creation, allowPartial bool) {
	job := func(ctx context.Context, s *acs.Session) error {
		for _, w := range work {
			if w.done || w.result.Err != nil || !allowPartial && failed(work) {
				continue
			}
			if err := b.addRow(ctx, s, dev, w); err != nil {
				return err
			}
		}
		return b.takeBack(ctx, s, dev, work, !allowPartial && failed(work))
	}
	err := b.run(ctx, dev, job)
	if errors.Is(err, acs.ErrSessionLost) {
		err = b.run(ctx, dev, job)
	}
	for _, w := range work {
		if err != nil && !w.done && w.result.Err == nil {
			w.result.Err = uspError(err, w.row.Table.Path())
		}
	}
	rejectRows(work, allowPartial)
	err = b.endAdds(ctx, dev, work)
	for _, w := range work {
		if err != nil && w.result.Err == nil {
			w.result.Err = uspError(err, w.row.Table.Path())
		}
	}
}

func failed(work []*creation) bool {
	return slices.ContainsFunc(work, func(w *creation) bool { return w.result.Err != nil })
}

// rejectRows fails all rows if one failed and none may.
func rejectRows(work []*creation, allowPartial bool) bool {
	if allowPartial {
		return false
	}
	var first *usp.Error
	for _, w := range work {
		if w.result.Err != nil {
			first = w.result.Err
			break
		}
	}
	for _, w := range work {
		if first != nil && w.result.Err == nil {
			w.result = agent.AddResult{Err: usp.Errorf(usp.ErrObjectNotCreated, "", "%w: %s", agent.ErrCollateral, first.Msg)}
		}
	}
	return first != nil
}

// takeBack deletes what was created of rows that failed, newest first; with all
// set, also the rows that did not.
func (b *Bridge) takeBack(ctx context.Context, cpe acs.Caller, dev *device, work []*creation, all bool) error {
	for i := len(work) - 1; i >= 0; i-- {
		w := work[i]
		if w.number == 0 || !all && w.result.Err == nil {
			continue
		}
		if err := deleteObject(ctx, cpe, w.object()); err != nil {
			return fmt.Errorf("roll-back: %s is left on the CPE: %w", w.object(), err)
		}
		if w.done {
			if err := b.forgetRows(ctx, dev, []cwmp.Path{w.object()}); err != nil {
				return err
			}
		}
		w.number, w.done = 0, false
	}
	return nil
}

// addRow creates one row inside a session. A refusal is in w.result.Err; the
// error returned is one of the session.
func (b *Bridge) addRow(ctx context.Context, cpe acs.Caller, dev *device, w *creation) error {
	if err := b.addObject(ctx, cpe, dev, w); err != nil || w.result.Err != nil {
		return err
	}
	next, ref, err := b.seeRow(ctx, cpe, dev, w)
	if err != nil {
		return err
	}
	if ref.Node == nil {
		w.result.Err = usp.Errorf(usp.ErrObjectNotCreated, w.row.Table.Path(), "the CPE created %s, which the mapping does not show in this table", w.object())
		return nil
	}
	values, err := b.fillRow(ctx, cpe, w, next, ref)
	if err != nil || w.result.Err != nil {
		return err
	}
	return b.addedRow(ctx, cpe, dev, w, next, ref, values)
}

// seeRow reads what the CPE has put into the new row and returns the device as
// it then is, with the row's USP path. Nothing is kept yet.
func (b *Bridge) seeRow(ctx context.Context, cpe acs.Caller, dev *device, w *creation) (*snapshot, dm.Ref, error) {
	old := dev.state.Load()
	d := &discovery{root: old.rec.Root, reading: &reading{}}
	names, err := parameterNames(ctx, cpe, w.object(), false)
	if err != nil && !isFault(err) {
		return nil, dm.Ref{}, err
	}
	d.names = append(names, cwmp.ParameterInfo{Name: w.object(), Writable: true})
	if d.reading, err = readValues(ctx, cpe, leaves(names), old.rec.MaxNames); err != nil {
		return nil, dm.Ref{}, err
	}
	next, err := b.grow(ctx, old, d)
	if err != nil {
		return nil, dm.Ref{}, err
	}
	ref, _ := next.See(b.now).RowOf(w.row.Table.Node, w.object())
	return next, ref, nil
}

// grow returns the device with rows and values added that were found on it. If
// they have parameters that its template has not, it gets another template.
func (b *Bridge) grow(ctx context.Context, old *snapshot, found *discovery) (*snapshot, error) {
	next := &snapshot{rec: old.rec, program: old.program}
	tpl := old.tree.Template()
	if seen := found.template(); !tpl.Covers(seen) {
		var err error
		if tpl, err = b.templates.share(ctx, old.rec, tpl.Extend(seen)); err != nil {
			return nil, err
		}
		if next.program, err = b.templates.program(tpl, old.rec); err != nil {
			return nil, err
		}
		next.rec = old.rec.clone()
		next.rec.Template = tpl.ID()
	}
	next.tree = old.tree.Onto(tpl)
	found.pour(next.tree, b.now())
	next.numbers, _, _, _ = next.program.Reconcile(next.tree, old.numbers)
	return next, nil
}

// fillRow writes the initial values. A required one that the CPE refuses takes
// the row with it.
func (b *Bridge) fillRow(ctx context.Context, cpe acs.Caller, w *creation, next *snapshot, ref dm.Ref) ([]cwmp.ParameterValue, error) {
	writes := planRow(next.See(b.now), w, ref)
	results := make([]agent.UpdateResult, 1)
	for {
		settle(writes, results, false)
		live := alive(writes, results)
		if results[0].Err != nil || len(live) == 0 {
			break
		}
		values := joinValues(live)
		if len(values) == 0 {
			break
		}
		_, err := setValues(ctx, cpe, values)
		var fault *cwmp.Fault
		if err == nil {
			w.result.Failed = results[0].Failed
			return values, nil
		} else if !errors.As(err, &fault) {
			return nil, err
		}
		blame(live, fault)
	}
	w.result.Failed = results[0].Failed
	if results[0].Err == nil {
		return nil, nil
	}
	w.result.Err = results[0].Err
	return nil, nil
}

func planRow(view *mapping.View, w *creation, ref dm.Ref) []pendingWrite {
	writes := make([]pendingWrite, 0, len(w.row.Params))
	for j, a := range w.row.Params {
		p := pendingWrite{param: j, ref: dm.Ref{Node: a.Param, Inst: ref.Inst},
			name: strings.TrimPrefix(a.Param.Path, w.row.Table.Node.Path), required: a.Required}
		switch {
		case w.plan.Chosen(a.Param.Name):
		case view.GivesAlias(p.ref):
			if p.err = view.CheckAlias(ref, a.Value); p.err == nil {
				w.alias = a.Value
			}
		default:
			p.values, p.err = view.Write(p.ref, a.Value, nil)
		}
		writes = append(writes, p)
	}
	return writes
}

// addedRow makes the row durable, and tells controllers of it and of rows of
// other tables that the CPE's object appears in too.
func (b *Bridge) addedRow(ctx context.Context, cpe acs.Caller, dev *device, w *creation, next *snapshot, ref dm.Ref, values []cwmp.ParameterValue) error {
	w.result.Row, w.done = ref, true
	return b.establish(ctx, dev, func(old *snapshot) (change, func(old, now *snapshot) []agent.Event) {
		c := change{tree: next.tree, program: next.program, rec: old.rec.clone()}
		c.rec.Template = next.tree.Template().ID()
		if w.alone { // else the row is kept when the others are there too
			c.rec.Adds = withoutAdd(c.rec.Adds, w.add)
		}
		c.update(next, values, b.now())
		c.tree = c.writable()
		var created []dm.Ref
		c.numbers, created, _, _ = next.program.Reconcile(c.tree, old.numbers)
		if w.alias != "" {
			c.numbers = c.numbers.WithAlias(ref, w.alias)
		}
		return c, func(old, now *snapshot) []agent.Event { return b.rowEvents(old, now, created, nil) }
	})
}

func leaves(names []cwmp.ParameterInfo) []cwmp.Path {
	out := make([]cwmp.Path, 0, len(names))
	for _, n := range names {
		if !n.Name.IsPartial() {
			out = append(out, n.Name)
		}
	}
	return out
}
