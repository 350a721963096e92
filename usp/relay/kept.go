package relay

import (
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// What the table has of an agent in whose name sessions are kept: that they are,
// and which are open.

// keeping says whether sessions are kept in the name of an endpoint.
type keeping uint8

const (
	keptNone    keeping = iota
	kept                // they are
	keptLeaving         // they are until the next sweep, if the agent stays away
)

// session is a connection of a controller with an agent.
type session struct {
	peer usp.EndpointID
	on   mtp.Protocol
	conn any // mtp.Address.Conn
}

func (s session) address() mtp.Address { return mtp.Address{Protocol: s.on, Conn: s.conn} }

// keep notes that sessions are kept in the name of an agent from now on, and reports
// whether that is new.
func (t *table) keep(id usp.EndpointID) bool {
	return t.alter(id, func(e *endpoint) bool {
		if !e.agent || e.keeping != keptNone {
			return false
		}
		e.keeping = kept
		return true
	})
}

// release is the reverse of keep.
func (t *table) release(id usp.EndpointID) bool {
	return t.alter(id, func(e *endpoint) bool {
		was := e.keeping
		e.keeping = keptNone
		return was != keptNone
	})
}

// keeps reports whether sessions are kept in the name of an endpoint.
func (t *table) keeps(id usp.EndpointID) bool {
	s := t.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.m[id]
	return e != nil && e.keeping != keptNone
}

// settle returns the agents of a shard in whose name sessions are kept: those that
// stay, and those that were not present twice running.
func (t *table) settle(shard int, present func(usp.EndpointID, *endpoint) bool) (stay, gone []usp.EndpointID) {
	s := &t.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.m {
		switch {
		case e.keeping == keptNone:
		case present(id, e):
			e.keeping = kept
			stay = append(stay, id)
		case e.keeping == keptLeaving:
			gone = append(gone, id)
		default:
			e.keeping = keptLeaving
			stay = append(stay, id)
		}
	}
	return stay, gone
}

// admit makes an endpoint known as an agent that was never heard.
func (t *table) admit(id usp.EndpointID) error {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := t.known(s, id)
	if err == nil {
		e.agent = true
	}
	return err
}

// join notes an agent's session. The newest with a peer is the one in use.
func (t *table) join(id usp.EndpointID, n session) bool {
	return t.alter(id, func(e *endpoint) bool {
		e.sessions = append(slices.DeleteFunc(e.sessions, func(o session) bool { return o.peer == n.peer }), n)
		return true
	})
}

// parted forgets a session that has ended.
func (t *table) parted(id usp.EndpointID, conn any) {
	t.alter(id, func(e *endpoint) bool {
		e.sessions = slices.DeleteFunc(e.sessions, func(o session) bool { return o.conn == conn })
		return true
	})
}

// session returns that of an agent with a peer.
func (t *table) session(id, peer usp.EndpointID) (mtp.Address, bool) {
	s := t.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.m[id]; e != nil {
		for _, o := range e.sessions {
			if o.peer == peer {
				return o.address(), true
			}
		}
	}
	return mtp.Address{}, false
}

// open counts the sessions that are.
func (t *table) open() (n int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, e := range s.m {
			n += int64(len(e.sessions))
		}
		s.mu.RUnlock()
	}
	return n
}
