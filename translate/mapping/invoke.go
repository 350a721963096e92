package mapping

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Invocation is a command as it is run on the CPE.
type Invocation struct {
	Diagnostic bool
	Object     cwmp.Path             // the object that it is about, ends in "."
	Args       []cwmp.ParameterValue // arguments to be set
	Start      cwmp.ParameterValue   // what starts it, to be set after them
	// Omitted are the parameters of arguments that were left out and of which
	// the standard has no default.
	Omitted []cwmp.Path
}

// Requested is the DiagnosticsState that starts a diagnostic.
const Requested = "Requested"

// Invoke returns what runs a command on the CPE. ok is false for a command that
// is no parameter of the CPE. It fails with 7027 and the name of the argument
// that is wrong.
func (v *View) Invoke(ref dm.Ref, args map[string]string) (in *Invocation, ok bool, err *usp.Error) {
	bind := v.program.binding(ref.Node)
	if bind == nil || bind.command == nil {
		return nil, false, nil
	}
	cmd := bind.command
	src, err := v.row(bind, ref, args)
	if err != nil {
		return nil, true, err
	}
	in = &Invocation{Diagnostic: cmd.diagnostic, Object: tree.Join(cmd.home.Object, src)}
	for _, a := range cmd.home.In {
		if err := v.argument(in, cmd, src, a, args); err != nil {
			return nil, true, err
		}
	}
	in.Start.Name = in.Object + cwmp.Path(cmd.home.Start)
	switch {
	case cmd.diagnostic:
		in.Start.Value = cwmp.Value{Type: cwmp.TypeString, Text: Requested}
	case in.Start.Value.Type == cwmp.TypeUnknown: // no argument is its value
		id, _ := v.program.template.Lookup(cmd.home.Object + cmd.home.Start)
		ref := reference{param: id, slots: make([]uint32, src.Len())}
		in.Start = v.set(ref, src, dm.TypeBoolean, "true")
	}
	return in, true, nil
}

// argument adds one argument: as it is given, else with the standard's default.
func (v *View) argument(in *Invocation, cmd *command, src dm.Instance, a Argument, args map[string]string) *usp.Error {
	std := cmd.std.input(a.Name)
	if std == nil {
		return nil
	}
	text, given := args[a.Name]
	if given {
		if err := std.checkArgument(a.Name, text); err != nil {
			return err
		}
	}
	id, there := v.paramOf(cmd.home, a.Param)
	if !there {
		return v.unsettable(cmd, a.Name, std, text)
	}
	def := v.program.template.Param(id)
	r := reference{param: id, slots: make([]uint32, src.Len())}
	switch {
	case given:
	case std.def != "":
		text = std.def
	default:
		in.Omitted = append(in.Omitted, v.name(r, src))
		return nil
	}
	if std.isPath && text != "" {
		if text, there = v.cpePaths(text, std.list); !there {
			return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: %q is no row of this device", a.Name, args[a.Name])
		}
	}
	set := v.set(r, src, std.typ, text)
	switch {
	case a.Param == cmd.home.Start:
		in.Start = set
	case def.Writable:
		in.Args = append(in.Args, set)
	default: // TR-181 PacketCaptureDiagnostics.Format: it is as it is
		if now, _ := v.text(r, src); now != text {
			return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: this CPE knows %q only", a.Name, now)
		}
	}
	return nil
}

// unsettable refuses an argument that the CPE has no parameter for, unless it
// asks for what happens without it.
func (v *View) unsettable(cmd *command, name string, std *element, text string) *usp.Error {
	selects := name == "Interface" && strings.Contains(cmd.home.Object, "{i}")
	if selects || !std.asks(text) {
		return nil
	}
	return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: this CPE cannot be told it", name)
}

// cpePaths returns the paths on the CPE of rows that are given by their USP
// paths, as values have them: without the final dot.
func (v *View) cpePaths(text string, list bool) (string, bool) {
	items := []string{text}
	if list {
		items = strings.Split(text, ",")
	}
	for i, item := range items {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		e, row, ok := v.objectOf(item, nil)
		if !ok {
			return "", false
		}
		items[i] = strings.TrimSuffix(string(tree.Join(e.source, row)), ".")
	}
	return strings.Join(items, ","), true
}

// The bounds of the output arguments of a command: real results are a tenth.
const (
	maxOutputs     = 8192
	maxOutputBytes = 1 << 20
)

