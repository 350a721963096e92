package cpesim

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// tree is one CPE's difference from its model: what was written, which rows were
// added and deleted, which attributes were set. All maps are nil until needed.
// It is guarded by the CPE's mutex.
type tree struct {
	model      *Model
	values     map[cwmp.Path]string
	added      []cwmp.Path // rows, sorted
	deleted    map[cwmp.Path]struct{}
	next       map[cwmp.Path]uint32 // next instance number of tables that were changed
	attributes map[cwmp.Path]attribute
}

// attribute is what SetParameterAttributes has set on a parameter.
type attribute struct {
	Notification cwmp.Notification `json:"notification,omitempty"`
	AccessSet    bool              `json:"accessSet,omitempty"` // AccessList was written, perhaps to empty
	AccessList   []string          `json:"accessList,omitempty"`
}

// entry is a node at its place in a CPE's tree.
type entry struct {
	name cwmp.Path
	node *node
}

// find returns the node at a path, nil if the CPE has none there.
func (t *tree) find(name cwmp.Path) *node {
	if t.isDeleted(name) {
		return nil
	}
	if n := t.model.find(name); n != nil {
		return n
	}
	for p := name; p != ""; p = parent(p) {
		if _, ok := slices.BinarySearch(t.added, p); ok && p.IsPartial() {
			if row := t.model.rows[generic(p)]; row != nil {
				return row.find(name[len(p):])
			}
		}
	}
	return nil
}

// isDeleted reports whether the path or a row that it is in was deleted.
func (t *tree) isDeleted(name cwmp.Path) bool {
	if len(t.deleted) == 0 {
		return false
	}
	for p := name; p != ""; p = parent(p) {
		if _, gone := t.deleted[p]; gone {
			return true
		}
	}
	return false
}

// walk returns everything whose path begins with the partial path prefix, in
// order of names, the object itself included.
func (t *tree) walk(prefix cwmp.Path) []entry {
	nodes := t.model.subtree(prefix)
	entries := make([]entry, 0, len(nodes))
	for i := range nodes {
		if n := &nodes[i]; !t.isDeleted(n.name) {
			entries = append(entries, entry{n.name, n})
		}
	}
	if added := t.walkAdded(prefix); len(added) > 0 {
		return merge(entries, added)
	}
	return entries
}

// walkAdded returns what is in added rows, in order of names.
func (t *tree) walkAdded(prefix cwmp.Path) []entry {
	var entries []entry
	for _, row := range t.added {
		template := t.model.rows[generic(row)]
		if template == nil || !related(row, prefix) {
			continue
		}
		for i := range template.nodes {
			n := &template.nodes[i]
			name := row + n.name
			if strings.HasPrefix(string(name), string(prefix)) && !t.isDeleted(name) {
				entries = append(entries, entry{name, n})
			}
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(string(a.name), string(b.name)) })
	return entries
}

// merge joins two ordered lists into one.
func merge(a, b []entry) []entry {
	all := make([]entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].name <= b[0].name {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// related reports whether one of two paths is inside the other.
func related(a, b cwmp.Path) bool {
	return strings.HasPrefix(string(a), string(b)) || strings.HasPrefix(string(b), string(a))
}

// isTable reports whether rows can be added to the object.
func (t *tree) isTable(table cwmp.Path) bool {
	n := t.find(table)
	return n != nil && n.object && n.writable && !isInstance(leaf(table))
}

// set keeps a value that differs from the model.
func (t *tree) set(name cwmp.Path, text string) {
	if t.values == nil {
		t.values = make(map[cwmp.Path]string)
	}
	t.values[t.ownName(name)] = text
}

// ownName returns the model's copy of a path, so that a path that came in a
// message does not keep that message's memory.
func (t *tree) ownName(name cwmp.Path) cwmp.Path {
	if n := t.model.find(name); n != nil {
		return n.name
	}
	return cwmp.Path(strings.Clone(string(name)))
}

// addRow creates a row with the next instance number, which no row of the table
// ever had (TR-069 A.3.2.6). It returns 0 if the model does not know what a row
// of the table has in it.
func (t *tree) addRow(table cwmp.Path) uint32 {
	if t.model.rows[generic(table)+"{i}."] == nil {
		return 0
	}
	table = t.ownName(table)
	if t.next == nil {
		t.next = make(map[cwmp.Path]uint32)
	}
	if t.next[table] == 0 {
		t.next[table] = t.model.lastInstance(table) + 1
	}
	number := t.next[table]
	t.next[table] = number + 1
	row := table + cwmp.Path(strconv.FormatUint(uint64(number), 10)) + "."
	at, _ := slices.BinarySearch(t.added, row)
	t.added = slices.Insert(t.added, at, row)
	return number
}

// deleteRow removes a row, all that is in it, and what was kept about it.
func (t *tree) deleteRow(row cwmp.Path) {
	row = t.ownName(row)
	inside := func(p cwmp.Path) bool { return strings.HasPrefix(string(p), string(row)) }
	t.added = slices.DeleteFunc(t.added, inside)
	for p := range t.values {
		if inside(p) {
			delete(t.values, p)
		}
	}
	for p := range t.attributes {
		if inside(p) {
			delete(t.attributes, p)
		}
	}
	for p := range t.deleted {
		if inside(p) {
			delete(t.deleted, p)
		}
	}
	if t.model.find(row) == nil {
		return
	}
	if t.deleted == nil {
		t.deleted = make(map[cwmp.Path]struct{})
	}
	t.deleted[row] = struct{}{}
	if t.next == nil {
		t.next = make(map[cwmp.Path]uint32)
	}
	if table := t.ownName(parent(row)); t.next[table] == 0 {
		t.next[table] = t.model.lastInstance(table) + 1
	}
}

// attribute returns what applies to a parameter: what was set, else the
// standard's default (no notification, access for the LAN side).
func (t *tree) attribute(name cwmp.Path, n *node) (cwmp.Notification, []string) {
	a, set := t.attributes[name]
	if !set {
		a, set = t.model.attributes[name]
	}
	access := []string{"Subscriber"}
	if set && a.AccessSet {
		access = a.AccessList
	}
	if n.forced {
		return cwmp.NotificationActive, access
	}
	return a.Notification, access
}
