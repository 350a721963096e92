package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Explanation is where a USP parameter or row lives on the CPE.
type Explanation struct {
	USPPath, USPValue string
	CWMPPaths         []string
	CWMPValues        []string
	Rule              string // file:line
	Conversion        string
	Writable          bool
	ReadOnly          string // why it is, "" if it is writable
}

// Homes tells what a parameter of the CPE has as its value, and where controllers see
// that: refs are the parameters that are read from it. ok is false if the CPE has none
// of that path.
func (v *View) Homes(path cwmp.Path) (value string, refs []dm.Ref, ok bool) {
	schema, inst, ok := tree.Split(path)
	if !ok {
		return "", nil, false
	}
	p, ok := v.program.template.Lookup(schema)
	if !ok || !v.tree.HasRow(v.program.template.Param(p).Table, inst) {
		return "", nil, false
	}
	held, _ := v.tree.Value(p, inst)
	return held.Text, v.Targets(p, inst), true
}

// Explain tells where a parameter or row lives on the CPE.
func (v *View) Explain(ref dm.Ref) Explanation {
	x := Explanation{USPPath: ref.Path(), Writable: ref.Node.Access != dm.ReadOnly, Rule: "built in"}
	bind := v.program.binding(ref.Node)
	if bind == nil {
		x.Conversion = "nothing on this CPE"
		return x
	}
	if bind.own != "" {
		x.Conversion = "kept by the bridge"
		return x
	}
	if bind.node.Kind == dm.Table {
		v.explainRow(&x, bind, ref)
		return x
	}
	var state State
	x.USPValue, _, state = v.Read(ref)
	for _, s := range v.Sources(ref, nil) {
		value, _ := v.tree.Value(s.Param, s.Inst)
		x.CWMPPaths = append(x.CWMPPaths, string(tree.Join(v.program.template.Param(s.Param).Path, s.Inst)))
		x.CWMPValues = append(x.CWMPValues, value.Text)
	}
	b, _ := v.bound(bind, ref.Inst)
	switch {
	case bind.count != nil:
		x.Conversion = "number of rows"
	case bind.stack != noStack:
		x.Conversion = "made of the LowerLayers of all interfaces"
	case state == Computed && bind.alias:
		x.Conversion = "alias given by the bridge"
	case b == nil:
		x.Conversion = "nothing on this CPE"
	default:
		x.Rule, x.Conversion = b.rule.at, b.describe()
		x.ReadOnly = v.readOnly(bind, b)
		v.explainFailure(&x, b, ref)
	}
	return x
}

// readOnly says why a parameter can only be read, "" if it can be set.
func (v *View) readOnly(bind *binding, b *bound) string {
	switch reason := b.rule.noWayBack(); {
	case bind.node.Access != dm.ReadOnly:
		return ""
	case bind.std != nil && bind.std.access == dm.ReadOnly:
		return "the standard has it so"
	case reason != "":
		return reason
	default:
		return "the CPE does not let it be set"
	}
}

// explainFailure says why an expression or a table makes no value.
func (v *View) explainFailure(x *Explanation, b *bound, ref dm.Ref) {
	if b.rule.inputs == nil || len(x.CWMPValues) == 0 {
		return
	}
	_, src := v.bound(v.program.binding(ref.Node), ref.Inst)
	texts := make([]string, len(b.refs))
	for i, r := range b.refs {
		texts[i], _ = v.text(r, src)
	}
	if _, err := b.rule.readTexts(texts, ref.Node.Type); err != nil {
		x.Conversion += "; it fails: " + err.Error()
	}
}

func (v *View) explainRow(x *Explanation, bind *binding, ref dm.Ref) {
	if r, ok := v.find(bind.table, ref.Inst); ok {
		x.CWMPPaths = []string{string(tree.Join(r.entry.source, r.src))}
		x.Rule, x.Conversion = r.entry.at, "row"
	}
}

func (b *bound) describe() string {
	switch r := b.rule; {
	case r.constant != nil:
		return "constant"
	case r.derive != nil:
		return "derived: " + r.derive.text
	case r.expr != nil:
		return "expression: " + r.expr.read.text
	case r.inputs != nil:
		return "decision table"
	case r.join != nil:
		return "joined into a list"
	case r.rows != nil:
		return "path of the row of " + strings.Join(r.rows.targets, " or ")
	default:
		return r.conv.String()
	}
}
