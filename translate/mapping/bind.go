package mapping

import (
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// literals returns the numbers of a path's instances, 0 for {i}.
func literals(path string) (numbers []uint32) {
	for seg := range strings.SplitSeq(path, ".") {
		switch {
		case seg == "{i}":
			numbers = append(numbers, 0)
		case isNumber(seg):
			var n uint32
			for _, d := range seg {
				n = n*10 + uint32(d-'0')
			}
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// references resolves source parameters relative to an entry's source. One that
// the CPE does not have has param -1.
func (c *compiler) references(e *entry, names []string) (refs []reference) {
	for _, name := range names {
		path := e.source
		if rest, absolute := strings.CutPrefix(name, "/"); absolute {
			path, name = string(c.template.RootPath()), rest
		}
		for strings.HasPrefix(name, "../") {
			name = name[len("../"):]
			path = strings.TrimSuffix(path, ".")
			path = path[:strings.LastIndexByte(path, '.')+1]
		}
		ref := reference{param: -1, slots: literals(path + name)}
		if p, ok := c.template.Lookup(generic(path + name)); ok && c.within(e, ref.slots) {
			ref.param = p
		}
		refs = append(refs, ref)
	}
	return refs
}

// within reports whether an entry's source row has the numbers that slots leave
// open.
func (c *compiler) within(e *entry, slots []uint32) bool {
	depth := strings.Count(e.source, "{i}")
	for k, n := range slots {
		if n == 0 && k >= depth {
			return false
		}
	}
	return true
}

// bind resolves one parameter of an entry; ok is false if the CPE has none of
// its sources.
func (c *compiler) bind(e *entry, p *param) (b bound, ok bool) {
	b = bound{entry: e, rule: p}
	switch {
	case p.constant != nil || p.rows != nil:
		return b, true
	case p.derive != nil:
		b.refs = c.references(e, p.derive.args)
	case p.inputs != nil: // of a table or an expression
		b.refs = c.inputs(e, p.inputs)
	case p.join != nil:
		b.refs = c.references(e, p.join)
	default:
		b.refs = slices.DeleteFunc(c.references(e, p.from), func(r reference) bool { return r.param < 0 })
	}
	if p.conv.lookup != nil {
		if b.lookup = c.lookup(e, p.conv.lookup); b.lookup == nil {
			return b, false
		}
	}
	b.constant = len(b.refs) > 0
	for _, r := range b.refs {
		ok = ok || r.param >= 0
		b.constant = b.constant && r.row != noRowInput
	}
	return b, ok || b.constant
}

// settle notes which CPE parameters controllers find in all rows by the rules
// of the files. Where several rows become one, or some none, or where a rule
// shows but part of a value, the parameter is also found under its raw path.
func (c *compiler) settle() {
	for _, bind := range c.binds {
		for _, b := range bind.by {
			if !c.whole(b.entry) || b.rule.derive != nil || b.rule.inputs != nil || b.rule.conv.item != 0 {
				continue
			}
			for i, r := range b.refs {
				if b.rule.from != nil && i > 0 {
					break // shown only where the first is not
				}
				if r.param >= 0 && len(r.slots) == strings.Count(b.entry.source, "{i}") && !literal(r.slots) {
					c.used[r.param] = true
				}
			}
		}
	}
	c.settleCounts()
}

// settleCounts notes the CPE's counts of rows that controllers see counted. They are
// under their raw paths too: a CPE may count wrong.
func (c *compiler) settleCounts() {
	for _, e := range c.entries {
		if e.table == nil || c.std.elements[e.target] == nil || c.std.elements[e.target].count == "" || e.rule.keyDerive != nil || !c.seenWhere(e) || !strings.HasSuffix(e.source, ".{i}.") {
			continue
		}
		p, ok := c.countOf(e.from)
		if had, twice := c.counts[p]; ok && (!twice || literal(had)) {
			c.counts[p] = e.only
		}
	}
}

// settable reports whether the CPE lets one of the rule's sources be set.
func (b *bound) settable(t *tree.Template) bool {
	return slices.ContainsFunc(b.refs, func(r reference) bool { return r.param >= 0 && t.Param(r.param).Writable })
}

func literal(slots []uint32) bool {
	return slices.ContainsFunc(slots, func(n uint32) bool { return n != 0 })
}

// whole reports whether every source row of an entry is seen, in a row of its own.
func (c *compiler) whole(e *entry) bool {
	return (e.rule == nil || e.rule.keyDerive == nil) && c.seen(e)
}

// seen reports whether every source row of an entry is seen.
func (c *compiler) seen(e *entry) bool { return !literal(e.only) && c.seenWhere(e) }

// seenWhere reports whether every source row is seen that has the numbers which the
// entry's source names.
func (c *compiler) seenWhere(e *entry) bool {
	if e.when != nil || e.list != nil {
		return false
	}
	outer := parentTable(e.target)
	if e.table == nil || outer == "" || !slices.Contains(e.fixed[:len(e.fixed)-1], 0) {
		return true
	}
	source := e.source
	if e.rule != nil && e.rule.around != "" {
		source = string(c.template.RootPath()) + generic(e.rule.around)
	}
	return slices.ContainsFunc(c.tab(outer).entries, func(o *entry) bool {
		return strings.HasPrefix(source, o.source) && c.seen(o)
	})
}

// same binds the source's parameters that have a namesake in the target.
func (c *compiler) same(e *entry, o *object) (bounds []bound) {
	for _, pair := range o.same {
		prefix := e.source + pair[0]
		from, to := c.template.Under(prefix)
		for id := from; id < to; id++ {
			rest := c.template.Param(id).Path[len(prefix):]
			name := pair[1] + rest
			if strings.Contains(rest, ".") || strings.HasSuffix(name, "NumberOfEntries") {
				continue
			}
			if std := c.std.elements[e.target+name]; std == nil || std.kind != dm.Param {
				continue
			}
			p := &param{at: o.at, name: name, from: []string{pair[0] + rest}}
			if c.std.elements[e.target+name].isPath && c.template.RootPath() != "Device." {
				p.conv.ref = []string{anyRef}
			}
			if b, ok := c.bind(e, p); ok {
				bounds = append(bounds, b)
			}
		}
	}
	return bounds
}

// give binds a schema parameter. Of two rules for one kind of row the first
// counts.
func (c *compiler) give(path string, b bound) {
	bind := c.binds[c.node(path)]
	for _, had := range bind.by {
		if had.entry == b.entry {
			return
		}
	}
	n := bind.node
	access := c.access(bind, b)
	if len(bind.by) == 0 {
		n.Access = access
		if bind.std == nil {
			n.Change = dm.ValueChangeAllowed
			n.Type = dm.TypeString
			if len(b.refs) > 0 && b.refs[0].param >= 0 {
				n.Type = usptype(c.template.Param(b.refs[0].param).Type)
			}
			// What the standard does not know is shown by its name: only to roles
			// that may see secured parameters.
			n.Secured = n.Type != dm.TypeBoolean && cwmp.Path(path).NamesSecret()
		}
	} else if n.Access == dm.ReadOnly {
		n.Access = access // rows of another kind can be written
	}
	bind.by = append(bind.by, b)
}

// access is what the standard allows, the CPE allows and can be converted back.
func (c *compiler) access(bind *binding, b bound) dm.Access {
	if b.rule.noWayBack() != "" || !b.settable(c.template) {
		return dm.ReadOnly
	}
	if bind.std != nil {
		return bind.std.access
	}
	return dm.ReadWrite
}
