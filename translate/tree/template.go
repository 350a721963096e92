package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sort"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// TableID is an index into Template.Tables. Table Root stands for what lies in
// no table; it has one row, with no instance number.
type TableID int32

// Root is the table that stands for what lies in no table.
const Root TableID = 0

// ParamID is an index into Template.Params.
type ParamID int32

// Param is one parameter of a template.
type Param struct {
	Path     string // "InternetGatewayDevice.LANDevice.{i}.Hosts.HostNumberOfEntries"
	Table    TableID
	Slot     int // place in its table's rows
	Type     cwmp.Type
	Writable bool
}

// Table is a multi-instance object of a template.
type Table struct {
	Path      string // "InternetGatewayDevice.LANDevice.{i}."; "" for table 0
	Parent    TableID
	Depth     int       // number of {i} in Path
	CanAdd    bool      // the CPE offers AddObject on it
	CanDelete bool      // the CPE offers DeleteObject on rows of it
	Params    []ParamID // by slot
}

// Object is an object of a template other than a row. For a table without its
// {i}, Writable is the right to AddObject.
type Object struct {
	Path     string
	Writable bool
}

// Template is the set of {i}-paths that one model and firmware has. It is
// immutable and shared by all devices that have it.
type Template struct {
	Tables  []Table  // [Root] first, then by path, so parents before children
	Params  []Param  // by path
	Objects []Object // by path

	id      string
	sum     [sha256.Size]byte
	root    cwmp.Path
	byParam map[string]ParamID
	byTable map[string]TableID
}

// ID names the template: a hash of its content, the same on every node.
func (t *Template) ID() string { return t.id }

// RootPath is the root object of the data model, "Device." or
// "InternetGatewayDevice.".
func (t *Template) RootPath() cwmp.Path { return t.root }

// Param returns a parameter; id must be one of this template.
func (t *Template) Param(id ParamID) *Param { return &t.Params[id] }

// Lookup returns the parameter of a {i}-path.
func (t *Template) Lookup(schema string) (ParamID, bool) {
	id, ok := t.byParam[schema]
	return id, ok
}

// LookupTable returns the table of a {i}-path that ends in "{i}.".
func (t *Template) LookupTable(schema string) (TableID, bool) {
	id, ok := t.byTable[schema]
	return id, ok
}

// HasObject reports whether there is an object of a {i}-path, other than a row.
func (t *Template) HasObject(schema string) bool {
	_, ok := t.LookupObject(schema)
	return ok
}

// LookupObject returns the object of a {i}-path, other than a row.
func (t *Template) LookupObject(schema string) (Object, bool) {
	i := sort.Search(len(t.Objects), func(i int) bool { return t.Objects[i].Path >= schema })
	if i < len(t.Objects) && t.Objects[i].Path == schema {
		return t.Objects[i], true
	}
	return Object{}, false
}

// Under returns the parameters whose path begins with prefix: they lie side by
// side, so the result is the range [from, to).
func (t *Template) Under(prefix string) (from, to ParamID) {
	i := sort.Search(len(t.Params), func(i int) bool { return t.Params[i].Path >= prefix })
	j := i + sort.Search(len(t.Params)-i, func(j int) bool { return !strings.HasPrefix(t.Params[i+j].Path, prefix) })
	return ParamID(i), ParamID(j)
}

// Covers reports whether a device of template o can be kept over t: t has every
// table, object and parameter of o, with no less access, and knows its type.
func (t *Template) Covers(o *Template) bool {
	if t.id == o.id {
		return true
	}
	if t.root != o.root {
		return false
	}
	for _, b := range o.Tables[1:] {
		id, ok := t.byTable[b.Path]
		if !ok || b.CanAdd && !t.Tables[id].CanAdd || b.CanDelete && !t.Tables[id].CanDelete {
			return false
		}
	}
	for _, b := range o.Objects {
		if a, ok := t.LookupObject(b.Path); !ok || b.Writable && !a.Writable {
			return false
		}
	}
	for _, b := range o.Params {
		id, ok := t.byParam[b.Path]
		if !ok || b.Writable && !t.Params[id].Writable || b.Type != cwmp.TypeUnknown && t.Params[id].Type == cwmp.TypeUnknown {
			return false
		}
	}
	return true
}

// Extend returns a template that covers t and o. Where both know a type, it is
// t's. The root is t's.
func (t *Template) Extend(o *Template) *Template {
	b := NewBuilder(t.root)
	for _, from := range []*Template{t, o} {
		for _, tab := range from.Tables[1:] {
			b.table(tab.Path, tab.CanAdd, tab.CanDelete)
		}
		for _, obj := range from.Objects {
			b.object(obj.Path, obj.Writable)
		}
		for _, p := range from.Params {
			b.param(p.Path, p.Writable, p.Type)
		}
	}
	return b.Template()
}

// seal indexes the content, which is sorted, and names it.
func (t *Template) seal() {
	t.byTable = make(map[string]TableID, len(t.Tables))
	t.byParam = make(map[string]ParamID, len(t.Params))
	for i := range t.Tables {
		tab := &t.Tables[i]
		tab.Params = nil
		if i == 0 {
			continue
		}
		t.byTable[tab.Path] = TableID(i)
		tab.Depth = strings.Count(tab.Path, placeholder)
		tab.Parent = t.byTable[tableOf(strings.TrimSuffix(tab.Path, placeholder+"."))]
	}
	for i := range t.Params {
		p := &t.Params[i]
		t.byParam[p.Path] = ParamID(i)
		p.Table = t.byTable[tableOf(p.Path)]
		tab := &t.Tables[p.Table]
		p.Slot = len(tab.Params)
		tab.Params = append(tab.Params, ParamID(i))
	}
	t.sum = sha256.Sum256(t.content())
	t.id = hex.EncodeToString(t.sum[:16])
}

