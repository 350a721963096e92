// Package dm describes supported data models: the tree of objects, parameters,
// commands and events that an agent can have, without instances or values.
//
// It is a leaf beside package usp. Package translate builds one Schema for each
// template and shares it among all devices of that template; package agent
// resolves paths against it, answers GetSupportedDM from it, and adds the
// schema of its own objects. A Schema is immutable once built.
package dm

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Kind says what a Node is.
type Kind uint8

// The kinds of nodes. A Table is a multi-instance object; its rows have the
// children.
const (
	Object Kind = iota
	Table
	Param
	Command
	Event
)

// Access is what a controller may do, roles aside.
type Access uint8

// For Param: ReadOnly or ReadWrite, or WriteOnce (settable in Add only).
// For Table: ReadOnly, AddDelete, AddOnly, DeleteOnly.
const (
	ReadOnly Access = iota
	ReadWrite
	WriteOnce
	AddDelete
	AddOnly
	DeleteOnly
)

// Type is a parameter's type, numbered as ParamValueType of TR-369.
type Type uint8

// The types of GetSupportedDMResp's ParamValueType.
const (
	TypeUnknown Type = iota
	TypeBase64
	TypeBoolean
	TypeDateTime
	TypeDecimal
	TypeHexBinary
	TypeInt
	TypeLong
	TypeString
	TypeUnsignedInt
	TypeUnsignedLong
)

// ValueChange tells whether changes of a parameter are reported, numbered as
// ValueChangeType of TR-369.
type ValueChange uint8

// The values of ValueChangeType.
const (
	ValueChangeUnknown ValueChange = iota
	ValueChangeAllowed
	ValueChangeWillIgnore
)

// MaxDepth is the largest number of {i} in a path that the bridge handles.
const MaxDepth = 8

// Node is one element of a supported data model.
type Node struct {
	Name     string // last segment: "SSID", "Reboot()", "Boot!"; "" only for the schema's root
	Path     string // "Device.WiFi.SSID.{i}." for objects and tables, "Device.WiFi.SSID.{i}.SSID" for the rest
	Kind     Kind
	Access   Access
	Depth    int // number of {i} in Path; a Table counts its own
	Type     Type
	Change   ValueChange
	Secured  bool       // reads as empty without the right role (TR-369 "secured")
	Async    bool       // Command
	Durable  bool       // Command, Async: the Model takes it over at once, and it outlives a restart
	Unique   [][]string // Table: unique keys, each a list of parameter names
	Children []*Node    // sorted by Name after Build
	InArgs   []string   // Command: input argument names, "X.{i}.Y" for nested
	OutArgs  []string   // Command
	Args     []string   // Event
	Required []string   // Command: input arguments that are mandatory
	ID       int        // dense index within the owner's nodes, set by the owner
	Local    bool       // true: served by the agent itself (LocalAgent and the like), false: by the device's Model
	Seq      int        // dense index within the Schema that Build made, set by Build

	home  *Schema
	index map[string]*Node
}

// Home returns the Schema that Build put the node into, of whose nodes Seq is the
// index; nil for a node that Build has not seen. Graft shares nodes, and its
// copies of merged objects keep the home of a's node.
func (n *Node) Home() *Schema { return n.home }

// Child returns the child with that name, nil if there is none. The name of a
// command ends in "()", that of an event in "!".
func (n *Node) Child(name string) *Node {
	if n.index != nil {
		return n.index[name]
	}
	i := sort.Search(len(n.Children), func(i int) bool { return n.Children[i].Name >= name })
	if i < len(n.Children) && n.Children[i].Name == name {
		return n.Children[i]
	}
	return nil
}

// IsObject reports whether n is an Object or a Table.
func (n *Node) IsObject() bool { return n.Kind == Object || n.Kind == Table }

// Schema is a supported data model. Root's only named child is "Device".
type Schema struct {
	Root  *Node
	Nodes int // how many Build has numbered; 0 for a Schema that Graft made
}

// Build sorts and indexes the tree below root and returns it as a Schema.
// Path, Depth and Seq of every node are set from its position; the caller sets the rest.
// It fails on two children of one name and on more than MaxDepth {i}.
func Build(root *Node) (*Schema, error) {
	s := &Schema{Root: root}
	if err := s.seal(root, "", 0); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Schema) seal(n *Node, parent string, depth int) error {
	switch {
	case n.Name == "":
		n.Path = ""
	case n.Kind == Table:
		n.Path, depth = parent+n.Name+".{i}.", depth+1
	case n.Kind == Object:
		n.Path = parent + n.Name + "."
	default:
		n.Path = parent + n.Name
	}
	if depth > MaxDepth {
		return fmt.Errorf("data model %s: %d nested tables, at most %d are handled", n.Path, depth, MaxDepth)
	}
	n.Depth, n.home, n.Seq = depth, s, s.Nodes
	s.Nodes++
	sort.SliceStable(n.Children, func(i, j int) bool { return n.Children[i].Name < n.Children[j].Name })
	if len(n.Children) > 8 {
		n.index = make(map[string]*Node, len(n.Children))
	}
	for i, c := range n.Children {
		if i > 0 && n.Children[i-1].Name == c.Name {
			return fmt.Errorf("data model %s: %q is there twice", n.Path, c.Name)
		}
		if n.index != nil {
			n.index[c.Name] = c
		}
		if err := s.seal(c, n.Path, depth); err != nil {
			return err
		}
	}
	return nil
}

