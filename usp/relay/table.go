package relay

import (
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

const (
	tableShards = 64
	// maxConnections is how many connections of one endpoint are told apart: an
	// agent has one for each of its controllers.
	maxConnections = 16
	// saveEvery is how often an endpoint that stays where it is is written to the
	// store, for the sake of when it was heard last.
	saveEvery = 15 * time.Minute
)

var (
	errFull     = errors.New("as many endpoints are known as may be")
	errUnproven = errors.New("the endpoint is connected elsewhere, where it has proven who it is")
)

// place is where an endpoint can be reached.
type place struct {
	at     mtp.Address
	local  usp.EndpointID // the endpoint that a connection is to; "": any
	proven bool
	heard  time.Time
}

// endpoint is a native agent or a controller that was heard.
type endpoint struct {
	agent        bool
	protocol     mtp.Protocol // where it was heard last
	first, heard time.Time
	saved        time.Time
	// places are all on one transport; several only if they are connections.
	places []place
	// keeping says whether sessions are kept to controllers in its name, sessions
	// which of them are open.
	keeping  keeping
	sessions []session
}

// table knows where endpoints were heard last.
type table struct {
	expiry time.Duration
	most   int
	count  atomic.Int64
	seed   maphash.Seed
	shards [tableShards]tableShard
}

type tableShard struct {
	mu sync.RWMutex
	m  map[usp.EndpointID]*endpoint
}

func newTable(expiry time.Duration, most int) *table {
	t := &table{expiry: expiry, most: most, seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].m = map[usp.EndpointID]*endpoint{}
	}
	return t
}

func (t *table) shard(id usp.EndpointID) *tableShard {
	return &t.shards[maphash.String(t.seed, string(id))%tableShards]
}

// change is what hearing an endpoint has changed.
type change struct {
	moved bool // it is new or somewhere else than before
	save  bool // its record in the store is old
	dial  bool // it is an agent in whose name no sessions are kept yet
}

// learn notes that id was heard at a place. A place that is not an address that
// can be written to only tells that it lives.
func (t *table) learn(id usp.EndpointID, p place, agent bool) (change, error) {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := t.known(s, id)
	if err != nil {
		return change{}, err
	}
	if !p.proven && e.provenElsewhere(p, t.expiry) {
		return change{}, errUnproven
	}
	var c change
	c.save = agent && !e.agent || p.heard.Sub(e.saved) >= saveEvery
	e.agent = e.agent || agent
	c.dial = e.agent && e.keeping == keptNone
	if e.first.IsZero() { // it was not heard before
		e.first = p.heard
	}
	e.heard, e.protocol = p.heard, p.at.Protocol
	if reachable(p.at) {
		c.moved = e.move(p)
	}
	if c.save = c.save || c.moved; c.save {
		e.saved = p.heard
	}
	return c, nil
}

// known returns an endpoint of a shard, which is locked; one that is not known yet
// becomes so if there is room.
func (t *table) known(s *tableShard, id usp.EndpointID) (*endpoint, error) {
	e := s.m[id]
	if e != nil {
		return e, nil
	}
	if t.count.Add(1) > int64(t.most) {
		t.count.Add(-1)
		return nil, errFull
	}
	e = new(endpoint)
	s.m[id] = e
	return e, nil
}

// alter changes an endpoint by a function, and returns what that returns; false for
// one that is not known.
func (t *table) alter(id usp.EndpointID, f func(e *endpoint) bool) bool {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m[id]
	return e != nil && f(e)
}

// reachable reports whether an address says where to write to.
func reachable(a mtp.Address) bool {
	return a.Conn != nil || a.Topic != "" || a.Destination != "" || a.URL != ""
}

// whereabouts returns what of an address says where it leads, and nothing of how
// the record that it came with was to be answered.
func whereabouts(a mtp.Address) mtp.Address {
	return mtp.Address{Protocol: a.Protocol, Topic: a.Topic, Destination: a.Destination, URL: a.URL, Conn: a.Conn}
}

// samePlace compares addresses by where they lead.
func samePlace(a, b mtp.Address) bool {
	return whereabouts(a) == whereabouts(b)
}

// live reports whether an endpoint can be taken to be still there.
func (p place) live(now time.Time, expiry time.Duration) bool {
	return p.at.Conn != nil || now.Sub(p.heard) < expiry
}

// provenElsewhere reports whether the endpoint is live at a place other than p
// and has proven itself there.
func (e *endpoint) provenElsewhere(p place, expiry time.Duration) bool {
	for _, o := range e.places {
		if o.proven && o.live(p.heard, expiry) && !samePlace(o.at, p.at) {
			return true
		}
	}
	return false
}

// move makes p the place of the endpoint and reports whether that is news. A
// connection is added to those that are there, anything else takes their place.
func (e *endpoint) move(p place) (moved bool) {
	for i, o := range e.places {
		if samePlace(o.at, p.at) {
			e.places[i] = place{at: p.at, local: p.local, proven: p.proven || o.proven && p.at.Conn != nil, heard: p.heard}
			return false
		}
	}
	if p.at.Conn != nil && len(e.places) > 0 && e.places[0].at.Conn != nil && e.places[0].at.Protocol == p.at.Protocol {
		if len(e.places) == maxConnections {
			e.places = append(e.places[:0], e.places[1:]...)
		}
		e.places = append(e.places, p)
		return false
	}
	e.places = []place{p}
	return true
}

// route returns where to reach an endpoint with a record of from: of several
// connections that to from, else the one heard last.
func (t *table) route(id, from usp.EndpointID, now time.Time) (mtp.Address, bool) {
	s := t.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.m[id]
	if e == nil {
		return mtp.Address{}, false
	}
	return e.route(from, now, t.expiry)
}

// route is that of a table.
func (e *endpoint) route(from usp.EndpointID, now time.Time, expiry time.Duration) (mtp.Address, bool) {
	var best *place
	for i := range e.places {
		p := &e.places[i]
		switch {
		case !p.live(now, expiry):
		case best == nil, p.local == from && best.local != from, (p.local == from) == (best.local == from) && p.heard.After(best.heard):
			best = p
		}
	}
	if best == nil {
		return mtp.Address{}, false
	}
	return best.at, true
}

// disconnected forgets a connection of an endpoint.
func (t *table) disconnected(id usp.EndpointID, conn any) {
	t.alter(id, func(e *endpoint) bool {
		i := slices.IndexFunc(e.places, func(p place) bool { return p.at.Conn == conn })
		if i < 0 {
			return false
		}
		e.places = append(e.places[:i:i], e.places[i+1:]...)
		return true
	})
}

// put adds an endpoint as the store has it.
func (t *table) put(id usp.EndpointID, e *endpoint) error {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, err := t.known(s, id)
	if err == nil {
		*known = *e
	}
	return err
}

// get returns a copy of what is known of an endpoint.
func (t *table) get(id usp.EndpointID) (endpoint, bool) {
	s := t.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.m[id]
	if e == nil {
		return endpoint{}, false
	}
	copied := *e
	copied.places, copied.sessions = slices.Clone(e.places), slices.Clone(e.sessions)
	return copied, true
}

// remove forgets an endpoint and reports whether sessions were kept in its name.
func (t *table) remove(id usp.EndpointID) bool {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m[id]
	if e == nil {
		return false
	}
	delete(s.m, id)
	t.count.Add(-1)
	return e.keeping != keptNone
}

// isAgent reports whether an endpoint is known and an agent.
func (t *table) isAgent(id usp.EndpointID) bool {
	s := t.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.m[id]
	return e != nil && e.agent
}
