package stun

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// limitSlots bounds the memory of a limiter.
const limitSlots = 1 << 12

// limiter counts the datagrams of each source in the present second. Sources
// that share a slot share its allowance. It belongs to one goroutine.
type limiter struct {
	seed   maphash.Seed
	max    uint32
	second int64
	counts [limitSlots]uint32
}

// allows reports whether one more datagram of that source is taken.
func (l *limiter) allows(from netip.Addr, now time.Time) bool {
	if s := now.Unix(); s != l.second {
		l.second = s
		clear(l.counts[:])
	}
	if from.Is6() {
		// A customer's network has a whole /64.
		from = netip.PrefixFrom(from, 64).Masked().Addr()
	}
	c := &l.counts[maphash.Comparable(l.seed, from)%limitSlots]
	*c++
	return *c <= l.max
}
