package mapping

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// compiler builds a Program.
type compiler struct {
	*Program
	std     *standard
	nodes   map[string]*dm.Node // by schema path; a table by that of its rows
	tabs    map[string]*table   // by schema path
	binds   map[*dm.Node]*binding
	used    map[tree.ParamID]bool // has a home in every row
	done    map[string]*entry     // by target, source and item
	told    map[string][]*object  // the objects of the files, by the same
	weight  map[*entry]int        // how many parameters it shows
	ages    map[string]time.Duration
	classes []classRule
}

// Compile binds the files for a device to its template.
func (s *Set) Compile(t *tree.Template, id Identity) (*Program, error) {
	c := &compiler{
		Program: &Program{set: s, template: t, targets: map[tree.ParamID][]*binding{}, rowsHang: map[tree.ParamID]bool{}, counts: map[tree.ParamID][]uint32{}},
		std:     s.standard, nodes: map[string]*dm.Node{"": {Kind: dm.Object}}, tabs: map[string]*table{},
		binds: map[*dm.Node]*binding{}, used: map[tree.ParamID]bool{}, done: map[string]*entry{}, told: map[string][]*object{},
		weight: map[*entry]int{}, ages: defaultAges(),
	}
	files := s.selected(string(t.RootPath()), id)
	for _, f := range slices.Backward(files) {
		for class, age := range f.ages {
			c.ages[class] = age
		}
	}
	identity := false
	for _, f := range files {
		c.names = append(c.names, f.mapping)
		identity = identity || f.identity
		c.classes = append(c.classes, f.classes...)
		for _, o := range f.objects {
			c.told[o.name()] = append(c.told[o.name()], o)
		}
	}
	for _, inRow := range []bool{false, true} { // rows first, then the objects in them
		for _, f := range files {
			for _, o := range f.objects {
				if o.inRow() == inRow && !o.alike {
					c.object(f, o)
				}
			}
		}
		for _, f := range files {
			for _, o := range f.objects {
				if o.alike {
					c.alike(s, f, o, inRow)
				}
			}
		}
	}
	c.settle()
	if identity {
		c.identity()
	}
	c.vendor()
	c.raw()
	c.stack()
	c.images()
	c.standardExtras()
	c.servedNodes()
	c.ownNodes()
	return c.finish()
}

// node returns the schema node of a path, made with its parents if need be.
func (c *compiler) node(path string) *dm.Node {
	if n, ok := c.nodes[path]; ok {
		return n
	}
	trimmed := strings.TrimSuffix(path, ".")
	kind := dm.Param
	if trimmed != path {
		kind = dm.Object
	}
	if base, isTable := strings.CutSuffix(trimmed, ".{i}"); isTable {
		trimmed, kind = base, dm.Table
	}
	i := strings.LastIndexByte(trimmed, '.')
	parent := c.node(trimmed[:i+1])
	name := trimmed[i+1:]
	n := &dm.Node{Name: name, Kind: kind}
	if e := c.std.elements[path]; e != nil && e.kind == kind {
		n = e.node(name)
	}
	if kind == dm.Table {
		n.Access = dm.ReadOnly // until a CPE is known to let rows be added
	}
	parent.Children = append(parent.Children, n)
	c.nodes[path] = n
	c.binds[n] = &binding{node: n, std: c.std.elements[path]}
	if i := strings.LastIndex(path, ".{i}."); i >= 0 {
		c.binds[n].table = c.tab(path[:i+len(".{i}.")])
	}
	return n
}

// tab returns the target table of a schema path that ends in "{i}.".
func (c *compiler) tab(path string) *table {
	if t := c.tabs[path]; t != nil {
		return t
	}
	t := &table{}
	c.tabs[path] = t
	t.node = c.node(path)
	return t
}

