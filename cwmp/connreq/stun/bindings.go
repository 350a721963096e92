package stun

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

const (
	bindingShards = 64

	// maxChallenges is how often a CPE is asked for MESSAGE-INTEGRITY from one
	// address. One that does not answer then gets what it asked for, but its
	// binding is not believed.
	maxChallenges = 2
	// challengeSlots bounds the memory of challenges; who shares a slot with
	// another is challenged once more.
	challengeSlots = 1 << 14
)

// bindings are the proven bindings that CPE have kept open of late: where a UDP
// Connection Request gets in. They are lost with the process; the CPE shows them
// again with its next Binding Request.
type bindings struct {
	seed   maphash.Seed
	expire time.Duration
	max    int // in a shard
	shards [bindingShards]bindingShard

	// Only the server's goroutine uses this.
	challenges [challengeSlots]challenge
}

type bindingShard struct {
	sync.Mutex
	m map[uint64]binding // by hash of the device key: a key would cost more than the rest
}

// binding is 24 bytes, since there is one a CPE.
type binding struct {
	ip   [16]byte
	port uint16
	seen uint32 // unix seconds
}

type challenge struct {
	tag   uint32
	count uint8
}

func newBindings(max int, expire time.Duration) *bindings {
	b := &bindings{seed: maphash.MakeSeed(), expire: expire, max: (max + bindingShards - 1) / bindingShards}
	for i := range b.shards {
		b.shards[i].m = map[uint64]binding{}
	}
	return b
}

func (b *bindings) hash(key cwmp.DeviceKey) (*bindingShard, uint64) {
	h := maphash.String(b.seed, string(key))
	return &b.shards[h%bindingShards], h
}

// get returns the CPE's binding unless it is stale.
func (b *bindings) get(key cwmp.DeviceKey, now time.Time) (netip.AddrPort, bool) {
	s, h := b.hash(key)
	s.Lock()
	defer s.Unlock()
	e, ok := s.m[h]
	if !ok || b.stale(e, now) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom16(e.ip).Unmap(), e.port), true
}

func (b *bindings) stale(e binding, now time.Time) bool {
	return now.Sub(time.Unix(int64(e.seen), 0)) > b.expire
}

// touch notes that a CPE was heard of from the address that it is known under.
// known is false if it is not known under that one.
func (b *bindings) touch(key cwmp.DeviceKey, from netip.AddrPort, now time.Time) (known bool) {
	s, h := b.hash(key)
	s.Lock()
	defer s.Unlock()
	e, ok := s.m[h]
	if !ok || e.ip != from.Addr().As16() || e.port != from.Port() || b.stale(e, now) {
		return false
	}
	e.seen = uint32(now.Unix())
	s.m[h] = e
	return true
}

// put keeps a binding. In a full shard it takes the place of a stale one or, of
// a few looked at, the one not heard of for longest.
func (b *bindings) put(key cwmp.DeviceKey, from netip.AddrPort, now time.Time) {
	s, h := b.hash(key)
	s.Lock()
	defer s.Unlock()
	if _, known := s.m[h]; !known && len(s.m) >= b.max {
		s.makeRoom()
	}
	s.m[h] = binding{from.Addr().As16(), from.Port(), uint32(now.Unix())}
}

// makeRoom drops one entry. A map's order is random enough for a sample.
func (s *bindingShard) makeRoom() {
	const sample = 8
	var oldest uint64
	seen, n := uint32(0), 0
	for h, e := range s.m {
		if n == 0 || e.seen < seen {
			oldest, seen = h, e.seen
		}
		if n++; n == sample {
			break
		}
	}
	delete(s.m, oldest)
}

// sweep drops the stale entries of one shard.
func (b *bindings) sweep(shard int, now time.Time) {
	s := &b.shards[shard%bindingShards]
	s.Lock()
	defer s.Unlock()
	for h, e := range s.m {
		if b.stale(e, now) {
			delete(s.m, h)
		}
	}
}

func (b *bindings) len() (n int) {
	for i := range b.shards {
		s := &b.shards[i]
		s.Lock()
		n += len(s.m)
		s.Unlock()
	}
	return n
}

// challenge reports whether a CPE is to be asked for its password, and counts
// it. Each address is counted apart, so that nobody can use up the challenges of
// another's CPE.
func (b *bindings) challenge(key cwmp.DeviceKey, from netip.AddrPort) bool {
	h := maphash.Comparable(b.seed, struct {
		key  cwmp.DeviceKey
		from netip.AddrPort
	}{key, from})
	c := &b.challenges[h%challengeSlots]
	if tag := uint32(h >> 32); c.tag != tag {
		*c = challenge{tag: tag}
	}
	if c.count >= maxChallenges {
		return false
	}
	c.count++
	return true
}
