package flood

import (
	"hash/maphash"
	"sync"
	"time"
)

// slots bounds the memory of a Limiter, 512 KiB. Sources that share a slot share
// its allowance: an endpoint has the bad luck to share that of a given other once
// in so many.
const slots = 1 << 14

// Rates are what one source may send. The zero value of a field means any amount.
type Rates struct {
	Records float64 // a second, in the long run
	Burst   float64 // records at once, after a pause; less than Records counts as Records
	Bytes   float64 // a second, in the long run
	// BytesBurst are bytes at once, after a pause; less than Bytes counts as Bytes.
	// A record larger than that is never taken.
	BytesBurst float64
}

// Limiter keeps an allowance of each source, which fills up with time. Its methods
// may be called concurrently.
type Limiter struct {
	rates Rates
	seed  maphash.Seed
	now   func() time.Time
	slots []slot
}

// slot is what the sources of one hash have used up of their allowance. It holds
// nothing that would have to be cleared: what is used up shrinks with time.
type slot struct {
	mu      sync.Mutex
	at      int64 // when used was true, unix nanoseconds
	records float64
	bytes   float64
}

// NewLimiter returns a Limiter. now is the clock, nil for time.Now.
func NewLimiter(rates Rates, now func() time.Time) *Limiter {
	rates.Burst = max(rates.Burst, rates.Records)
	rates.BytesBurst = max(rates.BytesBurst, rates.Bytes)
	if now == nil {
		now = time.Now
	}
	return &Limiter{rates: rates, seed: maphash.MakeSeed(), now: now, slots: make([]slot, slots)}
}

// Take takes one record of that many bytes out of a source's allowance, and
// reports whether there was enough of it. What is refused uses nothing up, so that
// a source that goes on too fast gets its rate and no more.
func Take[S comparable](l *Limiter, source S, bytes int) bool {
	s := &l.slots[maphash.Comparable(l.seed, source)%slots]
	now := l.now().UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	if passed := float64(now-s.at) / float64(time.Second); passed > 0 {
		s.records = max(0, s.records-passed*l.rates.Records)
		s.bytes = max(0, s.bytes-passed*l.rates.Bytes)
		s.at = now
	}
	if l.rates.Records > 0 && s.records+1 > l.rates.Burst || l.rates.Bytes > 0 && s.bytes+float64(bytes) > l.rates.BytesBurst {
		return false
	}
	s.records++
	s.bytes += float64(bytes)
	return true
}

// Exhausted reports whether a source's allowance of records is used up.
func Exhausted[S comparable](l *Limiter, source S) bool {
	s := &l.slots[maphash.Comparable(l.seed, source)%slots]
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := float64(l.now().UnixNano()-s.at) / float64(time.Second)
	return l.rates.Records > 0 && s.records-max(0, passed)*l.rates.Records+1 > l.rates.Burst
}
