package bolt

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/uspbridge/uspbridge/store"
)

// Config says where the store is and what it may use.
type Config struct {
	Path string // the file; it and its directory are created if missing

	// LockTimeout is how long Open waits for another process to let go of the
	// file. Default 2 s.
	LockTimeout time.Duration

	// QueueBytes bounds what waits to be written; callers of Commit and Enqueue
	// wait while it is exceeded. Default 64 MiB.
	QueueBytes int
	// QueueWait bounds how long Enqueue waits for room before the batch fails
	// with ErrQueueFull. Commit waits as long as its context. Default 10 s.
	QueueWait time.Duration
	// GroupBatches and GroupBytes bound one transaction. Defaults 4096, 16 MiB.
	GroupBatches int
	GroupBytes   int

	// NoSync leaves out disk syncs: for tests and benchmarks, since it breaks
	// the promise of Commit.
	NoSync bool

	Log     *slog.Logger          // default: slog.Default()
	Metrics prometheus.Registerer // nil: no metrics
}

// The failures that only this driver has.
var (
	ErrQueueFull   = errors.New("the store's queue stayed full: the disk does not keep up")
	ErrInUse       = errors.New("another uspbridge has it open")
	ErrDamaged     = errors.New("the file is damaged or no store of uspbridge")
	ErrNewerSchema = errors.New("the file was written by a newer uspbridge")
)

// mapped is the address space reserved for the file, so that growing it does
// not have to wait for readers before that size. It takes no memory.
const mapped = 1 << 30

// Store is an open bbolt file. It implements store.Store.
type Store struct {
	cfg     Config
	db      *bbolt.DB
	metrics *metrics
	queue   queue
	done    chan struct{} // closed when the writer has ended
	close   sync.Once
	closed  error // outcome of closing, valid after close
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the store and brings its schema up to date. Errors wrap
// ErrInUse, ErrDamaged or ErrNewerSchema, or say what the system refused.
func Open(cfg Config) (*Store, error) { return open(cfg, migrations) }

func open(cfg Config, steps []migration) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := openFile(cfg)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", cfg.Path, err)
	}
	if err := guarded(func() error { return migrate(db, steps, cfg.Log) }); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", cfg.Path, err), db.Close())
	}
	s := &Store{cfg: cfg, db: db, done: make(chan struct{})}
	s.queue.init(cfg.QueueBytes)
	if s.metrics, err = newMetrics(cfg, &s.queue); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", cfg.Path, err), db.Close())
	}
	go s.write()
	return s, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.Path == "" {
		return c, errors.New("store: no path of the bbolt file is configured")
	}
	if c.LockTimeout <= 0 {
		c.LockTimeout = 2 * time.Second
	}
	if c.QueueBytes <= 0 {
		c.QueueBytes = 64 << 20
	}
	if c.QueueWait <= 0 {
		c.QueueWait = 10 * time.Second
	}
	if c.GroupBatches <= 0 {
		c.GroupBatches = 4096
	}
	if c.GroupBytes <= 0 {
		c.GroupBytes = 16 << 20
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c, nil
}

// openFile opens or creates the bbolt file, readable by its owner only since it
// holds credentials.
func openFile(cfg Config) (*bbolt.DB, error) {
	dir := filepath.Dir(cfg.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	_, statErr := os.Stat(cfg.Path)
	var db *bbolt.DB
	err := guarded(func() (err error) {
		db, err = bbolt.Open(cfg.Path, 0o600, &bbolt.Options{
			Timeout:         cfg.LockTimeout,
			NoSync:          cfg.NoSync,
			FreelistType:    bbolt.FreelistMapType, // stays quick with many free pages
			InitialMmapSize: mapped,
		})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w (%v): restore it from a backup, or move it away to begin anew", ErrDamaged, err)
	case err != nil:
		return nil, err
	}
	if os.IsNotExist(statErr) {
		// A new file is durable only when its directory entry is.
		if err := syncDir(dir); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// guarded turns a panic of bbolt, which is how it meets broken pages, into
// ErrDamaged.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return f()
}

// Close waits for what was enqueued, then closes the file. Calling it again
// does nothing.
func (s *Store) Close() error {
	s.close.Do(func() {
		s.queue.shut()
		<-s.done
		s.metrics.unregister(s.cfg.Metrics)
		s.closed = s.db.Close()
	})
	return s.closed
}
