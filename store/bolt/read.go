package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/uspbridge/uspbridge/store"
)

// Get returns a copy of a record's value, store.ErrNotFound if it is not there.
func (s *Store) Get(ctx context.Context, k store.Key) (value []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("store: read: %w", err)
	}
	if err := checkKey(k); err != nil {
		return nil, err
	}
	err = guarded(func() error {
		tx, err := s.begin()
		if err != nil {
			return err
		}
		var buf [128]byte // most keys need no allocation
		stored := tx.Bucket(bucketName(k.Kind)).Get(appendKey(buf[:0], k.Owner, k.Name))
		if stored == nil {
			return errors.Join(store.ErrNotFound, tx.Rollback())
		}
		value = append(make([]byte, 0, len(stored)), stored...)
		return tx.Rollback()
	})
	return value, err
}

// begin opens a transaction to read.
func (s *Store) begin() (*bbolt.Tx, error) {
	tx, err := s.db.Begin(false)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return nil, store.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("store %s: read: %w", s.cfg.Path, err)
	}
	return tx, nil
}

// checkEvery is how many records Scan visits between looks at its context.
const checkEvery = 256

// Scan calls fn for the records that q selects, as of one moment. Other readers
// and the writer go on meanwhile, but space that is freed is used again only
// after the scan: page through what is large, with After and Limit.
func (s *Store) Scan(ctx context.Context, q store.Query, fn func(k store.Key, value []byte) bool) (err error) {
	prefix, start, err := bounds(q)
	if err != nil {
		return err
	}
	tx, err := s.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rollback(tx)) }()
	c := cursor{Cursor: tx.Bucket(bucketName(q.Kind)).Cursor()}
	k := store.Key{Kind: q.Kind}
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return fmt.Errorf("store: scan: %w", context.Cause(ctx))
		}
		key, value, err := c.step(start)
		if err != nil {
			return fmt.Errorf("store %s: scan: %w", s.cfg.Path, err)
		}
		if key == nil || !bytes.HasPrefix(key, prefix) {
			return nil
		}
		if n == 0 && q.After != nil && bytes.Equal(key, start) {
			continue // the page before ended with it
		}
		owner, name := splitKey(key)
		if k.Owner != string(owner) { // most often the same: no allocation
			k.Owner = string(owner)
		}
		k.Name = string(name)
		if c.visited++; !fn(k, value) || c.visited == q.Limit {
			return nil
		}
	}
}

// bounds returns the prefix of all keys that q selects, and the key to start at.
func bounds(q store.Query) (prefix, start []byte, err error) {
	if err := checkKey(store.Key{Kind: q.Kind, Owner: q.Owner, Name: q.Name}); err != nil {
		return nil, nil, err
	}
	if q.Name != "" && !q.WholeOwner {
		return nil, nil, fmt.Errorf("store: scan for names with prefix %q: the whole owner must be given", q.Name)
	}
	prefix = []byte(q.Owner)
	if q.WholeOwner {
		prefix = appendKey(nil, q.Owner, q.Name)
	}
	start = prefix
	if q.After != nil {
		if after := appendKey(nil, q.After.Owner, q.After.Name); bytes.Compare(after, start) > 0 {
			start = after
		}
	}
	return prefix, start, nil
}

// cursor walks a bucket, with bbolt's panics turned into errors.
type cursor struct {
	*bbolt.Cursor
	begun   bool
	visited int
}

func (c *cursor) step(start []byte) (key, value []byte, err error) {
	err = guarded(func() error {
		if c.begun {
			key, value = c.Next()
		} else {
			key, value = c.Seek(start)
			c.begun = true
		}
		return nil
	})
	return key, value, err
}
