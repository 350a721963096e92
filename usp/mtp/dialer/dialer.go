package dialer

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The bounds of a Dialer of which nothing is configured. A fleet's sessions are
// opened at a pace that a controller with TLS bears: 10,000 in under two minutes.
const (
	DefaultRate       = 100
	DefaultConcurrent = 64
	DefaultMax        = 50_000
	DefaultTimeout    = 30 * time.Second
)

// Pair is two endpoints that are to have a session.
type Pair struct{ Local, Peer usp.EndpointID }

// Session is a session that was opened.
type Session interface {
	// Close ends it in an orderly way. It must not block.
	Close(reason string)
	Closed() bool
}

// Opener is the transport.
type Opener interface {
	// Open opens a session. Once it has returned one, the transport calls Ended
	// behind the session's end, at which Closed is true.
	Open(ctx context.Context, p Pair, to mtp.Target) (Session, error)
	// Joined reports whether the pair has a session, whoever has opened it.
	Joined(p Pair) bool
}

// Config says how sessions are opened. Zero values have the defaults above.
type Config struct {
	Rate       int           // tries begun in a second
	Concurrent int           // tries under way
	Max        int           // sessions open that were opened here
	Timeout    time.Duration // of one try

	Log    *slog.Logger // nil: nothing is logged
	Failed func(error)  // told why a try has failed; must not block; may be nil
}

// Dialer keeps sessions. It implements mtp.Dialing.
type Dialer struct {
	cfg    Config
	opener Opener
	wake   chan struct{}

	mu      sync.Mutex
	pairs   map[Pair]*entry
	due     dueHeap // pairs that wait, by time
	queue   queue   // pairs whose time has come
	trying  int
	guests  int // of those
	open    int
	nextTry time.Time // when the pace allows one more
	tries   sync.WaitGroup
}

// state is where a pair stands.
type state byte

const (
	waiting state = iota // in due, for its next try
	queued               // in queue
	trying               // a try is under way
	joined               // it has a session
	gone                 // Hang was called while a try was under way
)

// entry is one pair.
type entry struct {
	pair    Pair
	to      mtp.Target
	state   state
	session Session // of ours, while joined by it
	moved   bool    // the session is being closed for another URL: no wait is due
	retries int     // since the last session
	at      time.Time
	index   int // in due
}

// New returns a Dialer for a transport. It opens nothing until Run runs.
func New(cfg Config, opener Opener) (*Dialer, error) {
	if cfg.Rate < 0 || cfg.Concurrent < 0 || cfg.Max < 0 || cfg.Timeout < 0 {
		return nil, errors.New("dialer: a negative limit; leave it 0 for the default")
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&cfg.Rate, DefaultRate}, {&cfg.Concurrent, DefaultConcurrent}, {&cfg.Max, DefaultMax}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	return &Dialer{cfg: cfg, opener: opener, wake: make(chan struct{}, 1), pairs: map[Pair]*entry{}}, nil
}

// Dial implements mtp.Dialing. Another URL than before ends the session to the
// old one.
func (d *Dialer) Dial(local, peer usp.EndpointID, to mtp.Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := Pair{local, peer}
	e := d.pairs[p]
	if e == nil {
		e = &entry{pair: p, to: to, index: -1}
		d.pairs[p] = e
		d.wait(e, 0)
		return
	}
	moved := e.to.URL != to.URL
	e.to = to
	if !moved {
		return
	}
	e.retries = 0
	switch e.state {
	case waiting:
		d.wait(e, 0)
	case joined:
		if e.session != nil {
			d.move(e)
		}
	}
}

// move closes a session that goes to a URL of before; Ended does the rest.
func (d *Dialer) move(e *entry) {
	e.moved = true
	e.session.Close("the controller has another address")
}

// Hang implements mtp.Dialing.
func (d *Dialer) Hang(local, peer usp.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := Pair{local, peer}
	e := d.pairs[p]
	if e == nil {
		return
	}
	delete(d.pairs, p)
	if e.index >= 0 {
		heap.Remove(&d.due, e.index)
	}
	e.state = gone // where the queue or a try still has it
	if e.session != nil {
		d.leave(e).Close("the controller is not to be connected to any more")
	}
}

// Again implements mtp.Dialing.
func (d *Dialer) Again(local, peer usp.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.pairs[Pair{local, peer}]; e != nil && e.state == waiting {
		e.retries = 0
		d.wait(e, 0)
	}
}

// Retries implements mtp.Dialing.
func (d *Dialer) Retries(local, peer usp.EndpointID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.pairs[Pair{local, peer}]; e != nil {
		return e.retries
	}
	return 0
}

