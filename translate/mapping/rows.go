package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// RowSource returns the CPE object that a row stands for, and whether the CPE
// lets it be deleted.
func (v *View) RowSource(ref dm.Ref) (object cwmp.Path, deletable bool, ok bool) {
	bind := v.program.binding(ref.Node)
	if bind == nil || bind.table == nil {
		return "", false, false
	}
	r, ok := v.find(bind.table, ref.Inst)
	if !ok {
		return "", false, false
	}
	e, tab := r.entry, &v.program.template.Tables[r.entry.from]
	deletable = bind.node.Access == dm.AddDelete && strings.HasSuffix(e.source, "{i}.") &&
		(e.rule == nil || !e.rule.noCreate) && (tab.CanAdd || tab.CanDelete)
	return tree.Join(e.source, r.src), deletable, true
}

// Plan is how a row is created on the CPE.
type Plan struct {
	AddObject cwmp.Path // the table on the CPE, ends in '.'
	chosen    string    // the parameter that picked the parent object
}

// Chosen reports whether a parameter's value is settled by where the row is
// created, so that it must not be written.
func (p Plan) Chosen(name string) bool { return name != "" && name == p.chosen }

// CreatePlan tells where on the CPE a row of a table is created. values are
// those the row shall have. It fails with 7019 if the CPE lets none be added,
// with 7016 if there is no row around it, with 7012 if a value that picks the
// place names none, with 7017 if the CPE has no place for it.
func (v *View) CreatePlan(ref dm.Ref, values map[string]string) (Plan, *usp.Error) {
	bind := v.program.binding(ref.Node)
	refused := usp.Errorf(usp.ErrNotCreatable, ref.Path(), "the CPE does not let rows be added here")
	if bind == nil || bind.table == nil || bind.node.Access != dm.AddDelete {
		return Plan{}, refused
	}
	for _, e := range v.makers(bind.table) {
		plan, err := v.planBy(e, ref, values)
		if err == nil {
			return plan, nil
		}
		refused = err
	}
	return Plan{}, refused
}

// makers returns the entries by which rows can be created, the one of the CPE's
// default place first.
func (v *View) makers(t *table) []*entry {
	var first, rest []*entry
	for _, e := range t.entries {
		if !e.rowForRow(v.program.template) || e.rule != nil && (e.rule.noCreate || e.rule.keyDerive != nil) {
			continue
		}
		if _, ok := v.defaultPlace(e); ok {
			first = append(first, e)
		} else {
			rest = append(rest, e)
		}
	}
	return append(first, rest...)
}

// planBy plans a row by one entry: in the object that a parameter names, else in
// the one that the row around it stems from, else in the default one, else in
// the first there is.
func (v *View) planBy(e *entry, ref dm.Ref, values map[string]string) (plan Plan, err *usp.Error) {
	prefix, err := v.prefixOf(e, ref)
	if err != nil {
		return plan, err
	}
	outer := &v.program.template.Tables[v.program.template.Tables[e.from].Parent]
	if e.rule != nil && e.rule.parentFrom != "" && values[e.rule.parentFrom] != "" {
		plan.chosen = e.rule.parentFrom
		named, src, ok := v.objectOf(values[plan.chosen], nil)
		src = src.Prefix(min(src.Len(), outer.Depth))
		shared := min(src.Len(), prefix.Len())
		if !ok || !strings.HasPrefix(outer.Path, named.source) && !strings.HasPrefix(named.source, outer.Path) || src.Prefix(shared) != prefix.Prefix(shared) {
			return plan, usp.Errorf(usp.ErrInvalidValue, ref.Path()+plan.chosen, "%q names no place for such a row on this CPE", values[plan.chosen])
		}
		if src.Len() > prefix.Len() {
			prefix = src
		}
	} else if src, ok := v.defaultPlace(e); ok && src.Prefix(prefix.Len()) == prefix {
		prefix = src
	}
	v.tree.EachRow(v.program.template.Tables[e.from].Parent, prefix, func(src dm.Instance) bool {
		if !v.allowed(e, src) {
			return true
		}
		plan.AddObject = tree.Join(strings.TrimSuffix(e.source, "{i}."), src)
		return false
	})
	if plan.AddObject == "" {
		return plan, usp.Errorf(usp.ErrObjectNotCreated, ref.Path(), "the CPE has no object in which the row could be created")
	}
	return plan, nil
}

// allowed reports whether a source row around new rows has the literal numbers
// of the entry.
func (v *View) allowed(e *entry, src dm.Instance) bool {
	for k := range src.Len() {
		if k < len(e.only) && e.only[k] != 0 && e.only[k] != src.At(k) {
			return false
		}
	}
	return true
}

// prefixOf returns the instance numbers that the row around a table has on the
// CPE.
func (v *View) prefixOf(e *entry, ref dm.Ref) (prefix dm.Instance, err *usp.Error) {
	if e.straight {
		prefix = ref.Inst
		if parent := v.program.template.Tables[e.from].Parent; parent != tree.Root && !v.tree.HasRow(parent, prefix) {
			return prefix, usp.Errorf(usp.ErrObjectDoesNotExist, ref.Path(), "the row around it is not there")
		}
		return prefix, nil
	}
	outer := parentTable(e.target)
	if outer == "" {
		return prefix, nil
	}
	r, ok := v.find(v.program.table(outer), ref.Inst)
	if !ok {
		return prefix, usp.Errorf(usp.ErrObjectDoesNotExist, ref.Path(), "the row around it is not there")
	}
	for _, p := range e.parents {
		if p.entry == r.entry {
			return r.src.Prefix(min(p.shared, r.src.Len())), nil
		}
	}
	if e.fixed[len(e.fixed)-2] != 0 {
		return prefix, nil // a fixed row, which holds rows of any source
	}
	return prefix, usp.Errorf(usp.ErrObjectNotCreated, ref.Path(), "rows cannot be created in this row on the CPE")
}

// defaultPlace returns the source row around new rows that a CPE parameter names
// as the default.
func (v *View) defaultPlace(e *entry) (src dm.Instance, ok bool) {
	if e.rule == nil || e.rule.defaultFrom == "" {
		return src, false
	}
	outer := &v.program.template.Tables[v.program.template.Tables[e.from].Parent]
	root := string(v.program.template.RootPath())
	p, ok := v.program.template.Lookup(root + strings.TrimPrefix(e.rule.defaultFrom, "/"))
	if !ok {
		return src, false
	}
	value, ok := v.tree.Value(p, dm.Instance{})
	if !ok || value.Text == "" {
		return src, false
	}
	schema, src, ok := tree.Split(cwmp.Path(strings.TrimSuffix(value.Text, ".") + "."))
	return src, ok && schema == outer.Path
}
