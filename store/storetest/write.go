package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/store"
)

// patience bounds every wait of the tests.
const patience = 30 * time.Second

func key(owner, name string) store.Key {
	return store.Key{Kind: store.Device, Owner: owner, Name: name}
}

func put(t *testing.T, s store.Store, k store.Key, value string) {
	t.Helper()
	var b store.Batch
	b.Put(k, []byte(value))
	commit(t, s, &b)
}

func commit(t *testing.T, s store.Store, b *store.Batch) {
	t.Helper()
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// wantValue checks what is stored; want "-" stands for no record.
func wantValue(t *testing.T, s store.Store, k store.Key, want string) {
	t.Helper()
	v, err := s.Get(t.Context(), k)
	switch {
	case want == "-" && !errors.Is(err, store.ErrNotFound):
		t.Errorf("record %v: got %q, %v; want ErrNotFound", k, v, err)
	case want != "-" && (err != nil || string(v) != want):
		t.Errorf("record %v: got %q, %v; want %q", k, v, err, want)
	}
}

func testRoundTrip(t *testing.T, s store.Store) {
	k := key("dev", "")
	wantValue(t, s, k, "-")
	for _, v := range []string{"one", "", "\x00\xff", "two"} {
		put(t, s, k, v)
		wantValue(t, s, k, v)
	}
	var b store.Batch
	b.Put(k, nil) // nil is written as an empty value, it does not delete
	commit(t, s, &b)
	wantValue(t, s, k, "")
	b = store.Batch{}
	b.Delete(k)
	b.Delete(key("never", "there"))
	commit(t, s, &b)
	wantValue(t, s, k, "-")
	commit(t, s, &store.Batch{}) // an empty batch is no error
}

func testKeys(t *testing.T, s store.Store) {
	keys := []store.Key{
		{Kind: store.Device, Owner: "a", Name: "b"},
		{Kind: store.Tree, Owner: "a", Name: "b"},
		{Kind: store.Device, Owner: "ab", Name: ""},
		{Kind: store.Device, Owner: "", Name: "ab"},
		{Kind: store.Device, Owner: "a", Name: "b\x00c"},
		{Kind: store.Device, Owner: "", Name: ""},
		{Kind: store.Kinds - 1, Owner: "a", Name: "b"},
	}
	var b store.Batch
	for i, k := range keys {
		b.Put(k, fmt.Append(nil, i))
	}
	commit(t, s, &b)
	for i, k := range keys {
		wantValue(t, s, k, fmt.Sprint(i))
	}
}

func testCopies(t *testing.T, s store.Store) {
	put(t, s, key("dev", ""), "value")
	v, err := s.Get(t.Context(), key("dev", ""))
	if err != nil {
		t.Fatal(err)
	}
	clear(v)
	wantValue(t, s, key("dev", ""), "value")
}

func testCompareAndSet(t *testing.T, s store.Store) {
	k := key("dev", "state")
	for _, step := range []struct {
		name          string
		expect, value []byte
		conflict      bool
		after         string
	}{
		{"create where something is expected", []byte("x"), []byte("1"), true, "-"},
		{"empty is not absent", []byte{}, []byte("1"), true, "-"},
		{"create", nil, []byte("1"), false, "1"},
		{"create again", nil, []byte("2"), true, "1"},
		{"replace another value", []byte("0"), []byte("2"), true, "1"},
		{"replace", []byte("1"), []byte{}, false, ""},
		{"absent is not empty", nil, []byte("3"), true, ""},
		{"replace an empty value", []byte{}, []byte("3"), false, "3"},
		{"delete another value", []byte("1"), nil, true, "3"},
		{"delete", []byte("3"), nil, false, "-"},
	} {
		var b store.Batch
		b.CompareAndSet(k, step.expect, step.value)
		err := s.Commit(t.Context(), &b)
		if step.conflict != errors.Is(err, store.ErrConflict) || !step.conflict && err != nil {
			t.Errorf("%s: error %v, want conflict: %t", step.name, err, step.conflict)
		}
		wantValue(t, s, k, step.after)
	}
}

func testConflictIsAtomic(t *testing.T, s store.Store) {
	put(t, s, key("kept", ""), "old")
	var b store.Batch
	b.Put(key("kept", ""), []byte("new"))
	b.Put(key("extra", ""), []byte("new"))
	b.CompareAndSet(key("state", ""), []byte("other"), []byte("new"))
	b.Delete(key("kept", ""))
	if err := s.Commit(t.Context(), &b); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	wantValue(t, s, key("kept", ""), "old")
	wantValue(t, s, key("extra", ""), "-")
	wantValue(t, s, key("state", ""), "-")
}

func testChecksBeforeChanges(t *testing.T, s store.Store) {
	k := key("dev", "")
	put(t, s, k, "1")
	var b store.Batch
	b.Put(k, []byte("2"))
	b.CompareAndSet(k, []byte("1"), []byte("3"))
	commit(t, s, &b)
	wantValue(t, s, k, "3")
}

func testCompareAndSetRace(t *testing.T, s store.Store) {
	const rounds, rivals = 20, 8
	for round := range rounds {
		var won atomic.Int32
		var wg sync.WaitGroup
		for rival := range rivals {
			wg.Go(func() {
				var b store.Batch
				b.CompareAndSet(key("lease", fmt.Sprint(round)), nil, fmt.Append(nil, rival))
				switch err := s.Commit(t.Context(), &b); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("commit: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d rivals won, want 1", round, won.Load())
		}
	}
}

func testOrder(t *testing.T, s store.Store) {
	const writers, writes = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			k := key("writer", fmt.Sprint(w))
			var last []byte
			for i := range writes {
				value := fmt.Append(nil, i)
				var b store.Batch
				b.CompareAndSet(k, last, value) // holds only if all before were applied in order
				last = value
				if i%10 == 9 {
					if err := s.Commit(t.Context(), &b); err != nil {
						t.Errorf("writer %d, write %d: %v", w, i, err)
						return
					}
					continue
				}
				s.Enqueue(&b, func(err error) {
					if err != nil {
						t.Errorf("writer %d, write %d: %v", w, i, err)
					}
				})
			}
		})
	}
	wg.Wait()
	for w := range writers {
		wantValue(t, s, key("writer", fmt.Sprint(w)), fmt.Sprint(writes-1))
	}
}