// Wanted returns how many sessions are to be kept, and how many of them are open
// that were opened here.
func (d *Dialer) Wanted() (wanted, open int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.pairs), d.open
}

// Ended tells that a session of the pair has ended, whoever had opened it.
func (d *Dialer) Ended(p Pair) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.pairs[p]
	if e == nil || e.state != joined || e.session != nil && !e.session.Closed() {
		return
	}
	d.leave(e)
	if e.moved {
		e.moved = false
		d.wait(e, 0)
		return
	}
	d.retry(e)
}

// leave takes the session that was opened here from e.
func (d *Dialer) leave(e *entry) Session {
	s := e.session
	if s != nil {
		e.session = nil
		d.open--
		d.poke() // there is room for one more
	}
	return s
}

// retry has e wait for its next try.
func (d *Dialer) retry(e *entry) {
	e.retries++
	d.wait(e, e.to.Retry.Wait(e.retries))
}

// wait puts e into due.
func (d *Dialer) wait(e *entry, how time.Duration) {
	e.state, e.at = waiting, time.Now().Add(how)
	if e.index >= 0 {
		heap.Fix(&d.due, e.index)
	} else {
		heap.Push(&d.due, e)
	}
	if e.index == 0 {
		d.poke()
	}
}

func (d *Dialer) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run opens sessions until ctx ends, and waits for the tries that are under way.
// The sessions are the transport's to close.
func (d *Dialer) Run(ctx context.Context) {
	defer d.tries.Wait()
	for {
		pause := d.work(ctx)
		var alarm <-chan time.Time
		if pause >= 0 {
			alarm = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-alarm:
		}
	}
}

// work begins the tries whose time has come and that the bounds allow. It returns
// how long there is nothing to do, less than 0 for until poke.
func (d *Dialer) work(ctx context.Context) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for len(d.due) > 0 && !d.due[0].at.After(now) {
		e := heap.Pop(&d.due).(*entry)
		e.state = queued
		d.queue.add(e)
	}
	for d.trying < d.cfg.Concurrent && d.open+d.trying < d.cfg.Max && !d.nextTry.After(now) {
		// One controller that does not answer is not to have all tries wait for it.
		e := d.queue.next(d.guests < max(d.cfg.Concurrent/2, 1))
		if e == nil {
			break
		}
		if e.state == queued && !d.alreadyJoined(e) {
			d.nextTry = now.Add(time.Second / time.Duration(d.cfg.Rate))
			d.try(ctx, e)
		}
	}
	pause := time.Duration(-1)
	if len(d.due) > 0 {
		pause = max(d.due[0].at.Sub(now), 0)
	}
	if d.queue.waits() && d.nextTry.After(now) {
		if p := d.nextTry.Sub(now); pause < 0 || p < pause {
			pause = p
		}
	}
	return pause
}

// alreadyJoined reports whether the pair has a session, which then counts as ours.
// Ended of one that ends meanwhile waits for d.mu, and so finds the pair joined.
func (d *Dialer) alreadyJoined(e *entry) bool {
	if !d.opener.Joined(e.pair) {
		return false
	}
	e.state, e.retries = joined, 0
	return true
}

// try begins a try for e.
func (d *Dialer) try(ctx context.Context, e *entry) {
	e.state = trying
	d.trying++
	to := e.to
	if to.Guest {
		d.guests++
	}
	d.tries.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
		defer cancel()
		s, err := d.opener.Open(ctx, e.pair, to)
		d.tried(e, to, s, err)
	})
}

// tried takes what came of a try.
func (d *Dialer) tried(e *entry, to mtp.Target, s Session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trying--
	if to.Guest {
		d.guests--
	}
	d.poke()
	if err != nil {
		if e.state == gone {
			return
		}
		d.retry(e)
		d.cfg.Failed(fmt.Errorf("%s to %s at %s: %w", e.pair.Local, e.pair.Peer, to.URL, err))
		d.cfg.Log.Info("controller cannot be connected to", "agent", string(e.pair.Local), "controller", string(e.pair.Peer), "url", to.URL,
			"error", err, "next try in", time.Until(e.at).Round(time.Second))
		return
	}
	if e.state == gone {
		s.Close("the controller is not to be connected to any more")
		return
	}
	e.state, e.retries = joined, 0 // R-WS.20
	e.session = s
	d.open++
	switch {
	case s.Closed():
		d.leave(e)
		d.retry(e)
	case e.to.URL != to.URL:
		d.move(e)
	}
}

// dueHeap has waiting pairs, the next first (container/heap).
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is of heap.Interface.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop is of heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.index = -1
	return e
}
