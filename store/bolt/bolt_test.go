package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		writeUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of the tests.
const patience = 30 * time.Second

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = discard()
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func path(t testing.TB) string { return filepath.Join(t.TempDir(), "var", "store.db") }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return mustOpen(t, Config{Path: path(t), NoSync: true})
	})
}

func TestReopenedStoreHasEverything(t *testing.T) {
	file := path(t)
	for i := range 3 {
		s := mustOpen(t, Config{Path: file})
		var b store.Batch
		b.Put(store.Key{Kind: store.Tree, Owner: fmt.Sprint(i)}, []byte("tree"))
		if err := s.Commit(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		for j := range i + 1 {
			if _, err := s.Get(t.Context(), store.Key{Kind: store.Tree, Owner: fmt.Sprint(j)}); err != nil {
				t.Errorf("opened %d times: record %d: %v", i+1, j, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileIsForItsOwnerOnly(t *testing.T) {
	file := path(t)
	mustOpen(t, Config{Path: file})
	for _, c := range []struct {
		path string
		want os.FileMode
	}{{file, 0o600}, {filepath.Dir(file), 0o700}} {
		fi, err := os.Stat(c.path)
		if err != nil || fi.Mode().Perm() != c.want {
			t.Errorf("%s: %v, %v; want %v", c.path, fi.Mode(), err, c.want)
		}
	}
}

func TestOpenRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, file string)
		want    error
		text    string
	}{
		{"open elsewhere", func(t *testing.T, file string) { mustOpen(t, Config{Path: file}) }, ErrInUse, "another uspbridge"},
		{"text", func(t *testing.T, file string) { write(t, file, bytes.Repeat([]byte("text "), 4000)) }, ErrDamaged, "restore it from a backup"},
		{"too short", func(t *testing.T, file string) { write(t, file, []byte("short")) }, nil, "store.db"},
		{"both meta pages overwritten", damage, ErrDamaged, "backup"},
		{"another program's file", foreign, ErrDamaged, "another program"},
		{"a directory", func(t *testing.T, file string) { mkdir(t, file) }, nil, "store.db"},
		{"a newer schema", newer, ErrNewerSchema, "schema version 7, this program knows up to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := path(t)
			mkdir(t, filepath.Dir(file))
			c.prepare(t, file)
			s, err := Open(Config{Path: file, LockTimeout: 50 * time.Millisecond, Log: discard()})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %q: want %v with %q", err, c.want, c.text)
			}
		})
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("opened without a path")
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// raw gives a test the bbolt file itself.
func raw(t *testing.T, file string, change func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, file string) {
	s := mustOpen(t, Config{Path: file})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	clear(content[:2*os.Getpagesize()])
	write(t, file, content)
}

func foreign(t *testing.T, file string) {
	raw(t, file, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("raft"))
		return err
	})
}

func newer(t *testing.T, file string) {
	raw(t, file, func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket(bucketName(store.Meta))
		if err != nil {
			return err
		}
		return meta.Put(appendKey(nil, schemaOwner, schemaName), []byte("7"))
	})
}

