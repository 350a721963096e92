package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// held are the records that wait, in the store, for native agents that sleep. Of
// an agent without any nothing is kept.
type held struct {
	store store.Store
	lim   HoldConfig
	now   func() time.Time

	records, bytes atomic.Int64 // of all agents

	mu   sync.Mutex
	next uint64 // sequence number of the next record
	all  map[usp.EndpointID]*queue
}

// queue is what waits for one agent.
type queue struct {
	records, bytes int
	oldest         time.Time     // when the first of them expires
	draining       bool          // somebody sends them
	adding         int           // how many are about to add one
	turn           chan struct{} // holds a token while a record is added, so that the order is that of the calls
}

// drainBatch is how many records are read from the store at once.
const drainBatch = 16

var errHeldFull = errors.New("too many records wait")

func newHeld(cfg Config) *held {
	return &held{store: cfg.Store, lim: cfg.Hold, now: cfg.Now, all: map[usp.EndpointID]*queue{}}
}

// A stored record is its expiry in unix seconds and its bytes.
const heldHeader = 8

func heldKey(id usp.EndpointID, sequence uint64) store.Key {
	return store.Key{Kind: store.Held, Owner: string(id), Name: fmt.Sprintf("%016x", sequence)}
}

func heldExpiry(value []byte) time.Time {
	if len(value) < heldHeader {
		return time.Time{} // written by nobody; it goes with the first sweep
	}
	return time.Unix(int64(binary.BigEndian.Uint64(value)), 0)
}

// load counts what the store has from before.
func (h *held) load(ctx context.Context) error {
	var broken error
	err := h.store.Scan(ctx, store.Query{Kind: store.Held}, func(k store.Key, v []byte) bool {
		sequence, err := strconv.ParseUint(k.Name, 16, 64)
		if err != nil {
			broken = fmt.Errorf("waiting record %q of %s: %w", k.Name, k.Owner, err)
			return false
		}
		h.next = max(h.next, sequence+1)
		q := h.queue(usp.EndpointID(k.Owner))
		h.count(q, len(v)-heldHeader, heldExpiry(v))
		return true
	})
	if err = errors.Join(err, broken); err != nil {
		return fmt.Errorf("records that wait for native agents: %w", err)
	}
	return nil
}

// queue returns that of an agent; h.mu is held, or nobody else there yet.
func (h *held) queue(id usp.EndpointID) *queue {
	q := h.all[id]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1)}
		h.all[id] = q
	}
	return q
}

func (h *held) count(q *queue, size int, expires time.Time) {
	if q.records == 0 || expires.Before(q.oldest) {
		q.oldest = expires
	}
	q.records++
	q.bytes += size
	h.records.Add(1)
	h.bytes.Add(int64(size))
}

// waiting reports whether records wait for an agent, or are about to.
func (h *held) waiting(id usp.EndpointID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[id] != nil
}

// add makes a record wait and returns when it is durable. Those of one agent are
// kept in the order of the calls.
func (h *held) add(ctx context.Context, id usp.EndpointID, record []byte) error {
	h.mu.Lock()
	q := h.queue(id)
	q.adding++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		q.adding--
		h.tidy(id, q)
	}()
	if err := q.take(ctx); err != nil {
		return err
	}
	defer q.give()
	h.mu.Lock()
	full := q.records >= h.lim.Records || q.bytes+len(record) > h.lim.Bytes ||
		h.records.Load() >= int64(h.lim.TotalRecords) || h.bytes.Load()+int64(len(record)) > int64(h.lim.TotalBytes)
	sequence := h.next
	h.next++
	h.mu.Unlock()
	if full {
		return errHeldFull
	}
	expires := h.now().Add(h.lim.Expiry)
	value := binary.BigEndian.AppendUint64(make([]byte, 0, heldHeader+len(record)), uint64(expires.Unix()))
	var b store.Batch
	b.Put(heldKey(id, sequence), append(value, record...))
	if err := h.store.Commit(ctx, &b); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count(q, len(record), expires)
	return nil
}

func (q *queue) take(ctx context.Context) error {
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) give() { <-q.turn }

// tidy drops the queue of an agent for which nothing waits; h.mu is held.
func (h *held) tidy(id usp.EndpointID, q *queue) {
	if q.records == 0 && q.adding == 0 && !q.draining && h.all[id] == q {
		delete(h.all, id)
	}
}

