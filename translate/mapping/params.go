package mapping

import (
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// param reads one entry of params: a source parameter's name, or a map.
func (r *reading) param(key, n *yaml.Node) *param {
	p := &param{at: r.at(key), name: key.Value}
	if n = resolved(n); n.Kind == yaml.ScalarNode {
		p.from = []string{n.Value}
		return p
	}
	var keys expressionKeys
	r.fields(n, map[string]func(*yaml.Node){
		"from":     func(n *yaml.Node) { p.from = r.texts(n) },
		"const":    func(n *yaml.Node) { v := r.text(n); p.constant = &v },
		"derive":   func(n *yaml.Node) { p.derive = r.derivation(n) },
		"join":     func(n *yaml.Node) { p.join = r.texts(n) },
		"row":      func(n *yaml.Node) { p.reference().targets = r.tables(n) },
		"rows":     func(n *yaml.Node) { p.reference().targets = r.tables(n); p.reference().all = true },
		"of":       func(n *yaml.Node) { p.reference().of = r.texts(n) },
		"ref":      func(n *yaml.Node) { p.conv.ref = r.targets(n) },
		"lookup":   func(n *yaml.Node) { p.conv.lookup = r.lookup(n) },
		"inputs":   func(n *yaml.Node) { r.inputs(n, p, &keys) },
		"read":     func(n *yaml.Node) { keys.read = n },
		"write":    func(n *yaml.Node) { keys.write = n },
		"table":    func(n *yaml.Node) { p.table = r.decisions(n) },
		"enum":     func(n *yaml.Node) { p.conv.enum = r.pairs(n) },
		"open":     func(n *yaml.Node) { p.conv.open = r.boolean(n) },
		"numeric":  func(n *yaml.Node) { p.conv.open = r.boolean(n) },
		"not":      func(n *yaml.Node) { p.conv.not = r.boolean(n) },
		"mul":      func(n *yaml.Node) { p.conv.mul = r.number(n) },
		"div":      func(n *yaml.Node) { p.conv.div = r.number(n) },
		"item":     func(n *yaml.Node) { r.item(n, p) },
		"list":     func(n *yaml.Node) { p.conv.list = true; r.separators(n, &p.conv) },
		"text":     func(n *yaml.Node) { p.conv.hexText = r.oneOf(n, "hex") == "hex" },
		"base64":   func(n *yaml.Node) { p.conv.base64Hex = r.oneOf(n, "hex") == "hex" },
		"datetime": func(n *yaml.Node) { p.conv.dateTime = r.oneOf(n, "true", "local") },
		"any":      func(n *yaml.Node) { p.any = r.text(n) },
		"access":   func(n *yaml.Node) { p.readOnly = r.oneOf(n, "readOnly") == "readOnly" },
		"examples": func(n *yaml.Node) { p.examples = r.examples(n) },
	})
	r.expressions(n, p, keys)
	r.sources(n, p)
	r.wayBack(n, p)
	return p
}

func (p *param) reference() *rowReference {
	if p.rows == nil {
		p.rows = &rowReference{}
	}
	return p.rows
}

// sources checks that a value comes from one place.
func (r *reading) sources(n *yaml.Node, p *param) {
	count := 0
	for _, there := range []bool{len(p.from) > 0, p.constant != nil, p.derive != nil, len(p.join) > 0, p.rows != nil, len(p.inputs) > 0} {
		if there {
			count++
		}
	}
	if count != 1 {
		r.fail(n, "%s: exactly one of from, const, derive, join, row, rows and inputs is needed, there are %d", p.name, count)
	}
	for _, row := range p.table {
		if len(row.when) != len(p.inputs) {
			r.fail(n, "%s: a row of the table has %d cells for %d inputs", p.name, len(row.when), len(p.inputs))
		}
	}
	if p.conv.lookup != nil && p.conv.ref == nil {
		r.fail(n, "%s: lookup makes a path of the CPE; ref says of which table the row is", p.name)
	}
	if p.any != "" && len(p.from) == 0 {
		r.fail(n, "%s: any goes with from: it picks one of several values of the same parameter", p.name)
	}
	if p.rows != nil && len(p.rows.targets) == 0 {
		r.fail(n, "%s: of without row or rows", p.name)
	} else if p.rows != nil && len(p.rows.of) > 1 && len(p.rows.of) != len(p.rows.targets) {
		r.fail(n, "%s: of names one source object for all tables of row, or one for each; there are %d for %d", p.name, len(p.rows.of), len(p.rows.targets))
	}
}

func (r *reading) targets(n *yaml.Node) []string {
	list := r.texts(n)
	if len(list) == 1 && list[0] == anyRef {
		return list
	}
	for _, t := range list {
		if e := r.standard.elements[generic(t)]; e == nil {
			r.fail(n, "Device:2 has no object %s", t)
		}
	}
	return list
}

// tables reads targets that must be named.
func (r *reading) tables(n *yaml.Node) []string {
	list := r.targets(n)
	if len(list) == 1 && list[0] == anyRef {
		r.fail(n, "any is for ref; a row needs the tables it can be of")
	}
	return list
}

func (r *reading) number(n *yaml.Node) float64 {
	v, err := strconv.ParseFloat(r.text(n), 64)
	if err != nil || v == 0 {
		r.fail(n, "a number other than 0 is expected here, not %q", n.Value)
	}
	return v
}

func (r *reading) oneOf(n *yaml.Node, allowed ...string) string {
	v := r.text(n)
	for _, a := range allowed {
		if v == a {
			return v
		}
	}
	r.fail(n, "%q is not known here; it can be %s", v, strings.Join(allowed, ", "))
	return ""
}

func (r *reading) separators(n *yaml.Node, c *converter) {
	c.fromSep, c.toSep = ",", ","
	r.fields(n, map[string]func(*yaml.Node){
		"from_sep": func(n *yaml.Node) { c.fromSep = r.text(n) },
		"to_sep":   func(n *yaml.Node) { c.toSep = r.text(n) },
	})
}

// pairs reads a map in its order: of two CPE values for one USP value the first
// is written.
func (r *reading) pairs(n *yaml.Node) (pairs [][2]string) {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		r.fail(n, "a map of CPE values to USP values is expected")
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		pairs = append(pairs, [2]string{r.text(n.Content[i]), r.text(n.Content[i+1])})
	}
	return pairs
}