// object makes the entry of one object of a file, if the CPE has its source. A
// second file that names the same source and target adds what the first, which
// goes before it, does not name.
func (c *compiler) object(f *file, o *object) {
	source, target := f.root+generic(o.source), generic(o.target)
	if source == target && f.root == "Device." && len(o.params) == 0 && o.key == nil {
		return // it keeps its path by itself
	}
	key := o.name()
	e := c.done[key]
	fresh := e == nil
	if fresh {
		o = o.inheriting(c.told[key])
		if e = c.newEntry(o, source, target); e == nil {
			return
		}
		e.only = literals(f.root + o.source)
		e.keys = c.references(e, o.key)
		if o.keyDerive != nil {
			e.keys = c.references(e, o.keyDerive.args)
		}
		if o.when != nil {
			if e.when = c.inputs(e, o.when.params()); o.when.expr == nil && e.when[0].param < 0 && e.when[0].row == noRowInput {
				if o.when.exists || o.when.is != nil {
					return
				}
				e.when = nil // all rows are other than that
			}
		}
		if o.each != "" {
			if e.list = c.references(e, []string{o.each}); e.list[0].param < 0 {
				return
			}
		}
	}
	rows := e
	if o.inRow() {
		if rows = c.rowAround(e); rows == nil {
			return
		}
	}
	bounds := c.boundOf(e, o)
	if len(bounds) == 0 && !strings.HasSuffix(target, "{i}.") {
		return // a row is one even if all that is in it lies deeper
	}
	if fresh && rows == e {
		c.enter(e)
	}
	c.done[key] = e
	for _, b := range bounds {
		b.entry = rows
		c.give(target+b.rule.name, b)
		if len(b.refs) > 0 {
			c.weight[rows]++
		}
	}
}

// alike makes the entries of an object with alike.
func (c *compiler) alike(s *Set, f *file, o *object, inRow bool) {
	for _, each := range s.alike(f, o, c.template) {
		if each.inRow() == inRow {
			c.object(f, each)
		}
	}
}

// inRow reports whether an object's target lies in a row that another object
// makes.
func (o *object) inRow() bool {
	target := generic(o.target)
	return strings.Contains(target, "{i}.") && !strings.HasSuffix(target, "{i}.")
}

// rowAround returns the entry that makes the row an entry's target lies in: the
// one whose source is the nearest above.
func (c *compiler) rowAround(e *entry) (best *entry) {
	t := c.tabs[e.target[:strings.LastIndex(e.target, "{i}.")+len("{i}.")]]
	if t == nil {
		return nil
	}
	best = longest(t.entries, e.source)
	if best == nil || strings.Contains(e.source[len(best.source):], "{i}") {
		return nil
	}
	return best
}

// newEntry returns the entry of an object, nil if the CPE does not have it.
func (c *compiler) newEntry(o *object, source, target string) *entry {
	e := &entry{at: o.at, rule: o, target: target, fixed: literals(o.target), source: source}
	if i := strings.LastIndex(source, ".{i}."); i >= 0 {
		var ok bool
		if e.from, ok = c.template.LookupTable(source[:i+len(".{i}.")]); !ok {
			return nil
		}
	}
	if !strings.HasSuffix(source, ".{i}.") && source != string(c.template.RootPath()) {
		if !c.template.HasObject(source) {
			return nil
		}
		from, to := c.template.Under(source)
		for id := from; id < to; id++ {
			if c.template.Param(id).Table == e.from {
				e.probe = append(e.probe, id)
			}
		}
	}
	return e
}

// boundOf returns the rules of an object for which the CPE has a source.
func (c *compiler) boundOf(e *entry, o *object) (bounds []bound) {
	names := map[string]bool{}
	for _, p := range o.params {
		names[p.name] = true
		if b, ok := c.bind(e, p); ok {
			bounds = append(bounds, b)
		}
	}
	for _, b := range c.same(e, o) {
		if !names[b.rule.name] {
			bounds = append(bounds, b)
		}
	}
	return bounds
}

// enter adds an entry to the program.
func (c *compiler) enter(e *entry) {
	e.index = len(c.entries)
	c.entries = append(c.entries, e)
	n := c.node(e.target)
	if n.Kind != dm.Table {
		return
	}
	e.table = c.tab(e.target)
	e.table.entries = append(e.table.entries, e)
	if c.creatable(e) {
		n.Access = dm.AddDelete
	}
}

// creatable reports whether controllers may add rows by an entry.
func (c *compiler) creatable(e *entry) bool {
	if !e.rowForRow(c.template) || e.rule != nil && (e.rule.noCreate || e.rule.keyDerive != nil) {
		return false
	}
	std := c.std.elements[e.target]
	return std == nil || std.access == dm.AddDelete
}

