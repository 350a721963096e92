package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/uspbridge/uspbridge/store"
)

// Commit makes a batch durable and returns when it is. If ctx ends before the
// writer has begun with the batch nothing is changed; if it ends later the error
// says that the outcome is not known. The batch must not be changed after the
// call.
func (s *Store) Commit(ctx context.Context, b *store.Batch) error {
	size, err := checkBatch(b)
	if err != nil {
		return err
	}
	r := &request{ops: b.Ops, size: size, ready: make(chan struct{})}
	if err := s.queue.push(ctx, r); err != nil {
		return err
	}
	select {
	case <-r.ready:
		return r.err
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(queued, withdrawn) {
		return fmt.Errorf("store: nothing was written: %w", context.Cause(ctx))
	}
	select {
	case <-r.ready: // both were ready: the true outcome counts
		return r.err
	default:
		return fmt.Errorf("store: whether the batch was written is not known: %w", context.Cause(ctx))
	}
}

// Enqueue is Commit without waiting for the disk. It waits for room in a full
// queue, at most Config.QueueWait; then, and on other refusals, done is called
// with the error from a goroutine of its own. Otherwise done is called from the
// writer: it must be quick and must neither Commit nor wait for anything. The
// batch must not be changed after the call.
func (s *Store) Enqueue(b *store.Batch, done func(error)) {
	size, err := checkBatch(b)
	if err == nil {
		err = s.enqueue(&request{ops: b.Ops, size: size, done: done})
	}
	if err == nil {
		return
	}
	s.metrics.failed(1)
	if done == nil {
		s.cfg.Log.Error("records could not be stored", "records", b.Len(), "error", err)
		return
	}
	go done(err) // not from here: the caller may hold a lock that done takes
}

func (s *Store) enqueue(r *request) error {
	if room, err := s.queue.tryPush(r); room == nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.cfg.QueueWait, ErrQueueFull)
	defer cancel()
	return s.queue.push(ctx, r)
}

// write is the writer: it takes groups of requests and makes each one
// transaction, until the store is closed.
func (s *Store) write() {
	defer close(s.done)
	var group []*request
	for {
		group = s.queue.take(group, s.cfg.GroupBatches, s.cfg.GroupBytes)
		if group == nil {
			return
		}
		live := group[:0]
		for _, r := range group {
			if r.state.CompareAndSwap(queued, taken) {
				live = append(live, r)
			}
		}
		if len(live) > 0 {
			s.commit(live)
			s.answer(live)
		}
		clear(group[:cap(group)]) // keeps no batch alive
	}
}

// commit applies a group in one transaction and sets each request's outcome.
func (s *Store) commit(group []*request) {
	start := time.Now()
	err := guarded(func() error { return s.apply(group) })
	var bad *batchError
	if errors.As(err, &bad) && len(group) > 1 {
		// One batch cannot be applied, though it was checked. The
		// transaction is gone; each of the others gets one of its own.
		for i := range group {
			s.commit(group[i : i+1])
		}
		return
	}
	s.metrics.committed(len(group), time.Since(start))
	if err == nil {
		return
	}
	for _, r := range group {
		r.err = err
	}
	s.metrics.failed(len(group))
	s.cfg.Log.Error("records could not be stored", "file", s.cfg.Path, "batches", len(group), "error", err)
}

// batchError means that one batch, not the transaction, is at fault.
type batchError struct{ err error }

func (e *batchError) Error() string { return e.err.Error() }
func (e *batchError) Unwrap() error { return e.err }

// apply runs one transaction. Conflicts are set as outcomes; what it returns is
// the failure of all.
func (s *Store) apply(group []*request) (err error) {
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("store %s: begin: %w", s.cfg.Path, err)
	}
	defer func() { err = errors.Join(err, rollback(tx)) }()
	w := writer{tx: tx}
	for _, r := range group {
		r.err = nil
		if !w.holds(r.ops) {
			r.err = store.ErrConflict
			continue
		}
		if err := w.put(r.ops); err != nil {
			return &batchError{fmt.Errorf("store %s: %w", s.cfg.Path, err)}
		}
	}
	if !w.dirty {
		return nil // only conflicts: no sync is needed for them
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store %s: commit: %w", s.cfg.Path, err)
	}
	return nil
}

// rollback ends a transaction that has not been committed.
func rollback(tx *bbolt.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, bolterrors.ErrTxClosed) {
		return err
	}
	return nil
}

// writer applies batches within one transaction.
type writer struct {
	tx      *bbolt.Tx
	buckets [store.Kinds]*bbolt.Bucket
	key     []byte
	dirty   bool
}

func (w *writer) at(k store.Key) (*bbolt.Bucket, []byte) {
	if w.buckets[k.Kind] == nil {
		w.buckets[k.Kind] = w.tx.Bucket(bucketName(k.Kind))
	}
	w.key = appendKey(w.key[:0], k.Owner, k.Name)
	return w.buckets[k.Kind], w.key
}

// holds reports whether all checks of a batch hold against what is stored, with
// the earlier batches of the transaction applied and none of its own changes.
func (w *writer) holds(ops []store.Op) bool {
	for i := range ops {
		if !ops[i].Check {
			continue
		}
		bucket, key := w.at(ops[i].Key)
		have := bucket.Get(key)
		if (have == nil) != (ops[i].Expect == nil) || !bytes.Equal(have, ops[i].Expect) {
			return false
		}
	}
	return true
}

func (w *writer) put(ops []store.Op) error {
	for i := range ops {
		op := &ops[i]
		bucket, key := w.at(op.Key)
		w.dirty = true
		var err error
		if op.Value == nil {
			err = bucket.Delete(key)
		} else {
			err = bucket.Put(key, op.Value)
		}
		if err != nil {
			return fmt.Errorf("record %q %q of kind %d: %w", op.Key.Owner, op.Key.Name, op.Key.Kind, err)
		}
	}
	return nil
}

// answer tells the callers the outcomes, in order.
func (s *Store) answer(group []*request) {
	for _, r := range group {
		conflict := errors.Is(r.err, store.ErrConflict)
		if conflict {
			s.metrics.conflict()
		}
		switch {
		case r.ready != nil:
			close(r.ready)
		case r.done != nil:
			r.done(r.err)
		case conflict: // other failures are logged for all batches at once
			s.cfg.Log.Warn("records were not stored", "records", len(r.ops), "error", r.err)
		}
	}
}
