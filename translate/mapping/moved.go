package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Rows of a CPE with Device:2 have the CPE's numbers, but for those that a file gives
// a key: hosts and stations. Paths in values are then not the same on both sides.

// moved reports whether an entry's rows are at their own path under other numbers.
func (e *entry) moved() bool {
	return e.table != nil && e.source == e.target && e.keys != nil
}

// presentPath returns what controllers call a path that the CPE has in a value.
func (v *View) presentPath(path string) string {
	return v.renumbered(path, func(e *entry, inst dm.Instance) (dm.Instance, bool) { return v.firstOf(e, inst) })
}

// deviceOf is the other direction.
func (v *View) deviceOf(path string) string {
	return v.renumbered(path, func(e *entry, inst dm.Instance) (src dm.Instance, ok bool) {
		r, ok := v.find(e.table, inst)
		if !ok || r.entry != e {
			return src, false
		}
		return r.src, true
	})
}

// renumbered replaces the numbers of a row that has moved; other paths are returned
// as they are.
func (v *View) renumbered(path string, number func(*entry, dm.Instance) (dm.Instance, bool)) string {
	if len(v.program.moved) == 0 || path == "" {
		return path
	}
	schema, inst, ok := tree.Split(cwmp.Path(path + "."))
	if !ok {
		return path
	}
	for _, e := range v.program.moved {
		depth := len(e.fixed)
		if !strings.HasPrefix(schema, e.source) || inst.Len() < depth {
			continue
		}
		if to, ok := number(e, inst.Prefix(depth)); ok {
			for k := depth; k < inst.Len(); k++ {
				to = to.Append(inst.At(k))
			}
			return strings.TrimSuffix(string(tree.Join(schema, to)), ".")
		}
	}
	return path
}
