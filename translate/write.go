package translate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// pendingWrite is one USP assignment on its way to the CPE.
type pendingWrite struct {
	update   int // index of its agent.Update
	param    int // index into the update's Params
	ref      dm.Ref
	name     string // relative to the update's object
	required bool
	values   []cwmp.ParameterValue // what it is on the CPE; several for a decision table
	err      *usp.Error
}

// Set implements agent.Model. All assignments go to the CPE in one
// SetParameterValues, which TR-069 makes atomic. Where the request allows part
// of it to fail, what the CPE refuses is taken out and the rest sent again.
func (m *model) Set(ctx context.Context, updates []agent.Update, allowPartial bool) []agent.UpdateResult {
	results := make([]agent.UpdateResult, len(updates))
	m, release, err := m.hold(ctx)
	if err != nil {
		for i := range results {
			results[i].Err = usp.AsError(err, updates[i].Object.Path())
		}
		return results
	}
	defer release()
	writes := m.planSet(updates)
	settle(writes, results, allowPartial)
	if refused := rejectAll(results, allowPartial); refused || len(alive(writes, results)) == 0 {
		m.fillResults(updates, writes, results)
		return results
	}
	job := func(ctx context.Context, s *acs.Session) error {
		return m.bridge.write(ctx, s, m.dev, writes, results, allowPartial)
	}
	if err = m.bridge.run(ctx, m.dev, job); errors.Is(err, acs.ErrSessionLost) {
		err = m.bridge.run(ctx, m.dev, job) // writing the same values again changes nothing more
	}
	if err != nil {
		for i := range results {
			if results[i].Err == nil {
				results[i].Err = uspError(err, updates[i].Object.Path())
			}
		}
	}
	rejectAll(results, allowPartial)
	m.fillResults(updates, writes, results)
	return results
}

// planSet translates assignments. What the mapping refuses has its error.
func (m *model) planSet(updates []agent.Update) []pendingWrite {
	view := m.state().See(m.bridge.now)
	var writes []pendingWrite
	for i, u := range updates {
		for j, a := range u.Params {
			w := pendingWrite{update: i, param: j, ref: dm.Ref{Node: a.Param, Inst: u.Object.Inst},
				name: strings.TrimPrefix(a.Param.Path, u.Object.Node.Path), required: a.Required}
			if _, own := m.state().program.Own(a.Param); own {
				w.err = usp.Errorf(usp.ErrReadOnly, w.ref.Path(), "the bridge keeps this parameter; it cannot be set")
			} else {
				w.values, w.err = view.Write(w.ref, a.Value, nil)
			}
			writes = append(writes, w)
		}
	}
	return writes
}

// settle turns failed writes into failed updates: a required one fails its
// update, and so does the last one left of it.
func settle(writes []pendingWrite, results []agent.UpdateResult, allowPartial bool) {
	for k := range writes {
		w := &writes[k]
		r := &results[w.update]
		if w.err == nil {
			continue
		}
		if r.Failed == nil {
			r.Failed = make(map[int]*usp.Error)
		}
		if r.Failed[w.param] != nil || !w.required {
			r.Failed[w.param] = w.err
			continue
		}
		r.Failed[w.param] = w.err
		if r.Err == nil {
			r.Err = &usp.Error{Code: usp.ErrRequiredParameterFailed, Path: w.ref.Path(), Msg: w.err.Msg, Cause: w.err}
		}
		r.Err.Params = append(r.Err.Params, usp.ParamError{Param: w.name, Code: w.err.Code, Msg: w.err.Msg})
	}
}

// rejectAll fails every update if one failed and the request allows no part of
// it to fail. It reports whether it did.
func rejectAll(results []agent.UpdateResult, allowPartial bool) bool {
	if allowPartial {
		return false
	}
	var first *usp.Error
	for i := range results {
		if results[i].Err != nil {
			first = results[i].Err
			break
		}
	}
	if first == nil {
		return false
	}
	for i := range results {
		if results[i].Err == nil {
			results[i].Err = usp.Errorf(usp.ErrObjectNotUpdated, "", "%w: %s", agent.ErrCollateral, first.Msg)
		}
	}
	return true
}

// alive returns the writes that have not failed, of updates that have not.
func alive(writes []pendingWrite, results []agent.UpdateResult) (out []*pendingWrite) {
	for k := range writes {
		if writes[k].err == nil && results[writes[k].update].Err == nil {
			out = append(out, &writes[k])
		}
	}
	return out
}

