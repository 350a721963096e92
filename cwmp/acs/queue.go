package acs

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// device is what is kept for a CPE while it has an open session or jobs wait
// for it; its shard's lock guards it.
type device struct {
	session *Session // nil: none open
	ending  bool     // session takes no more jobs
	queue   []*queued
	wake    *wake     // the connection request in flight
	wokenAt time.Time // when the CPE accepted the last one
	wakeErr error     // why the last one failed
	crowded bool      // the queue was full, and has not emptied by half since
}

// wake is one connection request in flight.
type wake struct {
	cancel context.CancelFunc
	came   bool // a session was opened meanwhile
}

// queued is a job in its CPE's queue.
type queued struct {
	ctx   context.Context
	job   Job
	nudge chan struct{} // room for one: see to it that the CPE is woken
	done  chan struct{} // closed when the job has run; err is set before
	err   error
}

type deviceShard struct {
	sync.Mutex
	devices map[cwmp.DeviceKey]*device
}

func (s *Server) deviceShard(key cwmp.DeviceKey) *deviceShard {
	return &s.devices[maphash.String(s.seed, string(key))%shards]
}

// device returns the CPE's entry, made if need be. The lock is held.
func (h *deviceShard) device(key cwmp.DeviceKey) *device {
	d := h.devices[key]
	if d == nil {
		d = &device{}
		h.devices[key] = d
	}
	return d
}

// tidy drops the entry of an idle CPE. The lock is held.
func (h *deviceShard) tidy(key cwmp.DeviceKey, d *device) {
	if d.session == nil && d.wake == nil && len(d.queue) == 0 {
		delete(h.devices, key)
	}
}

func (d *device) takesJobs() bool { return d.session != nil && !d.ending }

// nudge tells the first waiting job to wake the CPE.
func (d *device) nudge() {
	if len(d.queue) > 0 && !d.takesJobs() {
		select {
		case d.queue[0].nudge <- struct{}{}:
		default: // it has been told
		}
	}
}

// Do runs job in a session of the CPE and returns its error. If the CPE is in a
// session the job runs in it, after what is queued already; else the CPE is
// asked to open one (one connection request at a time per CPE, made in the
// goroutine of one of those who wait, repeated each WakeInterval) and the job
// waits.
//
// When ctx ends before the job has started, the job is withdrawn, never runs,
// and the error is ErrNoContact with the reason why the CPE did not come. Once
// it has started, Do returns when the job has: its ctx then ends with Do's, and
// with the session. ErrQueueFull and ErrClosed are immediate. Do must not be
// called by a Fleet method or a job for their own CPE.
func (s *Server) Do(ctx context.Context, key cwmp.DeviceKey, job Job) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.ContactTimeout)
		defer cancel()
	}
	q := &queued{ctx: ctx, job: job, nudge: make(chan struct{}, 1), done: make(chan struct{})}
	if err := s.enqueue(key, q); err != nil {
		return err
	}
	again := time.NewTicker(s.cfg.WakeInterval)
	defer again.Stop()
	for {
		select {
		case <-q.done:
			return q.err
		case <-q.nudge:
			s.wake(ctx, key)
			continue
		case <-again.C: // the last request failed or got lost
			s.wake(ctx, key)
			continue
		case <-s.closed:
		case <-ctx.Done():
		}
		if err, withdrawn := s.withdraw(key, q); withdrawn {
			return err
		}
		<-q.done // it has started: its session ends it by ctx
		return q.err
	}
}

func (s *Server) enqueue(key cwmp.DeviceKey, q *queued) error {
	if err := q.ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w: %w", key, ErrNoContact, err)
	}
	shard := s.deviceShard(key)
	shard.Lock()
	defer shard.Unlock()
	if s.closing.Load() {
		return ErrClosed
	}
	d := shard.device(key)
	if len(d.queue) >= s.cfg.QueueDepth {
		s.metrics.jobsRefused.Inc()
		if !d.crowded {
			d.crowded = true
			s.log.Warn("limit reached: more operations on this CPE are refused until some have ended",
				"limit", "cwmp.limits.queue", "value", s.cfg.QueueDepth, "device", string(key))
		}
		return fmt.Errorf("%s: %w (%d)", key, ErrQueueFull, len(d.queue))
	}
	d.queue = append(d.queue, q)
	if !d.takesJobs() {
		q.nudge <- struct{}{}
	}
	return nil
}

