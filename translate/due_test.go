package translate

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
)

// slowStore keeps what is enqueued back until it is let go.
type slowStore struct {
	store.Store
	slow atomic.Bool
	held chan func()
}

func (s *slowStore) Enqueue(b *store.Batch, done func(error)) {
	if !s.slow.Load() {
		s.Store.Enqueue(b, done)
		return
	}
	s.held <- func() { s.Store.Enqueue(b, done) }
}

// The index of what is due is looked at again when an entry is in the store: who
// looked before would see it at the next poll only, up to a minute late.
func TestDueIsLookedAtOnceStored(t *testing.T) {
	var st *slowStore
	r := newRig(t, func(c *Config) { st = &slowStore{Store: c.Store, held: make(chan func(), 100)}; c.Store = st })
	u := r.add(cpesim.Config{})
	u.discover(3)
	dev, err := r.devices.acquire(t.Context(), u.key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.devices.release(dev)
	for len(r.wakeDue) > 0 {
		<-r.wakeDue
	}
	st.slow.Store(true)
	var batch store.Batch
	rec := dev.state.Load().rec.clone()
	r.schedule(dev.key, rec, r.now().Add(time.Second), &batch)
	dev.mu.Lock()
	durable := r.keep(dev, &batch)
	dev.mu.Unlock()
	if len(r.wakeDue) != 0 {
		t.Error("it is to be looked at before there is anything to see")
	}
	st.slow.Store(false)
	for len(st.held) > 0 {
		(<-st.held)()
	}
	if err := durable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.wakeDue) != 1 {
		t.Error("it is not looked at")
	}
}
