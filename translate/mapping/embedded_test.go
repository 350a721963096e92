package mapping

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// TestEmbeddedRulesApply: no rule of the embedded files is dead. A CPE that has all
// that a file's rules name shows each of them.
func TestEmbeddedRulesApply(t *testing.T) {
	set := gatewaySet(t)
	for _, root := range []string{"InternetGatewayDevice.", "Device."} {
		p, err := set.Compile(everything(set, root), Identity{})
		if err != nil {
			t.Fatal(err)
		}
		applied := map[string]bool{}
		for i := range p.bindings {
			for _, b := range p.bindings[i].by {
				applied[b.rule.at+b.rule.name] = true
			}
		}
		for _, f := range set.selected(root, Identity{}) {
			for _, o := range f.objects {
				for _, rule := range o.params {
					if !applied[rule.at+rule.name] {
						t.Errorf("%s: %s%s never applies", rule.at, o.target, rule.name)
					}
				}
			}
		}
	}
}

// everything is the template of a CPE that has every object and parameter which the
// files name for a root data model.
func everything(set *Set, root string) *tree.Template {
	b := tree.NewBuilder(cwmp.Path(root))
	add := func(path string) {
		b.Add(cwmp.ParameterInfo{Name: cwmp.Path(strings.ReplaceAll(path, "{i}", "1")), Writable: true}, cwmp.TypeString)
	}
	for _, f := range set.selected(root, Identity{}) {
		for _, o := range f.objects {
			for _, name := range o.named() {
				if _, row := rowInputs[name]; row {
					continue
				}
				path := root + o.source + name
				for strings.Contains(path, "../") {
					before, after, _ := strings.Cut(path, "../")
					before = strings.TrimSuffix(before, ".")
					path = before[:strings.LastIndexByte(before, '.')+1] + after
				}
				if i := strings.IndexByte(path, '/'); i >= 0 {
					path = root + path[i+1:]
				}
				add(path)
			}
			for _, p := range o.params {
				if l := p.conv.lookup; l != nil {
					add(root + l.in + "X_EXAMPLE_Any")
				}
			}
		}
	}
	return b.Template()
}

// named lists the source parameters that an object names.
func (o *object) named() (names []string) {
	names = append(names, o.key...)
	if o.keyDerive != nil {
		names = append(names, o.keyDerive.args...)
	}
	if o.when != nil {
		names = append(names, o.when.params()...)
	}
	if o.each != "" {
		names = append(names, o.each)
	}
	for _, p := range o.params {
		names = append(append(append(names, p.from...), p.inputs...), p.join...)
		if p.derive != nil {
			names = append(names, p.derive.args...)
		}
	}
	return append(names, "X_EXAMPLE_Any") // so that the object is there in any case
}