// withdraw takes a job that has not been started out of the queue.
func (s *Server) withdraw(key cwmp.DeviceKey, q *queued) (err error, withdrawn bool) {
	shard := s.deviceShard(key)
	shard.Lock()
	defer shard.Unlock()
	d := shard.devices[key]
	if d == nil {
		return nil, false
	}
	i := slices.Index(d.queue, q)
	if i < 0 {
		return nil, false
	}
	s.dequeue(key, d, i)
	defer shard.tidy(key, d)
	d.nudge() // if q was to wake the CPE, the next one is now
	switch {
	case s.closing.Load():
		return ErrClosed, true
	case d.session != nil:
		return fmt.Errorf("%s: the CPE is in a session, but other operations took all the time: %w: %w", key, ErrNoContact, q.ctx.Err()), true
	case d.wakeErr != nil:
		return fmt.Errorf("%s: %w: %w", key, ErrNoContact, d.wakeErr), true
	}
	return fmt.Errorf("%s: %w: it accepted the connection request but has not come: %w", key, ErrNoContact, q.ctx.Err()), true
}

// wake makes a connection request unless one is in flight or was accepted just
// now. An admitted session cuts it short.
func (s *Server) wake(ctx context.Context, key cwmp.DeviceKey) {
	shard := s.deviceShard(key)
	shard.Lock()
	d := shard.devices[key]
	if d == nil || s.closing.Load() || d.takesJobs() || d.wake != nil ||
		time.Since(d.wokenAt) < s.cfg.WakeInterval || ctx.Err() != nil {
		shard.Unlock()
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	this := &wake{cancel: cancel}
	d.wake = this
	shard.Unlock()

	err := s.callWake(ctx, key)
	gaveUp := ctx.Err() != nil
	cancel()

	shard.Lock()
	defer shard.Unlock()
	d.wake = nil
	if this.came {
		err = nil // whatever became of the request
	} else if err == nil {
		d.wokenAt = time.Now()
	}
	d.wakeErr = err
	if this.came || gaveUp {
		d.nudge() // who was told to wake the CPE meanwhile found this request in flight
	}
	shard.tidy(key, d)
}

// callWake shields the callers of Do from a panic of the Fleet.
func (s *Server) callWake(ctx context.Context, key cwmp.DeviceKey) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = s.log.panicked(key, "connection request", p)
		}
	}()
	return s.cfg.Fleet.Wake(ctx, key)
}

// next takes the next job for the session out of its CPE's queue. With none
// left, or last set, the session takes no more: that is settled under the lock,
// so that a job either gets in or wakes the CPE anew.
func (s *Server) next(x *Session, last bool) *queued {
	shard := s.deviceShard(x.key)
	shard.Lock()
	defer shard.Unlock()
	d := shard.devices[x.key]
	if d == nil || d.session != x {
		return nil // a newer session has taken over
	}
	// Those whose ctx has ended withdraw themselves.
	i := slices.IndexFunc(d.queue, func(q *queued) bool { return q.ctx.Err() == nil })
	if last || i < 0 {
		d.ending = true
		d.nudge()
		return nil
	}
	q := d.queue[i]
	s.dequeue(x.key, d, i)
	return q
}

// dequeue takes the i-th job out of a queue. The lock is held.
func (s *Server) dequeue(key cwmp.DeviceKey, d *device, i int) {
	d.queue = slices.Delete(d.queue, i, i+1)
	if d.crowded && len(d.queue) <= s.cfg.QueueDepth/2 {
		d.crowded = false
		s.log.Info("limit no longer reached", "limit", "cwmp.limits.queue", "value", s.cfg.QueueDepth, "device", string(key))
	}
}
