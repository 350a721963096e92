package mapping

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// State tells what a View knows of a value.
type State uint8

// The states of a value.
const (
	Absent   State = iota // this row has no such parameter
	Unread                // it has, but the CPE was never asked
	Known                 // as the CPE had it; of some age
	Unsure                // may be another by now
	Computed              // made by the bridge, always right
)

// Source is a CPE parameter that a value is read from.
type Source struct {
	Param tree.ParamID
	Inst  dm.Instance
}

// bound returns the rule for a parameter in its row, and the source row; nil if
// the row is not there or has none.
func (v *View) bound(bind *binding, inst dm.Instance) (b *bound, src dm.Instance) {
	if bind.table == nil {
		return v.boundAtRoot(bind)
	}
	if len(bind.by) == 1 && bind.by[0].entry.straight {
		return &bind.by[0], inst // a row that is not there has no values
	}
	r, ok := v.find(bind.table, inst)
	if !ok {
		return nil, src
	}
	for i := range bind.by {
		if bind.by[i].entry == r.entry {
			return &bind.by[i], r.src
		}
	}
	return nil, src
}

// boundAtRoot returns the first rule of a parameter outside tables whose source
// the CPE has.
func (v *View) boundAtRoot(bind *binding) (b *bound, src dm.Instance) {
	for i := range bind.by {
		b, e := &bind.by[i], bind.by[i].entry
		src = dm.Inst(e.only...)
		if e.copied || e.rule == nil {
			return b, src
		}
		if !v.exists(e, src) {
			continue
		}
		if len(b.refs) == 0 || slices.ContainsFunc(b.refs, func(r reference) bool { _, ok := v.text(r, src); return ok }) {
			return b, src
		}
	}
	return nil, dm.Instance{}
}

// Read returns a parameter's value, when its oldest source was read (unix
// seconds), and what is known of it.
func (v *View) Read(ref dm.Ref) (text string, at uint32, state State) {
	bind := v.program.binding(ref.Node)
	if bind == nil {
		return "", 0, Absent
	}
	if bind.count != nil {
		return v.count(bind, ref.Inst)
	}
	if bind.stack != noStack {
		text, state = v.readStack(bind, ref.Inst)
		return text, 0, state
	}
	if b, src := v.bound(bind, ref.Inst); b != nil {
		text, at, state = v.value(bind, b, ref.Inst, src)
	}
	if state == Absent && bind.alias {
		if _, ok := v.find(bind.table, ref.Inst); ok {
			return v.alias(bind.table, ref.Inst), 0, Computed
		}
	}
	return text, at, state
}

func (v *View) count(bind *binding, inst dm.Instance) (text string, at uint32, state State) {
	if bind.table != nil {
		if _, ok := v.find(bind.table, inst); !ok {
			return "", 0, Absent
		}
	}
	return strconv.Itoa(len(v.instances(bind.count, inst))), 0, Computed
}

// value reads a parameter by its rule.
func (v *View) value(bind *binding, b *bound, inst, src dm.Instance) (text string, at uint32, state State) {
	switch r := b.rule; {
	case r.constant != nil:
		return *r.constant, 0, Computed
	case r.rows != nil:
		return v.rowPaths(b, inst, src), 0, Computed
	case r.from != nil:
		if r.any != "" {
			src = v.telling(bind, b, inst, src)
		}
		for i := range b.refs {
			if value, ok := v.tree.Value(b.refs[i].param, b.refs[i].inst(src)); ok {
				if value.State == tree.Unread {
					return "", 0, Unread
				}
				return known(v.present(b, src, value.Text, bind.node.Type), bind.node.Type, value.At, State(value.State))
			}
		}
		return "", 0, Absent
	}
	return v.combine(b, src, bind.node.Type)
}

// combine makes a value of several sources.
func (v *View) combine(b *bound, src dm.Instance, typ dm.Type) (text string, at uint32, state State) {
	texts := make([]string, len(b.refs))
	for i, r := range b.refs {
		if r.row != noRowInput {
			texts[i] = r.ofRow(src)
			continue
		}
		if r.param < 0 {
			continue
		}
		value, ok := v.tree.Value(r.param, r.inst(src))
		if !ok {
			continue
		}
		texts[i] = value.Text
		s := State(value.State)
		if state == Absent || s == Unread || state == Known && s == Unsure {
			state = s
		}
		if at == 0 || value.At < at {
			at = value.At
		}
	}
	if b.constant {
		state = Computed
	}
	if state == Absent || state == Unread {
		return "", 0, state
	}
	text, err := b.rule.readTexts(texts, typ)
	if err != nil {
		return "", 0, Absent // nothing is made up where an expression fails or no row fits; explain tells why
	}
	if b.rule.conv.ref != nil {
		text = v.present(b, src, text, typ)
	}
	return known(text, typ, at, state)
}

