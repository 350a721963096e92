package cpesim

import (
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// deriveRows makes a row template for every table that has rows but no declared
// template: the columns are those of all its rows together, the values the
// neutral ones of their types.
func (m *Model) deriveRows() {
	derived := map[cwmp.Path]map[cwmp.Path]node{}
	for i := range m.nodes {
		n := m.nodes[i]
		row, relative, ok := innermostRow(n.name)
		if !ok {
			continue
		}
		key := generic(row)
		if m.rows[key] != nil {
			continue
		}
		if derived[key] == nil {
			derived[key] = map[cwmp.Path]node{"": {object: true, writable: true}}
		}
		if relative == "" {
			continue
		}
		n.name, n.text, n.expands = relative, neutral(n.typ), false
		derived[key][relative] = n
	}
	for key, columns := range derived {
		m.rows[key] = newRowTemplate(columns)
	}
}

// newRowTemplate sorts columns and adds the objects between row and columns.
func newRowTemplate(columns map[cwmp.Path]node) *rowTemplate {
	if _, declared := columns[""]; !declared {
		columns[""] = node{object: true, writable: true}
	}
	names := make([]cwmp.Path, 0, len(columns))
	for name := range columns {
		names = append(names, name)
	}
	for _, name := range names {
		for p := parent(name); p != ""; p = parent(p) {
			if _, ok := columns[p]; !ok {
				columns[p] = node{name: p, object: true}
			}
		}
	}
	row := &rowTemplate{nodes: make([]node, 0, len(columns))}
	for _, n := range columns {
		row.nodes = append(row.nodes, n)
	}
	slices.SortFunc(row.nodes, func(a, b node) int { return strings.Compare(string(a.name), string(b.name)) })
	return row
}

// innermostRow splits a path after its last instance number.
func innermostRow(p cwmp.Path) (row, relative cwmp.Path, ok bool) {
	s := string(p)
	for end := len(s); end > 0; {
		dot := strings.LastIndexByte(s[:end], '.')
		if dot < 0 {
			return "", "", false
		}
		start := strings.LastIndexByte(s[:dot], '.') + 1
		if isInstance(s[start:dot]) {
			return p[:dot+1], p[dot+1:], true
		}
		end = dot
	}
	return "", "", false
}

// neutral is the value of a parameter of a new row when nothing declares one.
func neutral(t cwmp.Type) string {
	switch t {
	case cwmp.TypeInt, cwmp.TypeUnsignedInt, cwmp.TypeLong, cwmp.TypeUnsignedLong, cwmp.TypeDecimal:
		return "0"
	case cwmp.TypeBoolean:
		return "false"
	case cwmp.TypeDateTime:
		return "0001-01-01T00:00:00Z"
	}
	return ""
}

// countedTable names the table a row counter counts, by the counter's name:
// most are the table's name and "NumberOfEntries", these are the exceptions.
func countedTable(counter string) (table string, ok bool) {
	switch counter {
	case "TotalAssociations":
		return "AssociatedDevice", true
	case "ForwardNumberOfEntries":
		return "Forwarding", true
	case "LANWLANConfigurationNumberOfEntries":
		return "WLANConfiguration", true
	case "LANEthernetInterfaceNumberOfEntries":
		return "LANEthernetInterfaceConfig", true
	case "LANUSBInterfaceNumberOfEntries":
		return "LANUSBInterfaceConfig", true
	case "WANConnectionNumberOfEntries":
		return "WANConnectionDevice", true
	case "DHCPConditionalPoolNumberOfEntries":
		return "DHCPConditionalServingPool", true
	}
	return strings.CutSuffix(counter, "NumberOfEntries")
}

// linkCounters finds for each table the parameter beside it that counts its
// rows.
func (m *Model) linkCounters() {
	m.counters = map[cwmp.Path]cwmp.Path{}
	link := func(holder, name cwmp.Path) {
		if table, ok := countedTable(leaf(name)); ok {
			g := generic(holder)
			m.counters[g+cwmp.Path(table)+"."] = g + cwmp.Path(leaf(name))
		}
	}
	for i := range m.nodes {
		if n := &m.nodes[i]; !n.object {
			link(parent(n.name), n.name)
		}
	}
	for table, row := range m.rows {
		for i := range row.nodes {
			if n := &row.nodes[i]; !n.object {
				link(table+parent(n.name), n.name)
			}
		}
	}
}

// lockRows makes the new rows of a table deletable by the ACS only if the ACS
// can add rows to it: others come and go by themselves, like the hosts of a LAN.
func (m *Model) lockRows() {
	open := map[cwmp.Path]bool{}
	for i := range m.nodes {
		if n := &m.nodes[i]; n.object && n.writable {
			open[generic(n.name)] = true
		}
	}
	for row, template := range m.rows {
		for i := range template.nodes {
			if n := &template.nodes[i]; n.object && n.writable && n.name != "" {
				open[row+n.name] = true
			}
		}
	}
	for row, template := range m.rows {
		if n := template.find(""); n != nil {
			n.writable = open[parent(row)]
		}
	}
}

// counter returns the path of the parameter that counts table's rows, "" if
// there is none.
func (m *Model) counter(table cwmp.Path) cwmp.Path {
	c, ok := m.counters[generic(table)]
	if !ok {
		return ""
	}
	return parent(table) + cwmp.Path(leaf(c))
}
