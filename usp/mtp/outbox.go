package mtp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// OutboxLimit bounds what an Outbox keeps.
type OutboxLimit struct{ Messages, Bytes int }

// ConnectionLimit bounds what a connection to a broker holds.
type ConnectionLimit struct {
	Outbox     OutboxLimit
	Window     int // of messages that may be unconfirmed at once, in each direction
	ReadBuffer int // bytes; what is larger is read into its own place in any case
}

// Limits of a connection that carries all agents, and of one that carries a single
// agent, of which there are many: a few answers of full size.
var (
	SharedConnection = ConnectionLimit{OutboxLimit{Messages: 10_000, Bytes: 64 << 20}, 1024, 16 << 10}
	AgentConnection  = ConnectionLimit{OutboxLimit{Messages: 100, Bytes: 16 << 20}, 32, 512}
)

// outboxPatience is how long a broker may take to confirm a message before
// nobody waits for it any more: the workers that send to it have others to serve.
const outboxPatience = time.Second

// maxMessageID is the largest id of a message of an Outbox. Those above, up to
// 65,535, are left to the connection for what it asks itself.
const maxMessageID = 65_000

// outboxTries is on how many connections a message is sent. One that the broker
// does not bear, and answers by ending the connection, must not do so for ever.
const outboxTries = 5

// Errors with which a message of an Outbox ends.
var (
	errExpired = errors.New("not confirmed by the broker in time")
	errTries   = errors.New("each connection on which it was sent was lost before the broker had confirmed it")
	errFull    = fmt.Errorf("the broker takes no more: %w", ErrUnreachable)
	errGone    = errors.New("the transport has ended")
)

// Outbox keeps messages from when they are sent until the broker has confirmed
// them, across connections: what a lost connection leaves unconfirmed is sent
// again on the next one, in the same order. It is bounded in number, size and
// time.
type Outbox[T any] struct {
	limit OutboxLimit
	hold  time.Duration
	lost  func(error)

	mu      sync.Mutex
	window  int                  // how many may be in flight; 0: no connection
	late    bool                 // the broker has let a message wait for longer than outboxPatience
	waiting []*Entry[T]          // to be sent, in order
	known   map[uint16]*Entry[T] // those that have an id
	flying  int                  // sent on this connection and not confirmed
	bytes   int                  // of all messages
	count   uint64               // of messages so far
	lastID  uint16
	room    chan struct{} // closed when a message leaves; nil while nobody waits for that
}

// Entry is a message in an Outbox.
type Entry[T any] struct {
	Message T
	ID      uint16 // on the wire, 1 to maxMessageID
	Again   bool   // it was sent on an earlier connection

	order  uint64
	size   int
	until  time.Time
	tries  int
	flying bool
	done   chan error // gets how it ended
}

// NewOutbox returns an Outbox that keeps messages for hold at most. Lost is told
// why one is given up; it must not block.
func NewOutbox[T any](limit OutboxLimit, hold time.Duration, lost func(error)) *Outbox[T] {
	return &Outbox[T]{limit: limit, hold: hold, lost: lost}
}

// Hand takes a message over and calls kick, upon which the connection is to ask
// for it with Next. It returns when the broker has confirmed it, or has refused
// it, or lets it wait: then the message stays in the Outbox, and Hand returns nil.
// A full Outbox is an ErrUnreachable.
func (o *Outbox[T]) Hand(ctx context.Context, m T, size int, kick func()) error {
	return o.hand(ctx, m, size, kick, false)
}

// HandSurely is Hand that waits for the broker's word until ctx ends.
func (o *Outbox[T]) HandSurely(ctx context.Context, m T, size int, kick func()) error {
	return o.hand(ctx, m, size, kick, true)
}

func (o *Outbox[T]) hand(ctx context.Context, m T, size int, kick func(), surely bool) error {
	patience := time.NewTimer(outboxPatience)
	defer patience.Stop()
	e, err := o.addWaiting(ctx, m, size, patience.C)
	if err != nil {
		return err
	}
	kick()
	if surely {
		select {
		case err := <-e.done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the broker has not confirmed it: %w", ctx.Err())
		}
	}
	if o.Late() {
		return nil
	}
	select {
	case err := <-e.done:
		return err
	case <-patience.C:
		o.setLate()
	case <-ctx.Done():
	}
	return nil
}

// Keep takes a message over that is sent when there is a connection.
func (o *Outbox[T]) Keep(m T, size int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.add(m, size)
	return err
}

