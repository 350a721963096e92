package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// Device.InterfaceStack has a row for each item of each interface's LowerLayers. A
// CPE that has the table keeps its own; for others it is made of the interfaces
// that controllers see (TR-181 4.3.2).

const stackTable = "Device.InterfaceStack.{i}."

// stackParam is what a parameter of the table says of its row.
type stackParam uint8

const (
	noStack stackParam = iota
	higherLayer
	lowerLayer
	higherAlias
	lowerAlias
)

var stackParams = map[string]stackParam{
	"HigherLayer": higherLayer, "LowerLayer": lowerLayer, "HigherAlias": higherAlias, "LowerAlias": lowerAlias,
}

// layering is one row: an interface and one that it stands on, by their paths.
type layering struct{ higher, lower string }

// stack adds the table where interfaces are there and the CPE has none itself.
func (c *compiler) stack() {
	if c.tabs[stackTable] != nil {
		return
	}
	var layers []*binding
	for n, bind := range c.binds {
		if n.Name == "LowerLayers" && bind.table != nil && bind.std != nil && bind.std.isPath && len(bind.by) > 0 {
			layers = append(layers, bind)
			for _, b := range bind.by {
				for _, r := range b.refs {
					if r.param >= 0 {
						c.rowsHang[r.param] = true
					}
				}
			}
		}
	}
	if len(layers) == 0 {
		return
	}
	e := &entry{at: "built in", rule: &object{noCreate: true}, target: stackTable, fixed: []uint32{0}, source: string(c.template.RootPath())}
	c.enter(e)
	e.table.stack = true
	for name, what := range stackParams {
		n := c.node(stackTable + name)
		n.Access = dm.ReadOnly
		c.binds[n].stack = what
	}
}

// layerings returns what stands on what, in the order of the interfaces.
func (v *View) layerings() (pairs []layering) {
	for _, t := range v.program.tables {
		bind := t.lowerLayers
		if bind == nil {
			continue
		}
		for _, r := range v.rowsOf(t).rows {
			lower, _, state := v.Read(dm.Ref{Node: bind.node, Inst: r.inst})
			if state == Absent || state == Unread {
				continue
			}
			for _, item := range itemsOf(lower) {
				if item = strings.TrimSuffix(item, "."); item != "" {
					pairs = append(pairs, layering{rowPath(t, r.inst), item})
				}
			}
		}
	}
	return pairs
}

// buildStack finds the rows of the table.
func (b *rowBuilder) buildStack() {
	e := b.table.entries[0]
	pairs := map[dm.Instance]layering{}
	for _, pair := range b.view.layerings() {
		number, _, ok := b.number(e, dm.Instance{}, rowKey{id: "=" + pair.higher + "\x1f" + pair.lower})
		if inst := dm.Inst(number); ok {
			if _, twice := pairs[inst]; !twice {
				b.out.rows = append(b.out.rows, row{inst: inst, entry: e})
			}
			pairs[inst] = pair
		}
	}
	b.out.layerings = pairs
}

// readStack reads a parameter of the table.
func (v *View) readStack(bind *binding, inst dm.Instance) (text string, state State) {
	rows := v.rowsOf(bind.table)
	pair, ok := rows.layerings[inst]
	if !ok {
		return "", Absent
	}
	switch bind.stack {
	case higherLayer:
		return pair.higher, Computed
	case lowerLayer:
		return pair.lower, Computed
	case higherAlias:
		return v.aliasOf(pair.higher), Computed
	default:
		return v.aliasOf(pair.lower), Computed
	}
}

// aliasOf returns the Alias of a row given by its path, "" if it has none.
func (v *View) aliasOf(path string) string {
	ref, ok := v.resolve(path)
	if !ok || ref.Node.Kind != dm.Table {
		return ""
	}
	for _, n := range ref.Node.Children {
		if n.Name == "Alias" {
			text, _, _ := v.Read(dm.Ref{Node: n, Inst: ref.Inst})
			return text
		}
	}
	return ""
}
