package acs

import (
	"container/list"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ThrottleConfig says how many wrong passwords are taken. Each address and each
// user name has an allowance of its own, which fills up again within a minute.
type ThrottleConfig struct {
	PerAddress int // wrong passwords from one address (IPv6: /64); 0: not limited
	PerUser    int // wrong passwords for one user name, from wherever; 0: not limited
	Log        *slog.Logger
	Now        func() time.Time // default time.Now
}

// throttleRefill is the time in which an empty allowance is full again.
const throttleRefill = time.Minute

// throttleEntries bounds what a Throttle remembers, about 3 MB: those that failed
// last. Whoever is forgotten begins with a full allowance.
const throttleEntries = 16 << 10

// Throttle limits guessing of passwords. Only those that failed are remembered,
// so that ordinary traffic costs a look into a nearly empty table. An attempt
// beyond the allowance is refused before its password is looked at, so that a
// guess tells nothing; the CPE itself comes through again when a minute's part is
// over. A nil Throttle limits nothing.
type Throttle struct {
	cfg    ThrottleConfig
	seed   maphash.Seed
	shards [shards]throttleShard
}

type throttleShard struct {
	sync.Mutex
	entries map[throttleKey]*list.Element
	recent  list.List // of *allowance, the last failed in front
}

// throttleKey is an address (as text) or a user name (as its hash: it may be long).
type throttleKey struct {
	kind byte // 'a' or 'u'
	sum  uint64
}

// allowance is what is left to one address or user.
type allowance struct {
	key    throttleKey
	left   float64 // attempts
	at     time.Time
	warned bool // that it is used up has been logged
}

// Throttled is the error for attempts beyond the allowance.
type Throttled struct{ What string }

func (t *Throttled) Error() string {
	return fmt.Sprintf("too many wrong passwords %s: try again later", t.What)
}

// NewThrottle returns a Throttle.
func NewThrottle(cfg ThrottleConfig) *Throttle {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := &Throttle{cfg: cfg, seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].entries = map[throttleKey]*list.Element{}
	}
	return t
}

// admit returns a *Throttled if the address or the user has no attempt left.
func (t *Throttle) admit(remote, username string) error {
	if t == nil {
		return nil
	}
	address := network(remote)
	if t.exhausted('a', address, t.cfg.PerAddress, "address", address) {
		return &Throttled{"from this address"}
	}
	if t.exhausted('u', username, t.cfg.PerUser, "user", username) {
		return &Throttled{"for this user"}
	}
	return nil
}

// failed takes an attempt from the allowances of an address and a user.
func (t *Throttle) failed(remote, username string) {
	if t == nil {
		return
	}
	t.spend('a', network(remote), t.cfg.PerAddress)
	t.spend('u', username, t.cfg.PerUser)
}

// network is what counts as one address: the host, for IPv6 its /64, since that
// is what one customer has at least.
func network(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}

func (t *Throttle) key(kind byte, text string) (throttleKey, *throttleShard) {
	sum := maphash.String(t.seed, text)
	return throttleKey{kind, sum}, &t.shards[sum%shards]
}

// exhausted reports whether an allowance is used up. That it is is logged once.
func (t *Throttle) exhausted(kind byte, text string, limit int, attr, shown string) bool {
	if limit <= 0 {
		return false
	}
	key, shard := t.key(kind, text)
	shard.Lock()
	defer shard.Unlock()
	e := shard.entries[key]
	if e == nil {
		return false
	}
	a := e.Value.(*allowance)
	a.refill(t.cfg.Now(), limit)
	if a.left >= 1 {
		return false
	}
	if !a.warned {
		a.warned = true
		t.cfg.Log.Warn("too many wrong passwords: further attempts are refused for a while", attr, fmt.Sprintf("%.64s", shown))
	}
	return true
}

func (t *Throttle) spend(kind byte, text string, limit int) {
	if limit <= 0 {
		return
	}
	key, shard := t.key(kind, text)
	now := t.cfg.Now()
	shard.Lock()
	defer shard.Unlock()
	e := shard.entries[key]
	if e == nil {
		if shard.recent.Len() >= throttleEntries/shards {
			oldest := shard.recent.Back()
			delete(shard.entries, oldest.Value.(*allowance).key)
			shard.recent.Remove(oldest)
		}
		e = shard.recent.PushFront(&allowance{key: key, left: float64(limit), at: now})
		shard.entries[key] = e
	} else {
		shard.recent.MoveToFront(e)
	}
	a := e.Value.(*allowance)
	a.refill(now, limit)
	a.left = max(a.left-1, 0)
}

// refill adds what time has given back.
func (a *allowance) refill(now time.Time, limit int) {
	gained := now.Sub(a.at).Seconds() / throttleRefill.Seconds() * float64(limit)
	if gained > 0 {
		a.left, a.at = min(a.left+gained, float64(limit)), now
	}
	if a.left >= float64(limit) {
		a.warned = false
	}
}

// Remembered returns how many addresses and users are remembered.
func (t *Throttle) Remembered() (n int) {
	for i := range t.shards {
		t.shards[i].Lock()
		n += t.shards[i].recent.Len()
		t.shards[i].Unlock()
	}
	return n
}
