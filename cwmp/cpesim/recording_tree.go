package cpesim

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/capture"
)

// seenTree gathers a device's parameter tree from what it said of it. It is the
// tree as it was at first: of a value that was read twice the first counts, and
// rows that the ACS added are no part of it, but tell what new rows have in them.
type seenTree struct {
	nodes      map[cwmp.Path]*seenNode
	order      []cwmp.Path
	added      map[cwmp.Path]bool // rows
	attributes map[cwmp.Path]attribute
	listed     bool           // GetParameterNames was answered: objects are known by it
	roots      map[string]int // parameters by root object
	digits     int            // booleans written as 1 or 0
	words      int            // as true or false
}

type seenNode struct {
	node
	valued bool
}

func newSeenTree() seenTree {
	return seenTree{nodes: map[cwmp.Path]*seenNode{}, added: map[cwmp.Path]bool{}, attributes: map[cwmp.Path]attribute{}, roots: map[string]int{}}
}

// see returns the node of that name, made if need be; nil if the name is none, as
// the paths without a root that some CPE have in their Informs.
func (t *seenTree) see(name cwmp.Path) *seenNode {
	bare := strings.TrimSuffix(string(name), ".")
	root := name.Root()
	if root == "" || root == "." || strings.Contains(bare, "..") || strings.Count(bare, ".") > maxModelDepth || strings.Contains(bare, "{i}") {
		return nil
	}
	n := t.nodes[name]
	if n == nil {
		n = &seenNode{node: node{name: name, object: name.IsPartial(), typ: cwmp.TypeString}}
		t.nodes[name] = n
		t.order = append(t.order, name)
		t.roots[string(root)]++
	}
	return n
}

func (t *seenTree) value(v cwmp.ParameterValue) {
	n := t.see(v.Name)
	if n == nil || n.object || n.valued {
		return
	}
	n.valued = true
	if v.Value.Type != cwmp.TypeUnknown {
		n.typ = v.Value.Type
	}
	n.text = canonical(n.typ, v.Value.Text)
	if v.Value.Text == capture.Mask {
		n.text, n.hidden = "", true
	}
	if n.typ == cwmp.TypeBoolean {
		switch v.Value.Text {
		case "0", "1":
			t.digits++
		case "true", "false":
			t.words++
		}
	}
}

func (t *seenTree) inform(m *cwmp.Inform) error {
	for _, v := range m.ParameterList {
		t.value(v)
	}
	return t.bounded()
}

// answer takes in what an answer says of the tree.
func (t *seenTree) answer(asked, answered cwmp.Message) error {
	switch a := answered.(type) {
	case *cwmp.GetParameterNamesResponse:
		t.listed = true
		for _, p := range a.Parameters {
			if n := t.see(p.Name); n != nil {
				n.writable = n.writable || p.Writable
			}
		}
	case *cwmp.GetParameterValuesResponse:
		for _, v := range a.Values {
			t.value(v)
		}
	case *cwmp.GetParameterAttributesResponse:
		for _, p := range a.Attributes {
			if _, known := t.attributes[p.Name]; !known {
				t.attributes[p.Name] = attribute{Notification: p.Notification, AccessSet: true, AccessList: p.AccessList}
			}
		}
	case *cwmp.SetParameterValuesResponse:
		if set, ok := asked.(*cwmp.SetParameterValues); ok {
			for _, v := range set.Values {
				t.written(v)
			}
		}
	case *cwmp.AddObjectResponse:
		if add, ok := asked.(*cwmp.AddObject); ok && a.InstanceNumber > 0 {
			if n := t.see(add.Object); n != nil {
				n.writable = true
			}
			row := add.Object + cwmp.Path(strconv.FormatUint(uint64(a.InstanceNumber), 10)) + "."
			if t.nodes[row] == nil {
				t.added[row] = true
			}
		}
	}
	return t.bounded()
}

// written notes a parameter that took a value: it is writable, whatever
// GetParameterNames says, and of the type that it took.
func (t *seenTree) written(v cwmp.ParameterValue) {
	n := t.see(v.Name)
	if n == nil || n.object {
		return
	}
	n.writable = true
	if !n.valued && v.Value.Type != cwmp.TypeUnknown {
		n.typ = v.Value.Type
	}
}

func (t *seenTree) bounded() error {
	if len(t.nodes) > maxModelNodes {
		return fmt.Errorf("more than %d parameters", maxModelNodes)
	}
	return nil
}

// model builds the tree. A device that answers under another root than its
// Informs' has the one with more parameters.
func (t *seenTree) model(id cwmp.DeviceID) (*Model, error) {
	root := ""
	for r, n := range t.roots {
		if n > t.roots[root] || n == t.roots[root] && r < root {
			root = r
		}
	}
	open := t.writable()
	l := csvLoader{nodes: map[cwmp.Path]node{}, rows: map[cwmp.Path]map[cwmp.Path]node{}, identity: id, listed: t.listed}
	for _, name := range t.order {
		n := t.nodes[name].node
		if string(name.Root()) != root {
			continue
		}
		if row, relative := t.addedRow(name); row != "" {
			n.name, n.writable = parent(row)+"{i}."+relative, n.writable || open[generic(name)]
			if _, taken := l.rows[generic(parent(row)+"{i}.")][relative]; taken {
				continue
			}
		}
		if err := l.add(n); err != nil {
			return nil, err
		}
	}
	m, err := l.finish()
	if err != nil {
		return nil, err
	}
	m.attributes = t.attributes
	return m, nil
}

// writable returns the paths, without instance numbers, that are writable in any
// row: a row that was added is often read and not listed.
func (t *seenTree) writable() map[cwmp.Path]bool {
	open := map[cwmp.Path]bool{}
	for name, n := range t.nodes {
		if n.writable {
			open[generic(name)] = true
		}
	}
	return open
}

// addedRow splits a path after a row that the ACS added, if it is in one.
func (t *seenTree) addedRow(name cwmp.Path) (row, relative cwmp.Path) {
	if len(t.added) == 0 {
		return "", ""
	}
	for p := name; p != ""; p = parent(p) {
		if t.added[p] {
			return p, name[len(p):]
		}
	}
	return "", ""
}
