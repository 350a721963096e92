package broker

import (
	"fmt"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/uspbridge/uspbridge/usp"
)

// sessions knows the clients that have one, connected or kept for those that are
// away. A session goes over from one connection to the next, which is another
// client to mochi.
type sessions struct {
	peers sync.Map // *mochi.Client → *peer

	mu    sync.Mutex
	of    map[usp.EndpointID]map[string]*mochi.Client // by endpoint ("": the program itself) and client id: who has the session now
	count int
}

func newSessions() *sessions {
	return &sessions{of: map[usp.EndpointID]map[string]*mochi.Client{}}
}

func (s *sessions) peer(cl *mochi.Client) *peer {
	if p, ok := s.peers.Load(cl); ok {
		return p.(*peer)
	}
	return nil
}

// enter notes a client's session, unless its endpoint has as many as it may, and
// makes the client id one of the endpoint's own.
func (s *sessions) enter(cl *mochi.Client, p *peer, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("%s\x00%t\x00%s", p.endpoint, p.proven, cl.ID)
	held := s.of[p.endpoint]
	before, kept := held[id]
	if !kept && !p.own && len(held) >= most {
		return false
	}
	if held == nil {
		held = map[string]*mochi.Client{}
		s.of[p.endpoint] = held
	}
	if !kept {
		s.count++
	}
	cl.ID, held[id], p.before = id, cl, before
	s.peers.Store(cl, p)
	return true
}

// taken forgets the client that had the session before.
func (s *sessions) taken(cl *mochi.Client) {
	if p := s.peer(cl); p != nil && p.before != nil {
		s.peers.Delete(p.before)
	}
}

// forget forgets a client, and its session unless another has that by now.
func (s *sessions) forget(cl *mochi.Client) {
	v, ok := s.peers.LoadAndDelete(cl)
	if !ok {
		return
	}
	p := v.(*peer)
	if p.before != nil {
		s.peers.Delete(p.before)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.of[p.endpoint]
	if held[cl.ID] != cl {
		return
	}
	s.count--
	if delete(held, cl.ID); len(held) == 0 {
		delete(s.of, p.endpoint)
	}
}

// len returns how many sessions there are.
func (s *sessions) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// clientsOf returns the clients of a user name.
func (s *sessions) clientsOf(username string) (all []*mochi.Client) {
	s.peers.Range(func(cl, v any) bool {
		if p := v.(*peer); !p.own && p.username == username && username != "" {
			all = append(all, cl.(*mochi.Client))
		}
		return true
	})
	return all
}
