package e2e

import (
	"container/heap"
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Table is the peers of a program: those with which there are sessions, or were
// not long ago. There are at most so many; the least recently used go.
type Table struct {
	cfg    TableConfig
	seed   maphash.Seed
	shards [tableShards]tableShard
	wake   chan struct{}
	open   atomic.Int64 // sessions
}

// TableConfig is what a Table needs.
type TableConfig struct {
	Peers    int // at most in memory (default 65536)
	Limits   Limits
	Identity func(Pair) Identity // nil, or returning nil: there are no certificates
	Now      func() time.Time
	// Due is called by Run, or in Work, for a peer whose Tick had something
	// to do, and for one that has to go with its session, with the Disconnect that
	// tells of it. The peer is locked: nothing else is sent to it meanwhile.
	Due func(Pair, *Peer, Result)
	// Work has what Run has to do with a peer done elsewhere, and returns at once:
	// false if there is no room for it now. nil: Run does it, some at a time.
	Work func(pair Pair, do func()) bool
}

const tableShards = 32

const defaultPeers = 65536

type tableShard struct {
	mu     sync.Mutex
	byPair map[Pair]*entry
	used   list.List // of *entry, the latest first
	due    deadlines
	// leaving are those that had to make room while they had a session: Run ends it
	// and tells the peer, unless it is used again before. No more than there may be
	// in used.
	leaving list.List // of *entry
}

// entry is a peer in the table.
type entry struct {
	pair Pair
	mu   sync.Mutex
	peer *Peer

	// Guarded by the shard.
	pins    int
	element *list.Element // in used or leaving; nil while its session is being ended
	leaving bool
	handed  bool      // leaving, and given to Work
	at      time.Time // when it is due; zero: never
	index   int       // in deadlines, -1: not there
	status  Status
	retries int
}

// NewTable returns an empty Table.
func NewTable(cfg TableConfig) *Table {
	if cfg.Peers <= 0 {
		cfg.Peers = defaultPeers
	}
	t := &Table{cfg: cfg, seed: maphash.MakeSeed(), wake: make(chan struct{}, 1)}
	for i := range t.shards {
		t.shards[i].byPair = map[Pair]*entry{}
	}
	return t
}

func (t *Table) shard(pair Pair) *tableShard {
	return &t.shards[maphash.Comparable(t.seed, pair)%tableShards]
}

// With calls f with a peer, which nobody else has meanwhile.
func (t *Table) With(pair Pair, f func(*Peer)) {
	sh := t.shard(pair)
	sh.mu.Lock()
	e := sh.byPair[pair]
	if e == nil {
		var id Identity
		if t.cfg.Identity != nil {
			id = t.cfg.Identity(pair)
		}
		e = &entry{pair: pair, peer: NewPeer(pair, id, t.cfg.Limits), index: -1}
		sh.byPair[pair] = e
	}
	sh.use(e)
	e.pins++
	sh.mu.Unlock()
	defer t.release(sh, e)
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.peer)
}

// use makes an entry the one used last.
func (sh *tableShard) use(e *entry) {
	sh.unlist(e)
	e.element = sh.used.PushFront(e)
}

// unlist takes an entry out of the list that it is in.
func (sh *tableShard) unlist(e *entry) {
	switch {
	case e.element == nil:
	case e.leaving:
		sh.leaving.Remove(e.element)
	default:
		sh.used.Remove(e.element)
	}
	e.element, e.leaving, e.handed = nil, false, false
}

// Known calls f with a peer if it is in the table.
func (t *Table) Known(pair Pair, f func(*Peer)) {
	sh := t.shard(pair)
	sh.mu.Lock()
	known := sh.byPair[pair] != nil
	sh.mu.Unlock()
	if known {
		t.With(pair, f)
	}
}

// release ends the use of an entry: it is due when its peer says, or is dropped.
func (t *Table) release(sh *tableShard, e *entry) {
	e.mu.Lock()
	next := e.peer.Next()
	sh.mu.Lock()
	t.note(e)
	e.pins--
	if e.pins == 0 && e.peer.Empty() {
		sh.drop(e)
	} else if sh.byPair[e.pair] == e {
		sh.schedule(e, next)
	}
	gone := sh.overflow(max(1, t.cfg.Peers/tableShards))
	wake := !next.IsZero() || sh.leaving.Len() > 0
	sh.mu.Unlock()
	e.mu.Unlock()
	if wake {
		t.poke()
	}
	for _, old := range gone {
		t.forget(old)
	}
}

