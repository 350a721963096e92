package agent

import (
	"encoding/json"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// lastKey names a parameter that a subscription was told the value of.
type lastKey struct {
	subscription rowKey
	path         string
	inst         dm.Instance
}

// maxLast bounds the values remembered for an agent; beyond it a value that is
// reported twice is told twice.
const maxLast = 4096

// occurrence is something that happened, in the form that subscriptions are
// matched against and Notify messages are made of.
type occurrence struct {
	kind  string // of NotifType
	ref   dm.Ref
	value string
	right rights // what the recipient needs
	fill  func(n *usppb.Notify, to *controller)
	// wanted tells what a controller's own policy leaves out; nil: nothing.
	wanted func(to *controller) bool
}

// notifications matches events against subscriptions.
func (h *Host) notifications(d *device, a *agent, subs []*subscription, events []Event) []*notification {
	var notes []*notification
	for _, ev := range events {
		notes = append(notes, h.matchAll(d, a, subs, h.occurrenceOf(d, ev))...)
	}
	return notes
}

// occurrences matches one occurrence against all subscriptions of a state.
func (h *Host) occurrences(d *device, a *agent, s *state, o occurrence) []*notification {
	view := *d
	view.state = s
	return h.matchAll(&view, a, s.index(h.spec).subscribers, o)
}

func (h *Host) matchAll(d *device, a *agent, subs []*subscription, o occurrence) []*notification {
	var notes []*notification
	if o.kind == valueChange && o.ref.Node.Change == dm.ValueChangeWillIgnore {
		return nil // as GetSupportedDM says
	}
	for _, sub := range subs {
		if sub.kind != o.kind {
			continue
		}
		to := sub.recipient
		if to == nil {
			to = h.builtin
		}
		if !to.roles.in(d).can(o.ref, o.right) || !d.covered(sub, to, o.ref, o.kind) || !a.news(sub, o) {
			continue
		}
		if len(sub.settings) > 0 {
			notes = append(notes, &notification{agent: a, to: to, trigger: sub})
		}
		if !sub.notifies || o.wanted != nil && !o.wanted(to) {
			continue
		}
		n := &usppb.Notify{}
		o.fill(n, to)
		if note := h.note(a, to, sub, n, o.kind); note != nil {
			notes = append(notes, note)
		}
	}
	return notes
}

// news reports whether a value is another than the subscription was last told
// for the parameter: a change made through the agent is told at once and may
// then be reported by the device as well.
func (a *agent) news(sub *subscription, o occurrence) bool {
	if o.kind != valueChange {
		return true
	}
	k := lastKey{sub.key, o.ref.Node.Path, o.ref.Inst}
	a.mu.Lock()
	defer a.mu.Unlock()
	if last, told := a.last[k]; told && last == o.value {
		return false
	}
	if a.last == nil || len(a.last) >= maxLast {
		a.last = map[lastKey]string{}
	}
	a.last[k] = o.value
	return true
}

// occurrenceOf translates an event of the Model or of the agent's own objects.
func (h *Host) occurrenceOf(d *device, ev Event) occurrence {
	full := ev.Ref.Path()
	switch ev.Kind {
	case ValueChanged:
		return occurrence{kind: valueChange, ref: ev.Ref, value: ev.Value, right: notifyParam, fill: func(n *usppb.Notify, to *controller) {
			v := utf8Text(ev.Value)
			if ev.Ref.Node.Secured && !to.roles.in(d).shows(ev.Ref) {
				v = ""
			}
			n.Notification = &usppb.Notify_ValueChange_{ValueChange: &usppb.Notify_ValueChange{ParamPath: full, ParamValue: v}}
		}}
	case ObjectCreated:
		return occurrence{kind: objectCreation, ref: ev.Ref, right: notifyCreation, fill: func(n *usppb.Notify, to *controller) {
			n.Notification = &usppb.Notify_ObjCreation{ObjCreation: &usppb.Notify_ObjectCreation{ObjPath: full, UniqueKeys: d.uniqueKeys(ev.Ref, to.roles.in(d))}}
		}}
	case ObjectDeleted:
		return occurrence{kind: objectDeletion, ref: ev.Ref, right: notifyDeletion, fill: func(n *usppb.Notify, _ *controller) {
			n.Notification = &usppb.Notify_ObjDeletion{ObjDeletion: &usppb.Notify_ObjectDeletion{ObjPath: full}}
		}}
	}
	return occurrence{kind: eventNotification, ref: ev.Ref, right: notifyEvent, wanted: transferWanted(ev), fill: func(n *usppb.Notify, to *controller) {
		n.Notification = &usppb.Notify_Event_{Event: &usppb.Notify_Event{
			ObjPath: full[:len(full)-len(ev.Ref.Node.Name)], EventName: ev.Ref.Node.Name, Params: d.eventArgs(ev, to),
		}}
	}}
}

// bootEvent is the event that carries each controller's boot parameters.
const bootEvent = "Device.Boot!"

// transferWanted is the TransferCompletePolicy of controllers for an event; nil
// for events of other kinds.
func transferWanted(ev Event) func(*controller) bool {
	if ev.Ref.Node.Path != transferEvent {
		return nil
	}
	outcome := "Success"
	if code := ev.Args["FaultCode"]; code != "" && code != "0" {
		outcome = "Failure"
	}
	return func(to *controller) bool {
		return to.transfers != "Success" && to.transfers != "Failure" || to.transfers == outcome
	}
}

// eventArgs returns an event's arguments, for Boot! with the parameters that
// the controller asked for (Device.LocalAgent.Controller.{i}.BootParameter.).
func (d *device) eventArgs(ev Event, to *controller) map[string]string {
	args := make(map[string]string, len(ev.Args)+1)
	for k, v := range ev.Args {
		args[k] = utf8Text(v)
	}
	if ev.Ref.Node.Path != bootEvent || len(to.boot) == 0 {
		return args
	}
	values := map[string]string{}
	r := resolver{device: d, grants: to.roles.in(d), left: d.host.cfg.Limits.Matches}
	for _, p := range to.boot {
		res, err := r.resolve(p)
		if err != nil {
			continue // not in this device's data model
		}
		for _, ref := range res.refs {
			if ref.Node.Kind != dm.Param || !r.grants.shows(ref) {
				continue
			}
			if v := d.peekOne(ref); v.Err == nil {
				values[ref.Path()] = v.Text
			}
		}
	}
	if b, err := json.Marshal(values); err == nil {
		args["ParameterMap"] = string(b)
	}
	return args
}

// covered reports whether an element is among a subscription's references.
func (d *device) covered(sub *subscription, to *controller, ref dm.Ref, kind string) bool {
	for _, p := range sub.references {
		if d.covers(p, to, ref, kind) {
			return true
		}
	}
	return false
}

// covers matches one path of a ReferenceList: the element itself, or an object
// that has the element in it. A table stands for its rows.
func (d *device) covers(p path.Path, to *controller, ref dm.Ref, kind string) bool {
	if p.Follows() {
		return d.coversFollowing(p, to, ref)
	}
	rest := strings.TrimSuffix(ref.Node.Path, ".")
	depth := 0
	var table *dm.Node
	n := d.schema.Root
	for i := range p.Steps {
		st := &p.Steps[i]
		seg, tail, _ := strings.Cut(rest, ".")
		if rest == "" {
			return false
		}
		if st.Kind == path.Name {
			if seg == "{i}" {
				return false
			}
			if seg != st.Name {
				return false
			}
			if n = n.Child(seg); n == nil {
				return false
			}
			table, rest = n, tail
			continue
		}
		if seg != "{i}" || depth >= ref.Inst.Len() || table == nil || table.Kind != dm.Table {
			return false
		}
		switch st.Kind {
		case path.Instance:
			if ref.Inst.At(depth) != st.Number {
				return false
			}
		case path.Search:
			if !d.rowMatches(dm.Ref{Node: table, Inst: ref.Inst.Prefix(depth)}, ref.Inst.At(depth), st.Expr, to) {
				return false
			}
		}
		depth, rest = depth+1, tail
	}
	return d.ends(n, rest, kind)
}

// ends decides by what is left of the element's path behind the reference's.
func (d *device) ends(n *dm.Node, rest, kind string) bool {
	switch {
	case rest == "" || rest == "{i}":
		return true
	case n.Kind == dm.Table && (kind == objectCreation || kind == objectDeletion):
		// Rows of this table, not of tables in its rows.
		return false
	}
	return n.IsObject()
}

func (d *device) rowMatches(table dm.Ref, row uint32, e *path.Expr, to *controller) bool {
	w := walk{r: &resolver{device: d, grants: to.roles.in(d), left: 1}}
	rows := []uint32{row}
	for i := range e.Components {
		var err *usp.Error
		if rows, err = w.filter(table, rows, &e.Components[i]); err != nil || len(rows) == 0 {
			return false
		}
	}
	return true
}

func (d *device) coversFollowing(p path.Path, to *controller, ref dm.Ref) bool {
	r := resolver{device: d, grants: to.roles.in(d), left: d.host.cfg.Limits.Matches}
	res, err := r.resolvePath(p, "")
	if err != nil {
		return false
	}
	full := ref.Path()
	for _, target := range res.refs {
		if t := target.Path(); t == full || target.Node.IsObject() && strings.HasPrefix(full, t) {
			return true
		}
	}
	return false
}
