package websocket

import (
	"hash/maphash"
	"iter"
	"slices"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
)

// shards keeps connections that come and go from waiting for each other.
const shards = 64

// index finds connections by the endpoints at their ends. One peer may have a
// connection for each agent, and several for any.
type index struct {
	seed   maphash.Seed
	shards *[shards]shard
}

type shard struct {
	mu      sync.RWMutex
	byEnds  map[ends][]*conn // oldest first; of one pair of endpoints
	members map[*conn]struct{}
}

// ends names the two sides; local is "" for a connection to any agent.
type ends struct{ peer, local usp.EndpointID }

func newIndex() index {
	x := index{seed: maphash.MakeSeed(), shards: new([shards]shard)}
	for i := range x.shards {
		x.shards[i].byEnds = make(map[ends][]*conn)
		x.shards[i].members = make(map[*conn]struct{})
	}
	return x
}

func (x index) of(e ends) *shard { return &x.shards[maphash.Comparable(x.seed, e)%shards] }

func (x index) home(c *conn) *shard { return &x.shards[maphash.Comparable(x.seed, c)%shards] }

// add makes c a member, not yet to be found by an endpoint id.
func (x index) add(c *conn) {
	s := x.home(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members[c] = struct{}{}
}

// bind makes c be found by its ends, before older connections that have the same,
// and returns those of the older that may not stay beside it: two endpoints have
// one session (R-WS.4). A connection for any agent is no session of two.
func (x index) bind(c *conn, e ends) (replaced []*conn) {
	s := x.of(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.local != "" {
		replaced = slices.Clone(s.byEnds[e])
	}
	s.byEnds[e] = append(s.byEnds[e], c)
	return replaced
}

// remove forgets c, which is bound to e if e.peer is not "".
func (x index) remove(c *conn, e ends) {
	home := x.home(c)
	home.mu.Lock()
	delete(home.members, c)
	home.mu.Unlock()
	if e.peer == "" {
		return
	}
	s := x.of(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.byEnds[e], func(o *conn) bool { return o == c })
	if len(left) == 0 {
		delete(s.byEnds, e)
		return
	}
	s.byEnds[e] = left
}

// find returns the newest connection of peer that records of local may take,
// nil if there is none.
func (x index) find(peer, local usp.EndpointID, may func(*conn) bool) *conn {
	if c := x.newest(ends{peer, local}, may); c != nil {
		return c
	}
	return x.newest(ends{peer: peer}, may)
}

func (x index) newest(e ends, may func(*conn) bool) *conn {
	s := x.of(e)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range slices.Backward(s.byEnds[e]) {
		if !c.closed() && may(c) {
			return c
		}
	}
	return nil
}

// all yields a snapshot of the members, shard by shard; no lock is held meanwhile.
func (x index) all() iter.Seq[*conn] {
	return func(yield func(*conn) bool) {
		for i := range x.shards {
			for _, c := range x.shard(i) {
				if !yield(c) {
					return
				}
			}
		}
	}
}

func (x index) shard(i int) []*conn {
	s := &x.shards[i]
	s.mu.RLock()
	defer s.mu.RUnlock()
	members := make([]*conn, 0, len(s.members))
	for c := range s.members {
		members = append(members, c)
	}
	return members
}
