package agent

import (
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/usp"
)

// agent is one agent in memory. It can be dropped whenever nobody has it pinned;
// all that must last is in the store.
type agent struct {
	id    usp.EndpointID
	state atomic.Pointer[state]
	write sync.Mutex // orders Set, Add, Delete, Operate and the agent's own changes

	mu      sync.Mutex
	cancels map[uint32]context.CancelFunc // running operations, by Request instance
	handled map[string]struct{}           // requests in work, by sender and msg_id
	sending map[string]bool               // notifications on their way into the store: already acknowledged?
	waiting waitings                      // notifications that wait for their response, in order
	last    map[lastKey]string            // value last notified, by subscription and parameter
	proofs  map[proofKey]proof            // certificates judged a moment ago
	rows    map[rowEvent]bool             // of which the Model has told while a controller changes something; nil: none does

	connecting sync.Mutex // orders what transports are given for the agent's connections

	watching sync.Mutex
	watched  string // fingerprint of what the Model was last told to watch

	pins    int // guarded by the shard
	element *list.Element
	load    sync.Once
	loadErr error
}

// cancel ends a running operation and reports whether there is one.
func (a *agent) cancel(request uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	end := a.cancels[request]
	if end == nil {
		return false
	}
	end()
	return true
}

// runs reports whether an operation runs in this process.
func (a *agent) runs(request uint32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, runs := a.cancels[request]
	return runs
}

// beginRequest notes that a request is in work; it returns false if the same one
// already is (TR-369 R-MSG.4).
func (a *agent) beginRequest(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, twice := a.handled[key]; twice {
		return false
	}
	if a.handled == nil {
		a.handled = map[string]struct{}{}
	}
	a.handled[key] = struct{}{}
	return true
}

func (a *agent) endRequest(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.handled, key)
}

// agents keeps the agents lately used in memory, up to a number.
type agents struct {
	host   *Host
	seed   maphash.Seed
	shards [agentShards]agentShard
	most   int // per shard
}

const agentShards = 32

type agentShard struct {
	mu   sync.Mutex
	byID map[usp.EndpointID]*agent
	used list.List // of *agent, the latest first
}

func newAgents(h *Host) *agents {
	s := &agents{host: h, seed: maphash.MakeSeed(), most: max(1, h.cfg.Limits.Agents/agentShards)}
	for i := range s.shards {
		s.shards[i].byID = map[usp.EndpointID]*agent{}
		s.shards[i].used.Init()
	}
	return s
}

func (s *agents) shard(id usp.EndpointID) *agentShard {
	return &s.shards[maphash.String(s.seed, string(id))%agentShards]
}

// acquire returns an agent, loaded, and pins it in memory until release.
func (s *agents) acquire(ctx context.Context, id usp.EndpointID) (*agent, error) {
	a := s.pin(id)
	a.load.Do(func() {
		var st *state
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.host.cfg.Deadline)
		defer cancel()
		if a.waiting, a.loadErr = s.host.loadWaiting(ctx, id); a.loadErr != nil {
			return
		}
		if st, a.loadErr = s.host.load(ctx, id); a.loadErr == nil {
			a.state.Store(st)
		}
	})
	if err := a.loadErr; err != nil {
		s.forget(a)
		s.release(a)
		return nil, err
	}
	return a, nil
}

func (s *agents) pin(id usp.EndpointID) *agent {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.byID[id]
	if a == nil {
		a = &agent{id: id}
		sh.byID[id] = a
		a.element = sh.used.PushFront(a)
	} else {
		sh.used.MoveToFront(a.element)
	}
	a.pins++
	return a
}

// repin pins an agent once more.
func (s *agents) repin(a *agent) {
	sh := s.shard(a.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a.pins++
}

func (s *agents) release(a *agent) {
	sh := s.shard(a.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a.pins--
	for e := sh.used.Back(); e != nil && sh.used.Len() > s.most; {
		old := e.Value.(*agent)
		e = e.Prev()
		if old.pins == 0 {
			sh.used.Remove(old.element)
			delete(sh.byID, old.id)
		}
	}
}

// forget drops an agent, so that the next use loads it again.
func (s *agents) forget(a *agent) {
	sh := s.shard(a.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byID[a.id] == a {
		delete(sh.byID, a.id)
		sh.used.Remove(a.element)
	}
}

// loaded returns an agent that is in memory already, nil if it is not. It is not
// pinned; only its state may be looked at.
func (s *agents) loaded(id usp.EndpointID) *agent {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if a := sh.byID[id]; a != nil && a.state.Load() != nil {
		return a
	}
	return nil
}
