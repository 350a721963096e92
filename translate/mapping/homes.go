package mapping

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// What no rule names is copied: to its own path, under the translated parent,
// or to the raw tree. An entry that others are copied under is their host.

// identity gives what Device:2 knows, and what vendors add to it, its own path.
func (c *compiler) identity() {
	root := string(c.template.RootPath())
	if root != "Device." {
		return
	}
	hosts := []*entry{{at: "built in", source: root, target: root}}
	for _, e := range c.entries {
		if e.source == e.target && e.table != nil {
			hosts = append(hosts, e)
		}
	}
	for i := range c.template.Params {
		path := c.template.Params[i].Path
		if !c.used[tree.ParamID(i)] && c.standardPath(path) {
			c.place(tree.ParamID(i), longest(hosts, path), nil)
		}
	}
	for i := range c.template.Tables[1:] {
		id := tree.TableID(i + 1)
		if path := c.template.Tables[id].Path; c.standardPath(path) && len(c.template.Tables[id].Params) == 0 {
			c.copyTable(longest(hosts, path), id, nil)
		}
	}
}

// standardPath reports whether Device:2 has a path, or a vendor has added it to
// an object that Device:2 has.
func (c *compiler) standardPath(path string) bool {
	if e := c.std.elements[path]; e != nil {
		return true
	}
	i := strings.Index(path, ".X_")
	return i >= 0 && c.std.elements[path[:i+1]] != nil && !strings.HasPrefix(path, ownPath)
}

// longest returns the host whose source is the nearest above path.
func longest(hosts []*entry, path string) (best *entry) {
	for _, e := range hosts {
		if strings.HasPrefix(path, e.source) && (best == nil || len(e.source) > len(best.source)) {
			best = e
		}
	}
	return best
}

// vendor puts vendor objects and parameters under the translated parent, with
// the name that they have on the CPE.
func (c *compiler) vendor() {
	root := &entry{at: "built in", home: homeVendor, source: string(c.template.RootPath()), target: "Device."}
	hosts := map[string]*entry{root.source: root}
	mapped := append([]*entry(nil), c.entries...)
	host := func(path string) *entry {
		for at := len(path); ; {
			i := strings.LastIndex(path[:at], ".X_")
			if i < 0 || strings.HasPrefix(path[i+1:], "X_USPBRIDGE_CWMP.") {
				return nil
			}
			e, known := hosts[path[:i+1]]
			if !known {
				e = c.vendorHost(mapped, path[:i+1])
				hosts[path[:i+1]] = e
			}
			if e != nil {
				return e
			}
			at = i
		}
	}
	for i := range c.template.Params {
		if c.used[tree.ParamID(i)] {
			continue
		}
		if e := host(c.template.Params[i].Path); e != nil {
			c.place(tree.ParamID(i), e, nil)
		}
	}
	for i := range c.template.Tables[1:] {
		id := tree.TableID(i + 1)
		if tab := &c.template.Tables[id]; len(tab.Params) == 0 && c.isUnseen(tab.Path) {
			if e := host(tab.Path); e != nil {
				c.copyTable(e, id, nil)
			}
		}
	}
}

// vendorHost returns the entry that stands for a source object: the one that its
// file marks, else the one that shows most of the object.
func (c *compiler) vendorHost(mapped []*entry, object string) (best *entry) {
	rank := func(e *entry) int {
		n := c.weight[e]
		if e.source == object {
			n += 1 << 16
		}
		if e.rule.vendor {
			n += 1 << 20
		}
		return n
	}
	for _, e := range mapped {
		sub, ok := strings.CutPrefix(object, e.source)
		if !ok || e.rule == nil || !c.whole(e) || strings.Contains(sub, "{i}") {
			continue
		}
		if sub != "" && c.std.elements[e.target+sub] == nil {
			continue
		}
		if best == nil || rank(e) > rank(best) {
			best = e
		}
	}
	return best
}

// raw keeps everything else reachable under its own path.
func (c *compiler) raw() {
	host := &entry{at: "built in", home: homeRaw, source: "", target: rawPath}
	rename := c.unclash()
	for i := range c.template.Params {
		if !c.used[tree.ParamID(i)] {
			c.place(tree.ParamID(i), host, rename)
		}
	}
	for i := range c.template.Tables[1:] {
		id := tree.TableID(i + 1)
		if tab := &c.template.Tables[id]; len(tab.Params) == 0 && c.isUnseen(tab.Path) {
			c.copyTable(host, id, rename)
		}
	}
}

// isUnseen reports whether no entry shows the rows of a CPE table.
func (c *compiler) isUnseen(source string) bool {
	for _, e := range c.entries {
		if e.source == source {
			return false
		}
	}
	return true
}

