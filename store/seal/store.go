package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/uspbridge/uspbridge/store"
)

// sealing is a store whose records of some kinds are sealed.
type sealing struct {
	store.Store
	box   *Box
	log   *slog.Logger
	kinds [store.Kinds]bool
}

// Store returns a store that keeps the records of those kinds sealed in another.
// Values that were written before, plain, are read as they are and sealed when
// they are written next. Records sealed with a key that is not there any more, see
// Config.Renew, are as if they were not there.
//
// A compare-and-set of a sealed record first waits for all that was enqueued
// before it; do not make them often.
func Store(inner store.Store, box *Box, log *slog.Logger, kinds ...store.Kind) store.Store {
	s := &sealing{Store: inner, box: box, log: log}
	for _, k := range kinds {
		s.kinds[k] = true
	}
	return s
}

func (s *sealing) seals(k store.Kind) bool { return k < store.Kinds && s.kinds[k] }

// open returns a stored value as it was before it was sealed.
func (s *sealing) open(k store.Key, v []byte) ([]byte, error) {
	if len(v) == 0 || v[0] != layout {
		return v, nil
	}
	plain, err := s.box.Open(k, v)
	if errors.Is(err, ErrNoKey) {
		return nil, store.ErrNotFound
	} else if err != nil {
		return nil, fmt.Errorf("record of kind %d of %s: %w", k.Kind, k.Owner, err)
	}
	if plain == nil {
		plain = []byte{} // an empty value is not an absent one
	}
	return plain, nil
}

// Get implements store.Store.
func (s *sealing) Get(ctx context.Context, k store.Key) ([]byte, error) {
	v, err := s.Store.Get(ctx, k)
	if err != nil || !s.seals(k.Kind) {
		return v, err
	}
	return s.open(k, v)
}

// Scan implements store.Store.
func (s *sealing) Scan(ctx context.Context, q store.Query, fn func(k store.Key, value []byte) bool) error {
	if !s.seals(q.Kind) {
		return s.Store.Scan(ctx, q, fn)
	}
	var broken error
	err := s.Store.Scan(ctx, q, func(k store.Key, v []byte) bool {
		plain, err := s.open(k, v)
		if errors.Is(err, store.ErrNotFound) {
			return true
		} else if err != nil {
			broken = err
			return false
		}
		return fn(k, plain)
	})
	return errors.Join(broken, err)
}

// Commit implements store.Store.
func (s *sealing) Commit(ctx context.Context, b *store.Batch) error {
	out, err := s.sealed(ctx, b)
	if err != nil {
		return err
	}
	return s.Store.Commit(ctx, out)
}

// Enqueue implements store.Store.
func (s *sealing) Enqueue(b *store.Batch, done func(error)) {
	out, err := s.sealed(context.Background(), b)
	if err == nil {
		s.Store.Enqueue(out, done)
		return
	}
	if done == nil {
		s.log.Error("records could not be stored", "records", b.Len(), "error", err)
		return
	}
	go done(err) // not from here: the caller may hold a lock that done takes
}

// sealed returns the batch as it goes into the store.
func (s *sealing) sealed(ctx context.Context, b *store.Batch) (*store.Batch, error) {
	out := &store.Batch{Ops: make([]store.Op, len(b.Ops))}
	waited := false
	for i, op := range b.Ops {
		if s.seals(op.Key.Kind) {
			if op.Check && !waited {
				if err := s.barrier(ctx); err != nil {
					return nil, err
				}
				waited = true
			}
			if op.Check {
				var err error
				if op.Expect, err = s.present(ctx, op); err != nil {
					return nil, err
				}
			}
			if op.Value != nil {
				op.Value = s.box.Seal(op.Key, op.Value)
			}
		}
		out.Ops[i] = op
	}
	return out, nil
}

// barrierKey is of no record.
var barrierKey = store.Key{Kind: store.Meta, Owner: "seal", Name: "barrier"}

// barrier returns when what was enqueued before is in the store.
func (s *sealing) barrier(ctx context.Context) error {
	var b store.Batch
	b.Delete(barrierKey)
	return s.Store.Commit(ctx, &b)
}

// present returns the sealed form in which the store has what op expects: two
// sealed forms of the same value differ, so that it has to be compared opened.
func (s *sealing) present(ctx context.Context, op store.Op) ([]byte, error) {
	v, err := s.Store.Get(ctx, op.Key)
	if errors.Is(err, store.ErrNotFound) {
		if op.Expect != nil {
			return nil, store.ErrConflict
		}
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	plain, err := s.open(op.Key, v)
	switch {
	case errors.Is(err, store.ErrNotFound) && op.Expect == nil:
		return v, nil // sealed with a lost key: as good as absent, and replaced
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	case err != nil, op.Expect == nil, !bytes.Equal(plain, op.Expect):
		return nil, store.ErrConflict
	}
	return v, nil
}
