package mapping

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
	"gopkg.in/yaml.v3"
)

// Bounds of expressions. They come from the operator's files, but what they are
// evaluated on comes from the CPE.
const (
	maxExpression = 2000   // characters
	maxCost       = 20_000 // CEL's units of work for one value
	maxResult     = 64 << 10
)

// valueName is the variable of an expression that writes: the value that a
// controller sets.
const valueName = "value"

// expressions are a value that CEL makes of CPE parameters, and the way back.
// Each input is a variable of its own name, a string: "" where the CPE has no such
// parameter.
type expressions struct {
	names []string // of the inputs, beside param.inputs
	read  *expression
	write []assignment // none: read only
}

// assignment is what an input is set to when a controller sets the value.
type assignment struct {
	input int
	*expression
}

// expression is compiled CEL.
type expression struct {
	text    string
	program cel.Program
}

// base is the environment that those of all expressions extend.
var base = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(ext.Strings(), ext.Math(), ext.Lists(), ext.Bindings())
})

// compileExpression compiles CEL over string variables.
func compileExpression(text string, variables []string) (*expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("an expression of %d characters; at most %d are taken", len(text), maxExpression)
	}
	env, err := base()
	if err != nil {
		return nil, err
	}
	var options []cel.EnvOption
	for _, v := range variables {
		options = append(options, cel.Variable(v, cel.StringType))
	}
	if env, err = env.Extend(options...); err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		told := strings.TrimPrefix(oneLine(err.Error()), "ERROR: ")
		if strings.Contains(told, "overlapping identifier") {
			told += ", which is a word of CEL; give the input another name"
		}
		return nil, errors.New(told)
	}
	switch kind := ast.OutputType(); kind.Kind() {
	case cel.StringKind, cel.IntKind, cel.UintKind, cel.DoubleKind, cel.BoolKind, cel.ListKind, cel.DynKind:
	default:
		return nil, fmt.Errorf("its result is a %s; a string, number, boolean or list is wanted", kind)
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, err
	}
	return &expression{text, program}, nil
}

// oneLine keeps the message of a CEL error and drops the drawing below it.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.TrimSpace(s)
}

// eval returns the value for the variables. It fails where CEL does, as for
// int("x"), and on results that are no value of a parameter.
func (x *expression) eval(variables map[string]any) (string, error) {
	out, _, err := x.program.Eval(variables)
	if err != nil {
		return "", fmt.Errorf("%s: %w", x.text, err)
	}
	text, err := celText(out)
	if err == nil && len(text) > maxResult {
		err = fmt.Errorf("a result of %d bytes", len(text))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", x.text, err)
	}
	return text, nil
}

// celText writes a result of CEL as USP writes values; a list with commas.
func celText(v ref.Val) (string, error) {
	switch n := v.Value().(type) {
	case string:
		return n, nil
	case int64:
		return strconv.FormatInt(n, 10), nil
	case uint64:
		return strconv.FormatUint(n, 10), nil
	case float64:
		return strconv.FormatFloat(n, 'f', -1, 64), nil
	case bool:
		return strconv.FormatBool(n), nil
	case []ref.Val:
		items := make([]string, len(n))
		for i, item := range n {
			text, err := celText(item)
			if err != nil {
				return "", err
			}
			items[i] = text
		}
		return strings.Join(items, ","), nil
	case []string:
		return strings.Join(n, ","), nil
	}
	return "", fmt.Errorf("the result is a %s; a string, number, boolean or list is wanted", v.Type().TypeName())
}

// variables names the inputs' values.
func (x *expressions) variables(texts []string) map[string]any {
	vars := make(map[string]any, len(texts)+1)
	for i, name := range x.names {
		vars[name] = texts[i]
	}
	return vars
}

// writing evaluates what the inputs are set to for a value of a controller. The
// result has an entry for each assignment. It fails if the value would not be read
// back: then the CPE has none for it.
func (x *expressions) writing(value string, texts []string, back func(string) string) ([]string, error) {
	vars := x.variables(texts)
	vars[valueName] = value
	sets := make([]string, len(x.write))
	after := append([]string(nil), texts...)
	for i, w := range x.write {
		text, err := w.eval(vars)
		if err != nil {
			return nil, err
		}
		sets[i], after[w.input] = text, text
	}
	read, err := x.read.eval(x.variables(after))
	if err != nil {
		return nil, err
	}
	if read = back(read); read != back(value) {
		return nil, fmt.Errorf("the CPE has no value for %q: it would be read back as %q", value, read)
	}
	return sets, nil
}

// expressionKeys are the keys of a param that has expressions, for reading.param.
type expressionKeys struct {
	names       []string // of named inputs
	read, write *yaml.Node
}

// inputs reads the inputs of a decision table, a list, or those of expressions,
// which have names.
func (r *reading) inputs(n *yaml.Node, p *param, keys *expressionKeys) {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		p.inputs = r.texts(n)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys.names = append(keys.names, n.Content[i].Value)
		p.inputs = append(p.inputs, r.text(n.Content[i+1]))
	}
}

// expressions compiles the expressions of a param.
func (r *reading) expressions(n *yaml.Node, p *param, keys expressionKeys) {
	if keys.read == nil && keys.write == nil && keys.names == nil {
		return
	}
	switch {
	case keys.read == nil:
		r.fail(n, "%s: named inputs and write go with read, an expression", p.name)
		return
	case p.table != nil:
		r.fail(n, "%s: a table and an expression exclude each other", p.name)
		return
	case keys.names == nil:
		r.fail(n, "%s: an expression needs inputs with names: inputs: {a: Parameter}", p.name)
		return
	}
	x := &expressions{names: keys.names}
	p.expr = x
	x.read = r.expression(keys.read, x.names)
	if keys.write == nil {
		return
	}
	known := map[string]func(*yaml.Node){}
	for i, name := range x.names {
		if _, own := rowInputs[p.inputs[i]]; own {
			continue // which row it is cannot be set
		}
		known[name] = func(n *yaml.Node) {
			x.write = append(x.write, assignment{i, r.expression(n, append([]string{valueName}, x.names...))})
		}
	}
	r.fields(keys.write, known)
}

// expression compiles one expression; a broken one is told, and stands for "".
func (r *reading) expression(n *yaml.Node, variables []string) *expression {
	x, err := compileExpression(r.text(n), variables)
	if err != nil {
		r.fail(n, "expression %q: %v", n.Value, err)
		return &expression{}
	}
	return x
}