func (r *reading) decisions(n *yaml.Node) (rows []decision) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "table: a list of rows is expected")
		return nil
	}
	for _, item := range n.Content {
		var d decision
		r.fields(item, map[string]func(*yaml.Node){
			"when":  func(n *yaml.Node) { d.when = r.texts(n) },
			"value": func(n *yaml.Node) { d.value = r.text(n) },
		})
		rows = append(rows, d)
	}
	return rows
}

// derivation is a value that a named function computes from source parameters.
type derivation struct {
	text string
	fn   func(args []string) string
	args []string
}

var derivationSyntax = regexp.MustCompile(`^([a-z0-9]+)\(([A-Za-z0-9_., -]*)\)$`)

func (r *reading) derivation(n *yaml.Node) *derivation {
	d := &derivation{text: r.text(n), fn: func([]string) string { return "" }}
	m := derivationSyntax.FindStringSubmatch(d.text)
	if m == nil {
		r.fail(n, "derive: %q is not of the form name(Parameter, Parameter)", d.text)
		return d
	}
	fn, ok := functions()[m[1]]
	if !ok {
		r.fail(n, "derive: there is no function %s", m[1])
		return d
	}
	d.fn = fn
	for arg := range strings.SplitSeq(m[2], ",") {
		d.args = append(d.args, strings.TrimSpace(arg))
	}
	return d
}
