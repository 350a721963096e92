package mapping

import (
	"fmt"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Write appends to dst what has to be set on the CPE for a parameter to have a
// value. It fails with 7013 where nothing can be written, 7011 for a value of
// another type, 7012 for one that the standard or the CPE has not, 7010 where
// the row has no such parameter.
func (v *View) Write(ref dm.Ref, value string, dst []cwmp.ParameterValue) ([]cwmp.ParameterValue, *usp.Error) {
	path := ref.Path()
	bind := v.program.binding(ref.Node)
	if bind == nil {
		return dst, usp.Errorf(usp.ErrUnsupportedParameter, path, "the CPE has no such parameter")
	}
	if bind.node.Access == dm.ReadOnly {
		return dst, usp.Errorf(usp.ErrReadOnly, path, "it can only be read on this CPE")
	}
	b, src := v.bound(bind, ref.Inst)
	if b == nil {
		return dst, usp.Errorf(usp.ErrUnsupportedParameter, path, "the CPE has no such parameter in this row")
	}
	if now, _, state := v.value(bind, b, ref.Inst, src); state != Known || now != value {
		// A value that the CPE itself has is one, whatever the standard says.
		if err := checkValue(path, value, bind); err != nil {
			return dst, err
		}
	}
	switch {
	case b.rule.expr != nil:
		return v.writeExpression(b, src, path, value, bind.node.Type, dst)
	case b.rule.inputs != nil:
		return v.writeTable(b, src, path, value, dst)
	case b.rule.join != nil:
		return v.writeJoined(b, src, path, value, dst)
	case b.rule.from == nil || b.rule.readOnly:
		return dst, usp.Errorf(usp.ErrReadOnly, path, "it can only be read in this row")
	case b.rule.conv.ref != nil:
		return v.writeReference(b, src, path, value, dst)
	}
	text, err := v.converted(b, src, value, bind.node.Type)
	if err != nil {
		return dst, usp.Errorf(usp.ErrInvalidValue, path, "%w", err)
	}
	if b.rule.conv.path {
		text = eachItem(text, v.deviceOf)
	}
	if b.rule.conv.path && text != "" && v.dotted(b, src) {
		text = strings.ReplaceAll(text, ",", ".,") + "."
	}
	return v.assign(b, src, path, bind.node.Type, text, dst)
}

// converted returns what the CPE is to be given for a value, which must be read back
// as that value.
func (v *View) converted(b *bound, src dm.Instance, value string, typ dm.Type) (string, error) {
	c := &b.rule.conv
	if c.item > 0 {
		for _, r := range b.refs {
			if list, ok := v.text(r, src); ok {
				return withItem(list, c.item, value)
			}
		}
		return withItem("", c.item, value)
	}
	text, err := c.write(value)
	if err != nil {
		return "", err
	}
	if read, is := c.unfaithful(value, text, typ); is {
		return "", fmt.Errorf("the CPE has no value for %q: it would be read back as %q", value, read)
	}
	return text, nil
}

// writeExpression sets the inputs that an expression's way back names.
func (v *View) writeExpression(b *bound, src dm.Instance, path, value string, typ dm.Type, dst []cwmp.ParameterValue) ([]cwmp.ParameterValue, *usp.Error) {
	texts := make([]string, len(b.refs))
	for i, r := range b.refs {
		texts[i], _ = v.text(r, src)
	}
	if b.rule.conv.ref != nil {
		objects, err := v.objects(b, path, value)
		if err != nil {
			return dst, err
		}
		value = strings.TrimSuffix(strings.Join(objects, ","), ".")
	}
	sets, err := b.rule.expr.writing(value, texts, func(s string) string { return canonical(s, typ) })
	if err != nil {
		return dst, usp.Errorf(usp.ErrInvalidValue, path, "%w", err)
	}
	for i, text := range sets {
		r := b.refs[b.rule.expr.write[i].input]
		now, there := v.text(r, src)
		switch {
		case now == text && len(sets) > 1: // as it should be, or not there and not needed
		case !there:
			return dst, usp.Errorf(usp.ErrUnsupportedParameter, path, "the CPE lacks a parameter in this row that would have to be set")
		case v.program.template.Param(r.param).Writable:
			dst = append(dst, v.set(r, src, dm.TypeString, text))
		case now != text:
			return dst, usp.Errorf(usp.ErrReadOnly, path, "the CPE does not let %s be set", v.name(r, src))
		}
	}
	return dst, nil
}

// dotted reports whether the CPE ends path values with a dot. CPE differ in
// that: a path is written as it was read.
func (v *View) dotted(b *bound, src dm.Instance) bool {
	return slices.ContainsFunc(b.refs, func(r reference) bool {
		now, _ := v.text(r, src)
		return strings.HasSuffix(now, ".")
	})
}

// assign sets the first source that is there.
func (v *View) assign(b *bound, src dm.Instance, path string, typ dm.Type, text string, dst []cwmp.ParameterValue) ([]cwmp.ParameterValue, *usp.Error) {
	for _, r := range b.refs {
		if _, ok := v.text(r, src); !ok {
			continue
		}
		if !v.program.template.Param(r.param).Writable {
			return dst, usp.Errorf(usp.ErrReadOnly, path, "the CPE does not let %s be set", v.name(r, src))
		}
		return append(dst, v.set(r, src, typ, text)), nil
	}
	return dst, usp.Errorf(usp.ErrUnsupportedParameter, path, "the CPE has no such parameter in this row")
}

func (v *View) name(r reference, src dm.Instance) cwmp.Path {
	return tree.Join(v.program.template.Param(r.param).Path, r.inst(src))
}

// set writes a source parameter in the CPE's type. Booleans are written as 1 and
// 0, which every CPE takes and some CPE take alone, unless this CPE spells them
// in letters.
func (v *View) set(r reference, src dm.Instance, typ dm.Type, text string) cwmp.ParameterValue {
	wire := v.program.template.Param(r.param).Type
	if wire == cwmp.TypeUnknown {
		wire = wireType(typ)
	}
	now, _ := v.text(r, src)
	if letters := strings.ToLower(now); wire == cwmp.TypeBoolean && letters != "true" && letters != "false" ||
		typ == dm.TypeBoolean && (now == "0" || now == "1") {
		text = digit(text)
	}
	return cwmp.ParameterValue{Name: v.name(r, src), Value: cwmp.Value{Type: wire, Text: text}}
}

func digit(boolean string) string {
	if isTrue(boolean) {
		return "1"
	}
	return "0"
}

// wireType is the CWMP type of a parameter whose CPE never told one.
func wireType(t dm.Type) cwmp.Type {
	for _, wire := range []cwmp.Type{
		cwmp.TypeInt, cwmp.TypeUnsignedInt, cwmp.TypeLong, cwmp.TypeUnsignedLong, cwmp.TypeBoolean,
		cwmp.TypeDateTime, cwmp.TypeBase64, cwmp.TypeHexBinary, cwmp.TypeDecimal,
	} {
		if usptype(wire) == t {
			return wire
		}
	}
	return cwmp.TypeString
}

// writeTable sets the inputs of the first row of a decision table that has the
// value and that the CPE can be brought to; "*" leaves an input alone.
func (v *View) writeTable(b *bound, src dm.Instance, path, value string, dst []cwmp.ParameterValue) ([]cwmp.ParameterValue, *usp.Error) {
	for _, row := range b.rule.table {
		if row.value != value {
			continue
		}
		if sets, ok := v.cells(b, src, row.when); ok {
			return append(dst, sets...), nil
		}
	}
	return dst, usp.Errorf(usp.ErrInvalidValue, path, "this CPE cannot be set to %q", value)
}

// cells returns what sets the inputs to the cells; ok is false if one is not on
// the CPE or has another value and cannot be set.
func (v *View) cells(b *bound, src dm.Instance, when []string) (sets []cwmp.ParameterValue, ok bool) {
	for i, cell := range when {
		if cell == "*" {
			continue
		}
		r := b.refs[i]
		now, there := v.text(r, src)
		switch {
		case !there, r.row != noRowInput && now != cell:
			return nil, false
		case r.row != noRowInput: // it is this row
		case v.program.template.Param(r.param).Writable:
			sets = append(sets, v.set(r, src, dm.TypeString, cell))
		case !strings.EqualFold(now, cell):
			return nil, false
		}
	}
	return sets, len(sets) > 0
}

// writeJoined spreads a list over the sources; those left over become empty.
func (v *View) writeJoined(b *bound, src dm.Instance, path, value string, dst []cwmp.ParameterValue) ([]cwmp.ParameterValue, *usp.Error) {
	items := strings.Split(value, ",")
	if value == "" {
		items = nil
	}
	used := 0
	for _, r := range b.refs {
		now, ok := v.text(r, src)
		if !ok || !v.program.template.Param(r.param).Writable {
			continue
		}
		item := ""
		if used < len(items) {
			item = strings.TrimSpace(items[used])
		}
		used++
		if item != "" || now != "" {
			dst = append(dst, v.set(r, src, dm.TypeString, item))
		}
	}
	if used < len(items) {
		return dst, usp.Errorf(usp.ErrInvalidValue, path, "the CPE has room for %d items, not %d", used, len(items))
	}
	return dst, nil
}

// writeReference sets the CPE path of the row that a USP path names.
func (v *View) writeReference(b *bound, src dm.Instance, path, value string, dst []cwmp.ParameterValue) ([]cwmp.ParameterValue, *usp.Error) {
	objects, err := v.objects(b, path, value)
	if err != nil {
		return dst, err
	}
	dotted := v.dotted(b, src)
	for i, object := range objects {
		if b.lookup != nil {
			id, ok := b.lookup.identifier(v, src, object)
			if !ok {
				return dst, usp.Errorf(usp.ErrInvalidValue, path, "the CPE has no way to name %q here", object)
			}
			objects[i] = id
		} else if !dotted {
			objects[i] = strings.TrimSuffix(object, ".")
		}
	}
	if len(objects) == 0 && b.lookup != nil {
		objects = []string{b.lookup.none}
	}
	return v.assign(b, src, path, dm.TypeString, strings.Join(objects, ","), dst)
}

// objects returns the CPE objects, with their final dot, that a list of USP paths
// names.
func (v *View) objects(b *bound, path, value string) (objects []string, err *usp.Error) {
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		object, ok := v.cpePath(item, b.rule.conv.ref)
		if !ok {
			return nil, usp.Errorf(usp.ErrInvalidValue, path, "%q is nothing that this CPE can be pointed to; it takes %s", item, strings.Join(b.rule.conv.ref, " or "))
		}
		objects = append(objects, object)
	}
	return objects, nil
}
