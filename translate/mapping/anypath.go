package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// anyRef is the target of references that may lead to any row, object or parameter.
const anyRef = "any"

// anyPath returns where controllers see what a CPE's path names, as values have it;
// ok is false if they see it nowhere in Device:2.
func (v *View) anyPath(path string) (string, bool) {
	if schema, inst, ok := tree.Split(cwmp.Path(path)); ok {
		if p, ok := v.program.template.Lookup(schema); ok {
			refs := v.Targets(p, inst)
			if len(refs) == 0 {
				return "", false
			}
			return refs[0].Path(), true
		}
	}
	schema, src, ok := tree.Split(cwmp.Path(strings.TrimSuffix(path, ".") + "."))
	if !ok {
		return "", false
	}
	for _, e := range v.program.entries {
		switch {
		case e.source != schema:
		case e.table != nil:
			if inst, ok := v.firstOf(e, src); ok {
				return rowPath(e.table, inst), true
			}
		case !strings.Contains(e.target, "{i}"):
			return strings.TrimSuffix(e.target, "."), true
		}
	}
	return "", false
}

// cpePath returns what a path of Device:2 is called on the CPE; a row's or an
// object's ends with a dot.
func (v *View) cpePath(path string, targets []string) (string, bool) {
	if len(targets) != 1 || targets[0] != anyRef {
		e, row, ok := v.objectOf(path, targets)
		if !ok {
			return "", false
		}
		return string(tree.Join(e.source, row)), true
	}
	ref, ok := v.resolve(path)
	switch {
	case !ok:
		return "", false
	case ref.Node.Kind == dm.Table:
		e, row, ok := v.objectOf(path, nil)
		if !ok {
			return "", false
		}
		return string(tree.Join(e.source, row)), true
	case ref.Node.Kind == dm.Param:
		sources := v.Sources(ref, nil)
		if len(sources) == 0 {
			return "", false
		}
		return string(tree.Join(v.program.template.Param(sources[0].Param).Path, sources[0].Inst)), true
	}
	for _, e := range v.program.entries {
		if e.target == ref.Node.Path && e.table == nil {
			return string(tree.Join(e.source, dm.Inst(e.only...))), true
		}
	}
	return "", false
}
