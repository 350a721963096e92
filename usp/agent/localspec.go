package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// An agent's own objects are declared in tables (objects_*.go) of these types.
// What they have in common (access, types, defaults, unique keys, numbers of
// entries, aliases, storage) is done once for all of them by txn and view.

// objectDecl declares one object or table.
type objectDecl struct {
	path     string // with {i}
	access   dm.Access
	unique   [][]string // functional unique keys, first
	fixed    [][]string // non-functional unique keys: immutable after Add (R-KEY.1)
	params   []paramDecl
	commands []commandDecl
	events   []eventDecl

	kind  store.Kind // of the rows' records
	added func(c *rowChange) error
	check func(c *rowChange) error
	// conflict names a parameter that was given a value which another value of
	// the row does not allow.
	conflict func(c *rowChange) (rel string, err *usp.Error)
}

// paramDecl declares a parameter. Exactly one of get and the stored value
// (with def as its default) is its source.
type paramDecl struct {
	name    string
	access  dm.Access
	typ     dm.Type
	def     string
	check   func(value string) error // of a non-list value, or of one item
	list    bool
	secured bool
	hidden  bool   // stored with the row and in no data model
	refs    string // table of the rows that the value, or each item, refers to (a strong reference)
	get     func(v *view, inst dm.Instance) string
	// shown makes of the stored value what it reads as; set is false, and value
	// "", as long as nobody has set it.
	shown func(v *view, inst dm.Instance, value string, set bool) string
}

// unset is the default of parameters that are shown: no value that a controller
// sets is, since it is not UTF-8.
const unset = "\xff"

// commandDecl declares a command of the agent itself.
type commandDecl struct {
	name     string
	async    bool
	in, out  []string
	required []string
	secret   []string // arguments that open doors: they are in no audit trail
	run      func(o *operation, call Call) (map[string]string, error)
	// wait makes an asynchronous command that does nothing but end after a time.
	wait func(args map[string]string) (time.Duration, *usp.Error)
}

type eventDecl struct {
	name string
	args []string
}

// class is the set of parameters that belong to one row: those of the table
// (or the root) and of the single-instance objects below it. Values of a row
// are indexed as params.
type class struct {
	index  int
	node   *dm.Node // the Table, nil for the root class
	path   string   // node's Path, "" for the root class
	kind   store.Kind
	params []*param
	byName map[string]*param // by the path relative to the row
	unique [][]*param
	fixed  [][]*param
	added  func(c *rowChange) error
	check  func(c *rowChange) error
	counts *param // its NumberOfEntries
	nested []*class

	conflict func(c *rowChange) (rel string, err *usp.Error)
}

// param is one parameter of an agent's own objects.
type param struct {
	paramDecl
	class    *class
	index    int
	node     *dm.Node
	rel      string // path relative to the row
	fixedKey bool
	target   *class // of refs
}

// localSpec is the compiled declaration of all agents' own objects: their data
// model, and what is behind each node of it. It is immutable and shared.
type localSpec struct {
	schema   *dm.Schema
	classes  []*class
	tables   map[*dm.Node]*class
	params   []*param // by Node.ID
	commands map[*dm.Node]*commandDecl
	root     *class
	refer    []*param // those with a target
	brokers  brokers

	// roleSets are those that states of agents refer to; they alone change.
	roleSets roleSets
}

// newLocalSpec compiles declarations; a mistake in them is an error here, at
// start.
func newLocalSpec(decls []objectDecl) (*localSpec, error) {
	s := &localSpec{tables: map[*dm.Node]*class{}, commands: map[*dm.Node]*commandDecl{}}
	s.root = &class{kind: store.AgentState, byName: map[string]*param{}}
	s.classes = append(s.classes, s.root)
	root := &dm.Node{Kind: dm.Object, Local: true}
	nodes := map[string]*dm.Node{"": root}
	classOf := map[string]*class{"": s.root}
	for i := range decls {
		if err := s.declare(&decls[i], nodes, classOf); err != nil {
			return nil, err
		}
	}
	var err error
	if s.schema, err = dm.Build(root); err != nil {
		return nil, err
	}
	for _, c := range s.classes {
		if c.node != nil {
			c.path = c.node.Path
			c.counts = s.countOf(c, nodes)
		}
	}
	for _, p := range s.params {
		if p.refs == "" {
			continue
		}
		if p.target = s.classAt(p.refs); p.target == nil || p.target.node.Depth != 1 {
			return nil, fmt.Errorf("agent: parameter %s refers to %s, which is no table of the agent's", p.node.Path, p.refs)
		}
		s.refer = append(s.refer, p)
	}
	return s, nil
}

