package mapping

import "github.com/uspbridge/uspbridge/translate/tree"

// CountOf returns the parameter in which the CPE itself counts the rows of one
// of its tables; its rows are those around the table.
func (p *Program) CountOf(id tree.TableID) (tree.ParamID, bool) {
	q, ok := p.countOf(id)
	return q, ok && p.template.Params[q].Table == p.template.Tables[id].Parent
}
