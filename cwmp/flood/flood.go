// Package flood bounds what one source of datagrams can make a server do. Its
// memory is fixed, whatever addresses are made up.
package flood

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// slots bounds the memory of a Limiter, 16 KiB.
const slots = 1 << 12

// Limiter counts the datagrams of each source in the present second. Sources
// that share a slot share its allowance. It belongs to one goroutine.
type Limiter struct {
	seed   maphash.Seed
	max    uint32
	second int64
	counts [slots]uint32
}

// NewLimiter returns a Limiter that allows each source so many datagrams a second.
func NewLimiter(max int) *Limiter { return &Limiter{seed: maphash.MakeSeed(), max: uint32(max)} }

// Allows reports whether one more datagram of that source is taken.
func (l *Limiter) Allows(from netip.Addr, now time.Time) bool {
	if s := now.Unix(); s != l.second {
		l.second = s
		clear(l.counts[:])
	}
	if from = from.Unmap(); from.Is6() {
		// A customer's network has a whole /64.
		from = netip.PrefixFrom(from, 64).Masked().Addr()
	}
	c := &l.counts[maphash.Comparable(l.seed, from)%slots]
	*c++
	return *c <= l.max
}
