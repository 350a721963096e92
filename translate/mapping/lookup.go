package mapping

import (
	"strconv"
	"strings"

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
	return &boundLookup{lookup: l, table: id, key: find(l.key), value: find(l.value), shared: strings.Count(commonPath(e.source, schema), "{i}")}
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

// each calls f for the rows that a source row can refer to, until f returns false.
func (l *boundLookup) each(v *View, src dm.Instance, f func(row dm.Instance) bool) {
	v.tree.EachRow(l.table, src.Prefix(min(l.shared, src.Len())), f)
}

// path returns the CPE path that an identifier stands for, "" for none.
func (l *boundLookup) path(v *View, src dm.Instance, id string) (path string) {
	if id == "" || id == l.none {
		return ""
	}
	l.each(v, src, func(row dm.Instance) bool {
		if l.id(v, row) == id {
			path = l.target(v, row)
		}
		return path == ""
	})
	return path
}

// identifier returns what the CPE calls a path by; ok is false if the table has no
// row for it.
func (l *boundLookup) identifier(v *View, src dm.Instance, path string) (id string, ok bool) {
	if path == "" {
		return l.none, true
	}
	l.each(v, src, func(row dm.Instance) bool {
		if strings.TrimSuffix(l.target(v, row), ".") == strings.TrimSuffix(path, ".") {
			id, ok = l.id(v, row), true
		}
		return !ok
	})
	return id, ok
}