func TestBrokenPagesAreAnErrorNotAPanic(t *testing.T) {
	file := path(t)
	s := mustOpen(t, Config{Path: file})
	var b store.Batch
	for i := range 2000 {
		b.Put(store.Key{Kind: store.Device, Owner: fmt.Sprint(i)}, make([]byte, 100))
	}
	if err := errors.Join(s.Commit(t.Context(), &b), s.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4 * os.Getpagesize(); i < len(content); i++ { // all but meta and freelist pages
		content[i] = 0xa5
	}
	write(t, file, content)

	s, err = Open(Config{Path: file, Log: discard()})
	if err == nil {
		_, err = s.Get(t.Context(), store.Key{Kind: store.Device, Owner: "1"})
		if cerr := s.Close(); cerr != nil {
			t.Fatal(cerr)
		}
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestMigrationsRunOnceAndInOrder(t *testing.T) {
	file := path(t)
	s := mustOpen(t, Config{Path: file})
	old := store.Key{Kind: store.Device, Owner: "dev"}
	var b store.Batch
	b.Put(old, []byte("v1"))
	if err := errors.Join(s.Commit(t.Context(), &b), s.Close()); err != nil {
		t.Fatal(err)
	}
	var ran []string
	rewrite := func(name, from, to string) migration {
		return migration{name: name, run: func(tx *bbolt.Tx) error {
			ran = append(ran, name)
			devices := tx.Bucket(bucketName(store.Device))
			if v := string(devices.Get(appendKey(nil, "dev", ""))); v != from {
				return fmt.Errorf("step %s found %q, want %q", name, v, from)
			}
			return devices.Put(appendKey(nil, "dev", ""), []byte(to))
		}}
	}
	broken := migration{name: "broken", run: func(*bbolt.Tx) error { return errors.New("disk on fire") }}
	steps := append(append([]migration{}, migrations...), rewrite("second", "v1", "v2"))

	_, err := open(Config{Path: file, Log: discard()}, append(steps[:len(steps):len(steps)], broken))
	if err == nil || !strings.Contains(err.Error(), "migration 3 (broken): disk on fire") {
		t.Fatalf("a failing step: %v", err)
	}
	steps = append(steps, rewrite("third", "v2", "v3"))
	for range 2 {
		s, err := open(Config{Path: file, Log: discard()}, steps)
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Get(t.Context(), old)
		if err != nil || string(v) != "v3" {
			t.Errorf("after migration: %q, %v; want v3", v, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(ran, " "); got != "second third" {
		t.Errorf("ran %q, want each step once: the broken one keeps those before it", got)
	}
}

func TestFullQueue(t *testing.T) {
	s := mustOpen(t, Config{Path: path(t), NoSync: true, QueueBytes: 1000, QueueWait: 20 * time.Millisecond})
	// The first callback holds the writer, so that the queue fills up.
	held, release := make(chan struct{}), make(chan struct{})
	var first store.Batch
	first.Put(store.Key{Kind: store.Device, Owner: "first"}, nil)
	s.Enqueue(&first, func(error) { close(held); <-release })
	<-held
	var b store.Batch
	b.Put(store.Key{Kind: store.Device, Owner: "dev"}, make([]byte, 2000)) // larger than the queue: let in alone
	accepted, refused := make(chan error, 1), make(chan error, 1)
	s.Enqueue(&b, func(err error) { accepted <- err })
	s.Enqueue(&b, func(err error) { refused <- err })
	if err := receive(t, refused); !errors.Is(err, ErrQueueFull) {
		t.Errorf("enqueue into a full queue: %v, want ErrQueueFull", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Commit(ctx, &b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("commit into a full queue: %v, want DeadlineExceeded", err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- s.Commit(t.Context(), &b) }()
	close(release)
	for name, outcome := range map[string]chan error{"enqueued": accepted, "waiting commit": waiting} {
		if err := receive(t, outcome); err != nil {
			t.Errorf("%s: %v once there is room", name, err)
		}
	}
}

func receive(t *testing.T, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		t.Fatal("no outcome")
		return nil
	}
}

func TestCommitWithdrawnInTimeWritesNothing(t *testing.T) {
	s := mustOpen(t, Config{Path: path(t), NoSync: true})
	held, release := make(chan struct{}), make(chan struct{})
	var first, b store.Batch
	first.Put(store.Key{Kind: store.Device, Owner: "first"}, nil)
	s.Enqueue(&first, func(error) { close(held); <-release })
	<-held
	k := store.Key{Kind: store.Device, Owner: "withdrawn"}
	b.Put(k, []byte("1"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := s.Commit(ctx, &b)
	close(release)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "nothing was written") {
		t.Errorf("commit: %v", err)
	}
	if err := s.Commit(t.Context(), &first); err != nil { // the queue has been worked off
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), k); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("withdrawn batch: %v, want ErrNotFound", err)
	}
}

func TestBatchesShareACommit(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := mustOpen(t, Config{Path: path(t), Metrics: reg})
	held, release := make(chan struct{}), make(chan struct{})
	var first store.Batch
	first.Put(store.Key{Kind: store.Device, Owner: "first"}, nil)
	s.Enqueue(&first, func(error) { close(held); <-release })
	<-held
	const n = 100
	for i := range n {
		var b store.Batch
		b.CompareAndSet(store.Key{Kind: store.Device, Owner: fmt.Sprint(i % 2), Name: fmt.Sprint(i / 4)}, nil, []byte("x"))
		s.Enqueue(&b, func(error) {})
	}
	close(release)
	if err := s.Commit(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	if c := got["uspbridge_store_commits_total"]; c > 3 {
		t.Errorf("%d batches took %v commits, want them to share", n+2, c)
	}
	if c := got["uspbridge_store_conflicts_total"]; c != n/2 { // each record is created twice
		t.Errorf("%v conflicts counted, want %d: a check sees earlier batches of its transaction", c, n/2)
	}
	if got["uspbridge_store_file_bytes"] <= 0 || got["uspbridge_store_failures_total"] != 0 {
		t.Errorf("metrics %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, Config{Path: path(t), Metrics: reg}) // metrics were given back
	if _, err := Open(Config{Path: path(t), Metrics: reg, Log: discard()}); err == nil {
		t.Error("two stores share one registry")
	}
	if families, err = reg.Gather(); err != nil || len(families) != 7 {
		t.Errorf("%d metrics of the open store %s are left, %v; want 7", len(families), again.cfg.Path, err)
	}
}
