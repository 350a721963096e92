package tree

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Encodings begin with a format byte. maxDecoded bounds what a stored blob may
// unfold to: ten times the largest tree seen in the field.
const (
	formatTree     = 1
	formatTemplate = 1
	maxDecoded     = 64 << 20
)

var errDamaged = errors.New("the stored data is damaged")

// pack compresses a payload behind its format byte.
func pack(dst []byte, format byte, payload []byte) []byte {
	dst = append(dst, format)
	return append(dst, s2.EncodeBetter(nil, payload)...)
}

// unpack is the inverse of pack.
func unpack(blob []byte, format byte) ([]byte, error) {
	if len(blob) < 2 || blob[0] != format {
		return nil, fmt.Errorf("%w or of an unknown format", errDamaged)
	}
	if n, err := s2.DecodedLen(blob[1:]); err != nil || n > maxDecoded {
		return nil, errDamaged
	}
	b, err := s2.Decode(nil, blob[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return b, nil
}

// reader takes numbers and strings off a payload; a failure sticks.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) uint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count returns a number of things that each take at least one more byte.
func (r *reader) count() int {
	v := r.uint()
	if v > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *reader) string() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) fail() { r.failed, r.b = true, nil }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendPath writes a path as what it has in common with the one before it and
// the rest: sorted paths mostly differ at the end.
func appendPath(b []byte, prev, path string) []byte {
	n := 0
	for n < len(prev) && n < len(path) && prev[n] == path[n] {
		n++
	}
	return appendString(binary.AppendUvarint(b, uint64(n)), path[n:])
}

func (r *reader) path(prev string) string {
	n := r.uint()
	if n > uint64(len(prev)) {
		r.fail()
		return ""
	}
	s := prev[:n] + r.string()
	if len(s) > MaxPath+len(placeholder)*dm.MaxDepth {
		r.fail()
		return ""
	}
	return s
}

// content is what a template's encoding and its ID are made of.
func (t *Template) content() []byte {
	b := appendString(make([]byte, 0, 16*len(t.Params)+64), string(t.root))
	prev := ""
	b = binary.AppendUvarint(b, uint64(len(t.Tables)-1))
	for i := range t.Tables[1:] {
		tab := &t.Tables[i+1]
		b = append(appendPath(b, prev, tab.Path), bits(tab.CanAdd, tab.CanDelete))
		prev = tab.Path
	}
	prev = ""
	b = binary.AppendUvarint(b, uint64(len(t.Objects)))
	for i := range t.Objects {
		b = append(appendPath(b, prev, t.Objects[i].Path), bits(t.Objects[i].Writable, false))
		prev = t.Objects[i].Path
	}
	prev = ""
	b = binary.AppendUvarint(b, uint64(len(t.Params)))
	for i := range t.Params {
		p := &t.Params[i]
		b = append(appendPath(b, prev, p.Path), bits(p.Writable, false), byte(p.Type))
		prev = p.Path
	}
	return b
}

func bits(a, b bool) (v byte) {
	if a {
		v |= 1
	}
	if b {
		v |= 2
	}
	return v
}

// Encode appends the template's encoding to dst.
func (t *Template) Encode(dst []byte) []byte { return pack(dst, formatTemplate, t.content()) }

// DecodeTemplate is the inverse of Encode. It fails on data that Encode did not
// make.
func DecodeTemplate(blob []byte) (*Template, error) {
	payload, err := unpack(blob, formatTemplate)
	if err != nil {
		return nil, fmt.Errorf("parameter template: %w", err)
	}
	r := &reader{b: payload}
	b := NewBuilder(cwmp.Path(r.string()))
	prev := ""
	for range r.count() {
		prev = r.path(prev)
		flags := r.byte()
		if !r.valid(prev) {
			break
		}
		b.table(prev, flags&1 != 0, flags&2 != 0)
	}
	prev = ""
	for range r.count() {
		prev = r.path(prev)
		flags := r.byte()
		if !r.valid(prev) {
			break
		}
		b.object(prev, flags&1 != 0)
	}
	prev = ""
	for range r.count() {
		prev = r.path(prev)
		flags, typ := r.byte(), r.byte()
		if !r.valid(prev) {
			break
		}
		b.param(prev, flags&1 != 0, cwmp.Type(typ))
	}
	if r.failed || len(r.b) > 0 {
		return nil, fmt.Errorf("parameter template: %w", errDamaged)
	}
	return b.Template(), nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// valid reports whether a path read is one that a Builder can have made.
func (r *reader) valid(path string) bool {
	n, name := 0, false
	for len(path) > 0 && !r.failed {
		seg := path
		for i := range len(path) {
			if path[i] == '.' {
				seg = path[:i]
				break
			}
		}
		path = path[min(len(seg)+1, len(path)):]
		if seg == placeholder {
			n++
		}
		if seg == "" || seg == placeholder && !name || n > dm.MaxDepth {
			r.fail()
		}
		name = seg != placeholder
	}
	return !r.failed
}

// A tree's payload: the first 8 bytes of its template's hash; for each table
// but the first, the number of rows and their instance numbers; a cell for each
// parameter of each row, as length<<2|state; the times, in runs; the texts, one
// behind the other, so that decoded values share one string.

// Encode appends the tree's encoding to dst.
func (t *Tree) Encode(dst []byte) []byte {
	texts, cells := 0, 0
	for i := range t.tables {
		for _, r := range t.tables[i].rows {
			cells += len(r.cells)
			for j := range r.cells {
				texts += len(r.cells[j].Text)
			}
		}
	}
	b := make([]byte, 0, 64+2*cells+texts)
	b = append(b, t.template.sum[:8]...)
	b = t.appendInstances(b)
	b = t.appendCells(b)
	b = t.appendTimes(b)
	for i := range t.tables {
		for _, r := range t.tables[i].rows {
			for j := range r.cells {
				b = append(b, r.cells[j].Text...)
			}
		}
	}
	return pack(dst, formatTree, b)
}

func (t *Tree) appendInstances(b []byte) []byte {
	for i := 1; i < len(t.tables); i++ {
		b = binary.AppendUvarint(b, uint64(len(t.tables[i].rows)))
		for _, r := range t.tables[i].rows {
			for k := range r.inst.Len() {
				b = binary.AppendUvarint(b, uint64(r.inst.At(k)))
			}
		}
	}
	return b
}

func (t *Tree) appendCells(b []byte) []byte {
	for i := range t.tables {
		for _, r := range t.tables[i].rows {
			for j := range r.cells {
				c := &r.cells[j]
				b = binary.AppendUvarint(b, uint64(len(c.Text))<<2|uint64(c.State))
			}
		}
	}
	return b
}

// appendTimes writes runs of equal times as length and distance from the time
// before; cells without a value have none.
func (t *Tree) appendTimes(b []byte) []byte {
	var prev, at uint32
	run := 0
	flush := func() {
		if run > 0 {
			b = binary.AppendUvarint(b, uint64(run))
			b = binary.AppendVarint(b, int64(at)-int64(prev))
			prev, run = at, 0
		}
	}
	for i := range t.tables {
		for _, r := range t.tables[i].rows {
			for j := range r.cells {
				c := &r.cells[j]
				if c.State < Known {
					continue
				}
				if run > 0 && c.At != at {
					flush()
				}
				at = c.At
				run++
			}
		}
	}
	flush()
	return b
}

// Decode is the inverse of Encode, over the template that the tree was made
// with. It fails on data that Encode did not make over that template.
func Decode(t *Template, blob []byte) (*Tree, error) {
	payload, err := unpack(blob, formatTree)
	if err != nil {
		return nil, fmt.Errorf("parameter tree: %w", err)
	}
	if len(payload) < 8 || string(payload[:8]) != string(t.sum[:8]) {
		return nil, fmt.Errorf("parameter tree: %w or of another template than %s", errDamaged, t.id)
	}
	n := New(t)
	r := &reader{b: payload[8:]}
	cells := r.instances(n)
	if r.failed || !r.cells(n, cells) {
		return nil, fmt.Errorf("parameter tree: %w", errDamaged)
	}
	return n, nil
}

// instances reads the rows and returns the number of their cells.
func (r *reader) instances(n *Tree) (cells int) {
	own := n.owner.Load()
	cells = len(n.template.Tables[0].Params)
	for i := 1; i < len(n.tables); i++ {
		tab := &n.template.Tables[i]
		count := r.count()
		if count == 0 {
			continue
		}
		slab, list, last := make([]row, count), make([]*row, count), make([]uint32, count)
		for j := range slab {
			var inst dm.Instance
			for range tab.Depth {
				v := r.uint()
				if v > 1<<32-1 {
					r.fail()
					return 0
				}
				inst = inst.Append(uint32(v))
			}
			if j > 0 && slab[j-1].inst.Compare(inst) >= 0 || !n.hasParent(tab, inst) {
				r.fail()
				return 0
			}
			slab[j] = row{owner: own, inst: inst}
			list[j], last[j] = &slab[j], inst.Last()
		}
		n.tables[i] = rows{owner: own, rows: list, last: last}
		if cells += count * len(tab.Params); cells > len(r.b) {
			r.fail()
			return 0
		}
	}
	return cells
}

func (t *Tree) hasParent(tab *Table, inst dm.Instance) bool {
	return tab.Parent == Root || t.HasRow(tab.Parent, inst.Prefix(inst.Len()-1))
}

// cells reads the values of all rows.
func (r *reader) cells(n *Tree, count int) bool {
	if count > len(r.b) {
		return false
	}
	slab := make([]Value, count)
	lengths := make([]uint32, count)
	known, total := 0, uint64(0)
	for i := range slab {
		v := r.uint()
		slab[i].State = State(v & 3)
		if slab[i].State >= Known {
			known++
		}
		if v>>2 > maxDecoded || slab[i].State < Known && v>>2 > 0 {
			return false
		}
		lengths[i] = uint32(v >> 2)
		total += v >> 2
	}
	if !r.times(slab, known) || r.failed || total != uint64(len(r.b)) {
		return false
	}
	texts := string(r.b)
	for i := range slab {
		slab[i].Text, texts = texts[:lengths[i]], texts[lengths[i]:]
	}
	for i := range n.tables {
		size := len(n.template.Tables[i].Params)
		for _, row := range n.tables[i].rows {
			row.cells, slab = slab[:size:size], slab[size:]
		}
	}
	return true
}

func (r *reader) times(slab []Value, known int) bool {
	at, run := int64(0), uint64(0)
	for i := range slab {
		if slab[i].State < Known {
			continue
		}
		if run == 0 {
			run = r.uint()
			delta, w := binary.Varint(r.b)
			if w <= 0 || run == 0 || run > uint64(known) {
				return false
			}
			r.b = r.b[w:]
			if at += delta; at < 0 || at > 1<<32-1 {
				return false
			}
		}
		slab[i].At = uint32(at)
		run--
		known--
	}
	return run == 0
}
