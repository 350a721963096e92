package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Commands and events that a CPE has as parameters: they are in the supported
// data model if it has the parameter that starts them, or tells of them.

// command is what a command's node is bound to.
type command struct {
	home       *Home
	std        *element
	diagnostic bool
	starts     []start // in a row: by what the row stems from
}

// start is the parameter that starts a command, seen from the rows of an entry.
type start struct {
	entry *entry
	ref   reference
}

// servedNodes adds the commands and events of the standard that the CPE has.
func (c *compiler) servedNodes() {
	for _, s := range c.std.served {
		if h, e := s.Home(c.template.RootPath()), c.std.elements[s.Command]; h != nil && e != nil && e.live {
			c.commandNode(s, h, e)
		}
	}
	for _, s := range c.std.events {
		if e := c.std.elements[s.Event]; s.source != "" && e != nil && e.live && c.template.RootPath() == "Device." {
			c.eventNode(s, e)
		}
	}
}

func (c *compiler) commandNode(s *Served, h *Home, e *element) {
	if _, ok := c.template.Lookup(h.Object + h.Start); !ok {
		return
	}
	owner := e.path[:strings.LastIndexByte(e.path, '.')+1]
	cmd := &command{home: h, std: e, diagnostic: s.Class == ClassDiagnostic}
	bind := &binding{std: e, command: cmd}
	if i := strings.LastIndex(owner, "{i}."); i >= 0 {
		if bind.table = c.tabs[owner[:i+len("{i}.")]]; bind.table == nil {
			return
		}
		if cmd.starts = c.starts(bind.table, h.Object+h.Start); cmd.starts == nil {
			return
		}
	}
	n := e.node(e.path[len(owner):])
	// A diagnostic goes on beyond the session that it is asked for in.
	n.Durable = cmd.diagnostic && n.Async
	c.bindNode(owner, n, bind)
}

// bindNode adds a command or an event to an object.
func (c *compiler) bindNode(owner string, n *dm.Node, bind *binding) {
	parent := c.node(owner)
	parent.Children = append(parent.Children, n)
	bind.node = n
	c.binds[n] = bind
}

// starts finds a parameter of the CPE from the rows of a table: below what a row
// stems from, or outside all rows.
func (c *compiler) starts(t *table, path string) (list []start) {
	for _, e := range t.entries {
		rest, below := strings.CutPrefix(path, e.source)
		switch {
		case below && !strings.Contains(rest, "{i}"):
		case !strings.Contains(path, "{i}"):
			rest = "/" + strings.TrimPrefix(path, string(c.template.RootPath()))
		default:
			continue
		}
		if ref := c.references(e, []string{rest})[0]; ref.param >= 0 {
			list = append(list, start{e, ref})
		}
	}
	return list
}

// eventNode adds an event that is the change of a parameter. A TR-181 CPE has
// the parameter at the event's own path, or beside it.
func (c *compiler) eventNode(s *ServedEvent, e *element) {
	if _, ok := c.template.Lookup(s.source); !ok {
		return
	}
	owner := e.path[:strings.LastIndexByte(e.path, '.')+1]
	bind := &binding{std: e, event: s}
	entries := []*entry{{at: "built in", source: string(c.template.RootPath()), target: "Device.", copied: true}}
	if i := strings.LastIndex(owner, "{i}."); i >= 0 {
		if bind.table = c.tabs[owner[:i+len("{i}.")]]; bind.table == nil {
			return
		}
		entries = bind.table.entries
	}
	for _, around := range entries {
		rest, below := strings.CutPrefix(s.source, around.source)
		if !below || strings.Contains(rest, "{i}") {
			continue
		}
		if b, ok := c.bind(around, &param{at: around.at, name: e.path, from: []string{rest}}); ok {
			bind.by = append(bind.by, b)
		}
	}
	if bind.by != nil {
		c.bindNode(owner, e.node(e.path[len(owner):]), bind)
	}
}

// EventArgs returns the arguments of an event that is the change of a parameter,
// as far as the CPE has them; ok is false for other events.
func (v *View) EventArgs(ref dm.Ref) (args map[string]string, ok bool) {
	bind := v.program.binding(ref.Node)
	if bind == nil || bind.event == nil {
		return nil, false
	}
	b, src := v.bound(bind, ref.Inst)
	if b == nil {
		return nil, false
	}
	args = map[string]string{}
	for _, a := range bind.event.args {
		if id, ok := v.program.template.Lookup(a.Param); ok && a.Param != "" {
			in := reference{param: id, slots: make([]uint32, v.program.template.Tables[v.program.template.Param(id).Table].Depth)}
			if text, ok := v.text(in, src); ok {
				args[a.Name] = text
			}
		}
	}
	return args, true
}

// row returns the instance numbers of the object that a command is about: those
// of its row, or those of the object that its Interface argument names.
func (v *View) row(bind *binding, ref dm.Ref, args map[string]string) (src dm.Instance, err *usp.Error) {
	cmd := bind.command
	depth := strings.Count(cmd.home.Object, "{i}")
	if bind.table != nil {
		r, ok := v.find(bind.table, ref.Inst)
		if !ok {
			return src, usp.Errorf(usp.ErrObjectDoesNotExist, ref.Path(), "the row is not there")
		}
		for _, s := range cmd.starts {
			if s.entry == r.entry {
				return s.ref.inst(r.src), nil
			}
		}
		return src, usp.Errorf(usp.ErrCommandFailure, ref.Path(), "the CPE has no such command in this row")
	}
	if depth == 0 {
		return src, nil
	}
	if named := args["Interface"]; named != "" {
		e, row, ok := v.objectOf(named, nil)
		if ok && strings.Count(commonPath(e.source, cmd.home.Object), "{i}") == depth {
			return row.Prefix(depth), nil
		}
		return src, usp.Errorf(usp.ErrInvalidCommandArguments, "", "Interface: it is no row that this CPE can do this for")
	}
	var found []dm.Instance
	id, _ := v.program.template.Lookup(cmd.home.Object + cmd.home.Start)
	v.tree.EachRow(v.program.template.Param(id).Table, dm.Instance{}, func(in dm.Instance) bool {
		if _, there := v.tree.Value(id, in); there {
			found = append(found, in)
		}
		return len(found) < 2
	})
	if len(found) != 1 {
		return src, usp.Errorf(usp.ErrInvalidCommandArguments, "", "Interface: it must say which of the CPE's interfaces is meant")
	}
	return found[0], nil
}

// paramOf returns the CPE's parameter of an argument in an object; ok is false if
// the CPE has none.
func (v *View) paramOf(h *Home, name string) (id tree.ParamID, ok bool) {
	if name == "" {
		return 0, false
	}
	return v.program.template.Lookup(h.Object + name)
}
