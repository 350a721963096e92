package mapping

import (
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

const (
	ownPath = "Device.X_USPBRIDGE_CWMP."
	rawPath = ownPath + "Raw."
)

// home says where controllers find a parameter; lower is better.
type home uint8

const (
	homeStandard home = iota
	homeVendor
	homeRaw
)

// Program is a set of mapping files compiled for one template. It is immutable
// and shared by all devices of the template.
type Program struct {
	Schema *dm.Schema

	set      *Set
	template *tree.Template
	entries  []*entry
	moved    []*entry  // rows at their own path under other numbers
	tables   []*table  // in the order of depth: parents first
	bindings []binding // by dm.Node.ID
	targets  map[tree.ParamID][]*binding
	rowsHang map[tree.ParamID]bool
	counts   map[tree.ParamID][]uint32 // the CPE's counts of rows that controllers see counted; in which rows, 0 for any number
	lookups  int                       // how many tables lookups search; see boundLookup.index
	names    []string

	keepsImages bool // the table of firmware images is the bridge's
}

// table is a target table.
type table struct {
	index       int
	node        *dm.Node
	entries     []*entry
	lowerLayers *binding // of interfaces: what they stand on
	stack       bool     // Device.InterfaceStack, made of all lowerLayers
}

// entry binds a source object of the CPE to a target object or table: an object
// of a mapping file, or one that the compiler adds for what no file names.
type entry struct {
	index    int
	at       string // file:line
	rule     *object
	home     home
	target   string   // schema path of the target
	fixed    []uint32 // literal numbers of the target, 0 where a row's number goes
	table    *table   // the target; nil: it is no row
	source   string   // schema path on the CPE
	only     []uint32 // literal numbers of the source, 0 for any
	from     tree.TableID
	keys     []reference
	when     []reference
	list     []reference    // the list of whose items one is this row's
	probe    []tree.ParamID // a source that is no row is there if one of these is
	straight bool           // instance numbers are the same on both sides
	copied   bool           // rows have the CPE's own numbers
	parents  []relation     // where the row around a row is found; empty: no row is around it
}

// relation leads from a source row to rows of an entry: those that share its
// first instance numbers.
type relation struct {
	entry  *entry
	shared int
}

// reference is a CPE parameter relative to a source row.
type reference struct {
	param tree.ParamID // -1: the CPE has no such parameter
	slots []uint32     // instance numbers; 0: the source row's
	row   rowInput     // what is meant of the source row itself; then param is -1
	path  string       // with rowPathInput: the source's schema path
}

// inst returns the parameter's instance numbers for a source row.
func (r reference) inst(row dm.Instance) dm.Instance {
	if len(r.slots) == row.Len() {
		plain := true
		for _, n := range r.slots {
			plain = plain && n == 0
		}
		if plain {
			return row
		}
	}
	var in dm.Instance
	for k, n := range r.slots {
		if n == 0 {
			n = row.At(k)
		}
		in = in.Append(n)
	}
	return in
}

// binding is where one schema node comes from: for each entry that its rows can
// be of, the rule and its sources.
type binding struct {
	node  *dm.Node
	std   *element // nil: not in the standard
	table *table   // innermost table; for a Table node, the table itself
	by    []bound
	count *table // NumberOfEntries of this table
	stack stackParam
	alias bool // given by the bridge where the CPE has none
	own   string
	age   time.Duration

	command *command     // Command that is a parameter of the CPE
	event   *ServedEvent // Event that is the change of one
}

// bound is one rule for a parameter, in the rows of one entry.
type bound struct {
	entry     *entry
	rule      *param
	refs      []reference
	relations [][]relation // of rule.rows, by target
	lookup    *boundLookup // of rule.conv.lookup
	constant  bool         // made of the row's own number or path alone
}

// Mappings returns the names of the mapping files in use.
func (p *Program) Mappings() string { return strings.Join(p.names, ", ") }

// Set returns the files that the program was compiled from.
func (p *Program) Set() *Set { return p.set }

// Template returns the template that the program is compiled for.
func (p *Program) Template() *tree.Template { return p.template }

// binding returns the binding of a node. A node of another schema, as an agent
// has in its hands while the device changes its firmware, is found by its path;
// nil if this program has none.
func (p *Program) binding(n *dm.Node) *binding {
	if n.ID >= 0 && n.ID < len(p.bindings) && p.bindings[n.ID].node == n {
		return &p.bindings[n.ID]
	}
	own := p.Schema.Lookup(n.Path)
	if own == nil || own.Kind != n.Kind {
		return nil
	}
	return &p.bindings[own.ID]
}

// Own reports whether the bridge itself serves a node, and by which name.
func (p *Program) Own(n *dm.Node) (name string, ok bool) {
	b := p.binding(n)
	if b == nil {
		return "", false
	}
	return b.own, b.own != ""
}

// MaxAge returns how old a cached value may be; 0: of any age.
func (p *Program) MaxAge(n *dm.Node) time.Duration {
	if b := p.binding(n); b != nil {
		return b.age
	}
	return 0
}

// Structural reports whether a CPE parameter decides which rows there are: a
// count of rows, a key or a condition. When one changes, rows are read anew and
// Reconcile is called.
func (p *Program) Structural(id tree.ParamID) bool { return p.rowsHang[id] }

// table returns the target table of a schema path, nil if there is none.
func (p *Program) table(path string) *table {
	n := p.Schema.Lookup(path)
	if n == nil || n.Kind != dm.Table {
		return nil
	}
	return p.bindings[n.ID].table
}