// addWaiting adds a message, and where there is no room waits for it as long as
// the broker is known to take messages.
func (o *Outbox[T]) addWaiting(ctx context.Context, m T, size int, patience <-chan time.Time) (*Entry[T], error) {
	for {
		o.mu.Lock()
		e, err := o.add(m, size)
		if err == nil || o.late || o.window == 0 {
			o.mu.Unlock()
			return e, err
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-patience:
			o.setLate()
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (o *Outbox[T]) add(m T, size int) (*Entry[T], error) {
	now := time.Now()
	o.expire(now)
	if total := len(o.waiting) + o.flying; total > 0 && (total >= o.limit.Messages || o.bytes+size > o.limit.Bytes) {
		return nil, errFull
	}
	o.count++
	e := &Entry[T]{Message: m, order: o.count, size: size, until: now.Add(o.hold), done: make(chan error, 1)}
	o.bytes += size
	o.waiting = append(o.waiting, e)
	return e, nil
}

// expire ends the messages that have waited for too long. They are in the order
// in which they expire.
func (o *Outbox[T]) expire(now time.Time) {
	for len(o.waiting) > 0 && o.waiting[0].until.Before(now) {
		e := o.waiting[0]
		o.shift()
		o.giveUp(e, errExpired)
	}
}

func (o *Outbox[T]) shift() {
	o.waiting[0] = nil
	if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
		o.waiting = nil // nothing is kept for an idle connection
	}
}

func (o *Outbox[T]) end(e *Entry[T], err error) {
	if e.ID != 0 {
		delete(o.known, e.ID)
	}
	if e.flying {
		o.flying--
	}
	o.bytes -= e.size
	e.done <- err
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// Open begins a connection on which window messages may be unconfirmed at once.
func (o *Outbox[T]) Open(window int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.window, o.late = max(window, 1), false
}

// Shut ends a connection: what is not confirmed waits again, before all else.
func (o *Outbox[T]) Shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.window = 0
	var again []*Entry[T]
	for _, e := range o.known {
		switch {
		case !e.flying:
		case e.tries == outboxTries:
			o.giveUp(e, errTries)
		default:
			e.flying, e.Again = false, true
			again = append(again, e)
		}
	}
	o.flying = 0
	slices.SortFunc(again, func(a, b *Entry[T]) int { return cmp.Compare(a.order, b.order) })
	o.waiting = append(again, o.waiting...)
	o.expire(time.Now())
}

// Close ends the Outbox: what is in it is lost.
func (o *Outbox[T]) Close() {
	o.Shut()
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.waiting) > 0 {
		e := o.waiting[0]
		o.shift()
		o.giveUp(e, errGone)
	}
}

func (o *Outbox[T]) giveUp(e *Entry[T], err error) {
	o.lost(err)
	o.end(e, err)
}

// Next returns a copy of the message that is to be sent now, with its id, false
// if there is none or as many as may are unconfirmed.
func (o *Outbox[T]) Next() (Entry[T], bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expire(time.Now())
	if len(o.waiting) == 0 || o.flying >= o.window {
		return Entry[T]{}, false
	}
	e := o.waiting[0]
	if e.ID == 0 {
		e.ID = o.freeID()
		if o.known == nil {
			o.known = make(map[uint16]*Entry[T])
		}
		o.known[e.ID] = e
	}
	o.shift()
	e.flying = true
	e.tries++
	o.flying++
	return *e, true
}

// freeID returns an id that no message has: there are fewer of these than ids.
func (o *Outbox[T]) freeID() uint16 {
	for {
		if o.lastID++; o.lastID > maxMessageID {
			o.lastID = 1
		}
		if o.known[o.lastID] == nil {
			return o.lastID
		}
	}
}

// Confirm ends a message: with nil the broker has it, with an error it has
// refused it. It returns false for an id that is not in flight.
func (o *Outbox[T]) Confirm(id uint16, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[id]
	if e == nil || !e.flying {
		return false
	}
	o.late = false
	o.end(e, err)
	return true
}

// Change replaces the message with an id that is in flight.
func (o *Outbox[T]) Change(id uint16, change func(*T)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[id]
	if e == nil || !e.flying {
		return false
	}
	change(&e.Message)
	return true
}

// Overdue tells that a message has been in flight for as long as one is kept: a
// broker that lives, and does not confirm, is of no use.
func (o *Outbox[T]) Overdue() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, e := range o.known {
		if e.flying && e.until.Before(now) {
			return true
		}
	}
	return false
}

// ErrUnconfirmed ends a connection on which a message is overdue.
var ErrUnconfirmed = errors.New("the broker does not confirm what it is sent")

// Late tells that the broker lets messages wait, so that nobody waits for it.
func (o *Outbox[T]) Late() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.late
}

func (o *Outbox[T]) setLate() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.late = true
}
