package mapping

import (
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Sources appends the CPE parameters that a value is read from to dst. For a
// count of rows those are the CPE's own counts, which change when rows come and
// go.
func (v *View) Sources(ref dm.Ref, dst []Source) []Source {
	bind := v.program.binding(ref.Node)
	if bind == nil {
		return dst
	}
	if bind.count != nil {
		return v.countSources(bind, ref.Inst, dst)
	}
	b, src := v.bound(bind, ref.Inst)
	if b == nil {
		return dst
	}
	if b.rule.any != "" {
		for src := range v.merged(bind.table, b.entry, ref.Inst) {
			dst = v.sourcesIn(b, src, dst)
		}
		return dst
	}
	return v.sourcesIn(b, src, dst)
}

// sourcesIn appends the CPE parameters that a rule reads in one source row.
func (v *View) sourcesIn(b *bound, src dm.Instance, dst []Source) []Source {
	for _, r := range b.refs {
		if r.param < 0 {
			continue
		}
		inst := r.inst(src)
		if _, ok := v.tree.Value(r.param, inst); !ok {
			continue
		}
		dst = append(dst, Source{r.param, inst})
		if b.rule.from != nil {
			break
		}
	}
	return dst
}

func (v *View) countSources(bind *binding, inst dm.Instance, dst []Source) []Source {
	var around *row
	if bind.table != nil {
		around, _ = v.find(bind.table, inst)
	}
	var looked []Source // counts, and the rows around them
	for _, e := range bind.count.entries {
		p, ok := v.program.countOf(e.from)
		if !ok || !strings.HasSuffix(e.source, "{i}.") {
			continue
		}
		prefix := dm.Instance{}
		if around != nil && strings.HasPrefix(e.source, around.entry.source) {
			prefix = around.src
		}
		if slices.Contains(looked, Source{p, prefix}) {
			continue // one count of several entries' rows
		}
		looked = append(looked, Source{p, prefix})
		v.tree.EachRow(v.program.template.Params[p].Table, prefix, func(src dm.Instance) bool {
			if _, ok := v.tree.Value(p, src); ok {
				dst = append(dst, Source{p, src})
			}
			return true
		})
	}
	return dst
}

// Targets returns the parameters that are read from a CPE parameter.
func (v *View) Targets(p tree.ParamID, inst dm.Instance) (refs []dm.Ref) {
	for _, bind := range v.program.targets[p] {
		if bind.count != nil && bind.table == nil {
			refs = append(refs, dm.Ref{Node: bind.node})
			continue
		}
		if bind.table == nil {
			if b, src := v.boundAtRoot(bind); b != nil && b.reads(p, inst, src) {
				refs = append(refs, dm.Ref{Node: bind.node})
			}
			continue
		}
		refs = v.targetRows(refs, bind, p, inst)
	}
	return refs
}

// targetRows appends the parameter in the rows that read it.
func (v *View) targetRows(refs []dm.Ref, bind *binding, p tree.ParamID, inst dm.Instance) []dm.Ref {
	for i := range bind.by {
		b := &bind.by[i]
		if b.entry.straight {
			if b.reads(p, inst, inst) && v.tree.HasRow(b.entry.from, inst) {
				refs = append(refs, dm.Ref{Node: bind.node, Inst: inst})
			}
			continue
		}
		if src, ok := b.readIn(p, inst, v.program.template.Tables[b.entry.from].Depth); ok {
			if row, ok := v.firstOf(b.entry, src); ok && v.counts(bind.table, b, row, src) {
				refs = append(refs, dm.Ref{Node: bind.node, Inst: row})
			}
			continue
		}
		for _, s := range v.rowsOf(bind.table).sources {
			if s.entry == b.entry && b.reads(p, inst, s.src) && v.counts(bind.table, b, s.inst, s.src) {
				refs = append(refs, dm.Ref{Node: bind.node, Inst: s.inst})
			}
		}
	}
	return refs
}

// counts reports whether a row reads the rule's value in a source row: of several that
// are one row only the first is read, but for a rule with any.
func (v *View) counts(t *table, b *bound, inst, src dm.Instance) bool {
	if b.rule.any != "" {
		return true
	}
	r, ok := v.find(t, inst)
	return ok && r.entry == b.entry && r.src == src
}

// readIn returns the only source row, of a depth, in which a CPE parameter is read; ok
// is false if it may be read in many, as what lies around the rows is.
func (b *bound) readIn(p tree.ParamID, inst dm.Instance, depth int) (src dm.Instance, ok bool) {
	for _, r := range b.refs {
		if r.param != p {
			continue
		}
		if len(r.slots) < depth || inst.Len() < depth || literal(r.slots) {
			return src, false
		}
		src, ok = inst.Prefix(depth), true
	}
	return src, ok
}

func (b *bound) reads(p tree.ParamID, inst, src dm.Instance) bool {
	return slices.ContainsFunc(b.refs, func(r reference) bool { return r.param == p && r.inst(src) == inst })
}
