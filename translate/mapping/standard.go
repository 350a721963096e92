package mapping

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// standard is the Device:2 data model as its table has it.
type standard struct {
	elements map[string]*element // by schema path; objects end in '.'
	served   []*Served
	events   []*ServedEvent

	sorting sync.Once
	objects []string // paths of the live objects, sorted; see under
}

// element is one row of the table.
type element struct {
	path    string
	kind    dm.Kind
	access  dm.Access
	typ     dm.Type
	enum    []string // allowed values; nil: any
	list    bool
	ranges  []bounds // allowed numbers; nil: any
	sizes   []bounds // allowed lengths, octets for hexBinary and base64; nil: any
	isPath  bool     // the value is the path of an object or parameter
	unique  [][]string
	count   string // Table: name of the NumberOfEntries parameter beside it
	secured bool
	denied  bool // active notification may be refused
	async   bool
	live    bool // not deleted from the model
	in, out []string
	need    []string
	args    map[string]*element // arguments of a command, by "in." or "out." and their name
	def     string              // argument: its value if it is left out; "" for none
}

// input returns an input argument of a command.
func (e *element) input(name string) *element { return e.args["in."+name] }

// output returns an output argument of a command.
func (e *element) output(name string) *element { return e.args["out."+name] }

var typesOf = map[string]dm.Type{
	"base64": dm.TypeBase64, "boolean": dm.TypeBoolean, "dateTime": dm.TypeDateTime, "decimal": dm.TypeDecimal,
	"hexBinary": dm.TypeHexBinary, "int": dm.TypeInt, "long": dm.TypeLong, "string": dm.TypeString,
	"unsignedInt": dm.TypeUnsignedInt, "unsignedLong": dm.TypeUnsignedLong,
}

// parseStandard reads the gzipped table (columns as in mappings/gen).
func parseStandard(table []byte) (*standard, error) {
	zip, err := gzip.NewReader(bytes.NewReader(table))
	if err != nil {
		return nil, fmt.Errorf("data-model table: %w", err)
	}
	s := &standard{elements: make(map[string]*element, 11000)}
	lines := bufio.NewScanner(zip)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		if len(cells) != 17 {
			return nil, fmt.Errorf("data-model table: %d columns in %q", len(cells), lines.Text())
		}
		s.add(cells)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if s.served, err = Commands(); err != nil {
		return nil, err
	}
	s.events, err = Events()
	return s, err
}

// add takes a row: kind, path, access, type, list, enum, uniqueKeys,
// numEntriesParam, activeNotify, mandatory, flags, status, async, range, size,
// ref, default.
func (s *standard) add(c []string) {
	kind, path := c[0], c[1]
	e := &element{path: path, live: c[11] != "deleted", typ: typesOf[c[3]], list: c[4] != "", async: c[12] == "1"}
	switch kind {
	case "object":
		e.kind, e.count, e.unique = dm.Object, c[7], uniqueKeys(c[6])
		if strings.HasSuffix(path, ".{i}.") {
			e.kind = dm.Table
			if c[2] == "readWrite" {
				e.access = dm.AddDelete
			}
		}
	case "param":
		e.kind, e.enum = dm.Param, enumOf(c[5])
		e.secured = strings.Contains(c[10], "secured") || strings.Contains(c[10], "hidden")
		e.denied = c[8] == "canDeny"
		e.ranges, e.sizes, e.isPath = boundsOf(c[13]), boundsOf(c[14]), c[15] == "1"
		switch c[2] {
		case "readWrite":
			e.access = dm.ReadWrite
		case "writeOnceReadOnly":
			e.access = dm.WriteOnce
		}
		if e.list {
			e.typ = dm.TypeString
		}
	case "command", "event":
		e.kind = dm.Command
		if kind == "event" {
			e.kind = dm.Event
		}
	case "inarg", "outarg", "eventarg":
		e.enum, e.ranges, e.sizes, e.isPath, e.def = enumOf(c[5]), boundsOf(c[13]), boundsOf(c[14]), c[15] == "1", c[16]
		if e.list {
			e.typ = dm.TypeString
		}
		s.argument(kind, e, c[9] == "1")
		return
	default: // objects inside arguments are in the names of their arguments
		return
	}
	s.elements[path] = e
}

// argument adds an argument to its command or event.
func (s *standard) argument(kind string, arg *element, mandatory bool) {
	for _, cut := range []string{"().Input.", "().Output.", "!."} {
		owner, name, ok := strings.Cut(arg.path, cut)
		if !ok {
			continue
		}
		e := s.elements[owner+cut[:strings.IndexAny(cut, ".")]]
		if e == nil {
			return
		}
		if e.args == nil {
			e.args = map[string]*element{}
		}
		if kind == "inarg" {
			e.in = append(e.in, name)
			e.args["in."+name] = arg
			if mandatory && !strings.Contains(name, ".") { // others are needed in each object that is given
				e.need = append(e.need, name)
			}
			return
		}
		e.out = append(e.out, name)
		e.args["out."+name] = arg
		return
	}
}

// enumOf splits an enumeration and drops the marks behind its values. A `\`
// protects a bar inside a value.
func enumOf(cell string) (values []string) {
	if cell == "" {
		return nil
	}
	for v := range strings.SplitSeq(strings.ReplaceAll(cell, `\|`, "\x00"), "|") {
		v, _, _ = strings.Cut(v, "^")
		values = append(values, strings.ReplaceAll(v, "\x00", "|"))
	}
	return values
}

// bounds is a range of numbers, both ends included.
type bounds struct{ low, high float64 }

// boundsOf reads "min:max/step" joined by bars; either end can be missing.
func boundsOf(cell string) (list []bounds) {
	if cell == "" {
		return nil
	}
	for item := range strings.SplitSeq(cell, "|") {
		item, _, _ = strings.Cut(item, "/")
		b := bounds{math.Inf(-1), math.Inf(1)}
		low, high, both := strings.Cut(item, ":")
		if !both {
			high = low
		}
		if n, err := strconv.ParseFloat(low, 64); err == nil {
			b.low = n
		}
		if n, err := strconv.ParseFloat(high, 64); err == nil {
			b.high = n
		}
		list = append(list, b)
	}
	return list
}

func uniqueKeys(cell string) (keys [][]string) {
	for key := range strings.SplitSeq(cell, ";") {
		if _, names, marked := strings.Cut(key, ":"); marked {
			key = names
		}
		if key != "" {
			keys = append(keys, strings.Split(key, ","))
		}
	}
	return keys
}

// node returns a new node of the element, without children.
func (e *element) node(name string) *dm.Node {
	n := &dm.Node{Name: name, Kind: e.kind, Access: e.access, Type: e.typ, Secured: e.secured, Unique: e.unique, Async: e.async}
	switch e.kind {
	case dm.Param:
		n.Change = dm.ValueChangeAllowed
		if e.secured {
			n.Change = dm.ValueChangeWillIgnore
		}
	case dm.Command:
		n.InArgs, n.OutArgs, n.Required = e.in, e.out, e.need
	case dm.Event:
		n.Args = e.out
	}
	return n
}
