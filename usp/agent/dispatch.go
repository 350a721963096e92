package agent

import (
	"hash/maphash"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
)

// dispatcher runs the messages of all agents on a bounded number of goroutines,
// which exist only while there is work. Agents take turns; none gets more than
// its share, so that one whose device is slow delays no other.
type dispatcher struct {
	seed   maphash.Seed
	shards [dispatchShards]dispatchShard

	perAgent, queue int
	run             func(id usp.EndpointID, job any)
	wg              sync.WaitGroup
}

const dispatchShards = 16

type dispatchShard struct {
	mu      sync.Mutex
	queues  map[usp.EndpointID]*agentQueue
	ready   []*agentQueue // with jobs, and fewer running than allowed
	workers int
	most    int
}

// agentQueue is what waits and runs for one agent; it is there only as long as
// there is something.
type agentQueue struct {
	id      usp.EndpointID
	jobs    []any
	running int
	queued  bool // in ready
}

func newDispatcher(lim Limits, run func(usp.EndpointID, any)) *dispatcher {
	d := &dispatcher{seed: maphash.MakeSeed(), perAgent: lim.AgentWorkers, queue: lim.AgentQueue, run: run}
	for i := range d.shards {
		d.shards[i].queues = map[usp.EndpointID]*agentQueue{}
		d.shards[i].most = max(1, (lim.Workers+dispatchShards-1)/dispatchShards)
	}
	return d
}

func (d *dispatcher) shard(id usp.EndpointID) *dispatchShard {
	return &d.shards[maphash.String(d.seed, string(id))%dispatchShards]
}

// submit queues a job of an agent. It returns false if the agent has as much to
// do as it may.
func (d *dispatcher) submit(id usp.EndpointID, job any) bool {
	s := d.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[id]
	if q == nil {
		q = &agentQueue{id: id}
		s.queues[id] = q
	}
	if len(q.jobs)+q.running >= d.queue {
		return false
	}
	q.jobs = append(q.jobs, job)
	if !q.queued && q.running < d.perAgent {
		q.queued = true
		s.ready = append(s.ready, q)
	}
	if s.workers < s.most && len(s.ready) > 0 {
		s.workers++
		d.wg.Add(1)
		go d.work(s)
	}
	return true
}

// work runs jobs until there are none.
func (d *dispatcher) work(s *dispatchShard) {
	defer d.wg.Done()
	s.mu.Lock()
	for len(s.ready) > 0 {
		q := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		job := q.jobs[0]
		q.jobs[0] = nil
		q.jobs = q.jobs[1:]
		q.running++
		q.queued = len(q.jobs) > 0 && q.running < d.perAgent
		if q.queued {
			s.ready = append(s.ready, q)
		}
		s.mu.Unlock()
		d.run(q.id, job)
		s.mu.Lock()
		q.running--
		switch {
		case len(q.jobs) > 0 && !q.queued:
			q.queued = true
			s.ready = append(s.ready, q)
		case len(q.jobs) == 0 && q.running == 0:
			delete(s.queues, q.id)
		}
	}
	s.workers--
	s.mu.Unlock()
}

// wait returns when nothing runs any more.
func (d *dispatcher) wait() { d.wg.Wait() }
