package relay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
)

const (
	laneShards = 16
	// maxWaiting and maxWaitingBytes bound what waits for one transport, or for one
	// controller that the bridge connects to, so that a broker that blocks, or a
	// controller that is away, takes its own share of memory only.
	maxWaiting      = 4096
	maxWaitingBytes = 64 << 20
)

// job is something to be done about a sender and a receiver.
type job struct {
	kind   jobKind
	env    record.Envelope
	record []byte       // of jobPass
	at     mtp.Address  // of jobGreet: the receiver's new connection
	via    mtp.Protocol // where it came from
	moved  bool         // the sender is new or somewhere else than before
}

type jobKind uint8

const (
	jobPass   jobKind = iota // the record on
	jobGreet                 // the receiver with a Connect record
	jobListen                // for the sender, which has come by a connection
	jobDrain                 // what waits for the receiver
)

// lanes keep the order of records between two endpoints, while no two endpoints
// wait for others. A lane and its goroutine are there only while it has a record.
type lanes struct {
	run     func(job)
	seed    maphash.Seed
	shards  [laneShards]laneShard
	waiting map[string]*waiting // by the receiver's transport, or the receiver; fixed
	wg      sync.WaitGroup
}

type laneShard struct {
	mu    sync.Mutex
	lanes map[ends][]laneJob
}

// ends names a lane.
type ends struct{ from, to usp.EndpointID }

type laneJob struct {
	job
	on *waiting
}

type waiting struct{ records, bytes atomic.Int64 }

// newLanes has bounds of their own for the transports and for the receivers named.
func newLanes(transports []mtp.Transport, run func(job), receivers ...usp.EndpointID) *lanes {
	l := &lanes{run: run, seed: maphash.MakeSeed(), waiting: map[string]*waiting{"": {}}}
	for _, t := range transports {
		l.waiting[string(t.Protocol())] = new(waiting)
	}
	for _, id := range receivers {
		l.waiting[string(id)] = new(waiting)
	}
	for i := range l.shards {
		l.shards[i].lanes = map[ends][]laneJob{}
	}
	return l
}

// submit queues a job whose receiver has a bound of its own, or is reached by a
// transport that has. It returns false if too much waits for that.
func (l *lanes) submit(bound string, j job) bool {
	on := l.waiting[bound]
	if on == nil {
		on = l.waiting[""]
	}
	records, bytes := on.records.Add(1), on.bytes.Add(int64(len(j.record)))
	if records > maxWaiting || bytes > maxWaitingBytes {
		on.done(j)
		return false
	}
	key := ends{j.env.From, j.env.To}
	s := &l.shards[maphash.Comparable(l.seed, key)%laneShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	queue, busy := s.lanes[key]
	s.lanes[key] = append(queue, laneJob{j, on})
	if !busy {
		l.wg.Go(func() { l.drive(s, key) })
	}
	return true
}

func (w *waiting) done(j job) {
	w.records.Add(-1)
	w.bytes.Add(-int64(len(j.record)))
}

// drive works a lane off.
func (l *lanes) drive(s *laneShard, key ends) {
	for {
		s.mu.Lock()
		queue := s.lanes[key]
		if len(queue) == 0 {
			delete(s.lanes, key)
			s.mu.Unlock()
			return
		}
		j := queue[0]
		queue[0] = laneJob{}
		s.lanes[key] = queue[1:]
		s.mu.Unlock()
		l.run(j.job)
		j.on.done(j.job)
	}
}

// wait returns when nothing is under way any more.
func (l *lanes) wait() { l.wg.Wait() }
