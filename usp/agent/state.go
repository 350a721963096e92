package agent

import (
	"slices"
	"sync"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// rowKey names a row of an agent's own tables; the root class has one row with
// no instance numbers.
type rowKey struct {
	class *class
	inst  dm.Instance
}

// row is the stored values of one row, by param.index. It is immutable.
type row struct {
	values []string
	// via is the connection on which a row lives that is not kept in the
	// store: a subscription of the built-in controller.
	via any
}

// state is an agent's own objects at one moment. It is immutable once sealed:
// readers use it without a lock, a txn makes the next one. All agents without
// changes of their own share one.
type state struct {
	rows map[rowKey]*row
	// next has the next instance number of a table, under the key of the
	// table's parent; numbers are not reused (TR-369 R-ARC.8).
	next map[rowKey]uint32
	// periodic has, by controller instance, when its Periodic! is due, in unix
	// milliseconds.
	periodic map[uint32]int64
	// timers has, by instance of their Request row, when timers run out, in unix
	// milliseconds.
	timers map[uint32]int64
	trials *trials // nil: no challenge was ever asked for
	// bulk has, by profile of Device.BulkData., when its reports are due.
	bulk map[uint32]bulkTimes

	once    sync.Once
	derived *derived
}

// derived is what is worked out of a state when it is first needed.
type derived struct {
	tables      map[rowKey][]uint32 // by class of the rows and instance of the parent
	controllers map[usp.EndpointID]*controller
	byInstance  map[uint32]*controller
	subscribers []*subscription
	roles       map[uint32]*role
	profiles    map[uint32]*profile

	trusting sync.Once
	trust    *trusted // see trusted
}

// edit returns a copy that can be changed until it is sealed.
func (s *state) edit() *state {
	n := &state{
		rows: make(map[rowKey]*row, len(s.rows)+2), next: make(map[rowKey]uint32, len(s.next)+1),
		periodic: s.periodic, timers: s.timers, trials: s.trials, bulk: s.bulk,
	}
	for k, r := range s.rows {
		n.rows[k] = r
	}
	for k, v := range s.next {
		n.next[k] = v
	}
	return n
}

// index returns what is derived from the state.
func (s *state) index(spec *localSpec) *derived {
	s.once.Do(func() {
		d := &derived{tables: map[rowKey][]uint32{}}
		for k := range s.rows {
			if k.class.node == nil {
				continue
			}
			t := rowKey{k.class, k.inst.Prefix(k.inst.Len() - 1)}
			d.tables[t] = append(d.tables[t], k.inst.Last())
		}
		for _, numbers := range d.tables {
			slices.Sort(numbers)
		}
		d.compileRoles(spec, s)
		d.compileControllers(spec, s)
		d.compileSubscriptions(spec, s)
		d.compileProfiles(spec, s)
		s.derived = d
	})
	return s.derived
}

// value returns a stored value of a row, the default if the row is not there.
func (s *state) value(p *param, inst dm.Instance) string {
	if r := s.rows[rowKey{p.class, inst}]; r != nil {
		return r.values[p.index]
	}
	return p.def
}

// named returns the value of the parameter rel of a row.
func (s *state) named(k rowKey, rel string) string {
	return s.value(k.class.byName[rel], k.inst)
}

// count returns how many rows a table has.
func (s *state) count(c *class, parent dm.Instance) int {
	n := 0
	for k := range s.rows {
		if k.class == c && k.inst.Prefix(parent.Len()) == parent {
			n++
		}
	}
	return n
}

// numberFor takes the next instance number of a table.
func (s *state) numberFor(c *class, parent dm.Instance) uint32 {
	k := rowKey{c, parent}
	n := s.next[k]
	if n <= maxSeeded {
		n = maxSeeded + 1
	}
	s.next[k] = n + 1
	return n
}

// remove deletes a row and all rows below it.
func (s *state) remove(k rowKey) {
	delete(s.rows, k)
	if k.class.kind == store.Request {
		s.unsetTimer(k.inst.At(0))
	}
	for other := range s.rows {
		if other.inst.Len() > k.inst.Len() && other.class.within(k.class) && other.inst.Prefix(k.inst.Len()) == k.inst {
			delete(s.rows, other)
		}
	}
}

// within reports whether c's table lies below outer's rows.
func (c *class) within(outer *class) bool {
	for _, n := range outer.nested {
		if n == c || c.within(n) {
			return true
		}
	}
	return false
}

// classAt returns the class of a table by its schema path.
func (s *localSpec) classAt(path string) *class { return s.tables[s.schema.Lookup(path)] }
