package cpesim

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Model is the parameter tree of one kind of CPE as it leaves the factory. It is
// immutable and may be shared by any number of CPE.
type Model struct {
	root     cwmp.Path
	identity cwmp.DeviceID
	nodes    []node // sorted by name, so that a subtree is one contiguous run
	index    map[cwmp.Path]int32
	rows     map[cwmp.Path]*rowTemplate // by generic table path + "{i}."
	counters map[cwmp.Path]cwmp.Path    // generic table path → generic path of its row counter

	attributes map[cwmp.Path]attribute // as they are from the factory, where they differ from the standard's
}

// node is one parameter or object. In a rowTemplate the name is relative to the
// row.
type node struct {
	name     cwmp.Path
	text     string // factory value, booleans as "true" and "false"
	allowed  *allowed
	typ      cwmp.Type
	role     role
	object   bool
	writable bool
	hidden   bool // reads back as an empty string (TR-106 3.2: passwords and keys)
	expands  bool // text holds placeholders filled in per CPE
	forced   bool // active notification that cannot be turned off
	denies   bool // active notification is refused (changes all the time)

	concealed bool // the simulator needs it, but no RPC shows it
}

// rowTemplate is what a new row of a table contains.
type rowTemplate struct {
	nodes []node // sorted; the row itself is the node named ""
}

func (r *rowTemplate) find(relative cwmp.Path) *node {
	i, ok := slices.BinarySearchFunc(r.nodes, relative, func(n node, p cwmp.Path) int {
		return strings.Compare(string(n.name), string(p))
	})
	if !ok {
		return nil
	}
	return &r.nodes[i]
}

// Root returns the model's root object, "Device." or "InternetGatewayDevice.".
func (m *Model) Root() cwmp.Path { return m.root }

// Identity returns the identity that the tree itself declares (its DeviceID.
// pseudo-root, else its DeviceInfo object).
func (m *Model) Identity() cwmp.DeviceID { return m.identity }

// Parameters returns how many parameters (not objects) the model has.
func (m *Model) Parameters() int {
	n := 0
	for i := range m.nodes {
		if !m.nodes[i].object {
			n++
		}
	}
	return n
}

// All yields the objects and parameters that the CPE shows, by name, with what they
// have from the factory; objects end in '.' and have none.
func (m *Model) All() iter.Seq2[cwmp.ParameterInfo, cwmp.Value] {
	return func(yield func(cwmp.ParameterInfo, cwmp.Value) bool) {
		for i := range m.nodes {
			n := &m.nodes[i]
			if !n.concealed && !yield(cwmp.ParameterInfo{Name: n.name, Writable: n.writable}, cwmp.Value{Type: n.typ, Text: n.text}) {
				return
			}
		}
	}
}

// subtree returns the nodes whose name begins with prefix.
func (m *Model) subtree(prefix cwmp.Path) []node {
	lo, _ := slices.BinarySearchFunc(m.nodes, prefix, func(n node, p cwmp.Path) int {
		return strings.Compare(string(n.name), string(p))
	})
	hi := lo
	for hi < len(m.nodes) && strings.HasPrefix(string(m.nodes[hi].name), string(prefix)) {
		hi++
	}
	return m.nodes[lo:hi]
}

func (m *Model) find(name cwmp.Path) *node {
	if i, ok := m.index[name]; ok {
		return &m.nodes[i]
	}
	return nil
}

// lastInstance returns the highest instance number the model has in a table.
func (m *Model) lastInstance(table cwmp.Path) uint32 {
	var last uint32
	for _, n := range m.subtree(table) {
		if number, ok := rowNumber(table, n.name); ok && number > last {
			last = number
		}
	}
	return last
}

// rowNumber returns N if name is exactly table + "N.".
func rowNumber(table, name cwmp.Path) (uint32, bool) {
	rest, ok := strings.CutPrefix(string(name), string(table))
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutSuffix(rest, ".")
	if !ok || !isInstance(digits) {
		return 0, false
	}
	var n uint32
	for i := 0; i < len(digits); i++ {
		n = n*10 + uint32(digits[i]-'0')
	}
	return n, true
}

// isInstance reports whether a path component is an instance number. Ten digits
// are the most an unsignedInt has; nine keep the arithmetic without overflow.
func isInstance(component string) bool {
	if component == "" || len(component) > 9 {
		return false
	}
	for i := 0; i < len(component); i++ {
		if component[i] < '0' || component[i] > '9' {
			return false
		}
	}
	return true
}

// generic replaces the instance numbers of a path by {i}.
func generic(p cwmp.Path) cwmp.Path {
	if !strings.ContainsAny(string(p), "0123456789") {
		return p
	}
	components := strings.Split(string(p), ".")
	for i, c := range components {
		if isInstance(c) {
			components[i] = "{i}"
		}
	}
	return cwmp.Path(strings.Join(components, "."))
}

// parent returns the object that holds p, "" for a root.
func parent(p cwmp.Path) cwmp.Path {
	s := strings.TrimSuffix(string(p), ".")
	return cwmp.Path(s[:strings.LastIndexByte(s, '.')+1])
}

// leaf returns the last component of p, without a dot.
func leaf(p cwmp.Path) string {
	s := strings.TrimSuffix(string(p), ".")
	return s[strings.LastIndexByte(s, '.')+1:]
}

// build sorts and indexes the nodes that a loader has read; explicit holds the
// row templates that the source declared itself.
func (m *Model) build(nodes []node, explicit map[cwmp.Path]*rowTemplate) error {
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(string(a.name), string(b.name)) })
	m.nodes = nodes
	m.index = make(map[cwmp.Path]int32, len(nodes))
	for i := range nodes {
		if _, dup := m.index[nodes[i].name]; dup {
			return fmt.Errorf("parameter %s stands twice in the tree", nodes[i].name)
		}
		m.index[nodes[i].name] = int32(i)
	}
	m.rows = explicit
	m.deriveRows()
	m.linkCounters()
	m.lockRows()
	for i := range m.nodes {
		m.nodes[i].classify(m.nodes[i].name)
	}
	for table, row := range m.rows {
		for i := range row.nodes {
			row.nodes[i].classify(table + row.nodes[i].name)
		}
	}
	return nil
}
