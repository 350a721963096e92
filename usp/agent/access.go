package agent

import (
	"sync"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// access is what one controller may do on one device. It is made for a message
// or an event and holds for as long as that is handled.
type access struct {
	set    *roleSet
	least  rights  // on every element
	device *device // for targets that search
	local  *cells  // of the agent's own objects
	remote *cells  // of the device's schema
}

// in returns the access that a set of roles gives to a device.
func (s *roleSet) in(d *device) *access {
	if s.uniform != nil {
		return s.uniform
	}
	return &access{set: s, least: s.everywhere, device: d, local: s.cellsOf(d.host.spec.schema), remote: s.cellsOf(d.model.Schema())}
}

// can reports whether all of need is granted on an element.
func (a *access) can(ref dm.Ref, need rights) bool {
	return a.least&need == need || a.on(ref)&need == need
}

// shows reports whether the value of a parameter may be shown: one that is
// secured to secured roles only.
func (a *access) shows(param dm.Ref) bool {
	return a.can(param, toShow(param.Node))
}

// toShow is the rights that it takes to show a parameter's value.
func toShow(param *dm.Node) rights {
	if param.Secured {
		return readParam | readSecured
	}
	return readParam
}

// mayShow is shows for any row.
func (a *access) mayShow(param *dm.Node) bool {
	need := toShow(param)
	return a.anywhere(param)&need == need
}

// on returns the rights on an element. For a table, targets that name rows do not
// count.
func (a *access) on(ref dm.Ref) rights {
	if a.set.uniform != nil {
		return a.set.everywhere
	}
	c, known := a.known(ref.Node)
	if known&differs == 0 {
		return rights(known) & anyRight
	}
	return a.byRow(c.ruling(known), &ref.Inst)
}

// anywhere returns the rights on a node of the supported data model: those that
// hold on some row of it.
func (a *access) anywhere(n *dm.Node) rights {
	if a.set.uniform != nil {
		return a.set.everywhere
	}
	c, known := a.known(n)
	if known&differs == 0 {
		return rights(known) & anyRight
	}
	return c.ruling(known).somewhere
}

// known returns the cell of a node, which is decided when it is first asked for.
func (a *access) known(n *dm.Node) (*cells, uint32) {
	c := a.remote
	switch n.Home() {
	case c.home:
	case a.local.home:
		c = a.local
	case nil:
		return c, decided // of no schema, and so nobody's
	default:
		// A device may tell of nodes that it had before it changed its schema.
		c = a.set.cellsOf(n.Home())
	}
	if known := c.of[n.Seq].Load(); known != 0 {
		return c, known
	}
	return c, c.decide(a.set, n)
}

// byRow finds the rights on an element of a row: the union of what each role's
// first rule says that holds for the row.
func (a *access) byRow(r *ruling, inst *dm.Instance) (all rights) {
	for _, rules := range r.roles {
		all |= a.first(rules, inst)
	}
	return all
}

// first returns what one role allows. Where a value is not known that a search
// depends on, no more is allowed than with either outcome.
func (a *access) first(rules []rule, inst *dm.Instance) rights {
	most := anyRight
	for i := range rules {
		switch rules[i].holds(a.device, inst) {
		case yes:
			return most & rules[i].rights
		case unknown:
			most &= rules[i].rights
		}
	}
	return 0
}

// roleSet is the roles of a controller, compiled: the union of what they allow.
// Sets of the same content are one, whichever agents have them, and what was
// decided for a node of a schema is decided for all of them.
type roleSet struct {
	roles      []*role
	everywhere rights
	// uniform is the access on every device if everywhere holds for all elements.
	uniform *access

	tables sync.Map // *dm.Schema → *cells
	made   atomic.Int64
}

// cellsOf returns the cells for a schema. All are made anew when there are too
// many: a fleet has a schema for each model and firmware.
func (s *roleSet) cellsOf(schema *dm.Schema) *cells {
	if c, ok := s.tables.Load(schema); ok {
		return c.(*cells)
	}
	if s.made.Add(1) > maxSchemas {
		s.made.Store(1)
		s.tables.Clear()
	}
	c, _ := s.tables.LoadOrStore(schema, &cells{home: schema, of: make([]atomic.Uint32, schema.Nodes)})
	return c.(*cells)
}

// cells has what a set of roles says about the nodes of one schema, by Node.Seq:
// the rights, or where these differ between rows the number of a ruling. A cell is
// 0 as long as nobody has asked.
type cells struct {
	home *dm.Schema
	of   []atomic.Uint32

	mu      sync.Mutex // of who adds a ruling
	rulings atomic.Pointer[[]*ruling]
}

const (
	decided uint32 = 1 << 31
	differs uint32 = 1 << 30
)

// decide fills the cell of a node.
func (c *cells) decide(s *roleSet, n *dm.Node) uint32 {
	r := s.rule(n)
	known := decided | uint32(r.somewhere)
	if r.byRow {
		known = decided | differs | c.keep(r)
	}
	c.of[n.Seq].Store(known)
	return known
}

func (c *cells) keep(r *ruling) (number uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*ruling
	if p := c.rulings.Load(); p != nil {
		all = *p
	}
	all = append(all, r) // readers have the shorter slice
	c.rulings.Store(&all)
	return uint32(len(all) - 1)
}

func (c *cells) ruling(known uint32) *ruling { return (*c.rulings.Load())[known&^(decided|differs)] }