// unclash returns a function that gives raw paths names of their own where a CPE
// uses one name twice: for an object and a parameter, or for a table and an
// object. nil: there is no such name.
func (c *compiler) unclash() func(path string) string {
	clash := map[string]string{}
	for i := range c.template.Params {
		path := c.template.Params[i].Path
		if _, table := c.template.LookupTable(path + ".{i}."); table || c.template.HasObject(path+".") {
			clash[path] = "_value"
		}
	}
	for i := range c.template.Tables[1:] {
		rows := c.template.Tables[i+1].Path
		object := strings.TrimSuffix(rows, "{i}.")
		from, to := c.template.Under(object)
		rowsFrom, rowsTo := c.template.Under(rows)
		if to-from != rowsTo-rowsFrom {
			clash[object] = "_object"
		}
	}
	if len(clash) == 0 {
		return nil
	}
	return func(path string) string {
		var b strings.Builder
		for start := 0; start < len(path); {
			end := strings.IndexByte(path[start:], '.')
			if end < 0 {
				end = len(path) - start
			}
			end += start
			b.WriteString(path[start:end])
			if end == len(path) {
				b.WriteString(clash[path])
				break
			}
			if !strings.HasPrefix(path[end+1:], "{i}.") {
				b.WriteString(clash[path[:end+1]])
			}
			b.WriteByte('.')
			start = end + 1
		}
		return b.String()
	}
}

// place binds a CPE parameter one to one under a host; it does nothing if its
// name is taken there.
func (c *compiler) place(id tree.ParamID, host *entry, rename func(string) string) {
	def := &c.template.Params[id]
	target := copiedPath(host, def.Path, rename)
	if host.home != homeRaw && c.taken(target) {
		return
	}
	e := c.copyTable(host, def.Table, rename)
	if e == nil {
		return
	}
	depth := c.template.Tables[def.Table].Depth
	b := bound{
		entry: e, rule: &param{at: e.at, name: target[len(e.target):], from: []string{def.Path}},
		refs: []reference{{param: id, slots: make([]uint32, depth)}},
	}
	if std := c.std.elements[target]; std != nil && std.isPath {
		b.rule.conv = converter{path: true, list: std.list, fromSep: ",", toSep: ","}
	}
	c.give(target, b)
	c.used[id] = true
}

func copiedPath(host *entry, path string, rename func(string) string) string {
	if rename != nil {
		return host.target + rename(path)
	}
	return host.target + path[len(host.source):]
}

// taken reports whether a parameter's path cannot be made: it is bound already,
// or one of its names is that of an element of another kind.
func (c *compiler) taken(path string) bool {
	if n := c.nodes[path]; n != nil && len(c.binds[n].by) > 0 {
		return true
	}
	if c.nodes[path+"."] != nil || c.nodes[path+".{i}."] != nil {
		return true
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] != '.' || strings.HasPrefix(path[i+1:], "{i}") {
			continue
		}
		object, isTable := strings.CutSuffix(path[:i], ".{i}")
		if c.nodes[object] != nil || isTable && c.plainObject(object+".") || !isTable && c.nodes[object+".{i}."] != nil {
			return true
		}
	}
	return false
}

// plainObject reports whether an object is there that is no table.
func (c *compiler) plainObject(object string) bool {
	n := c.nodes[object]
	return n != nil && n.Kind == dm.Object
}

// copyTable returns the entry that shows a CPE table's rows under a host, with
// the CPE's numbers: the host itself if they are its rows, nil if the target is
// a table of another kind.
func (c *compiler) copyTable(host *entry, id tree.TableID, rename func(string) string) *entry {
	if id == host.from {
		return c.hosted(host)
	}
	tab := &c.template.Tables[id]
	target := copiedPath(host, tab.Path, rename)
	key := target + "<" + tab.Path
	if e := c.done[key]; e != nil {
		return e
	}
	if t := c.tabs[target]; t != nil && host.home != homeRaw {
		for _, e := range t.entries {
			if !e.copied {
				return nil
			}
		}
	}
	object := strings.TrimSuffix(target, "{i}.")
	if host.home != homeRaw && (c.plainObject(object) || c.nodes[strings.TrimSuffix(object, ".")] != nil) {
		return nil
	}
	if c.copyTable(host, tab.Parent, rename) == nil {
		return nil
	}
	e := &entry{
		at: "built in", home: host.home, target: target, source: tab.Path, from: id, copied: true,
		fixed: make([]uint32, strings.Count(target, "{i}")),
	}
	if host.home == homeStandard && c.std.elements[target] == nil {
		e.home = homeVendor
	}
	c.done[key] = e
	c.enter(e)
	return e
}

// hosted makes a host that stands for the whole tree known as an entry.
func (c *compiler) hosted(host *entry) *entry {
	if host.index == 0 && host.rule == nil && !host.copied {
		key := host.target + "<" + host.source
		if e := c.done[key]; e != nil {
			return e
		}
		c.done[key] = host
		c.enter(host)
	}
	return host
}

func usptype(t cwmp.Type) dm.Type {
	switch t {
	case cwmp.TypeInt:
		return dm.TypeInt
	case cwmp.TypeUnsignedInt:
		return dm.TypeUnsignedInt
	case cwmp.TypeLong:
		return dm.TypeLong
	case cwmp.TypeUnsignedLong:
		return dm.TypeUnsignedLong
	case cwmp.TypeBoolean:
		return dm.TypeBoolean
	case cwmp.TypeDateTime:
		return dm.TypeDateTime
	case cwmp.TypeBase64:
		return dm.TypeBase64
	case cwmp.TypeHexBinary:
		return dm.TypeHexBinary
	case cwmp.TypeDecimal:
		return dm.TypeDecimal
	}
	return dm.TypeString
}
