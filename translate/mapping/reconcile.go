package mapping

import (
	"maps"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// reconciling is what Reconcile finds out.
type reconciling struct {
	numbers          *Numbers
	created, deleted []dm.Ref
}

// Reconcile gives numbers to rows that have come and retires those of rows that
// have gone. created and deleted are the rows concerned, in the schema of p,
// parents first. n is not changed; it is returned if nothing has.
func (p *Program) Reconcile(t *tree.Tree, n *Numbers) (next *Numbers, created, deleted []dm.Ref, changed bool) {
	r := &reconciling{numbers: &Numbers{tables: maps.Clone(n.tables)}}
	v := p.View(t, n, nil)
	for _, t := range p.tables {
		r.table(v, t)
	}
	if len(r.created)+len(r.deleted) == 0 {
		return n, nil, nil, false
	}
	return r.numbers, r.created, r.deleted, true
}

// table finds the rows of one table and compares them with those there were.
func (r *reconciling) table(v *View, t *table) {
	path := t.node.Path
	old := v.numbers.tables[path]
	if old == nil {
		old = newNumbered()
	}
	next := old.clone()
	r.numbers.tables[path] = next
	out := &v.tables[t.index]
	out.once.Do(func() {
		b := &rowBuilder{view: v, table: t, out: out, old: old, next: next, fresh: func(ref dm.Ref) { r.created = append(r.created, ref) }}
		b.build()
	})
	for i := range out.rows {
		if e := out.rows[i].entry; e.copied || e.fixed[len(e.fixed)-1] != 0 {
			next.own = append(next.own, out.rows[i].inst)
		}
	}
	r.compare(t.node, old.own, next.own)
	for key, number := range old.rows {
		if _, there := next.rows[key]; there {
			continue
		}
		r.deleted = append(r.deleted, dm.Ref{Node: t.node, Inst: key.parent.Append(number)})
		// What has a key, or what nobody can delete, is the same thing when it
		// is back; another row at a deleted one's place is another thing.
		if strings.HasPrefix(key.id, "=") || t.node.Access == dm.ReadOnly {
			next.retire(key, number)
		}
	}
	next.dropAliases(out.rows)
	if len(next.rows)+len(next.own)+len(next.gone)+len(next.last)+len(next.aliases) == 0 {
		delete(r.numbers.tables, path)
	}
}

// compare tells the rows that came and went between two ascending lists.
func (r *reconciling) compare(node *dm.Node, old, now []dm.Instance) {
	for _, inst := range now {
		if _, had := slices.BinarySearchFunc(old, inst, dm.Instance.Compare); !had {
			r.created = append(r.created, dm.Ref{Node: node, Inst: inst})
		}
	}
	for _, inst := range old {
		if _, has := slices.BinarySearchFunc(now, inst, dm.Instance.Compare); !has {
			r.deleted = append(r.deleted, dm.Ref{Node: node, Inst: inst})
		}
	}
}
