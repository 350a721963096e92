package trust

import (
	"context"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/test/clock"
	"github.com/uspbridge/uspbridge/usp"
)

const (
	testAgent  = usp.EndpointID("ops::00259E-HG8245A-4857")
	controller = usp.EndpointID("proto::controller-1")
)

// bench is a Trust with its surroundings.
type bench struct {
	*Trust
	store store.Store
	plain store.Store // as it is on disk
	book  *book
	files *files
	now   *clock.Clock
}

// files are the authorities of the configuration.
type files struct {
	cas     []*x509.Certificate
	revoked []*x509.Certificate
}

func (f *files) Current() ([]*x509.Certificate, func(*x509.Certificate) bool) {
	return f.cas, func(c *x509.Certificate) bool {
		for _, r := range f.revoked {
			if r.Equal(c) {
				return true
			}
		}
		return false
	}
}

// book is what one agent keeps.
type book struct {
	known    Known
	err      error
	admitted []Admission
	revoked  int
}

func (b *book) Known(_ context.Context, _, _ usp.EndpointID) (Known, error) { return b.known, b.err }

func (b *book) Admitted(_ context.Context, _, _ usp.EndpointID, by Admission) error {
	b.admitted = append(b.admitted, by)
	return nil
}

func (b *book) Revoked(context.Context, usp.EndpointID, usp.EndpointID) error {
	b.revoked++
	return nil
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	st, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "store.db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{
		store: seal.Store(st, seal.Random(), slog.New(slog.DiscardHandler), store.Certificate), plain: st,
		book: &book{}, files: &files{}, now: clock.At(time.Now().Truncate(time.Second)),
	}
	cfg := Config{Store: b.store, Authorities: b.files, Now: b.now.Now}
	for _, c := range change {
		c(&cfg)
	}
	if b.Trust, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	b.Attach(b.book)
	return b
}
