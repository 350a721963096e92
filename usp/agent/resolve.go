package agent

import (
	"errors"
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// maxFollows bounds how many references one path may follow, so that references
// that lead in circles end.
const maxFollows = 16

// resolver finds the elements that paths stand for, as one controller sees
// them. It answers from what is cached and never waits for the device (TR-369
// "Path Names").
type resolver struct {
	device *device
	grants *access
	left   int // matches that the message may still have
}

// resolved is what a path stands for.
type resolved struct {
	refs []dm.Ref
	// search is true if no match is no error: the path is a Search Path
	// (TR-369 R-MSG.4a), not one that addresses by number or unique key.
	search bool
}

// parse reads a path of the instantiated data model. The error is 7008.
func parse(s string) (path.Path, *usp.Error) {
	p, err := path.Parse(s)
	if err != nil {
		return p, usp.Errorf(usp.ErrInvalidPathSyntax, s, "%w", err)
	}
	return p, nil
}

// resolve finds the elements of a path. The error is 7008 for what is no path,
// 7026 for what is not in the supported data model, 7004 for a comparison that
// does not suit its parameter, 7005 for too many matches.
func (r *resolver) resolve(s string) (resolved, *usp.Error) {
	p, err := parse(s)
	if err != nil {
		return resolved{}, err
	}
	return r.resolvePath(p, s)
}

func (r *resolver) resolvePath(p path.Path, s string) (resolved, *usp.Error) {
	w := walk{r: r, text: s, object: p.Kind == path.Object}
	if err := w.from(r.device.schema.Root, dm.Instance{}, p.Steps); err != nil {
		return resolved{}, err
	}
	res := resolved{refs: w.out, search: p.IsSearch()}
	if len(w.out) == 0 || res.search {
		search, err := r.check(p, s)
		if err != nil {
			return resolved{}, err
		}
		res.search = search
	}
	return res, nil
}

// check looks a path up in the supported data model, and reports whether it is
// a search rather than an address.
func (r *resolver) check(p path.Path, s string) (search bool, err *usp.Error) {
	n, row := r.device.schema.Root, false
	for i := range p.Steps {
		switch st := &p.Steps[i]; st.Kind {
		case path.Name:
			if n.Kind == dm.Table && !row {
				return false, unsupported(s)
			}
			if n, row = n.Child(st.Name), false; n == nil {
				return false, unsupported(s)
			}
		case path.Follow:
			// Where a reference leads only its value tells.
			return search || p.IsSearch(), nil
		default:
			if n.Kind != dm.Table || row {
				return false, unsupported(s)
			}
			row = true
			search = search || st.Kind == path.Wildcard || st.Kind == path.Search && !uniqueKey(n, st.Expr)
		}
	}
	if p.Kind == path.Object && !n.IsObject() {
		return false, unsupported(s)
	}
	if !search && r.grants.anywhere(n) == 0 {
		return false, unsupported(s) // whether there are rows of what it may not know of is not told
	}
	return search, nil
}

// unsupported is the error for a path that the supported data model does not
// have.
func unsupported(s string) *usp.Error {
	return &usp.Error{Code: usp.ErrInvalidPath, Path: s, Msg: shorten(s) + " is not in the supported data model"}
}

// uniqueKey reports whether an expression has all parameters of one of the
// table's unique keys and no other: it addresses one row (TR-369 "Addressing by
// Unique Key").
func uniqueKey(table *dm.Node, e *path.Expr) bool {
	for _, key := range table.Unique {
		n := 0
		for i := range e.Components {
			if name, ok := e.Components[i].Key(); ok && slices.Contains(key, name) {
				n++
			}
		}
		if n == len(key) && n == len(e.Components) {
			return true
		}
	}
	return false
}

// walk is the resolution of one path.
type walk struct {
	r       *resolver
	text    string
	object  bool // the path ends in a dot: it is that of an object (TR-369 "Path Names")
	out     []dm.Ref
	follows int
}

// from follows steps from an element.
func (w *walk) from(n *dm.Node, inst dm.Instance, steps []path.Step) *usp.Error {
	for len(steps) > 0 {
		st := &steps[0]
		steps = steps[1:]
		table := n.Kind == dm.Table && inst.Len() < n.Depth
		if (st.Kind == path.Name) == table {
			return unsupported(w.text)
		}
		switch st.Kind {
		case path.Name:
			if n = n.Child(st.Name); n == nil {
				return unsupported(w.text)
			}
			if len(steps) > 0 && steps[0].Kind == path.Follow {
				return w.follow(dm.Ref{Node: n, Inst: inst}, steps[0].Number, steps[1:])
			}
		case path.Instance:
			if _, there := slices.BinarySearch(w.r.device.instances(dm.Ref{Node: n, Inst: inst}), st.Number); !there {
				return nil
			}
			inst = inst.Append(st.Number)
		default:
			rows, err := w.rows(dm.Ref{Node: n, Inst: inst}, st.Expr)
			if err != nil {
				return err
			}
			w.out = slices.Grow(w.out, len(rows))
			for _, row := range rows {
				if err := w.from(n, inst.Append(row), steps); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if w.object && !n.IsObject() {
		return unsupported(w.text)
	}
	if w.r.left--; w.r.left < 0 {
		return usp.Errorf(usp.ErrResourcesExceeded, w.text, "the message matches more elements than are handled at once")
	}
	w.out = append(w.out, dm.Ref{Node: n, Inst: inst})
	return nil
}

// rows returns the rows of a table that an expression (nil: "*") matches. Rows
// and parameters that the controller may not read are treated as not there
// (TR-369 R-GIN.0).
func (w *walk) rows(table dm.Ref, e *path.Expr) ([]uint32, *usp.Error) {
	if !table.Node.IsObject() || table.Node.Kind != dm.Table {
		return nil, unsupported(w.text)
	}
	all := w.r.device.instances(table)
	if w.r.grants.set.uniform == nil || !w.r.grants.can(table, readInst) {
		visible := make([]uint32, 0, len(all))
		for _, n := range all {
			if w.r.grants.can(dm.Ref{Node: table.Node, Inst: table.Inst.Append(n)}, readInst) {
				visible = append(visible, n)
			}
		}
		all = visible
	}
	if e == nil {
		return all, nil
	}
	for i := range e.Components {
		c := &e.Components[i]
		var err *usp.Error
		if all, err = w.filter(table, all, c); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// filter returns those rows for which one comparison holds.
func (w *walk) filter(table dm.Ref, rows []uint32, c *path.Component) ([]uint32, *usp.Error) {
	n := table.Node
	for i := range c.Param {
		if c.Param[i].Kind == path.Follow {
			return w.filterFollowing(table, rows, c)
		}
		if n = n.Child(c.Param[i].Name); n == nil || n.Kind == dm.Table {
			return nil, unsupported(w.text)
		}
	}
	if n.Kind != dm.Param {
		return nil, unsupported(w.text)
	}
	refs := make([]dm.Ref, 0, len(rows))
	shown := rows[:0:0]
	for _, row := range rows {
		if ref := (dm.Ref{Node: n, Inst: table.Inst.Append(row)}); w.r.grants.shows(ref) {
			refs, shown = append(refs, ref), append(shown, row)
		}
	}
	if rows = shown; len(rows) == 0 && !w.r.grants.mayShow(n) {
		return nil, nil // not even whether the comparison suits it is told
	}
	if _, err := c.Match("", n.Type); err != nil {
		return nil, w.mismatch(err)
	}
	var out []uint32
	for i, v := range w.r.device.peek(refs) {
		if v.Err != nil {
			continue
		}
		ok, err := c.Match(v.Text, n.Type)
		if err != nil {
			return nil, w.mismatch(err)
		}
		if ok {
			out = append(out, rows[i])
		}
	}
	return out, nil
}

// filterFollowing compares what lies behind references of the rows. A row
// matches if any element that its references lead to does.
func (w *walk) filterFollowing(table dm.Ref, rows []uint32, c *path.Component) ([]uint32, *usp.Error) {
	var out []uint32
	for _, row := range rows {
		sub := walk{r: w.r, text: w.text, follows: w.follows}
		if err := sub.from(table.Node, table.Inst.Append(row), c.Param); err != nil {
			return nil, err
		}
		w.follows = sub.follows
		for _, ref := range sub.out {
			if ref.Node.Kind != dm.Param || !w.r.grants.shows(ref) {
				continue
			}
			v := w.r.device.peekOne(ref)
			ok, err := c.Match(v.Text, ref.Node.Type)
			if err != nil {
				return nil, w.mismatch(err)
			}
			if ok && v.Err == nil {
				out = append(out, row)
				break
			}
		}
	}
	return out, nil
}

func (w *walk) mismatch(err error) *usp.Error {
	var typ *path.TypeError
	if errors.As(err, &typ) {
		return usp.Errorf(usp.ErrInvalidArguments, w.text, "%w", err)
	}
	return usp.AsError(err, w.text)
}

// follow goes on from the objects that a reference parameter names (TR-369
// "Reference Following"). A reference that is null, dangling or not readable
// leads nowhere.
func (w *walk) follow(param dm.Ref, item uint32, rest []path.Step) *usp.Error {
	if param.Node.Kind != dm.Param {
		return unsupported(w.text)
	}
	if !w.r.grants.shows(param) {
		return nil
	}
	v := w.r.device.peekOne(param)
	if v.Err != nil {
		return nil
	}
	items := path.References(v.Text)
	if item != path.AllItems {
		if int(item) > len(items) {
			return nil
		}
		items = items[item-1 : item]
	}
	for _, ref := range items {
		if w.follows++; w.follows > maxFollows*max(1, len(items)) {
			return usp.Errorf(usp.ErrResourcesExceeded, w.text, "the path follows more references than are handled")
		}
		p, err := path.Parse(ref)
		if err != nil {
			continue // a device's value that is no path refers to nothing
		}
		sub := walk{r: w.r, text: w.text, follows: w.follows}
		if sub.from(w.r.device.schema.Root, dm.Instance{}, p.Steps) != nil {
			continue
		}
		w.follows = sub.follows
		for _, target := range sub.out {
			if !target.Node.IsObject() {
				continue
			}
			if err := w.from(target.Node, target.Inst, rest); err != nil {
				return err
			}
		}
	}
	return nil
}
