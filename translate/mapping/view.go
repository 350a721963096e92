package mapping

import (
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// View is one device's tree as its Program shows it. It is immutable and safe
// for concurrent use; the rows of a table are found when first asked for.
type View struct {
	program *Program
	tree    *tree.Tree
	numbers *Numbers
	tables  []tableRows // by table.index
	lookups []lookedUp  // by boundLookup.index
}

// tableRows are the rows of one target table.
type tableRows struct {
	once    sync.Once
	rows    []row     // by inst
	last    []uint32  // the last number of each
	sources []sourced // by entry, then source row

	layerings map[dm.Instance]layering // of the interface stack
}

// row is one row of a target table.
type row struct {
	inst  dm.Instance // what controllers see
	src   dm.Instance // the source row; the first where several are one
	entry *entry
}

// sourced is one source row, which may share its target row with others.
type sourced struct {
	entry     *entry
	src, inst dm.Instance
}

// View returns a device as p shows it. n must be what Reconcile returned for t;
// rows that have no number in it are left out.
func (p *Program) View(t *tree.Tree, n *Numbers, _ func() time.Time) *View {
	return &View{program: p, tree: t, numbers: n, tables: make([]tableRows, len(p.tables)), lookups: make([]lookedUp, p.lookups)}
}

// rowsOf returns the rows of a table.
func (v *View) rowsOf(t *table) *tableRows {
	r := &v.tables[t.index]
	r.once.Do(func() {
		b := &rowBuilder{view: v, table: t, out: r, old: v.numbers.tables[t.node.Path]}
		b.build()
	})
	return r
}

// find returns a row by its instance numbers.
func (v *View) find(t *table, inst dm.Instance) (*row, bool) {
	rows := v.rowsOf(t).rows
	i := sort.Search(len(rows), func(i int) bool { return rows[i].inst.Compare(inst) >= 0 })
	if i < len(rows) && rows[i].inst == inst {
		return &rows[i], true
	}
	return nil, false
}

// firstOf returns the row of the first source row of an entry that begins with
// the given numbers.
func (v *View) firstOf(e *entry, src dm.Instance) (dm.Instance, bool) {
	if e.table == nil {
		return dm.Instance{}, false
	}
	list := v.rowsOf(e.table).sources
	i := sort.Search(len(list), func(i int) bool {
		if list[i].entry.index != e.index {
			return list[i].entry.index > e.index
		}
		return list[i].src.Compare(src) >= 0
	})
	if i < len(list) && list[i].entry == e && list[i].src.Len() >= src.Len() && list[i].src.Prefix(src.Len()) == src {
		return list[i].inst, true
	}
	return dm.Instance{}, false
}

// exists reports whether a source row makes a target row of the entry.
func (v *View) exists(e *entry, src dm.Instance) bool {
	for k, n := range e.only {
		if n != 0 && (k >= src.Len() || src.At(k) != n) {
			return false
		}
	}
	if e.probe != nil && !slices.ContainsFunc(e.probe, func(p tree.ParamID) bool {
		_, ok := v.tree.Value(p, src)
		return ok
	}) {
		return false
	}
	if e.list != nil {
		if item := v.item(e, src); item == "" || slices.Contains(e.rule.noItems, item) {
			return false
		}
	}
	return e.when == nil || e.rule.when.holds(func(i int) (string, bool) { return v.text(e.when[i], src) })
}

// item returns the item of a list that an entry's row stands for, "" if the list is
// shorter.
func (v *View) item(e *entry, src dm.Instance) string {
	list, _ := v.text(e.list[0], src)
	if items := itemsOf(list); len(items) >= e.rule.item {
		return items[e.rule.item-1]
	}
	return ""
}

// text returns the value of a source parameter, if it is there.
func (v *View) text(r reference, src dm.Instance) (string, bool) {
	if r.row != noRowInput {
		return r.ofRow(src), true
	}
	if r.param < 0 {
		return "", false
	}
	value, ok := v.tree.Value(r.param, r.inst(src))
	return value.Text, ok
}

// rowBuilder finds the rows of one table.
type rowBuilder struct {
	view  *View
	table *table
	out   *tableRows
	old   *numbered         // numbers as they were; nil: none
	next  *numbered         // inside Reconcile: numbers as they become
	fresh func(dm.Ref)      // inside Reconcile: told of rows that have come
	twice map[rowKey]uint32 // rows of the keys seen
	items map[rowKey]uint32 // rows of the list items seen
}

func (b *rowBuilder) build() {
	if b.table.stack {
		b.buildStack()
	} else {
		b.buildEntries()
	}
	rows := b.out.rows
	if !slices.IsSortedFunc(rows, compareRows) {
		slices.SortStableFunc(rows, compareRows)
	}
	rows = slices.CompactFunc(rows, func(x, y row) bool { return x.inst == y.inst })
	b.out.rows, b.out.last = rows, make([]uint32, len(rows))
	for i := range rows {
		b.out.last[i] = rows[i].inst.Last()
	}
}

func (b *rowBuilder) buildEntries() {
	for _, e := range b.table.entries {
		b.view.tree.EachRow(e.from, dm.Instance{}, func(src dm.Instance) bool {
			if b.view.exists(e, src) {
				b.add(e, src)
			}
			return true
		})
	}
}

func compareRows(x, y row) int { return x.inst.Compare(y.inst) }

// add adds the row of a source row. The source rows of an entry come in order.
func (b *rowBuilder) add(e *entry, src dm.Instance) {
	inst, merged, ok := b.instance(e, src)
	if !ok {
		return
	}
	b.out.sources = append(b.out.sources, sourced{e, src, inst})
	if !merged {
		b.out.rows = append(b.out.rows, row{inst, src, e})
	}
}

// instance returns what controllers see as a row's instance numbers. merged is
// true if another source row has the same row.
func (b *rowBuilder) instance(e *entry, src dm.Instance) (inst dm.Instance, merged, ok bool) {
	if e.straight {
		return src, false, true
	}
	depth := b.table.node.Depth
	var parent dm.Instance
	switch around := e.fixed[:depth-1]; {
	case depth == 1:
	case !slices.Contains(around, 0):
		parent = dm.Inst(around...)
	default:
		if _, parent, ok = b.view.follow(e.parents, src); !ok {
			return inst, false, false
		}
	}
	if n := e.fixed[depth-1]; n != 0 {
		return parent.Append(n), false, true
	}
	if e.copied {
		return parent.Append(src.Last()), false, true
	}
	if e.list == nil {
		number, merged, ok := b.number(e, src, b.key(e, parent, src))
		return parent.Append(number), merged, ok
	}
	// An item that several lists have is one row: that of the first.
	item := rowKey{parent: parent, id: b.view.item(e, src)}
	if number, seen := b.items[item]; seen {
		return parent.Append(number), true, true
	}
	number, merged, ok := b.number(e, src, b.key(e, parent, src))
	if b.items == nil {
		b.items = map[rowKey]uint32{}
	}
	b.items[item] = number
	return parent.Append(number), merged, ok
}

// number returns a row's number; ok is false if it has none.
func (b *rowBuilder) number(e *entry, src dm.Instance, key rowKey) (number uint32, merged, ok bool) {
	keyed := key.src.Len() == 0 && e.keys != nil
	if number, seen := b.twice[key]; keyed && seen {
		if e.rule.keyDerive != nil {
			return number, true, true
		}
		// Two hosts of one address stay two rows: nothing is lost.
		key.src = src
		keyed = false
	}
	if b.old != nil {
		number, ok = b.old.rows[key]
	}
	switch {
	case ok && b.next != nil:
		b.next.rows[key] = number
	case !ok && b.next != nil:
		number, ok = b.next.give(key, b.preferred(e, src)), true
		b.fresh(dm.Ref{Node: b.table.node, Inst: key.parent.Append(number)})
	}
	if keyed && ok {
		if b.twice == nil {
			b.twice = map[rowKey]uint32{}
		}
		b.twice[key] = number
	}
	return number, false, ok
}

// preferred is the number that a row has on the CPE, where its table is the same
// on both sides; else 0. Where rows of other objects join the table, those of its
// first rule have the choice.
func (b *rowBuilder) preferred(e *entry, src dm.Instance) uint32 {
	shared := 0
	if len(e.parents) > 0 {
		shared = e.parents[0].shared
	}
	if e != b.table.entries[0] || e.keys != nil && e.source != e.target || src.Len() != shared+1 || !strings.HasSuffix(e.source, "{i}.") {
		return 0
	}
	return src.Last()
}

// key names a source row for good: by its key parameters, or by its path.
func (b *rowBuilder) key(e *entry, parent, src dm.Instance) rowKey {
	if e.keys != nil {
		texts := make([]string, len(e.keys))
		for i, r := range e.keys {
			texts[i], _ = b.view.text(r, src)
		}
		if e.rule.keyDerive != nil {
			return rowKey{parent: parent, id: "=" + e.rule.keyDerive.fn(texts)}
		}
		if id := strings.Join(texts, "\x1f"); strings.Trim(id, "\x1f") != "" {
			return rowKey{parent: parent, id: "=" + id}
		}
	}
	id := e.source
	if e.rule != nil && e.rule.item > 0 {
		id += "#" + strconv.Itoa(e.rule.item)
	}
	return rowKey{parent: parent, id: id, src: src}
}

// Instances returns the instance numbers of a table, ascending. The slice is
// shared and must not be changed.
func (v *View) Instances(ref dm.Ref) []uint32 {
	bind := v.program.binding(ref.Node)
	if bind == nil || bind.table == nil || ref.Node.Kind != dm.Table {
		return nil
	}
	return v.instances(bind.table, ref.Inst)
}

func (v *View) instances(t *table, parent dm.Instance) []uint32 {
	r := v.rowsOf(t)
	n := parent.Len()
	from := sort.Search(len(r.rows), func(i int) bool { return r.rows[i].inst.Prefix(n).Compare(parent) >= 0 })
	to := from + sort.Search(len(r.rows)-from, func(i int) bool { return r.rows[from+i].inst.Prefix(n) != parent })
	return r.last[from:to:to]
}

// RowOf returns the row of a table that stands for a CPE object, given by its
// path with instance numbers.
func (v *View) RowOf(node *dm.Node, object cwmp.Path) (dm.Ref, bool) {
	bind := v.program.binding(node)
	schema, src, ok := tree.Split(object)
	if bind == nil || bind.table == nil || !ok {
		return dm.Ref{}, false
	}
	for _, e := range bind.table.entries {
		if e.source != schema {
			continue
		}
		if inst, ok := v.firstOf(e, src); ok {
			return dm.Ref{Node: bind.node, Inst: inst}, true
		}
	}
	return dm.Ref{}, false
}

// TargetRows returns the rows that stand for a row of a CPE table or for an
// object in it.
func (v *View) TargetRows(id tree.TableID, src dm.Instance) (refs []dm.Ref) {
	for _, e := range v.program.entries {
		if e.from != id || e.table == nil {
			continue
		}
		if inst, ok := v.firstOf(e, src); ok {
			refs = append(refs, dm.Ref{Node: e.table.node, Inst: inst})
		}
	}
	return refs
}
