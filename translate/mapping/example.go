package mapping

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// example says beside a rule what it makes of a CPE's values, and that it leads
// back: examples: [{cpe: Up, usp: Up}, {cpe: {A: "1", B: x}, usp: y, back: no}].
type example struct {
	at     string
	value  string            // the only source's
	values map[string]string // of several, by their name in the rule; nil: value
	usp    string
	oneWay bool // back: no
}

// ExampleResult is what became of one example.
type ExampleResult struct {
	At      string // file:line
	Path    string // of the parameter, with {i}
	Example string
	Problem string // "": it holds
}

// examples reads the examples of a rule.
func (r *reading) examples(n *yaml.Node) (list []example) {
	if n = resolved(n); n.Kind != yaml.SequenceNode {
		r.fail(n, "examples: a list of {cpe: VALUE, usp: VALUE} is expected")
		return nil
	}
	for _, item := range n.Content {
		x := example{at: r.at(item)}
		has := 0
		r.fields(item, map[string]func(*yaml.Node){
			"cpe": func(n *yaml.Node) { has++; x.value, x.values = r.exampleValues(n) },
			"usp": func(n *yaml.Node) { has++; x.usp = r.text(n) },
			"back": func(n *yaml.Node) {
				if x.oneWay = !r.boolean(n); !x.oneWay {
					r.fail(n, "back: only no has a meaning; that a value leads back is the rule")
				}
			},
		})
		if has < 2 {
			r.fail(item, "an example has cpe and usp: {cpe: VALUE, usp: VALUE}")
		}
		list = append(list, x)
	}
	return list
}

func (r *reading) exampleValues(n *yaml.Node) (value string, values map[string]string) {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		return r.text(n), nil
	}
	values = map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		values[n.Content[i].Value] = r.text(n.Content[i+1])
	}
	return "", values
}

// Test tries the examples of all files, in their order.
func (s *Set) Test() (results []ExampleResult) {
	for _, f := range s.files {
		for _, o := range f.objects {
			if o.each != "" && o.item > 1 {
				continue // the rules of the first item
			}
			for _, p := range o.params {
				path := generic(o.target) + p.name
				typ, back := dm.TypeString, p.noWayBack() == ""
				if e := s.standard.elements[path]; e != nil {
					typ, back = e.typ, back && e.access != dm.ReadOnly
				}
				for _, x := range p.examples {
					r := ExampleResult{At: x.at, Path: path, Example: x.String()}
					if err := p.try(x, typ, back); err != nil {
						r.Problem = err.Error()
					}
					results = append(results, r)
				}
			}
		}
	}
	return results
}

func (x example) String() string {
	if x.values == nil {
		return fmt.Sprintf("%q is %q", x.value, x.usp)
	}
	var parts []string
	for name, v := range x.values {
		parts = append(parts, name+"="+v)
	}
	slices.Sort(parts)
	return fmt.Sprintf("%s is %q", strings.Join(parts, " "), x.usp)
}

// try tries one example, in both directions if values can be set.
func (p *param) try(x example, typ dm.Type, back bool) error {
	texts, err := p.texts(x)
	if err != nil {
		return err
	}
	got, err := p.readTexts(texts, typ)
	if err != nil {
		return err
	}
	if got != x.usp {
		return fmt.Errorf("it reads as %q, not %q", got, x.usp)
	}
	if x.oneWay || !back {
		return nil
	}
	if texts, err = p.writeTexts(x.usp, texts, typ); err != nil {
		return fmt.Errorf("setting %q: %w; say back: no if that is meant", x.usp, err)
	}
	if got, err = p.readTexts(texts, typ); err != nil {
		return fmt.Errorf("setting %q sets %q: %w", x.usp, texts, err)
	} else if got != x.usp {
		return fmt.Errorf("setting %q sets %q, which reads as %q; say back: no if that is meant", x.usp, texts, got)
	}
	return nil
}

// texts returns an example's values in the order of the rule's sources.
func (p *param) texts(x example) ([]string, error) {
	names := p.from
	switch {
	case p.expr != nil:
		names = p.expr.names
	case p.inputs != nil:
		names = p.inputs
	case p.join != nil:
		names = p.join
	case p.derive != nil:
		names = p.derive.args
	case p.from == nil || p.conv.ref != nil:
		return nil, fmt.Errorf("a constant or reference has no examples: it hangs on the device's rows")
	}
	if x.values == nil {
		if len(names) != 1 && p.from == nil {
			return nil, fmt.Errorf("it has several sources: give cpe as {%s: VALUE, …}", names[0])
		}
		return []string{x.value}, nil
	}
	texts := make([]string, len(names))
	known := 0
	for i, name := range names {
		v, ok := x.values[name]
		if ok {
			known++
		}
		texts[i] = v
	}
	if known < len(x.values) {
		return nil, fmt.Errorf("it has the sources %s only", strings.Join(names, ", "))
	}
	return texts, nil
}

// readTexts makes a value of those of the rule's sources. It fails where an
// expression does, and where no row of a table fits.
func (p *param) readTexts(texts []string, typ dm.Type) (string, error) {
	switch {
	case p.expr != nil:
		text, err := p.expr.read.eval(p.expr.variables(texts))
		return canonical(text, typ), err
	case p.derive != nil:
		return p.derive.fn(texts), nil
	case p.inputs != nil:
		value, ok := decide(p.table, texts)
		if !ok {
			return "", fmt.Errorf("no row of the table fits %q", texts)
		}
		return value, nil
	case p.join != nil:
		return joinTexts(texts), nil
	}
	return p.conv.read(texts[0], typ), nil
}

// writeTexts returns what the sources are after a value was set, on a CPE that
// takes all.
func (p *param) writeTexts(value string, texts []string, typ dm.Type) ([]string, error) {
	after := slices.Clone(texts)
	switch {
	case p.expr != nil:
		sets, err := p.expr.writing(value, texts, func(s string) string { return canonical(s, typ) })
		for i, text := range sets {
			after[p.expr.write[i].input] = text
		}
		return after, err
	case p.inputs != nil:
		for _, row := range p.table {
			if row.value != value {
				continue
			}
			for i, cell := range row.when {
				if cell != "*" {
					after[i] = cell
				}
			}
			return after, nil
		}
		return after, fmt.Errorf("no row of the table has it")
	case p.join != nil:
		clear(after)
		copy(after, itemsOf(value))
		return after, nil
	case p.conv.item > 0:
		list, err := withItem(texts[0], p.conv.item, value)
		return []string{list}, err
	}
	text, err := p.conv.write(value)
	return []string{text}, err
}
