package seal_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/store/storetest"
)

// TestStore: a store that seals all kinds keeps the promises of every store.
func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		st, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "db"), NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		var kinds []store.Kind
		for k := store.Kind(1); k < store.Kinds; k++ {
			kinds = append(kinds, k)
		}
		return seal.Store(st, seal.Random(), slog.New(slog.DiscardHandler), kinds...)
	})
}

// TestStoreAtRest: what is sealed cannot be read in the file, what is not can;
// plain records of before are read and sealed when they are written; what a lost
// key sealed is not there.
func TestStoreAtRest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	st, err := bolt.Open(bolt.Config{Path: file, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	put := func(s store.Store, k store.Key, v string) {
		t.Helper()
		var b store.Batch
		b.Put(k, []byte(v))
		if err := s.Commit(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
	}
	get := func(s store.Store, k store.Key) string {
		t.Helper()
		v, err := s.Get(t.Context(), k)
		if errors.Is(err, store.ErrNotFound) {
			return "not there"
		} else if err != nil {
			t.Fatal(err)
		}
		return string(v)
	}
	tree := func(owner string) store.Key { return store.Key{Kind: store.Tree, Owner: owner} }
	meta := store.Key{Kind: store.Meta, Owner: "x"}
	sealed := seal.Store(st, seal.Random(), slog.New(slog.DiscardHandler), store.Tree)

	put(sealed, tree("a"), "battery staple")
	put(sealed, meta, "correct horse")
	blob, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(blob, []byte("battery")) || !bytes.Contains(blob, []byte("correct horse")) {
		t.Error("the sealed record can be read in the file, or the other cannot")
	}
	put(st, tree("old"), "written before")
	if got := get(sealed, tree("old")); got != "written before" {
		t.Errorf("a plain record: %q", got)
	}
	put(sealed, tree("old"), "written again")
	if raw, err := st.Get(t.Context(), tree("old")); err != nil || bytes.Contains(raw, []byte("written")) {
		t.Errorf("written again, it is not sealed: %q, %v", raw, err)
	}

	other := seal.Store(st, seal.Random(), slog.New(slog.DiscardHandler), store.Tree)
	if got := get(other, tree("a")); got != "not there" {
		t.Errorf("with another key: %q", got)
	}
	if err := other.Scan(t.Context(), store.Query{Kind: store.Tree}, func(k store.Key, v []byte) bool {
		t.Errorf("with another key: %v %q", k, v)
		return true
	}); err != nil {
		t.Error(err)
	}
	var b store.Batch
	b.CompareAndSet(tree("a"), nil, []byte("anew"))
	if err := other.Commit(t.Context(), &b); err != nil || get(other, tree("a")) != "anew" {
		t.Errorf("a record of a lost key is not replaced: %v", err)
	}
}
