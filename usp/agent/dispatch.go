package agent

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
)

// dispatcher runs the jobs of many queues on a bounded number of goroutines, which
// exist only while there is work. Queues take turns; none gets more than its share,
// so that one whose device or peer is slow delays no other. With source set the same
// holds inside a queue: no source has all its room.
type dispatcher[K comparable, J any] struct {
	seed   maphash.Seed
	shards [dispatchShards]dispatchShard[K, J]

	dispatchLimits
	run    func(K, J)
	source func(J) usp.EndpointID // nil: all jobs of a queue are one's
	size   func(J) int            // what a job counts for where room is limited; nil: 1
	wg     sync.WaitGroup
}

// dispatchLimits bound a dispatcher.
type dispatchLimits struct {
	workers int // jobs run at once
	atOnce  int // of these, of one queue
	queue   int // jobs waiting or running, of one queue, before another is taken
	total   int // the same, of all queues; 0: as many as there are queues for
}

const dispatchShards = 16

type dispatchShard[K comparable, J any] struct {
	mu      sync.Mutex
	queues  map[K]*jobQueue[K, J]
	ready   []*jobQueue[K, J] // with a job that may run
	held    int               // size of all jobs
	workers int
}

// jobQueue is what waits and runs under one key; it is there only as long as there
// is something.
type jobQueue[K comparable, J any] struct {
	key     K
	jobs    []J
	running []usp.EndpointID // sources
	held    int              // size of all jobs
	ready   bool
}

func newDispatcher[K comparable, J any](lim dispatchLimits, run func(K, J)) *dispatcher[K, J] {
	d := &dispatcher[K, J]{seed: maphash.MakeSeed(), dispatchLimits: lim, run: run}
	for i := range d.shards {
		d.shards[i].queues = map[K]*jobQueue[K, J]{}
	}
	return d
}

func (d *dispatcher[K, J]) shard(key K) *dispatchShard[K, J] {
	return &d.shards[maphash.Comparable(d.seed, key)%dispatchShards]
}

// perShard is a limit's share of one shard.
func perShard(n int) int { return max(1, (n+dispatchShards-1)/dispatchShards) }

// share is how much one source gets of what a queue has n of.
func (d *dispatcher[K, J]) share(n int) int {
	if d.source == nil {
		return n
	}
	return n - n/4
}

func (d *dispatcher[K, J]) from(job J) (source usp.EndpointID) {
	if d.source != nil {
		source = d.source(job)
	}
	return source
}

// submit queues a job. It returns false if there are as many as there may be.
func (d *dispatcher[K, J]) submit(key K, job J) bool {
	s := d.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[key]
	if q == nil {
		q = &jobQueue[K, J]{key: key}
	}
	if d.total > 0 && s.held >= perShard(d.total) || q.held >= d.queue || d.hogs(q, d.from(job)) {
		return false
	}
	s.queues[key] = q
	q.jobs = append(q.jobs, job)
	d.hold(s, q, d.sizeOf(job))
	d.rouse(s, q)
	if s.workers < perShard(d.workers) && len(s.ready) > 0 {
		s.workers++
		d.wg.Add(1)
		go d.work(s)
	}
	return true
}

func (d *dispatcher[K, J]) sizeOf(job J) int {
	if d.size == nil {
		return 1
	}
	return d.size(job)
}

// hold counts what a queue has more, or less.
func (d *dispatcher[K, J]) hold(s *dispatchShard[K, J], q *jobQueue[K, J], size int) {
	s.held += size
	q.held += size
}

// hogs reports whether a source has its share of a queue.
func (d *dispatcher[K, J]) hogs(q *jobQueue[K, J], source usp.EndpointID) bool {
	if len(q.jobs)+len(q.running) < d.share(d.queue) {
		return false
	}
	n := q.runningOf(source)
	for _, job := range q.jobs {
		if d.from(job) == source {
			n++
		}
	}
	return n >= d.share(d.queue)
}

func (q *jobQueue[K, J]) runningOf(source usp.EndpointID) (n int) {
	for _, s := range q.running {
		if s == source {
			n++
		}
	}
	return n
}

// next returns which job of a queue may run now, the oldest of those, -1 if none may.
func (d *dispatcher[K, J]) next(q *jobQueue[K, J]) int {
	if len(q.running) >= d.atOnce {
		return -1
	}
	return slices.IndexFunc(q.jobs, func(job J) bool { return q.runningOf(d.from(job)) < d.share(d.atOnce) })
}

// rouse makes a queue ready if one of its jobs may run.
func (d *dispatcher[K, J]) rouse(s *dispatchShard[K, J], q *jobQueue[K, J]) {
	if !q.ready && d.next(q) >= 0 {
		q.ready = true
		s.ready = append(s.ready, q)
	}
}

// work runs jobs until there are none.
func (d *dispatcher[K, J]) work(s *dispatchShard[K, J]) {
	defer d.wg.Done()
	s.mu.Lock()
	for len(s.ready) > 0 {
		q := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		q.ready = false
		i := d.next(q)
		job := q.jobs[i]
		q.jobs = slices.Delete(q.jobs, i, i+1)
		source := d.from(job)
		q.running = append(q.running, source)
		d.rouse(s, q)
		s.mu.Unlock()
		d.run(q.key, job)
		s.mu.Lock()
		d.hold(s, q, -d.sizeOf(job))
		i = slices.Index(q.running, source)
		q.running = slices.Delete(q.running, i, i+1)
		d.rouse(s, q)
		if len(q.jobs) == 0 && len(q.running) == 0 {
			delete(s.queues, q.key)
		}
	}
	s.workers--
	s.mu.Unlock()
}

// wait returns when nothing runs any more.
func (d *dispatcher[K, J]) wait() { d.wg.Wait() }
