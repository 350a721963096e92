package agent

import (
	"context"
	"github.com/uspbridge/uspbridge/store"
	"sort"
	"strings"
	"sync"
)

// memStore is a store.Store in memory with the contract's semantics.
type memStore struct {
	mu      sync.Mutex
	records map[store.Key][]byte
	fail    error // of Commit and Enqueue
	commits int

	atCommit func() // called before a batch is taken
}

func newMemStore() *memStore { return &memStore{records: map[store.Key][]byte{}} }

func (s *memStore) Get(_ context.Context, k store.Key) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.records[k]
	if !ok {
		return nil, store.ErrNotFound
	}
	return append([]byte{}, v...), nil
}

func (s *memStore) Scan(_ context.Context, q store.Query, fn func(store.Key, []byte) bool) error {
	s.mu.Lock()
	var keys []store.Key
	for k := range s.records {
		if k.Kind != q.Kind || !strings.HasPrefix(k.Owner, q.Owner) || q.WholeOwner && k.Owner != q.Owner || !strings.HasPrefix(k.Name, q.Name) {
			continue
		}
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].Owner != keys[j].Owner {
			return keys[i].Owner < keys[j].Owner
		}
		return keys[i].Name < keys[j].Name
	})
	values := make([][]byte, len(keys))
	for i, k := range keys {
		values[i] = s.records[k]
	}
	s.mu.Unlock()
	for i, k := range keys {
		if q.Limit > 0 && i == q.Limit || !fn(k, values[i]) {
			break
		}
	}
	return nil
}

func (s *memStore) Commit(_ context.Context, b *store.Batch) error {
	if s.atCommit != nil {
		s.atCommit()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	for _, op := range b.Ops {
		have, ok := s.records[op.Key]
		if op.Check && (ok != (op.Expect != nil) || string(have) != string(op.Expect)) {
			return store.ErrConflict
		}
	}
	s.commits++
	for _, op := range b.Ops {
		if op.Value == nil {
			delete(s.records, op.Key)
		} else {
			s.records[op.Key] = op.Value
		}
	}
	return nil
}

func (s *memStore) Enqueue(b *store.Batch, done func(error)) {
	err := s.Commit(context.Background(), b)
	if done != nil {
		done(err)
	}
}

func (s *memStore) Close() error { return nil }

// count returns how many records of a kind there are.
func (s *memStore) count(kind store.Kind) int {
	n := 0
	s.Scan(context.Background(), store.Query{Kind: kind}, func(store.Key, []byte) bool { n++; return true })
	return n
}
