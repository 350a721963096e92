package mapping

import (
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// lookup makes a CPE path of a value that names a row by a key of its own, or by its
// number: TR-098 has such references where Device:2 has paths.
type lookup struct {
	in    string // the source table, under the root
	key   string // its parameter that has the key; where the CPE lacks it, the row's number is
	value string // its parameter that has the path; "": the row itself is meant
	none  string // what the CPE has for no row
}

// boundLookup is a lookup in one template.
type boundLookup struct {
	*lookup
	table      tree.TableID
	key, value tree.ParamID // -1: the CPE has none
	shared     int          // numbers that a row has in common with the row that refers to it
	index      int          // of the table in a View's lookups
}

// lookedUp are the rows of a lookup's table by what refers to them, found when they
// are first asked for: each of many rows may refer to one of many.
type lookedUp struct {
	once  sync.Once
	paths map[rowName]string // CPE paths
}

// rowName is what rows with the same first numbers call a row by. Letters' case
// does not count: MAC addresses are among the keys.
type rowName struct {
	around dm.Instance
	id     string
}

// lookup reads `lookup: {in: Table.{i}., key: Parameter, value: Parameter, none: "-1"}`.
func (r *reading) lookup(n *yaml.Node) *lookup {
	l := &lookup{}
	r.fields(n, map[string]func(*yaml.Node){
		"in":    func(n *yaml.Node) { l.in = r.text(n) },
		"key":   func(n *yaml.Node) { l.key = r.text(n) },
		"value": func(n *yaml.Node) { l.value = r.text(n) },
		"none":  func(n *yaml.Node) { l.none = r.text(n) },
	})
	if !strings.HasSuffix(l.in, ".{i}.") {
		r.fail(n, "lookup: in is a table of the CPE under the root, as QueueManagement.Policer.{i}.")
	}
	return l
}

// lookup finds a lookup's table and parameters on the CPE; nil if it has no such
// table.
func (c *compiler) lookup(e *entry, l *lookup) *boundLookup {
	schema := string(c.template.RootPath()) + l.in
	id, ok := c.template.LookupTable(schema)
	if !ok {
		return nil
	}
	find := func(name string) tree.ParamID {
		if p, ok := c.template.Lookup(schema + name); ok && name != "" {
			return p
		}
		return -1
	}
	c.lookups++
	return &boundLookup{
		lookup: l, table: id, key: find(l.key), value: find(l.value), index: c.lookups - 1,
		shared: strings.Count(commonPath(e.source, schema), "{i}"),
	}
}

// id is what the CPE calls a row of the table by.
func (l *boundLookup) id(v *View, row dm.Instance) string {
	if l.key >= 0 {
		if value, ok := v.tree.Value(l.key, row); ok && value.Text != "" {
			return value.Text
		}
	}
	return strconv.FormatUint(uint64(row.Last()), 10)
}

// target is the path that a row of the table stands for.
func (l *boundLookup) target(v *View, row dm.Instance) string {
	if l.value < 0 {
		return string(tree.Join(v.program.template.Tables[l.table].Path, row))
	}
	value, _ := v.tree.Value(l.value, row)
	return value.Text
}

// path returns the CPE path that an identifier stands for, "" for none.
func (l *boundLookup) path(v *View, src dm.Instance, id string) string {
	if id == "" || id == l.none {
		return ""
	}
	rows := &v.lookups[l.index]
	rows.once.Do(func() {
		rows.paths = map[rowName]string{}
		v.tree.EachRow(l.table, dm.Instance{}, func(row dm.Instance) bool {
			name := rowName{row.Prefix(min(l.shared, row.Len())), strings.ToLower(l.id(v, row))}
			if _, twice := rows.paths[name]; !twice {
				rows.paths[name] = l.target(v, row)
			}
			return true
		})
	})
	return rows.paths[rowName{src.Prefix(min(l.shared, src.Len())), strings.ToLower(id)}]
}

// identifier returns what the CPE calls a path by; ok is false if the table has no
// row for it.
func (l *boundLookup) identifier(v *View, src dm.Instance, path string) (id string, ok bool) {
	if path == "" {
		return l.none, true
	}
	v.tree.EachRow(l.table, src.Prefix(min(l.shared, src.Len())), func(row dm.Instance) bool {
		if strings.TrimSuffix(l.target(v, row), ".") == strings.TrimSuffix(path, ".") {
			id, ok = l.id(v, row), true
		}
		return !ok
	})
	return id, ok
}