// Output returns the output arguments of a diagnostic from what the CPE has in
// its object; whole is false if they are more than are passed on.
func (v *View) Output(node *dm.Node, object cwmp.Path, values []cwmp.ParameterValue) (out map[string]string, whole bool) {
	out = map[string]string{}
	bind := v.program.binding(node)
	if bind == nil || bind.command == nil {
		return out, true
	}
	cmd := bind.command
	names := make(map[string]string, len(cmd.home.Out))
	for _, a := range cmd.home.Out {
		names[a.Param] = a.Name
	}
	rows := &rowCounter{numbers: map[resultRow]int{}, last: map[resultRow]int{}}
	bytes := 0
	for _, p := range inOrder(object, values) {
		name, known := names[p.schema]
		if !known {
			continue
		}
		if bytes += len(p.text); bytes > maxOutputBytes || len(out) == maxOutputs {
			return out, false
		}
		out[rows.place(name, p.inst)] = v.output(cmd.std.output(name), name, p.text)
	}
	return out, true
}

// relative is a value by its path below an object.
type relative struct {
	schema string
	inst   dm.Instance
	text   string
}

// inOrder returns the values below an object, the rows of its tables in their
// order.
func inOrder(object cwmp.Path, values []cwmp.ParameterValue) (list []relative) {
	for _, p := range values {
		rest, below := strings.CutPrefix(string(p.Name), string(object))
		schema, inst, ok := tree.Split(cwmp.Path(rest))
		if below && ok {
			list = append(list, relative{schema, inst, p.Value.Text})
		}
	}
	slices.SortStableFunc(list, func(a, b relative) int { return a.inst.Compare(b.inst) })
	return list
}

// rowCounter numbers the rows of result tables from 1, whatever numbers they have
// on the CPE.
type rowCounter struct {
	numbers map[resultRow]int // of rows seen
	last    map[resultRow]int // by the row around them: the last number given
}

// resultRow is a row of a result table, or the row around it.
type resultRow struct {
	table string
	at    dm.Instance
}

// place returns an argument's name with its row's number in place of each {i}.
func (c *rowCounter) place(name string, inst dm.Instance) string {
	var out strings.Builder
	for depth := 0; depth < inst.Len(); depth++ {
		head, rest, row := strings.Cut(name, "{i}")
		if !row {
			break
		}
		out.WriteString(head)
		key := resultRow{out.String(), inst.Prefix(depth + 1)}
		if c.numbers[key] == 0 {
			around := resultRow{key.table, inst.Prefix(depth)}
			c.last[around]++
			c.numbers[key] = c.last[around]
		}
		out.WriteString(strconv.Itoa(c.numbers[key]))
		name = rest
	}
	return out.String() + name
}

// output converts a result.
func (v *View) output(std *element, name, text string) string {
	switch {
	case std == nil:
		return text
	case name == "Status":
		return std.status(text)
	case std.isPath:
		return v.uspPaths(text)
	case std.typ == dm.TypeBoolean:
		return strconv.FormatBool(isTrue(text))
	}
	return text
}

// uspPaths returns the USP paths of CPE objects; one that is no row here stays as
// it is.
func (v *View) uspPaths(text string) string {
	items := strings.Split(text, ",")
	for i, item := range items {
		schema, src, ok := tree.Split(cwmp.Path(strings.TrimSuffix(strings.TrimSpace(item), ".") + "."))
		if !ok || item == "" {
			continue
		}
		for _, t := range v.program.tables {
			if !slices.ContainsFunc(t.entries, func(e *entry) bool { return e.source == schema && e.home == homeStandard }) {
				continue
			}
			if inst, ok := v.ofObject(t, schema, src); ok {
				items[i] = rowPath(t, inst)
				break
			}
		}
	}
	return strings.Join(items, ",")
}

// stateWords are the final states of CWMP diagnostics that USP has another word
// for.
var stateWords = map[string][]string{
	"Complete":         {"Success", "success"},
	"Completed":        {"Complete", "Success"}, // TR-143 in TR-098
	"Error":            {"Error_Other", "fail"},
	"Error_BadChannel": {"failBADCHANNEL"},
	"Error_NoEvmProbe": {"failNOEVMPROBE"},
	"Error_Internal":   {"Error", "Error_Other"},
	"Error_Other":      {"Error", "Error_Internal"},

	"Credentials_Bad_Username_Not_Supported": {"Credentials_Bad_Requested_Username_Not_Supported"},
	"Credentials_Bad_Password_Incorrect":     {"Credentials_Bad_Requested_Password_Incorrect"},
}

// status returns a final DiagnosticsState as the command's Status has it. A state
// that the standard does not know is passed on.
func (e *element) status(state string) string {
	if e.enum == nil || slices.Contains(e.enum, state) {
		return state
	}
	for _, word := range stateWords[state] {
		if slices.Contains(e.enum, word) {
			return word
		}
	}
	return state
}

// Running reports whether a DiagnosticsState is that of a diagnostic that has not
// ended.
func Running(state string) bool { return state == Requested || state == "InProgress" }

// Off reports whether a DiagnosticsState is that of one that does not run and has
// no results.
func Off(state string) bool { return state == "" || state == "None" || state == "Canceled" }