// Builder makes a Template of what GetParameterNames and GetParameterValues
// have told, in any order, with or without object paths.
type Builder struct {
	root     cwmp.Path
	tables   map[string]*Table
	objects  map[string]*Object
	params   map[string]*Param
	rejected int
}

// NewBuilder returns a Builder of a data model with that root.
func NewBuilder(root cwmp.Path) *Builder {
	return &Builder{root: root, tables: map[string]*Table{}, objects: map[string]*Object{}, params: map[string]*Param{}}
}

// Add takes a name with its writability (TR-069 A.3.2.3) and, for a parameter
// whose value was read, its type.
func (b *Builder) Add(info cwmp.ParameterInfo, typ cwmp.Type) {
	schema, _, ok := Split(info.Name)
	if !ok {
		b.rejected++
		return
	}
	b.AddSchema(schema, info.Writable, typ)
}

// AddSchema takes a {i}-path, of a parameter, an object or a row. Writable of a
// row is the right to delete it, of its table without {i} the right to add rows.
func (b *Builder) AddSchema(schema string, writable bool, typ cwmp.Type) {
	switch {
	case !strings.HasSuffix(schema, "."):
		b.param(schema, writable, typ)
	case strings.HasSuffix(schema, placeholder+"."):
		b.table(schema, false, writable)
	case writable:
		// Only a table can be written to without an instance number: that is
		// AddObject's right (TR-069 A.3.2.3), also where it has no row yet.
		// dropPresumed undoes it where the CPE means something else.
		b.table(schema+placeholder+".", true, false)
		b.object(schema, true)
	default:
		b.object(schema, false)
	}
}

// Rejected returns how many names were no paths (see Split) and were left out.
func (b *Builder) Rejected() int { return b.rejected }

func (b *Builder) table(path string, canAdd, canDelete bool) {
	t := b.tables[path]
	if t == nil {
		t = &Table{Path: path}
		b.tables[path] = t
		b.object(strings.TrimSuffix(path, placeholder+"."), false)
	}
	t.CanAdd = t.CanAdd || canAdd
	t.CanDelete = t.CanDelete || canDelete
}

func (b *Builder) object(path string, writable bool) {
	o := b.objects[path]
	if o == nil {
		o = &Object{Path: path}
		b.objects[path] = o
		b.ancestors(path)
	}
	o.Writable = o.Writable || writable
}

func (b *Builder) param(path string, writable bool, typ cwmp.Type) {
	p := b.params[path]
	if p == nil {
		p = &Param{Path: path}
		b.params[path] = p
		b.ancestors(path)
	}
	p.Writable = p.Writable || writable
	if p.Type == cwmp.TypeUnknown {
		p.Type = typ
	}
}

// ancestors adds the objects and tables above path, which CPE do not always
// name.
func (b *Builder) ancestors(path string) {
	i := strings.LastIndexByte(strings.TrimSuffix(path, "."), '.')
	if i < 0 {
		return
	}
	if parent := path[:i+1]; strings.HasSuffix(parent, placeholder+".") {
		b.table(parent, false, false)
	} else {
		b.object(parent, false)
	}
}

// dropPresumed removes tables that have no row and whose object has other
// children: some CPE tell every object to be writable.
func (b *Builder) dropPresumed() {
	rows, named := map[string]bool{}, map[string]bool{} // objects with children of the two kinds
	note := func(path string) {
		for {
			i := strings.LastIndexByte(strings.TrimSuffix(path, "."), '.')
			if i < 0 {
				return
			}
			parent, child := path[:i+1], path[i+1:]
			switch {
			case strings.HasSuffix(parent, placeholder+"."):
				rows[parent] = true
			case child != placeholder+".":
				named[parent] = true
			}
			path = parent
		}
	}
	for path := range b.params {
		note(path)
	}
	for path := range b.objects {
		note(path)
	}
	for path := range b.tables {
		if !rows[path] && named[strings.TrimSuffix(path, placeholder+".")] {
			delete(b.tables, path)
		}
	}
}

// Template returns what was added. The Builder can be used on.
func (b *Builder) Template() *Template {
	t := &Template{root: b.root, Tables: []Table{{}}}
	b.dropPresumed()
	for _, tab := range b.tables {
		t.Tables = append(t.Tables, *tab)
	}
	for _, o := range b.objects {
		t.Objects = append(t.Objects, *o)
	}
	for _, p := range b.params {
		t.Params = append(t.Params, *p)
	}
	// A table's path is a proper prefix of those of the tables in it, so
	// parents come first.
	slices.SortFunc(t.Tables[1:], func(x, y Table) int { return strings.Compare(x.Path, y.Path) })
	slices.SortFunc(t.Objects, func(x, y Object) int { return strings.Compare(x.Path, y.Path) })
	slices.SortFunc(t.Params, func(x, y Param) int { return strings.Compare(x.Path, y.Path) })
	t.seal()
	return t
}