// write sends what is alive to the CPE, inside a session. Each refusal takes at
// least one write out, so the loop ends.
func (b *Bridge) write(ctx context.Context, cpe acs.Caller, dev *device, writes []pendingWrite, results []agent.UpdateResult, allowPartial bool) error {
	for {
		live := alive(writes, results)
		if len(live) == 0 {
			return nil
		}
		values := joinValues(live)
		status, err := setValues(ctx, cpe, values)
		var fault *cwmp.Fault
		if err == nil {
			return b.written(ctx, dev, values, status)
		} else if !errors.As(err, &fault) {
			b.unsure(dev, values) // the CPE may have acted on it
			return err
		}
		if unnamed(live, fault) && divisible(live, allowPartial) {
			x := &isolation{b: b, cpe: cpe, dev: dev}
			if err := x.run(ctx, live, results, allowPartial); err != nil {
				return err
			}
			settle(writes, results, allowPartial)
			rejectAll(results, allowPartial)
			return nil
		}
		if !blame(live, fault) {
			return err
		}
		settle(writes, results, allowPartial)
		if rejectAll(results, allowPartial) {
			return nil
		}
	}
}

// joinValues lists what is to be written, each CPE parameter once: TR-069
// A.3.2.1 forbids a parameter to be there twice. The last assignment wins.
func joinValues(live []*pendingWrite) []cwmp.ParameterValue {
	at := make(map[cwmp.Path]int)
	var values []cwmp.ParameterValue
	for _, w := range live {
		for _, v := range w.values {
			if i, twice := at[v.Name]; twice {
				values[i] = v
				continue
			}
			at[v.Name] = len(values)
			values = append(values, v)
		}
	}
	return values
}

func setValues(ctx context.Context, cpe acs.Caller, values []cwmp.ParameterValue) (status int, err error) {
	answer, err := cpe.Call(ctx, &cwmp.SetParameterValues{Values: values})
	if err == nil {
		err = statusFault(answer)
	}
	if err != nil {
		return 0, err
	}
	got, ok := answer.(*cwmp.SetParameterValuesResponse)
	if !ok {
		return 0, fmt.Errorf("the CPE answered SetParameterValues with %s", answer.RPC())
	}
	return got.Status, nil
}

// blame gives a fault to the writes whose parameters it names. A fault that
// names none, or none of ours, falls on all of them. It reports false if there
// was nothing left to blame.
func blame(live []*pendingWrite, fault *cwmp.Fault) (blamed bool) {
	for _, w := range live {
		for _, p := range fault.Parameters {
			for _, v := range w.values {
				if v.Name == p.Name {
					w.err = &usp.Error{Code: uspCode(p.Code), Path: w.ref.Path(), Cause: fault,
						Msg: fmt.Sprintf("the CPE refused %s: CWMP fault %d %s", p.Name, p.Code, p.Text)}
					blamed = true
				}
			}
		}
	}
	if blamed {
		return true
	}
	for _, w := range live {
		w.err = uspError(fault, w.ref.Path())
		blamed = true
	}
	return blamed
}

// unsure notes that values may be others on the CPE than are known.
func (b *Bridge) unsure(dev *device, values []cwmp.ParameterValue) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	c := change{aged: dev.state.Load().tree.Clone()}
	c.markUnsure(values)
	var batch store.Batch
	dev.apply(c, &batch)
	b.keep(dev, &batch)
}

// written keeps what the CPE has taken, and tells controllers of it: a change is
// told whoever made it (TR-369 "ReferenceList Parameter"). With status 1 it is committed but not
// in force yet (TR-069 A.3.2.1): the cache is unsure and the next Get asks.
func (b *Bridge) written(ctx context.Context, dev *device, values []cwmp.ParameterValue, status int) error {
	return b.establish(ctx, dev, func(old *snapshot) (c change, events func(old, now *snapshot) []agent.Event) {
		changed := c.update(old, values, b.now())
		created, deleted := c.reconcile(old.program, old.numbers)
		if status != 0 {
			c.markUnsure(values)
		}
		return c, func(old, now *snapshot) []agent.Event {
			return append(b.rowEvents(old, now, created, deleted), b.changeEvents(old, now, changed)...)
		}
	})
}

// fillResults completes the results with the values as the CPE has them.
func (m *model) fillResults(updates []agent.Update, writes []pendingWrite, results []agent.UpdateResult) {
	s := m.state()
	for k := range writes {
		w := &writes[k]
		r := &results[w.update]
		if r.Err != nil || w.err != nil {
			continue
		}
		if r.Values == nil {
			r.Values = make([]string, len(updates[w.update].Params))
		}
		r.Values[w.param] = updates[w.update].Params[w.param].Value
		if v := m.bridge.peek(s, w.ref); v.Err == nil {
			r.Values[w.param] = v.Text
		}
	}
}
