package mapping

import (
	"iter"
	"sort"
	"strconv"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// rowInput is an input of a table or an expression that is no parameter but says
// which source row it is.
type rowInput uint8

const (
	noRowInput rowInput = iota
	rowNumberInput
	rowPathInput
)

// rowInputs are the names that stand for them where a parameter's could.
var rowInputs = map[string]rowInput{"{i}": rowNumberInput, ".": rowPathInput}

// inputs resolves the inputs of a table or an expression.
func (c *compiler) inputs(e *entry, names []string) (refs []reference) {
	for _, name := range names {
		if what, own := rowInputs[name]; own {
			refs = append(refs, reference{param: -1, row: what, path: e.source})
		} else {
			refs = append(refs, c.references(e, []string{name})...)
		}
	}
	return refs
}

// ofRow returns the value of a row input: the CPE's number of the source row, or its
// path, without the final dot.
func (r reference) ofRow(src dm.Instance) string {
	if r.row == rowPathInput {
		path := string(tree.Join(r.path, src))
		return path[:len(path)-1]
	}
	return strconv.FormatUint(uint64(src.Last()), 10)
}

// merged yields the source rows of an entry that are one target row, in their order.
func (v *View) merged(t *table, e *entry, inst dm.Instance) iter.Seq[dm.Instance] {
	return func(yield func(dm.Instance) bool) {
		list := v.rowsOf(t).sources
		for i := sort.Search(len(list), func(i int) bool { return list[i].entry.index >= e.index }); i < len(list) && list[i].entry == e; i++ {
			if list[i].inst == inst && !yield(list[i].src) {
				return
			}
		}
	}
}

// telling returns the source row from which a value with any is read: the first that
// has the value, else the row's own.
func (v *View) telling(bind *binding, b *bound, inst, own dm.Instance) dm.Instance {
	if bind.table == nil {
		return own
	}
	for src := range v.merged(bind.table, b.entry, inst) {
		for _, r := range b.refs {
			if text, ok := v.text(r, src); ok && text == b.rule.any {
				return src
			}
		}
	}
	return own
}