// known returns a value with what is known of it. A number that the CPE leaves empty
// has no value: none is invented.
func known(text string, typ dm.Type, at uint32, state State) (string, uint32, State) {
	if text == "" && isNumberType(typ) {
		return "", 0, Absent
	}
	return text, at, state
}

// joinTexts makes a list of those texts that there are.
func joinTexts(texts []string) string {
	texts = slices.DeleteFunc(slices.Clone(texts), func(s string) bool { return s == "" })
	return strings.Join(texts, ",")
}

// present converts a CPE's value.
func (v *View) present(b *bound, src dm.Instance, text string, typ dm.Type) string {
	if b.rule.conv.ref == nil {
		text = b.rule.conv.read(text, typ)
		if b.rule.conv.path && len(v.program.moved) > 0 {
			text = eachItem(text, v.presentPath)
		}
		return text
	}
	if n := b.rule.conv.item; n > 0 {
		items := itemsOf(text)
		if n > len(items) {
			return ""
		}
		text = items[n-1]
	}
	var paths []string
	for object := range strings.SplitSeq(text, ",") {
		object = strings.TrimSpace(object)
		if b.lookup != nil {
			object = b.lookup.path(v, src, object)
		}
		if path, ok := v.pathOf(object, b.rule.conv.ref); ok {
			paths = append(paths, path)
		}
	}
	return strings.Join(paths, ",")
}

// eachItem converts the items of a list.
func eachItem(list string, convert func(string) string) string {
	if !strings.Contains(list, ",") {
		return convert(list)
	}
	items := strings.Split(list, ",")
	for i := range items {
		items[i] = convert(items[i])
	}
	return strings.Join(items, ",")
}

// pathOf returns the USP path of the row that stands for a CPE object, in the
// first of the target tables that has one.
func (v *View) pathOf(object string, targets []string) (string, bool) {
	if object == "" {
		return "", false
	}
	if len(targets) == 1 && targets[0] == anyRef {
		return v.anyPath(object)
	}
	schema, src, ok := tree.Split(cwmp.Path(strings.TrimSuffix(object, ".") + "."))
	if !ok {
		return "", false
	}
	for _, target := range targets {
		if t := v.program.table(generic(target)); t != nil {
			if inst, ok := v.ofObject(t, schema, src); ok {
				return rowPath(t, inst), true
			}
		}
	}
	return "", false
}

// rowPath returns a row's path as values have it, without the final dot.
func rowPath(t *table, inst dm.Instance) string {
	return strings.TrimSuffix(dm.Ref{Node: t.node, Inst: inst}.Path(), ".")
}

// decide returns the value of the first row of a decision table that fits; ok is
// false if none does.
func decide(table []decision, inputs []string) (value string, ok bool) {
	for _, row := range table {
		fits := true
		for i, cell := range row.when {
			if cell != "*" && !strings.EqualFold(cell, inputs[i]) {
				fits = false
				break
			}
		}
		if fits {
			return row.value, true
		}
	}
	return "", false
}

// rowPaths returns the path of the row that a row rule leads to, or the paths of
// all rows beside the row itself.
func (v *View) rowPaths(b *bound, inst, src dm.Instance) string {
	if b.rule.rows.all {
		var paths []string
		for _, target := range b.rule.rows.targets {
			if t := v.program.table(generic(target)); t != nil {
				paths = v.siblings(paths, t, inst)
			}
		}
		return strings.Join(paths, ",")
	}
	for _, relations := range b.relations {
		if t, inst, ok := v.follow(relations, src); ok {
			return rowPath(t, inst)
		}
	}
	return ""
}

// siblings appends the paths of a table's rows in the same row, but for the row
// itself.
func (v *View) siblings(paths []string, t *table, own dm.Instance) []string {
	parent := own.Prefix(min(t.node.Depth-1, own.Len()))
	for _, n := range v.instances(t, parent) {
		if inst := parent.Append(n); inst != own {
			paths = append(paths, rowPath(t, inst))
		}
	}
	return paths
}
