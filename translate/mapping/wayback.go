package mapping

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// wayBack checks that what a rule writes is read back as what was written. What
// has no way back is read-only, which is no problem but told by explain.
func (r *reading) wayBack(n *yaml.Node, p *param) {
	seen := map[string]bool{}
	for _, pair := range p.conv.enum {
		if seen[pair[0]] {
			r.fail(n, "%s: enum has %q twice", p.name, pair[0])
		}
		seen[pair[0]] = true
	}
	for i, row := range p.table {
		if len(row.when) != len(p.inputs) {
			continue // told already
		}
		if got, by := firstFit(p.table, row.when); by < i && got != row.value {
			r.fail(n, "%s: row %d of the table never counts: row %d, with %q, fits whenever it does", p.name, i+1, by+1, got)
		}
	}
}

// firstFit returns the value, and the place, of the first row of a table that fits
// inputs where a cell says them, and anything else where it does not.
func firstFit(table []decision, cells []string) (value string, at int) {
	for i, row := range table {
		fits := true
		for k, cell := range row.when {
			if cell != "*" && (cells[k] == "*" || !strings.EqualFold(cell, cells[k])) {
				fits = false
			}
		}
		if fits {
			return row.value, i
		}
	}
	return "", len(table)
}

// noWayBack says why a rule's values cannot be set, "" if they can.
func (p *param) noWayBack() string {
	switch {
	case p.readOnly:
		return "the rule says so"
	case p.constant != nil:
		return "it is a constant"
	case p.any != "":
		return "it is told by several rows of the CPE"
	case p.derive != nil:
		return "it is derived"
	case p.rows != nil:
		return "it follows from where the row is on the CPE"
	case p.expr != nil && len(p.expr.write) == 0:
		return "its expression has no way back: there is no write"
	case p.table != nil && !p.tableWrites():
		return "no row of its table says what to set"
	case p.conv.dateTime == "local":
		return "the CPE's time has no zone"
	case p.conv.enum != nil && !p.conv.open && !p.conv.enumWrites():
		return "each of its values stands for several of the CPE's"
	}
	return ""
}

func (p *param) tableWrites() bool {
	for _, row := range p.table {
		for _, cell := range row.when {
			if cell != "*" {
				return true
			}
		}
	}
	return false
}

func (c *converter) enumWrites() bool {
	for _, pair := range c.enum {
		if pair[0] != "*" {
			return true
		}
	}
	return false
}

// unfaithful says as what a converted value would be read back if that is not what
// a controller has set.
func (c *converter) unfaithful(value, text string, typ dm.Type) (read string, is bool) {
	if c.item > 0 || c.path {
		return "", false
	}
	read = c.read(text, typ)
	if typ == dm.TypeHexBinary {
		return read, !strings.EqualFold(read, value)
	}
	return read, read != canonical(value, typ)
}