// note keeps how the session of an entry stands, for those who look at it without
// waiting for it.
func (t *Table) note(e *entry) {
	status := e.peer.Status()
	t.open.Add(int64(count(status) - count(e.status)))
	e.status, e.retries = status, e.peer.Retries()
}

// count is the number of sessions of that status.
func count(s Status) int {
	if s == Up || s == Negotiating {
		return 1
	}
	return 0
}

// Open returns how many sessions there are.
func (t *Table) Open() int { return int(t.open.Load()) }

// Status tells how the session with a peer stands, and how often it has been begun
// since a message last came.
func (t *Table) Status(pair Pair) (Status, int) {
	sh := t.shard(pair)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.byPair[pair]; e != nil && e.status != "" {
		return e.status, e.retries
	}
	return Down, 0
}

func (sh *tableShard) drop(e *entry) {
	if sh.byPair[e.pair] != e {
		return
	}
	delete(sh.byPair, e.pair)
	sh.unlist(e)
	sh.schedule(e, time.Time{})
}

func (sh *tableShard) schedule(e *entry, at time.Time) {
	e.at = at
	switch {
	case at.IsZero() && e.index >= 0:
		heap.Remove(&sh.due, e.index)
	case at.IsZero():
	case e.index >= 0:
		heap.Fix(&sh.due, e.index)
	default:
		heap.Push(&sh.due, e)
	}
}

// poke makes Run look at what is due.
func (t *Table) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// tablePoll is how often Run looks if nothing else makes it.
const tablePoll = time.Minute

// Run does what is due, until ctx ends: one timer for all sessions.
func (t *Table) Run(ctx context.Context) {
	timer := time.NewTimer(tablePoll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-timer.C:
		}
		next := t.Pass()
		timer.Reset(min(max(next.Sub(t.cfg.Now()), minimumPause), tablePoll))
	}
}

// minimumPause keeps Run from turning on what is due again at once.
const minimumPause = 10 * time.Millisecond

// dueWorkers is how many peers are dealt with at a time where there is no Work: one
// that cannot be sent to holds up few others.
const dueWorkers = 16

// workLater is when what Work has no room for is tried again.
const workLater = time.Second

// Pass does what is due now, or gives it to Work, and returns when the next is.
func (t *Table) Pass() (next time.Time) {
	now := t.cfg.Now()
	work, wait := t.cfg.Work, func() {}
	if work == nil {
		work, wait = workers()
	}
	for i := range t.shards {
		sh := &t.shards[i]
		due, leaving := sh.ready(now)
		for _, e := range due {
			if !work(e.pair, func() { t.Known(e.pair, func(p *Peer) { t.cfg.Due(e.pair, p, p.Tick(t.cfg.Now())) }) }) {
				sh.postpone(e, now.Add(workLater))
			}
		}
		for _, e := range leaving {
			if !work(e.pair, func() { t.part(sh, e) }) {
				sh.stay(e)
			}
		}
	}
	wait()
	next = now.Add(tablePoll)
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		if len(sh.due) > 0 && sh.due[0].at.Before(next) {
			next = sh.due[0].at
		}
		sh.mu.Unlock()
	}
	return next
}

// workers returns a Work that does dueWorkers at a time, and what waits for all.
func workers() (work func(Pair, func()) bool, wait func()) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, dueWorkers)
	return func(_ Pair, do func()) bool {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			do()
		})
		return true
	}, wg.Wait
}

// ready returns the entries that are due, and those that are leaving.
func (sh *tableShard) ready(now time.Time) (due, leaving []*entry) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for len(sh.due) > 0 && !sh.due[0].at.After(now) {
		e := sh.due[0]
		sh.schedule(e, time.Time{})
		due = append(due, e)
	}
	for el := sh.leaving.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); !e.handed {
			e.handed = true
			leaving = append(leaving, e)
		}
	}
	return due, leaving
}

// postpone makes an entry due again that nothing was done for.
func (sh *tableShard) postpone(e *entry, at time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.byPair[e.pair] == e && e.index < 0 {
		sh.schedule(e, at)
	}
}

// Close ends all sessions, without a word to the peers. The Table is not to be
// used any more.
func (t *Table) Close() {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		all := sh.byPair
		sh.byPair, sh.due = map[Pair]*entry{}, nil
		sh.used.Init()
		sh.leaving.Init()
		sh.mu.Unlock()
		for _, e := range all {
			t.forget(e)
		}
	}
}

// deadlines is a heap of entries, the one that is due first at the top.
type deadlines []*entry

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push implements heap.Interface.
func (d *deadlines) Push(x any) {
	e := x.(*entry)
	e.index = len(*d)
	*d = append(*d, e)
}

// Pop implements heap.Interface.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	e.index = -1
	return e
}
