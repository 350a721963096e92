package mapping

import (
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// related lists how rows of the given entries are found from a source object,
// the nearest first: rows of the same object, of one above it, of one in it, of
// one beside it in the same row. With above set only the first two count: those
// are the rows that a row can lie in. of limits them to rows of an object named
// under the root, or in it or around it.
func (c *compiler) related(source, of string, entries []*entry, above bool) (found []relation) {
	base := ""
	if of != "" {
		base = string(c.template.RootPath()) + generic(of)
	}
	rank := map[*entry]int{}
	for _, e := range entries {
		common := commonPath(source, e.source)
		shared := strings.Count(common, "{i}")
		direct := common == source || common == e.source
		switch {
		case above && common != e.source:
			continue
		case !direct && shared == 0 && strings.Contains(e.source, "{i}"):
			continue
		case base != "" && !strings.HasPrefix(e.source, base) && !strings.HasPrefix(base, e.source):
			continue
		}
		rank[e] = 2 * len(common)
		if common == e.source {
			rank[e]++ // above rather than in it
		}
		if base != "" && e.source == base {
			rank[e] += 1 << 16
		}
		found = append(found, relation{e, shared})
	}
	slices.SortStableFunc(found, func(a, b relation) int { return rank[b.entry] - rank[a.entry] })
	return found
}

// commonPath returns what two object paths have in common, in whole segments.
func commonPath(a, b string) string {
	end := 0
	for i := 0; i < len(a) && i < len(b) && a[i] == b[i]; i++ {
		if a[i] == '.' {
			end = i + 1
		}
	}
	// "X." and "X.{i}." have "X." in common, which is no object of both.
	return a[:end]
}

// follow returns the first row that relations lead to from a source row.
func (v *View) follow(relations []relation, src dm.Instance) (t *table, inst dm.Instance, ok bool) {
	for _, r := range relations {
		if inst, ok := v.firstOf(r.entry, src.Prefix(min(r.shared, src.Len()))); ok {
			return r.entry.table, inst, true
		}
	}
	return nil, dm.Instance{}, false
}

// ofObject returns the row of a table that stands for a CPE object, given by its
// {i}-path and instance numbers: the row of the nearest object above it, else
// the first of one in it.
func (v *View) ofObject(t *table, schema string, src dm.Instance) (best dm.Instance, found bool) {
	longest := -1
	for _, e := range t.entries {
		shared := strings.Count(e.source, "{i}")
		switch {
		case len(e.source) > longest && strings.HasPrefix(schema, e.source):
			if inst, ok := v.firstOf(e, src.Prefix(shared)); ok {
				best, longest, found = inst, len(e.source), true
			}
		case longest < 0 && !found && strings.HasPrefix(e.source, schema):
			best, found = v.firstOf(e, src)
		}
	}
	return best, found
}

// objectOf returns the CPE object behind a USP row path, with or without its
// final dot. targets limits the tables it can be of; nil: any.
func (v *View) objectOf(path string, targets []string) (e *entry, src dm.Instance, ok bool) {
	schema, inst, ok := tree.Split(cwmp.Path(strings.TrimSuffix(path, ".") + "."))
	if !ok || targets != nil && !slices.ContainsFunc(targets, func(t string) bool { return generic(t) == schema }) {
		return nil, src, false
	}
	t := v.program.table(schema)
	if t == nil {
		return nil, src, false
	}
	r, ok := v.find(t, inst)
	if !ok {
		return nil, src, false
	}
	return r.entry, r.src, true
}