// beginDrain reports whether the caller is to send what waits for an agent; it
// then calls endDrain.
func (h *held) beginDrain(id usp.EndpointID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.all[id]
	if q == nil || q.draining {
		return false
	}
	q.draining = true
	return true
}

// endDrain ends what beginDrain began. Unless the agent is away again it reports
// false, and goes on, if there is more to send.
func (h *held) endDrain(id usp.EndpointID, away bool) (done bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.all[id]
	if !away && q.records > 0 {
		return false
	}
	q.draining = false
	h.tidy(id, q)
	return true
}

// heldRecord is one that waits.
type heldRecord struct {
	key     store.Key
	expires time.Time
	record  []byte
}

// first returns the next records of an agent.
func (h *held) first(ctx context.Context, id usp.EndpointID) (batch []heldRecord, err error) {
	err = h.store.Scan(ctx, store.Query{Kind: store.Held, Owner: string(id), WholeOwner: true, Limit: drainBatch}, func(k store.Key, v []byte) bool {
		r := heldRecord{key: k, expires: heldExpiry(v)}
		if len(v) > heldHeader {
			r.record = append([]byte(nil), v[heldHeader:]...)
		}
		batch = append(batch, r)
		return true
	})
	return batch, err
}

// remove deletes records of an agent that were sent or have expired. Each is counted
// out once, whoever else removes it meanwhile.
func (h *held) remove(ctx context.Context, id usp.EndpointID, gone ...heldRecord) error {
	h.mu.Lock()
	q := h.all[id]
	h.mu.Unlock()
	if q == nil {
		return nil // nothing is left
	}
	if err := q.take(ctx); err != nil {
		return err
	}
	defer q.give()
	var b store.Batch
	var there []heldRecord
	for _, r := range gone {
		switch _, err := h.store.Get(ctx, r.key); {
		case err == nil:
			b.Delete(r.key)
			there = append(there, r)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	if err := h.store.Commit(ctx, &b); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range there {
		q.records--
		q.bytes -= len(r.record)
		h.records.Add(-1)
		h.bytes.Add(-int64(len(r.record)))
	}
	h.tidy(id, q)
	return nil
}

// endpoints returns for whom records wait.
func (h *held) endpoints() []usp.EndpointID {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make([]usp.EndpointID, 0, len(h.all))
	for id := range h.all {
		ids = append(ids, id)
	}
	return ids
}

// of returns how much waits for an agent.
func (h *held) of(id usp.EndpointID) (records, bytes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q := h.all[id]; q != nil {
		return q.records, q.bytes
	}
	return 0, 0
}

// expire removes what has waited for too long and returns how many records that
// were.
func (h *held) expire(ctx context.Context, now time.Time) (n int, err error) {
	for _, id := range h.old(now) {
		gone, err := h.expired(ctx, id, now)
		if err != nil {
			return n, err
		}
		if len(gone) == 0 {
			continue
		}
		if err := h.remove(ctx, id, gone...); err != nil {
			return n, err
		}
		n += len(gone)
	}
	return n, nil
}

// old returns the agents of which something has expired.
func (h *held) old(now time.Time) (ids []usp.EndpointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, q := range h.all {
		if q.records > 0 && !q.draining && !q.oldest.After(now) {
			ids = append(ids, id)
		}
	}
	return ids
}

// expired returns the records of an agent that have, and notes when the next will.
func (h *held) expired(ctx context.Context, id usp.EndpointID, now time.Time) (gone []heldRecord, err error) {
	var next time.Time
	err = h.store.Scan(ctx, store.Query{Kind: store.Held, Owner: string(id), WholeOwner: true}, func(k store.Key, v []byte) bool {
		expires := heldExpiry(v)
		if expires.After(now) {
			next = expires
			return false
		}
		gone = append(gone, heldRecord{key: k, record: make([]byte, max(0, len(v)-heldHeader))})
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if q := h.all[id]; q != nil && !next.IsZero() {
		q.oldest = next
	}
	return gone, err
}

// forget removes all that waits for an agent.
func (h *held) forget(ctx context.Context, id usp.EndpointID) error {
	for {
		batch, err := h.first(ctx, id)
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := h.remove(ctx, id, batch...); err != nil {
			return err
		}
	}
}