// Lookup returns the node of a schema path, with or without the final dot and
// with "{i}" for instances; nil if there is none.
func (s *Schema) Lookup(path string) *Node {
	n := s.Root
	for seg := range strings.SplitSeq(strings.TrimSuffix(path, "."), ".") {
		if seg == "{i}" {
			if n.Kind != Table {
				return nil
			}
			continue
		}
		if n = n.Child(seg); n == nil {
			return nil
		}
	}
	return n
}

// Graft returns a schema with a's and b's nodes together. Objects of the same
// path are merged; a parameter, command, event or table that both have is b's.
// Neither argument is changed; unmerged subtrees are shared.
func Graft(a, b *Schema) (*Schema, error) {
	return &Schema{Root: graft(a.Root, b.Root)}, nil
}

func graft(a, b *Node) *Node {
	m := *a
	m.Children, m.index = nil, nil
	i, j := 0, 0
	for i < len(a.Children) || j < len(b.Children) {
		switch {
		case j == len(b.Children) || i < len(a.Children) && a.Children[i].Name < b.Children[j].Name:
			m.Children = append(m.Children, a.Children[i])
			i++
		case i == len(a.Children) || b.Children[j].Name < a.Children[i].Name:
			m.Children = append(m.Children, b.Children[j])
			j++
		default:
			if a.Children[i].Kind == Object && b.Children[j].Kind == Object {
				m.Children = append(m.Children, graft(a.Children[i], b.Children[j]))
			} else {
				m.Children = append(m.Children, b.Children[j])
			}
			i, j = i+1, j+1
		}
	}
	if len(m.Children) > 8 {
		m.index = make(map[string]*Node, len(m.Children))
		for _, c := range m.Children {
			m.index[c.Name] = c
		}
	}
	return &m
}

// Instance is a sequence of instance numbers, outermost first. It is a value:
// comparable, usable as a map key, free of allocation.
type Instance struct {
	n byte
	v [MaxDepth]uint32
}

// Inst returns the Instance of the given numbers; more than MaxDepth panic,
// since paths are bounded before.
func Inst(numbers ...uint32) Instance {
	var in Instance
	for _, n := range numbers {
		in = in.Append(n)
	}
	return in
}

// Len returns how many numbers there are.
func (in Instance) Len() int { return int(in.n) }

// At returns the k-th number.
func (in Instance) At(k int) uint32 { return in.v[k] }

// Last returns the innermost number, 0 if there is none.
func (in Instance) Last() uint32 {
	if in.n == 0 {
		return 0
	}
	return in.v[in.n-1]
}

// Append returns in with one more number.
func (in Instance) Append(n uint32) Instance {
	in.v[in.n] = n
	in.n++
	return in
}

// Prefix returns the first k numbers.
func (in Instance) Prefix(k int) Instance {
	var out Instance
	out.n = byte(k)
	copy(out.v[:k], in.v[:k])
	return out
}

// Compare orders instances number by number, shorter ones first.
func (in Instance) Compare(o Instance) int {
	for k := 0; k < int(in.n) && k < int(o.n); k++ {
		if in.v[k] != o.v[k] {
			if in.v[k] < o.v[k] {
				return -1
			}
			return 1
		}
	}
	return int(in.n) - int(o.n)
}

// Ref is a concrete element: a schema node with the instance numbers for its
// {i}. A Table node with Depth numbers is a row, with Depth-1 the table itself.
type Ref struct {
	Node *Node
	Inst Instance
}

// IsTable reports whether r is a table rather than one of its rows.
func (r Ref) IsTable() bool { return r.Node.Kind == Table && r.Inst.Len() < r.Node.Depth }

// Same reports whether r and o are one element, though of different Schemas.
func (r Ref) Same(o Ref) bool {
	return r.Inst == o.Inst && (r.Node == o.Node || r.Node.Path == o.Node.Path)
}

// CountOf returns the NumberOfEntries parameter that counts the rows of a table,
// given the table or a row of it.
func (s *Schema) CountOf(r Ref) (Ref, bool) {
	n := r.Node
	if n.Kind != Table {
		return Ref{}, false
	}
	parent := s.Lookup(n.Path[:len(n.Path)-len(n.Name)-len(".{i}.")])
	if parent == nil {
		return Ref{}, false
	}
	c := parent.Child(n.Name + "NumberOfEntries")
	if c == nil || c.Kind != Param {
		return Ref{}, false
	}
	return Ref{Node: c, Inst: r.Inst.Prefix(n.Depth - 1)}, true
}

// Path returns the path with instance numbers; objects, rows and tables end in
// '.'.
func (r Ref) Path() string { return string(r.AppendPath(nil)) }

// AppendPath appends Path to b.
func (r Ref) AppendPath(b []byte) []byte {
	rest, k := r.Node.Path, 0
	for {
		i := strings.Index(rest, "{i}")
		if i < 0 {
			return append(b, rest...)
		}
		b = append(b, rest[:i]...)
		if k == r.Inst.Len() {
			return b
		}
		b = strconv.AppendUint(b, uint64(r.Inst.At(k)), 10)
		rest, k = rest[i+3:], k+1
	}
}
