package relay

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

const (
	// markWindow is for how long a record is recognised: a loop turns within
	// milliseconds, while an endpoint repeats a request after seconds.
	markWindow = 10 * time.Second
	// maxCopies is how often the same bytes for the same endpoint are passed on
	// in a window. It bounds what turns between two bridges.
	maxCopies = 4
	maxMarks  = 1 << 16 // in each of two generations, of 16 bytes and more
)

// marks recognises records seen a short while ago, by a hash of their bytes and of
// where that was. It forgets sooner under load rather than grow.
type marks struct {
	seed maphash.Seed
	now  func() time.Time

	mu       sync.Mutex
	began    time.Time // of fresh
	fresh    map[uint64]int
	previous map[uint64]int
}

func newMarks(now func() time.Time) *marks {
	return &marks{seed: maphash.MakeSeed(), now: now, began: now(), fresh: map[uint64]int{}, previous: map[uint64]int{}}
}

// key is that of a record at a place; what tells two kinds of place apart.
func (m *marks) key(what string, at mtp.Address, record []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(m.seed)
	for _, s := range []string{what, string(at.Protocol), at.Topic, at.Destination, at.URL} {
		_, _ = h.WriteString(s) // never fails
		_ = h.WriteByte(0)
	}
	_, _ = h.Write(record)
	return h.Sum64()
}

// add notes a key and returns how often it was noted within the window.
func (m *marks) add(key uint64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	n := max(m.fresh[key], m.previous[key]) + 1
	m.fresh[key] = n
	return n
}

func (m *marks) has(key uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	return m.fresh[key] > 0 || m.previous[key] > 0
}

// turn begins a new generation when the present one is old or full. What nobody
// noted for two windows is forgotten.
func (m *marks) turn() {
	age := m.now().Sub(m.began)
	if age < markWindow && len(m.fresh) < maxMarks {
		return
	}
	m.previous = m.fresh
	if age >= 2*markWindow {
		m.previous = map[uint64]int{}
	}
	m.fresh, m.began = map[uint64]int{}, m.now()
}
