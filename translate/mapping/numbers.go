package mapping

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// Numbers are the instance numbers that controllers see of one device's rows.
// A row keeps its number as long as the device is known: a host that comes back
// has the number it had. A number is never given to another row. Numbers is
// immutable: Reconcile returns another.
type Numbers struct {
	tables map[string]*numbered // by the table's schema path
}

// numbered are the rows of one table.
type numbered struct {
	rows map[rowKey]uint32      // numbers of the rows that are there
	gone map[rowKey]uint32      // numbers of rows that can come back
	last map[dm.Instance]uint32 // by the row around it: the highest number ever given
	own  []dm.Instance          // rows with the CPE's own numbers, ascending

	aliases map[dm.Instance]string // that controllers have given, of rows whose CPE has none
}

// rowKey names a row for good, in the row around it.
type rowKey struct {
	parent dm.Instance // as controllers see it
	id     string      // the source object's schema path, or "=" and the values of the key
	src    dm.Instance // the source row; none with a key
}

// maxGone bounds how many rows of a table are remembered that are not there, so
// that a device seen by ever new hosts does not grow without end. Numbers of
// forgotten rows are not given again either.
const maxGone = 2048

// NewNumbers returns those of a device never seen before.
func NewNumbers() *Numbers { return &Numbers{tables: map[string]*numbered{}} }

func newNumbered() *numbered {
	return &numbered{rows: map[rowKey]uint32{}, gone: map[rowKey]uint32{}, last: map[dm.Instance]uint32{}}
}

// clone copies what Reconcile changes in place.
func (t *numbered) clone() *numbered {
	return &numbered{rows: map[rowKey]uint32{}, gone: maps.Clone(t.gone), last: maps.Clone(t.last), aliases: maps.Clone(t.aliases)}
}

// give returns the number of a row that has come: the one it had, else prefer if
// no row has had it, else a new one.
func (t *numbered) give(key rowKey, prefer uint32) uint32 {
	if number, ok := t.gone[key]; ok {
		delete(t.gone, key)
		t.rows[key] = number
		return number
	}
	number := t.last[key.parent] + 1
	if prefer > number {
		number = prefer
	}
	t.last[key.parent] = number
	t.rows[key] = number
	return number
}

// retire remembers the number of a row that has gone.
func (t *numbered) retire(key rowKey, number uint32) {
	if len(t.gone) >= maxGone {
		for old := range t.gone {
			delete(t.gone, old)
			break
		}
	}
	t.gone[key] = number
}

// The formats of the encoding. The first has no aliases.
const (
	formatNumbers = 2
	formatPlain   = 1
)

// Encode returns what DecodeNumbers reads.
func (n *Numbers) Encode() []byte {
	b := binary.AppendUvarint(nil, uint64(len(n.tables)))
	for _, path := range slices.Sorted(maps.Keys(n.tables)) {
		t := n.tables[path]
		b = appendText(b, path)
		b = appendKeys(b, t.rows)
		b = appendKeys(b, t.gone)
		b = binary.AppendUvarint(b, uint64(len(t.last)))
		for _, parent := range slices.SortedFunc(maps.Keys(t.last), dm.Instance.Compare) {
			b = binary.AppendUvarint(appendInstance(b, parent), uint64(t.last[parent]))
		}
		b = binary.AppendUvarint(b, uint64(len(t.own)))
		for _, inst := range t.own {
			b = appendInstance(b, inst)
		}
		b = binary.AppendUvarint(b, uint64(len(t.aliases)))
		for _, inst := range slices.SortedFunc(maps.Keys(t.aliases), dm.Instance.Compare) {
			b = appendText(appendInstance(b, inst), t.aliases[inst])
		}
	}
	return append([]byte{formatNumbers}, s2.Encode(nil, b)...)
}

// appendKeys writes rows grouped by what names them, which many have in common.
func appendKeys(b []byte, rows map[rowKey]uint32) []byte {
	keys := slices.SortedFunc(maps.Keys(rows), func(x, y rowKey) int {
		if c := strings.Compare(x.id, y.id); c != 0 {
			return c
		}
		if c := x.parent.Compare(y.parent); c != 0 {
			return c
		}
		return x.src.Compare(y.src)
	})
	b = binary.AppendUvarint(b, uint64(len(keys)))
	prev := ""
	for _, k := range keys {
		same := byte(0)
		if k.id == prev {
			same = 1
		}
		b = append(b, same)
		if same == 0 {
			b = appendText(b, k.id)
		}
		prev = k.id
		b = appendInstance(appendInstance(b, k.parent), k.src)
		b = binary.AppendUvarint(b, uint64(rows[k]))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendInstance(b []byte, in dm.Instance) []byte {
	b = append(b, byte(in.Len()))
	for k := range in.Len() {
		b = binary.AppendUvarint(b, uint64(in.At(k)))
	}
	return b
}

// maxNumbers bounds the decoded size, in bytes.
const maxNumbers = 64 << 20

var errNumbers = errors.New("instance numbers are damaged")

// DecodeNumbers reads what Encode has written.
func DecodeNumbers(b []byte) (*Numbers, error) {
	if len(b) < 2 || b[0] != formatNumbers && b[0] != formatPlain {
		return nil, fmt.Errorf("%w or of an unknown format", errNumbers)
	}
	if n, err := s2.DecodedLen(b[1:]); err != nil || n > maxNumbers {
		return nil, errNumbers
	}
	plain, err := s2.Decode(nil, b[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNumbers, err)
	}
	d := &numbersReader{b: plain}
	n := NewNumbers()
	for range d.count() {
		path := d.text()
		t := newNumbered()
		d.keys(t.rows)
		d.keys(t.gone)
		for range d.count() {
			t.last[d.instance()] = d.number()
		}
		for range d.count() {
			t.own = append(t.own, d.instance())
		}
		if b[0] != formatPlain {
			t.aliases = d.aliases()
		}
		n.tables[path] = t
	}
	if d.failed || len(d.b) > 0 {
		return nil, errNumbers
	}
	return n, nil
}

// numbersReader takes values off an encoding; a failure sticks.
type numbersReader struct {
	b      []byte
	failed bool
}

func (d *numbersReader) fail() { d.failed, d.b = true, nil }

func (d *numbersReader) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count returns a number of things that each take at least one more byte.
func (d *numbersReader) count() int {
	v := d.uint()
	if v > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *numbersReader) number() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail()
	}
	return uint32(v)
}

func (d *numbersReader) text() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *numbersReader) instance() (in dm.Instance) {
	n := d.uint()
	if n > dm.MaxDepth {
		d.fail()
		return in
	}
	for range n {
		in = in.Append(d.number())
	}
	return in
}

func (d *numbersReader) aliases() (list map[dm.Instance]string) {
	for range d.count() {
		if list == nil {
			list = map[dm.Instance]string{}
		}
		inst := d.instance()
		list[inst] = d.text()
	}
	return list
}

func (d *numbersReader) keys(into map[rowKey]uint32) {
	id := ""
	for range d.count() {
		if d.uint() == 0 {
			id = d.text()
		}
		k := rowKey{id: id, parent: d.instance()}
		k.src = d.instance()
		into[k] = d.number()
	}
}
