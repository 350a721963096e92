package mapping

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Rows whose CPE has no Alias have one by the bridge: "cpe-" and the row's number,
// or what the controller that added the row has given it. As USP has it, an Alias
// is settled when the row is made and never changes (TR-181 Alias).

// ownAlias begins the aliases that an agent gives itself; no controller may
// (TR-106 3.6.1).
const ownAlias = "cpe-"

// maxAlias is the longest alias, in characters (TR-181 Alias).
const maxAlias = 64

// GivesAlias reports whether a parameter is the alias of a row for which the CPE
// has none.
func (v *View) GivesAlias(ref dm.Ref) bool {
	bind := v.program.binding(ref.Node)
	if bind == nil || !bind.alias {
		return false
	}
	b, src := v.bound(bind, ref.Inst)
	if b == nil {
		return true
	}
	_, _, state := v.value(bind, b, ref.Inst, src)
	return state == Absent
}

// sourced reports whether the CPE has any of what a parameter is read from.
func (b *binding) sourced() bool {
	return slices.ContainsFunc(b.by, func(by bound) bool {
		return slices.ContainsFunc(by.refs, func(r reference) bool { return r.param >= 0 })
	})
}

// CheckAlias checks the alias that a controller gives to a new row. It fails with
// 7012 if it is none, with 7025 if another row has it.
func (v *View) CheckAlias(ref dm.Ref, alias string) *usp.Error {
	first, _ := utf8.DecodeRuneInString(alias)
	letter := first >= 'a' && first <= 'z' || first >= 'A' && first <= 'Z'
	switch {
	case alias == "":
		return nil
	case !letter || utf8.RuneCountInString(alias) > maxAlias:
		return usp.Errorf(usp.ErrInvalidValue, ref.Path(), "an alias has at most %d characters, the first of them a letter", maxAlias)
	case strings.HasPrefix(alias, ownAlias):
		return usp.Errorf(usp.ErrInvalidValue, ref.Path(), "aliases that begin with %s are the agent's own", ownAlias)
	}
	bind := v.program.binding(ref.Node)
	parent := ref.Inst.Prefix(ref.Inst.Len() - 1)
	for inst, other := range v.aliases(bind.table) {
		if other == alias && inst != ref.Inst && inst.Prefix(parent.Len()) == parent {
			return usp.Errorf(usp.ErrUniqueKeyConflict, ref.Path(), "row %d has this alias", inst.Last())
		}
	}
	return nil
}

func (v *View) aliases(t *table) map[dm.Instance]string {
	if known := v.numbers.tables[t.node.Path]; known != nil {
		return known.aliases
	}
	return nil
}

// alias returns the alias that the bridge gives a row.
func (v *View) alias(t *table, inst dm.Instance) string {
	if given := v.aliases(t)[inst]; given != "" {
		return given
	}
	return ownAlias + strconv.FormatUint(uint64(inst.Last()), 10)
}

// WithAlias returns the numbers with the alias of a row.
func (n *Numbers) WithAlias(row dm.Ref, alias string) *Numbers {
	next := &Numbers{tables: maps.Clone(n.tables)}
	t := newNumbered()
	if old := n.tables[row.Node.Path]; old != nil {
		*t = *old
		t.aliases = maps.Clone(old.aliases)
	}
	if t.aliases == nil {
		t.aliases = map[dm.Instance]string{}
	}
	t.aliases[row.Inst] = alias
	next.tables[row.Node.Path] = t
	return next
}

// dropAliases forgets the aliases of rows that are gone for good.
func (t *numbered) dropAliases(rows []row) {
	if len(t.aliases) == 0 {
		return
	}
	back := map[dm.Instance]bool{} // those that can come back
	for key, number := range t.gone {
		back[key.parent.Append(number)] = true
	}
	maps.DeleteFunc(t.aliases, func(inst dm.Instance, _ string) bool {
		_, there := slices.BinarySearchFunc(rows, inst, func(r row, inst dm.Instance) int { return r.inst.Compare(inst) })
		return !there && !back[inst]
	})
}
