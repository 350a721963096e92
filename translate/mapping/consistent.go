package mapping

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Inconsistency is where a device as controllers see it contradicts itself or its
// data model.
type Inconsistency struct {
	Path  string // of the parameter, or of the row
	Value string
	Text  string // what is wrong
	Rule  string // file:line of the mapping; "built in"
	Own   bool   // it is the CPE's own value, shown as the CPE has it
}

// Inconsistencies looks at all that a view shows of Device:2: every reference must
// resolve, every count match, every value be one of its type, every unique key be
// unique, and every interface stand on one that is there, down to a physical one.
func (v *View) Inconsistencies() []Inconsistency {
	c := &consistency{view: v}
	c.walk(v.program.Schema.Root, dm.Instance{})
	c.stack()
	return c.found
}

// consistency is one look at a view.
type consistency struct {
	view  *View
	found []Inconsistency
}

func (c *consistency) fail(ref dm.Ref, value, format string, args ...any) {
	x := c.view.Explain(ref)
	c.found = append(c.found, Inconsistency{Path: ref.Path(), Value: value, Text: fmt.Sprintf(format, args...), Rule: x.Rule, Own: x.own(value)})
}

// own reports whether a value is the CPE's, as the CPE has it.
func (x *Explanation) own(value string) bool {
	return len(x.CWMPValues) == 1 && strings.TrimSuffix(x.CWMPValues[0], ".") == value
}

func (c *consistency) walk(n *dm.Node, inst dm.Instance) {
	for _, child := range n.Children {
		switch child.Kind {
		case dm.Param:
			c.param(n, dm.Ref{Node: child, Inst: inst})
		case dm.Object:
			if child.Path+"Raw." != rawPath {
				c.walk(child, inst)
			}
		case dm.Table:
			rows := c.view.Instances(dm.Ref{Node: child, Inst: inst})
			for _, i := range rows {
				c.walk(child, inst.Append(i))
			}
			c.unique(child, inst, rows)
		}
	}
}

// param checks one value of an object or row.
func (c *consistency) param(parent *dm.Node, ref dm.Ref) {
	bind := c.view.program.binding(ref.Node)
	text, _, state := c.view.Read(ref)
	if bind == nil || bind.std == nil || state == Absent || state == Unread {
		return
	}
	if err := checkValue(ref.Path(), text, bind); err != nil && !(text == "" && bind.std.mayBeEmpty()) {
		c.fail(ref, text, "%s", err.Msg)
	}
	if bind.std.isPath {
		for _, item := range itemsOf(text) {
			if _, ok := c.view.resolve(item); !ok {
				c.fail(ref, text, "%s is not there", item)
			}
		}
	}
	if table, ok := c.counted(parent, ref); ok {
		if n := fmt.Sprint(len(c.view.Instances(table))); n != text {
			c.fail(ref, text, "there are %s rows", n)
		}
	}
}

// mayBeEmpty reports whether a CPE may leave a value empty although its data type
// has no empty one: what is not configured has none, and what is secured is not
// shown.
func (e *element) mayBeEmpty() bool {
	return e.secured || e.isPath || e.typ == dm.TypeString && e.access != dm.ReadOnly
}

// counted returns the table whose rows a parameter counts.
func (c *consistency) counted(parent *dm.Node, ref dm.Ref) (table dm.Ref, ok bool) {
	name, isCount := strings.CutSuffix(ref.Node.Name, "NumberOfEntries")
	if sibling := parent.Child(name); isCount && sibling != nil && sibling.Kind == dm.Table {
		return dm.Ref{Node: sibling, Inst: ref.Inst}, true
	}
	return table, false
}

// unique checks that no two rows of a table have the same key. Keys that have a
// part the rows do not show are left out.
func (c *consistency) unique(n *dm.Node, around dm.Instance, rows []uint32) {
	for _, key := range n.Unique {
		seen := map[string]uint32{}
		for _, i := range rows {
			id, ok := c.key(n, around.Append(i), key)
			if !ok {
				continue
			}
			if other, twice := seen[id]; twice {
				ref := dm.Ref{Node: n, Inst: around.Append(i)}
				c.found = append(c.found, Inconsistency{
					Path: ref.Path(), Value: strings.ReplaceAll(id, "\x1f", ", "), Rule: c.view.Explain(ref).Rule, Own: c.ownKey(ref, key),
					Text: fmt.Sprintf("it has the key %s of row %d", strings.Join(key, ", "), other),
				})
			}
			seen[id] = i
		}
	}
}

// ownKey reports whether all of a row's key is as the CPE has it.
func (c *consistency) ownKey(row dm.Ref, key []string) bool {
	for _, name := range key {
		ref := dm.Ref{Node: row.Node.Child(name), Inst: row.Inst}
		text, _, _ := c.view.Read(ref)
		if x := c.view.Explain(ref); !x.own(text) {
			return false
		}
	}
	return true
}

