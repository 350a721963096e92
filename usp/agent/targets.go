package agent

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// maxTargets bounds the paths of a permission's Targets.
const maxTargets = 64

// parseTarget reads an entry of Targets: a path whose instances are numbers, "*",
// search expressions or left out (Device.LocalAgent.ControllerTrust.Role.{i}.
// Permission.{i}.Targets). It follows no references: what a permission is about
// does not depend on other rows than those it names.
func parseTarget(t string) (path.Path, error) {
	if t == "Device" {
		t = "Device." // TR-369 "Role Definition" writes it so
	}
	p, err := path.Parse(t)
	if err != nil {
		return p, err
	}
	for _, st := range p.Steps {
		follows := st.Kind == path.Follow
		if st.Kind == path.Search {
			for _, c := range st.Expr.Components {
				for _, inner := range c.Param {
					follows = follows || inner.Kind == path.Follow
				}
			}
		}
		if follows {
			return p, fmt.Errorf("%q: references are not followed in targets", shorten(t))
		}
	}
	return p, nil
}

// ruling is what a set of roles says about a node.
type ruling struct {
	byRow bool // it depends on the row
	// somewhere is the rights on any row, and if not byRow on all.
	somewhere rights
	roles     [][]rule // byRow: what each role says, the first rule that holds decides
}

// rule is a permission of a role, as far as it is about one node.
type rule struct {
	rights rights
	rows   []condition // all must hold
}

// condition is what a target says about the row of one table.
type condition struct {
	depth  int    // which of the element's instance numbers
	number uint32 // 0: an expression
	search []comparison
}

// comparison is a component of a target's expression.
type comparison struct {
	param *dm.Node // nil: not in this data model
	with  *path.Component
}

// rule finds what the roles say about a node: each role by its permission of
// highest Order that has the element among its targets, together all that any
// allows (TR-369 "A Controller's Role").
func (s *roleSet) rule(n *dm.Node) *ruling {
	r := &ruling{}
	segments := strings.Split(strings.TrimSuffix(n.Path, "."), ".")
	for _, role := range s.roles {
		rules := role.about(n.Home(), segments)
		for i := range rules {
			r.somewhere |= rules[i].rights
			r.byRow = r.byRow || len(rules[i].rows) > 0
		}
		if len(rules) > 0 {
			r.roles = append(r.roles, rules)
		}
	}
	return r
}

// about returns the rules of a role for a node, down to the first that holds on
// all rows.
func (r *role) about(schema *dm.Schema, segments []string) (rules []rule) {
	for _, p := range r.permissions {
		for _, t := range p.targets {
			rows, covers := conditions(schema, t.Steps, segments)
			if !covers {
				continue
			}
			rules = append(rules, rule{p.rights, rows})
			if len(rows) == 0 {
				return rules
			}
		}
	}
	return rules
}

// conditions reports whether a target can have a node in it, and for which rows.
func conditions(schema *dm.Schema, steps []path.Step, segments []string) (rows []condition, covers bool) {
	depth := 0
	for i := 0; len(steps) > 0; i++ {
		if i == len(segments) {
			return nil, false
		}
		if segments[i] != "{i}" {
			if steps[0].Kind != path.Name || steps[0].Name != segments[i] {
				return nil, false
			}
			steps = steps[1:]
			continue
		}
		switch st := &steps[0]; st.Kind {
		case path.Instance:
			rows = append(rows, condition{depth: depth, number: st.Number})
			steps = steps[1:]
		case path.Search:
			rows = append(rows, condition{depth: depth, search: comparisons(schema.Lookup(strings.Join(segments[:i+1], ".")), st.Expr)})
			steps = steps[1:]
		case path.Wildcard:
			steps = steps[1:]
		}
		depth++
	}
	return rows, true
}

func comparisons(table *dm.Node, e *path.Expr) []comparison {
	var all []comparison
	for i := range e.Components {
		c := comparison{with: &e.Components[i]}
		if n := descend(table, c.with.ParamPath()); n != nil && n.Kind == dm.Param {
			c.param = n
		}
		all = append(all, c)
	}
	return all
}

// outcome is whether a condition holds.
type outcome uint8

const (
	no outcome = iota
	yes
	unknown
)

func (r *rule) holds(d *device, inst *dm.Instance) outcome {
	all := yes
	for i := range r.rows {
		c := &r.rows[i]
		switch {
		case c.depth >= inst.Len():
			return no // the table itself
		case c.number != 0:
			if inst.At(c.depth) != c.number {
				return no
			}
		default:
			switch d.rowHolds(c.search, inst.Prefix(c.depth+1)) {
			case no:
				return no
			case unknown:
				all = unknown
			}
		}
	}
	return all
}

// rowHolds evaluates the expression of a target for a row, with the agent's own
// eyes and without waiting for the device. What is secured is not compared: it
// could be guessed by asking for rights.
func (d *device) rowHolds(search []comparison, row dm.Instance) outcome {
	all := yes
	for _, c := range search {
		if c.param == nil {
			return no // the target stands for nothing on this device
		}
		v := d.peekOne(dm.Ref{Node: c.param, Inst: row})
		if v.Err != nil || c.param.Secured {
			all = unknown
			continue
		}
		if ok, err := c.with.Match(v.Text, c.param.Type); err != nil || !ok {
			return no
		}
	}
	return all
}
