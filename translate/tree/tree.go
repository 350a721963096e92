package tree

import (
	"slices"
	"sort"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// State says what is known of a parameter of a row.
type State uint8

// The states of a parameter.
const (
	Absent State = iota // the row has no such parameter
	Unread              // it is there, its value was never read
	Known               // Text is what the CPE had at At
	Unsure              // Text may have changed since; reads ask the CPE again
)

// Value is what is known of a parameter of a row. At is in unix seconds.
type Value struct {
	Text  string
	At    uint32
	State State
}

// Tree is one device's instances and values over a Template. Reading it may be
// done concurrently. A Tree that others read is not changed: the writer makes a
// Clone, which shares what it does not change.
type Tree struct {
	template *Template
	tables   []rows
	owner    atomic.Pointer[owner] // whose slices and rows may be changed in place
}

// owner is an identity: slices and rows that carry a Tree's present owner
// belong to that Tree alone.
type owner struct{ _ byte }

// rows are the rows of one table, sorted by instance numbers; last has the last
// number of each, so that the rows of one parent are a sub-slice of it.
type rows struct {
	owner *owner
	rows  []*row
	last  []uint32
}

type row struct {
	owner *owner
	inst  dm.Instance
	cells []Value // by slot
}

// New returns a Tree without rows.
func New(t *Template) *Tree {
	n := &Tree{template: t, tables: make([]rows, len(t.Tables))}
	own := new(owner)
	n.owner.Store(own)
	root := &row{owner: own, cells: make([]Value, len(t.Tables[0].Params))}
	n.tables[0] = rows{owner: own, rows: []*row{root}, last: []uint32{0}}
	return n
}

// Template returns the template that the Tree is over.
func (t *Tree) Template() *Template { return t.template }

// Clone returns a copy that shares rows until they are changed. After it, a
// change of t itself copies too, so that the two never disturb each other.
func (t *Tree) Clone() *Tree {
	c := &Tree{template: t.template, tables: slices.Clone(t.tables)}
	c.owner.Store(new(owner))
	t.owner.Store(new(owner))
	return c
}

// find returns the index of a row, or where it would be.
func (r *rows) find(inst dm.Instance) (int, bool) {
	i, j := 0, len(r.rows)
	for i < j {
		h := int(uint(i+j) >> 1)
		switch c := r.rows[h].inst.Compare(inst); {
		case c == 0:
			return h, true
		case c < 0:
			i = h + 1
		default:
			j = h
		}
	}
	return i, false
}

// under returns the range of rows whose first numbers are those of prefix.
func (r *rows) under(prefix dm.Instance) (from, to int) {
	k := prefix.Len()
	if k == 0 {
		return 0, len(r.rows)
	}
	from, _ = r.find(prefix)
	to = from + sort.Search(len(r.rows)-from, func(i int) bool {
		return r.rows[from+i].inst.Prefix(k) != prefix
	})
	return from, to
}

// Rows returns the last instance numbers, ascending, of the rows of a table
// under one row of its parent. The slice is shared and must not be changed.
func (t *Tree) Rows(table TableID, parent dm.Instance) []uint32 {
	r := &t.tables[table]
	from, to := r.under(parent)
	return r.last[from:to:to]
}

// EachRow calls fn for the rows of a table whose first instance numbers are
// prefix, in ascending order, until it returns false.
func (t *Tree) EachRow(table TableID, prefix dm.Instance, fn func(dm.Instance) bool) {
	r := &t.tables[table]
	from, to := r.under(prefix)
	for _, row := range r.rows[from:to] {
		if !fn(row.inst) {
			return
		}
	}
}

// CountRows returns how many rows a table has, under all parents.
func (t *Tree) CountRows(table TableID) int { return len(t.tables[table].rows) }

// HasRow reports whether a row is there.
func (t *Tree) HasRow(table TableID, inst dm.Instance) bool {
	_, ok := t.tables[table].find(inst)
	return ok
}

// own makes a table's slices t's own.
func (t *Tree) own(table TableID) *rows {
	r, me := &t.tables[table], t.owner.Load()
	if r.owner != me {
		r.owner, r.rows, r.last = me, slices.Clone(r.rows), slices.Clone(r.last)
	}
	return r
}

// cell returns a cell that may be changed, nil if its row is not there.
func (t *Tree) cell(p ParamID, inst dm.Instance) *Value {
	param := &t.template.Params[p]
	i, ok := t.tables[param.Table].find(inst)
	if !ok {
		return nil
	}
	r, me := t.tables[param.Table].rows[i], t.owner.Load()
	if r.owner != me {
		r = &row{owner: me, inst: r.inst, cells: slices.Clone(r.cells)}
		t.own(param.Table).rows[i] = r
	}
	return &r.cells[param.Slot]
}

// AddRow adds a row and those that it lies in, without parameters.
func (t *Tree) AddRow(table TableID, inst dm.Instance) {
	for table != 0 {
		tab := &t.template.Tables[table]
		if inst.Len() != tab.Depth {
			return
		}
		i, there := t.tables[table].find(inst)
		if there {
			return
		}
		r := t.own(table)
		fresh := &row{owner: r.owner, inst: inst, cells: make([]Value, len(tab.Params))}
		r.rows = slices.Insert(r.rows, i, fresh)
		r.last = slices.Insert(r.last, i, inst.Last())
		table, inst = tab.Parent, inst.Prefix(inst.Len()-1)
	}
}

// RemoveRow removes a row and the rows in it.
func (t *Tree) RemoveRow(table TableID, inst dm.Instance) {
	if table == 0 || inst.Len() != t.template.Tables[table].Depth {
		return
	}
	prefix := t.template.Tables[table].Path
	for id := range t.tables {
		if !strings.HasPrefix(t.template.Tables[id].Path, prefix) {
			continue
		}
		from, to := t.tables[id].under(inst)
		if from == to {
			continue
		}
		r := t.own(TableID(id))
		r.rows = slices.Delete(r.rows, from, to)
		r.last = slices.Delete(r.last, from, to)
	}
}

// Add takes note that a name exists on the device: a row by its object path or
// by that of something in it, a parameter as Unread until its value is Set. It
// reports false for a name that the template does not have.
func (t *Tree) Add(name cwmp.Path) bool {
	schema, inst, ok := Split(name)
	if !ok {
		return false
	}
	if p, ok := t.template.byParam[schema]; ok {
		t.AddRow(t.template.Params[p].Table, inst)
		if c := t.cell(p, inst); c != nil && c.State == Absent {
			c.State = Unread
		}
		return true
	}
	table := t.template.byTable[tableOf(schema)]
	if table != 0 {
		t.AddRow(table, inst)
		return true
	}
	_, ok = t.template.LookupObject(schema)
	return ok
}

// Value returns what is known of a parameter; ok is false if the row is not
// there or has no such parameter.
func (t *Tree) Value(p ParamID, inst dm.Instance) (v Value, ok bool) {
	param := &t.template.Params[p]
	r := &t.tables[param.Table]
	if param.Table == 0 {
		v = r.rows[0].cells[param.Slot]
		return v, v.State != Absent
	}
	i, ok := r.find(inst)
	if !ok {
		return Value{}, false
	}
	v = r.rows[i].cells[param.Slot]
	return v, v.State != Absent
}

// Set keeps a value read at a time in unix seconds. It reports whether that
// changed more than the age: the text, or that it is now known. A row that is
// not there is added; inst must have as many numbers as its table.
func (t *Tree) Set(p ParamID, inst dm.Instance, text string, at uint32) (changed bool) {
	c := t.cell(p, inst)
	if c == nil {
		t.AddRow(t.template.Params[p].Table, inst)
		if c = t.cell(p, inst); c == nil {
			return false
		}
	}
	changed = c.State != Known || c.Text != text
	if changed {
		c.Text = text
	}
	c.At, c.State = at, Known
	return changed
}

// MarkUnsure notes that a value may be another now.
func (t *Tree) MarkUnsure(p ParamID, inst dm.Instance) {
	if v, ok := t.Value(p, inst); ok && v.State == Known {
		t.cell(p, inst).State = Unsure
	}
}

// MarkAbsent notes that a row does not have a parameter.
func (t *Tree) MarkAbsent(p ParamID, inst dm.Instance) {
	if _, ok := t.Value(p, inst); ok {
		*t.cell(p, inst) = Value{}
	}
}

// ForEach calls fn for every parameter that the device has, by table, row and
// slot, until it returns false.
func (t *Tree) ForEach(fn func(p ParamID, inst dm.Instance, v Value) bool) {
	for id := range t.tables {
		params := t.template.Tables[id].Params
		for _, r := range t.tables[id].rows {
			for slot, v := range r.cells {
				if v.State != Absent && !fn(params[slot], r.inst, v) {
					return
				}
			}
		}
	}
}

// Size returns how much memory the Tree takes, in bytes, the template apart.
func (t *Tree) Size() int {
	size := int(unsafe.Sizeof(*t)) + len(t.tables)*int(unsafe.Sizeof(rows{}))
	for i := range t.tables {
		for _, r := range t.tables[i].rows {
			size += int(unsafe.Sizeof(*r)+unsafe.Sizeof(r)) + 4 + len(r.cells)*int(unsafe.Sizeof(Value{}))
			for j := range r.cells {
				size += len(r.cells[j].Text)
			}
		}
	}
	return size
}

// Onto returns the same device over another template. What that template does
// not have is left out; it covers t's if nothing is to be lost.
func (t *Tree) Onto(o *Template) *Tree {
	if o == t.template {
		return t.Clone()
	}
	n := New(o)
	for id := range t.tables {
		table := TableID(0)
		if id > 0 {
			var ok bool
			if table, ok = o.byTable[t.template.Tables[id].Path]; !ok {
				continue
			}
			for _, r := range t.tables[id].rows {
				n.AddRow(table, r.inst)
			}
		}
		t.copyCells(TableID(id), n, table)
	}
	return n
}

func (t *Tree) copyCells(from TableID, n *Tree, to TableID) {
	slots := make([]int, len(t.template.Tables[from].Params))
	for slot, p := range t.template.Tables[from].Params {
		slots[slot] = -1
		if q, ok := n.template.byParam[t.template.Params[p].Path]; ok {
			slots[slot] = n.template.Params[q].Slot
		}
	}
	for i, r := range t.tables[from].rows {
		for slot, v := range r.cells {
			if slots[slot] >= 0 {
				n.tables[to].rows[i].cells[slots[slot]] = v
			}
		}
	}
}
