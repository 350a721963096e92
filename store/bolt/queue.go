package bolt

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/store"
)

// request is one batch on its way to the disk.
type request struct {
	ops   []store.Op
	size  int
	state atomic.Uint32   // queued, taken or withdrawn
	err   error           // outcome, set by the writer before it answers
	ready chan struct{}   // Commit: closed when err is set
	done  func(err error) // Enqueue: may be nil
}

// The states of a request. Only a queued one can be withdrawn.
const (
	queued uint32 = iota
	taken
	withdrawn
)

// queue collects requests for the writer, in order.
type queue struct {
	mu     sync.Mutex
	items  []*request
	bytes  int
	limit  int
	closed bool
	wake   chan struct{} // capacity 1: there is something to do
	room   chan struct{} // closed and replaced when the writer has taken something
}

func (q *queue) init(limit int) {
	q.limit = limit
	q.wake = make(chan struct{}, 1)
	q.room = make(chan struct{})
}

// push adds r, waiting for room until ctx ends. A batch larger than the whole
// queue is let in when the queue is empty.
func (q *queue) push(ctx context.Context, r *request) error {
	for {
		room, err := q.tryPush(r)
		if room == nil || err != nil {
			return err
		}
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("store: waiting for room in the queue: %w", context.Cause(ctx))
		}
	}
}

// tryPush adds r if there is room. If there is none it returns a channel that
// is closed when it is worth another try.
func (q *queue) tryPush(r *request) (room <-chan struct{}, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, store.ErrClosed
	case q.bytes > 0 && q.bytes+r.size > q.limit:
		return q.room, nil
	}
	q.items = append(q.items, r)
	q.bytes += r.size
	q.signal()
	return nil, nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take waits for requests and returns as many as fit into one transaction; nil
// when the queue is shut and empty.
func (q *queue) take(group []*request, batches, bytes int) []*request {
	for {
		q.mu.Lock()
		if len(q.items) > 0 {
			n, size := 0, 0
			for n < len(q.items) && n < batches && (n == 0 || size+q.items[n].size <= bytes) {
				size += q.items[n].size
				n++
			}
			group = append(group[:0], q.items[:n]...)
			rest := copy(q.items, q.items[n:])
			clear(q.items[rest:])
			q.items = q.items[:rest]
			q.bytes -= size
			close(q.room)
			q.room = make(chan struct{})
			q.mu.Unlock()
			return group
		}
		shut := q.closed
		q.mu.Unlock()
		if shut {
			return nil
		}
		<-q.wake
	}
}

// shut refuses further requests; those queued are still taken.
func (q *queue) shut() {
	q.mu.Lock()
	q.closed = true
	close(q.room)
	q.room = make(chan struct{})
	q.mu.Unlock()
	q.signal()
}

// waiting returns the bytes in the queue.
func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
