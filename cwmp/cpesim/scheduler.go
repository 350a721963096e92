package cpesim

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// scheduler knows when each CPE has something to do next: one heap entry a CPE,
// one timer for all.
type scheduler struct {
	clock Clock
	wake  chan struct{} // buffered 1: the earliest entry changed

	mu   sync.Mutex
	heap timerHeap
}

func newScheduler(clock Clock) *scheduler {
	return &scheduler{clock: clock, wake: make(chan struct{}, 1)}
}

// set has c run at a time; the zero time means never. A CPE that is at work is
// left alone: it sets its next time itself when it is done.
func (s *scheduler) set(c *CPE, at time.Time) {
	s.mu.Lock()
	s.place(c, at)
}

// done takes back a CPE that run has started, to run it again at a time.
func (s *scheduler) done(c *CPE, at time.Time) {
	s.mu.Lock()
	c.out = false
	s.place(c, at)
}

// place puts c where it belongs in the heap and unlocks.
func (s *scheduler) place(c *CPE, at time.Time) {
	switch {
	case c.out:
	case at.IsZero() && c.slot > 0:
		heap.Remove(&s.heap, c.slot-1)
	case at.IsZero():
	case c.slot > 0:
		c.due = at
		heap.Fix(&s.heap, c.slot-1)
	default:
		c.due = at
		heap.Push(&s.heap, c)
	}
	first := c.slot == 1
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// run calls start for each CPE whose time has come, until ctx ends.
func (s *scheduler) run(ctx context.Context, start func(*CPE)) {
	for {
		due, next := s.take()
		for _, c := range due {
			start(c)
		}
		expired, stop := s.clock.At(next)
		select {
		case <-ctx.Done():
			stop()
			return
		case <-s.wake:
		case <-expired:
		}
		stop()
	}
}

// take removes the CPE that are due and tells when the next is.
func (s *scheduler) take() (due []*CPE, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for len(s.heap) > 0 && !s.heap[0].due.After(now) {
		c := heap.Pop(&s.heap).(*CPE)
		c.out = true
		due = append(due, c)
	}
	if len(s.heap) == 0 {
		return due, now.Add(time.Hour)
	}
	return due, s.heap[0].due
}

// timerHeap implements heap.Interface; a CPE knows its place, counted from 1.
type timerHeap []*CPE

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i+1, j+1
}
func (h *timerHeap) Push(x any) {
	c := x.(*CPE)
	*h = append(*h, c)
	c.slot = len(*h)
}
func (h *timerHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	c.slot = 0
	return c
}