func (s *localSpec) declare(d *objectDecl, nodes map[string]*dm.Node, classOf map[string]*class) error {
	trimmed := strings.TrimSuffix(strings.TrimSuffix(d.path, "."), ".{i}")
	isTable := strings.HasSuffix(d.path, ".{i}.")
	parentPath, name := "", trimmed
	if k := strings.LastIndexByte(trimmed, '.'); k >= 0 {
		parentPath, name = trimmed[:k+1], trimmed[k+1:]
	}
	parent := nodes[parentPath]
	if parent == nil {
		return fmt.Errorf("agent: object %s is declared before its parent", d.path)
	}
	n := &dm.Node{Name: name, Kind: dm.Object, Local: true, Access: d.access}
	c := classOf[parentPath]
	if isTable {
		n.Kind = dm.Table
		outer := c
		c = &class{index: len(s.classes), node: n, kind: d.kind, byName: map[string]*param{}, added: d.added, check: d.check, conflict: d.conflict}
		outer.nested = append(outer.nested, c)
		s.classes = append(s.classes, c)
		s.tables[n] = c
		n.Unique = append(append([][]string{}, d.unique...), d.fixed...)
	}
	parent.Children = append(parent.Children, n)
	nodes[d.path], classOf[d.path] = n, c
	for i := range d.params {
		s.declareParam(&d.params[i], d.path, n, c)
	}
	for i := range d.commands {
		cmd := &d.commands[i]
		cn := &dm.Node{Name: cmd.name, Kind: dm.Command, Local: true, Async: cmd.async, InArgs: cmd.in, OutArgs: cmd.out, Required: cmd.required}
		n.Children = append(n.Children, cn)
		s.commands[cn] = cmd
	}
	for _, e := range d.events {
		n.Children = append(n.Children, &dm.Node{Name: e.name, Kind: dm.Event, Local: true, Args: e.args})
	}
	return c.keys(d)
}

func (s *localSpec) declareParam(d *paramDecl, object string, parent *dm.Node, c *class) {
	n := &dm.Node{
		Name: d.name, Kind: dm.Param, Access: d.access, Type: d.typ, Local: true, Secured: d.secured,
		Change: dm.ValueChangeAllowed, ID: len(s.params),
	}
	if d.get != nil && !strings.HasSuffix(d.name, "NumberOfEntries") {
		n.Change = dm.ValueChangeWillIgnore // it is made when it is asked for
	}
	if !d.hidden {
		parent.Children = append(parent.Children, n)
	}
	row := ""
	if k := strings.LastIndex(object, "{i}."); k >= 0 {
		row = object[:k+4]
	}
	if d.shown != nil {
		d.def = unset
	}
	p := &param{paramDecl: *d, class: c, index: len(c.params), node: n, rel: object[len(row):] + d.name}
	c.params = append(c.params, p)
	c.byName[p.rel] = p
	s.params = append(s.params, p)
}

func (c *class) keys(d *objectDecl) error {
	if !strings.HasSuffix(d.path, "{i}.") {
		return nil
	}
	resolve := func(sets [][]string, fixed bool) ([][]*param, error) {
		var out [][]*param
		for _, names := range sets {
			var key []*param
			for _, name := range names {
				p := c.byName[name]
				if p == nil {
					return nil, fmt.Errorf("agent: unique key %s%s is not declared", d.path, name)
				}
				p.fixedKey = p.fixedKey || fixed
				key = append(key, p)
			}
			out = append(out, key)
		}
		return out, nil
	}
	var err error
	if c.unique, err = resolve(d.unique, false); err != nil {
		return err
	}
	c.fixed, err = resolve(d.fixed, true)
	return err
}

// countOf finds the NumberOfEntries parameter beside a table, by the naming
// rule of TR-106.
func (s *localSpec) countOf(c *class, nodes map[string]*dm.Node) *param {
	parentPath := strings.TrimSuffix(c.path, c.node.Name+".{i}.")
	if n := nodes[parentPath].Child(c.node.Name + "NumberOfEntries"); n != nil {
		return s.params[n.ID]
	}
	return nil
}
