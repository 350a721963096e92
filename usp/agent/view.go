package agent

import (
	"context"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// view is an agent's own objects as they are at one moment, for reading. With
// the device's Model it makes up what a controller sees.
type view struct {
	host     *Host
	id       usp.EndpointID
	identity Identity
	state    *state
	now      time.Time
}

func (v *view) index() *derived { return v.state.index(v.host.spec) }

// instances returns the instance numbers of one of the agent's own tables.
func (v *view) instances(table dm.Ref) []uint32 {
	c := v.host.spec.tables[table.Node]
	if c == nil {
		return nil
	}
	return v.index().tables[rowKey{c, table.Inst}]
}

// text returns the value of one of the agent's own parameters.
func (v *view) text(ref dm.Ref) string {
	p := v.host.spec.params[ref.Node.ID]
	if p.get != nil {
		return p.get(v, ref.Inst)
	}
	value := v.state.value(p, ref.Inst)
	switch {
	case p.shown == nil:
		return value
	case value == unset:
		return p.shown(v, ref.Inst, "", false)
	}
	return p.shown(v, ref.Inst, value, true)
}

// device is a hosted agent's whole data model: the device's Model and the
// agent's own objects, under one schema.
type device struct {
	view
	model  Model
	schema *dm.Schema
}

// open returns the agent's data model as it is now.
func (h *Host) open(ctx context.Context, a *agent) (*device, error) {
	model, identity, err := h.cfg.Devices.Model(ctx, a.id)
	if err != nil {
		return nil, err
	}
	schema, err := h.schemas.compose(model.Schema())
	if err != nil {
		return nil, err
	}
	return &device{
		view:  view{host: h, id: a.id, identity: identity, state: a.state.Load(), now: h.cfg.Now()},
		model: model, schema: schema,
	}, nil
}

// instances returns the instance numbers of a table, whoever serves it.
func (d *device) instances(table dm.Ref) []uint32 {
	if table.Node.Local {
		return d.view.instances(table)
	}
	return d.model.Instances(table)
}

// peek reads parameters without waiting for the device.
func (d *device) peek(refs []dm.Ref) []Value { return d.collect(refs, d.model.Peek) }

// get reads parameters, from the device if the cache is too old.
func (d *device) get(ctx context.Context, refs []dm.Ref) []Value {
	return d.collect(refs, func(refs []dm.Ref) []Value { return d.model.Get(ctx, refs) })
}

func (d *device) collect(refs []dm.Ref, read func([]dm.Ref) []Value) []Value {
	local := 0
	for i := range refs {
		if refs[i].Node.Local {
			local++
		}
	}
	if local == 0 && len(refs) > 0 {
		return read(refs)
	}
	out := make([]Value, len(refs))
	var remote []dm.Ref
	var at []int
	for i, r := range refs {
		if r.Node.Local {
			out[i].Text = d.text(r)
			continue
		}
		if remote == nil {
			remote, at = make([]dm.Ref, 0, len(refs)-local), make([]int, 0, len(refs)-local)
		}
		remote, at = append(remote, r), append(at, i)
	}
	if len(remote) > 0 {
		for k, v := range read(remote) {
			out[at[k]] = v
		}
	}
	return out
}

// peekOne reads one parameter without waiting for the device.
func (d *device) peekOne(ref dm.Ref) Value {
	if ref.Node.Local {
		return Value{Text: d.text(ref)}
	}
	return d.model.Peek([]dm.Ref{ref})[0]
}