// rowForRow reports whether a row of the entry is a row on the CPE that it lets
// be added.
func (e *entry) rowForRow(t *tree.Template) bool {
	return strings.HasSuffix(e.source, ".{i}.") && t.Tables[e.from].CanAdd && e.fixed[len(e.fixed)-1] == 0
}

// finish seals the schema, numbers its nodes and links rows to each other.
func (c *compiler) finish() (*Program, error) {
	schema, err := dm.Build(c.nodes[""])
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", c.Mappings(), err)
	}
	p := c.Program
	p.Schema = schema
	c.number(schema.Root)
	for _, t := range c.tabs {
		p.tables = append(p.tables, t)
	}
	slices.SortFunc(p.tables, func(a, b *table) int {
		if a.stack != b.stack {
			if a.stack {
				return 1 // it is made of all others
			}
			return -1
		}
		if a.node.Depth != b.node.Depth {
			return a.node.Depth - b.node.Depth
		}
		return strings.Compare(a.node.Path, b.node.Path)
	})
	for i, t := range p.tables {
		t.index = i
	}
	for i, e := range p.entries {
		e.index = i
		c.link(e)
		if e.moved() {
			p.moved = append(p.moved, e)
		}
	}
	for i := range p.bindings {
		c.aim(&p.bindings[i])
		if b := &p.bindings[i]; b.node.Name == "LowerLayers" && b.table != nil && b.std != nil && b.node.Path == b.table.node.Path+"LowerLayers" {
			b.table.lowerLayers = b
		}
	}
	return p, nil
}

func (c *compiler) number(n *dm.Node) {
	n.ID = len(c.bindings)
	b := binding{node: n}
	if had := c.binds[n]; had != nil {
		b = *had
	}
	class := c.class(n)
	b.age = c.ages[class]
	if n.Kind == dm.Param && class == "counter" {
		// A counter always changes: a CPE that notified it would never rest.
		n.Change = dm.ValueChangeWillIgnore
	}
	c.bindings = append(c.bindings, b)
	for _, child := range n.Children {
		c.number(child)
	}
}

// link finds where the rows around an entry's rows come from, and notes what its
// rows hang on.
func (c *compiler) link(e *entry) {
	for _, refs := range [][]reference{e.keys, e.when, e.list} {
		for _, r := range refs {
			if r.param >= 0 {
				c.rowsHang[r.param] = true
			}
		}
	}
	if e.table == nil {
		return
	}
	if p, ok := c.countOf(e.from); ok && strings.HasSuffix(e.source, ".{i}.") {
		c.rowsHang[p] = true
	}
	if outer := parentTable(e.target); outer != "" {
		around := ""
		if e.rule != nil {
			around = e.rule.around
		}
		e.parents = c.related(e.source, around, c.tabs[outer].entries, around == "")
	}
	depth := strings.Count(e.source, "{i}")
	e.straight = e.copied && depth == len(e.fixed) && (depth == 1 || len(e.parents) > 0 && e.parents[0].entry.straight)
}

// parentTable returns the path of the table around a table's path, "" if there
// is none.
func parentTable(path string) string {
	i := strings.LastIndex(strings.TrimSuffix(path, "{i}."), ".{i}.")
	if i < 0 {
		return ""
	}
	return path[:i+len(".{i}.")]
}

// aim finds the rows that row rules lead to, and makes the way back from CPE
// parameters to what is read from them.
func (c *compiler) aim(bind *binding) {
	for i := range bind.by {
		b := &bind.by[i]
		if rows := b.rule.rows; rows != nil && !rows.all {
			for i, target := range rows.targets {
				var found []relation
				if t := c.tabs[generic(target)]; t != nil {
					found = c.related(b.entry.source, rows.from(i), t.entries, false)
				}
				b.relations = append(b.relations, found)
			}
		}
		for _, r := range b.refs {
			if r.param >= 0 && !slices.Contains(c.targets[r.param], bind) {
				c.targets[r.param] = append(c.targets[r.param], bind)
			}
		}
	}
}