func testEnqueueOutcome(t *testing.T, s store.Store) {
	results := make(chan error, 3)
	done := func(err error) { results <- err }
	var good, bad, refused store.Batch
	good.Put(key("a", ""), []byte("1"))
	bad.CompareAndSet(key("a", ""), []byte("2"), []byte("3"))
	refused.Put(store.Key{}, []byte("no such kind"))
	s.Enqueue(&good, nil)
	for _, c := range []struct {
		name  string
		batch *store.Batch
		ok    func(error) bool
	}{
		{"good", &good, func(err error) bool { return err == nil }},
		{"conflict", &bad, func(err error) bool { return errors.Is(err, store.ErrConflict) }},
		{"refused", &refused, func(err error) bool { return err != nil }},
	} {
		s.Enqueue(c.batch, done)
		select {
		case err := <-results:
			if !c.ok(err) {
				t.Errorf("%s: outcome %v", c.name, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: no outcome", c.name)
		}
	}
	wantValue(t, s, key("a", ""), "1")
}

func testContexts(t *testing.T, s store.Store) {
	put(t, s, key("a", ""), "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, key("a", "")); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v, want context.Canceled", err)
	}
	err := s.Scan(ctx, store.Query{Kind: store.Device}, func(store.Key, []byte) bool { return true })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("scan: %v, want context.Canceled", err)
	}
}

func testClose(t *testing.T, s store.Store) {
	const n = 50
	var stored atomic.Int32
	for i := range n {
		var b store.Batch
		b.Put(key("a", fmt.Sprint(i)), []byte("1"))
		s.Enqueue(&b, func(err error) {
			if err == nil {
				stored.Add(1)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if stored.Load() != n {
		t.Errorf("%d of %d batches enqueued before Close were stored", stored.Load(), n)
	}
	var b store.Batch
	b.Put(key("late", ""), []byte("1"))
	if err := s.Commit(t.Context(), &b); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit after close: %v, want ErrClosed", err)
	}
	if _, err := s.Get(t.Context(), key("a", "0")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("get after close: %v, want ErrClosed", err)
	}
	late := make(chan error, 1)
	s.Enqueue(&b, func(err error) { late <- err })
	select {
	case err := <-late:
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("enqueue after close: %v, want ErrClosed", err)
		}
	case <-time.After(patience):
		t.Error("enqueue after close: no outcome")
	}
}
