package mapping

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// object is one entry of a file's objects.
type object struct {
	at          string // file:line
	target      string // "Device.WiFi.SSID.{i}."
	source      string // "LANDevice.{i}.WLANConfiguration.{i}.", under the root
	key         []string
	keyDerive   *derivation
	around      string // source object of the row around the target's rows; "": one above the source
	when        *condition
	noCreate    bool
	parentFrom  string      // a new row's parameter that picks the object it is created in
	defaultFrom string      // CPE parameter that names that object where no other does
	vendor      bool        // vendor parameters of the source go here
	same        [][2]string // source prefix, target prefix
	alike       bool        // all objects below have their namesakes below the source
	each        string      // a list parameter of the source, each item of which is a row
	item        int         // which of several rows of one source row this is, from 1; 0: there is but one
	noItems     []string    // items that are no row
	params      []*param
}

// condition says when a row exists: by one parameter, or by an expression over
// several that is true or false.
type condition struct {
	param  string
	is     []string
	not    []string
	exists bool

	inputs []string // of expr
	names  []string
	expr   *expression
}

// params returns the parameters that the condition is about.
func (c *condition) params() []string {
	if c.expr != nil {
		return c.inputs
	}
	return []string{c.param}
}

// name tells an object from others: where it comes from and where it goes.
func (o *object) name() string {
	return generic(o.target) + "<" + o.source + "#" + strconv.Itoa(o.item)
}

// inheriting returns the object with what it leaves open of which rows there are, as
// the first of the others of its name has it: who adds a parameter to a row of another
// file need not say again what the row is.
func (o *object) inheriting(others []*object) *object {
	full := *o
	for _, other := range others {
		if full.key == nil && full.keyDerive == nil {
			full.key, full.keyDerive = other.key, other.keyDerive
		}
		if full.when == nil {
			full.when = other.when
		}
		if full.around == "" {
			full.around = other.around
		}
		if full.parentFrom == "" {
			full.parentFrom, full.defaultFrom = other.parentFrom, other.defaultFrom
		}
		full.noCreate = full.noCreate || other.noCreate
		full.vendor = full.vendor || other.vendor
	}
	return &full
}

func (r *reading) objects(n *yaml.Node) []*object {
	o := &object{at: r.at(n)}
	var params, each *yaml.Node
	r.fields(n, map[string]func(*yaml.Node){
		"target": func(n *yaml.Node) { o.target = r.target(n) },
		"source": func(n *yaml.Node) {
			if o.source = r.text(n); o.source != "" && !strings.HasSuffix(o.source, ".") {
				r.fail(n, "source: %q must end with a dot", o.source)
			}
		},
		"key": func(n *yaml.Node) {
			if resolved(n).Kind == yaml.MappingNode {
				r.fields(n, map[string]func(*yaml.Node){"derive": func(n *yaml.Node) { o.keyDerive = r.derivation(n) }})
				return
			}
			o.key = r.texts(n)
		},
		"around": func(n *yaml.Node) {
			if o.around = r.text(n); !strings.HasSuffix(o.around, ".") {
				r.fail(n, "around: %q must be an object of the CPE under the root, with a dot at its end", o.around)
			}
		},
		"when": func(n *yaml.Node) { o.when = r.condition(n) },
		"each": func(n *yaml.Node) { each = n },
		"again": func(n *yaml.Node) {
			if r.boolean(n) {
				o.item, o.noCreate = 2, true
			}
		},
		"vendor": func(n *yaml.Node) { o.vendor = r.boolean(n) },
		"alike":  func(n *yaml.Node) { o.alike = r.boolean(n) },
		"create": func(n *yaml.Node) {
			if resolved(n).Kind == yaml.MappingNode {
				r.fields(n, map[string]func(*yaml.Node){
					"parent_from":  func(n *yaml.Node) { o.parentFrom = r.text(n) },
					"default_from": func(n *yaml.Node) { o.defaultFrom = r.text(n) },
				})
				return
			}
			o.noCreate = !r.boolean(n)
		},
		"same": func(n *yaml.Node) {
			for i := 0; i+1 < len(n.Content); i += 2 {
				o.same = append(o.same, [2]string{r.text(n.Content[i]), r.text(n.Content[i+1])})
			}
		},
		"params": func(n *yaml.Node) { params = resolved(n) },
	})
	if o.target == "" {
		r.fail(n, "target: an object of Device:2 is missing")
	}
	if params != nil {
		r.params(o, params)
	}
	return r.each(o, each)
}

// target checks that a target object is in the standard.
func (r *reading) target(n *yaml.Node) string {
	t := r.text(n)
	if e := r.standard.elements[generic(t)]; e != nil && (e.kind == dm.Object || e.kind == dm.Table) || strings.Contains(t, ".X_") {
		return t
	}
	hint := ""
	if s := r.standard.suggest(t); s != "" {
		hint = "; did you mean " + s + "?"
	}
	r.fail(n, "target: Device:2 has no object %s%s", t, hint)
	return t
}

func isNumber(seg string) bool { return seg != "" && strings.Trim(seg, "0123456789") == "" }

// generic replaces the literal numbers of a target by {i}.
func generic(target string) string {
	segs := strings.Split(target, ".")
	for i, s := range segs {
		if isNumber(s) {
			segs[i] = "{i}"
		}
	}
	return strings.Join(segs, ".")
}

func (r *reading) params(o *object, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "params: a map is expected")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if seen[key.Value] {
			r.fail(key, "parameter %s is there twice", key.Value)
			continue
		}
		seen[key.Value] = true
		if r.rules++; r.rules == maxRules {
			r.fail(key, "more than %d parameters in one file", maxRules)
		}
		if r.rules >= maxRules {
			return
		}
		full := generic(o.target) + key.Value
		if e := r.standard.elements[full]; (e == nil || e.kind != dm.Param) && !strings.Contains(full, ".X_") {
			hint := ""
			if s := r.standard.suggest(full); s != "" {
				hint = "; did you mean " + s + "?"
			}
			r.fail(key, "Device:2 has no parameter %s%s", full, hint)
		}
		p := r.param(key, n.Content[i+1])
		r.values(key, full, p)
		o.params = append(o.params, p)
	}
}

// values checks that the values which a rule makes are in the standard. What an
// expression or a CPE makes is not known here.
func (r *reading) values(n *yaml.Node, path string, p *param) {
	e := r.standard.elements[path]
	if e == nil {
		return
	}
	for _, v := range p.values() {
		size, err := measure(v, e.typ)
		if err == nil {
			err = e.allowsValue(v, size)
		}
		if err != nil && v != "" {
			r.fail(n, "%s: %v", p.name, err)
		}
	}
}

// values lists the values that the rule itself names.
func (p *param) values() (list []string) {
	if p.constant != nil {
		list = append(list, *p.constant)
	}
	for _, pair := range p.conv.enum {
		list = append(list, pair[1])
	}
	for _, row := range p.table {
		list = append(list, row.value)
	}
	return list
}