// key returns a row's values of a key; ok is false if a part is missing or all are
// empty, or if the row is not enabled: keys hold among those that are.
func (c *consistency) key(n *dm.Node, inst dm.Instance, key []string) (id string, ok bool) {
	var parts []string
	for _, child := range n.Children {
		if child.Name == "Enable" && child.Kind == dm.Param {
			if text, _, state := c.view.Read(dm.Ref{Node: child, Inst: inst}); state != Absent && !isTrue(text) {
				return "", false
			}
		}
	}
	for _, name := range key {
		child := n.Child(name)
		if child == nil || child.Kind != dm.Param {
			return "", false
		}
		text, _, state := c.view.Read(dm.Ref{Node: child, Inst: inst})
		if state == Absent || state == Unread {
			return "", false
		}
		parts = append(parts, text)
	}
	id = strings.Join(parts, "\x1f")
	return id, strings.Trim(id, "\x1f") != ""
}

// physical are the tables at the bottom of the interface stack (TR-181 4.2).
var physical = map[string]bool{
	"Device.Ethernet.Interface.{i}.": true, "Device.DSL.Line.{i}.": true, "Device.USB.Interface.{i}.": true,
	"Device.WiFi.Radio.{i}.": true, "Device.Optical.Interface.{i}.": true, "Device.Cellular.Interface.{i}.": true,
	"Device.HPNA.Interface.{i}.": true, "Device.MoCA.Interface.{i}.": true, "Device.Ghn.Interface.{i}.": true,
	"Device.HomePlug.Interface.{i}.": true, "Device.UPA.Interface.{i}.": true, "Device.FAST.Line.{i}.": true,
	"Device.XPON.ONU.{i}.ANI.{i}.": true,
}

// stack checks that every interface but a physical one stands on another, and none,
// by whatever way, on itself.
func (c *consistency) stack() {
	below := map[string][]string{}
	for _, pair := range c.view.layerings() {
		below[pair.higher] = append(below[pair.higher], pair.lower)
	}
	for _, t := range c.view.program.tables {
		if t.lowerLayers == nil {
			c.groundless(t)
			continue
		}
		for _, r := range c.view.rowsOf(t).rows {
			ref := dm.Ref{Node: t.lowerLayers.node, Inst: r.inst}
			path := rowPath(t, r.inst)
			switch {
			case circular(path, below):
				c.fail(ref, strings.Join(below[path], ","), "it stands on itself")
			case len(below[path]) == 0 && !physical[t.node.Path] && !c.standsAlone(t, r.inst):
				c.fail(ref, "", "it stands on no interface")
			}
		}
	}
}

// groundless tells the rows of an interface table that has no LowerLayers at all.
func (c *consistency) groundless(t *table) {
	name := t.node.Path + "LowerLayers"
	if c.view.program.set.standard.elements[name] == nil || physical[t.node.Path] {
		return
	}
	for _, r := range c.view.rowsOf(t).rows {
		if ref := (dm.Ref{Node: t.node, Inst: r.inst}); !c.standsAlone(t, r.inst) {
			c.found = append(c.found, Inconsistency{Path: ref.Path(), Text: "it stands on no interface: it has no LowerLayers", Rule: r.entry.at, Own: r.entry.copied})
		}
	}
}

// standsAlone reports whether an interface needs none below: a loopback, or one that
// is turned off.
func (c *consistency) standsAlone(t *table, inst dm.Instance) bool {
	for name, alone := range map[string]string{"Loopback": "true", "Type": "Loopback", "Enable": "false", "ManagementPort": "true"} {
		if n := t.node.Child(name); n != nil {
			if text, _, _ := c.view.Read(dm.Ref{Node: n, Inst: inst}); text == alone {
				return true
			}
		}
	}
	return false
}

// circular reports whether the layers below an interface lead back to it.
func circular(from string, below map[string][]string) bool {
	seen := map[string]bool{}
	queue := below[from]
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if next == from {
			return true
		}
		if !seen[next] {
			seen[next] = true
			queue = append(queue[:len(queue):len(queue)], below[next]...)
		}
	}
	return false
}

// resolve returns the row, object or parameter that a path in a value names, with or
// without its final dot; ok is false if it is not there.
func (v *View) resolve(path string) (ref dm.Ref, ok bool) {
	for _, form := range []string{strings.TrimSuffix(path, ".") + ".", path} {
		schema, inst, ok := tree.Split(cwmp.Path(form))
		if !ok {
			return ref, false
		}
		n := v.program.Schema.Lookup(schema)
		if n == nil {
			continue
		}
		bind := v.program.binding(n)
		if n.Kind == dm.Table && bind.table != nil {
			_, ok := v.find(bind.table, inst)
			return dm.Ref{Node: n, Inst: inst}, ok
		}
		if n.Kind == dm.Param {
			_, _, state := v.Read(dm.Ref{Node: n, Inst: inst})
			return dm.Ref{Node: n, Inst: inst}, state != Absent
		}
		return dm.Ref{Node: n, Inst: inst}, true
	}
	return ref, false
}
