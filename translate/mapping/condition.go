package mapping

import (
	"slices"

	"gopkg.in/yaml.v3"
)

// condition reads when a row exists.
func (r *reading) condition(n *yaml.Node) *condition {
	c := &condition{}
	var expr *yaml.Node
	r.fields(n, map[string]func(*yaml.Node){
		"param":  func(n *yaml.Node) { c.param = r.text(n) },
		"is":     func(n *yaml.Node) { c.is = r.texts(n) },
		"not":    func(n *yaml.Node) { c.not = r.texts(n) },
		"exists": func(n *yaml.Node) { c.exists = r.boolean(n) },
		"expr":   func(n *yaml.Node) { expr = n },
		"inputs": func(n *yaml.Node) {
			p, keys := &param{}, expressionKeys{}
			r.inputs(n, p, &keys)
			c.inputs, c.names = p.inputs, keys.names
		},
	})
	switch {
	case expr == nil && c.param == "":
		r.fail(n, "when: param with is, not or exists is wanted, or inputs with expr")
	case expr == nil:
	case c.param != "" || c.is != nil || c.not != nil || c.exists:
		r.fail(n, "when: expr stands for itself, with inputs only")
	case len(c.names) == 0:
		r.fail(n, "when: expr needs inputs with names: inputs: {a: Parameter}")
	default:
		c.expr = r.expression(expr, c.names)
	}
	return c
}

// holds reports whether a source row satisfies the condition. text returns the
// value of one of its parameters, and whether it is there.
func (c *condition) holds(text func(i int) (string, bool)) bool {
	if c.expr != nil {
		vars := make(map[string]any, len(c.names))
		for i, name := range c.names {
			vars[name], _ = text(i)
		}
		// What cannot be decided is not: as with a value that is not there.
		out, err := c.expr.eval(vars)
		return err == nil && out == "true"
	}
	value, ok := text(0)
	switch {
	case !ok:
		return c.not != nil && !c.exists
	case c.is != nil:
		return slices.Contains(c.is, value)
	case c.not != nil:
		return !slices.Contains(c.not, value)
	}
	return true
}
