package translate

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// tally is a store that counts what is done with it and can fail.
type tally struct {
	store.Store

	mu     sync.Mutex
	reads  map[store.Kind]int
	writes map[store.Kind]int
	refuse map[store.Kind]error
}

func (y *tally) count(counts *map[store.Kind]int, keys ...store.Key) (err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if *counts == nil {
		*counts = map[store.Kind]int{}
	}
	for _, k := range keys {
		(*counts)[k.Kind]++
		err = errors.Join(err, y.refuse[k.Kind])
	}
	return err
}

func (y *tally) written(b *store.Batch) error {
	var keys []store.Key
	for _, op := range b.Ops {
		keys = append(keys, op.Key)
	}
	return y.count(&y.writes, keys...)
}

func (y *tally) Get(ctx context.Context, k store.Key) ([]byte, error) {
	if err := y.count(&y.reads, k); err != nil {
		return nil, err
	}
	return y.Store.Get(ctx, k)
}

func (y *tally) Commit(ctx context.Context, b *store.Batch) error {
	if err := y.written(b); err != nil {
		return err
	}
	return y.Store.Commit(ctx, b)
}

func (y *tally) Enqueue(b *store.Batch, done func(error)) {
	if err := y.written(b); err != nil {
		go done(err)
		return
	}
	y.Store.Enqueue(b, done)
}

// fail makes batches of a kind fail with err, until it is nil.
func (y *tally) fail(kind store.Kind, err error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.refuse = map[store.Kind]error{kind: err}
}

// tallying puts a tally into a rig's configuration.
func tallying(y *tally) func(*Config) {
	return func(c *Config) { y.Store, c.Store = c.Store, y }
}

// What a CPE has said of itself is not asked for again because the bridge could
// not keep it, and a discovery that fails for ever is made more and more rarely.
func TestDiscoveryThatCannotBeKept(t *testing.T) {
	y := new(tally)
	y.fail(store.Template, errors.New("the disk is full"))
	r := newRig(t, tallying(y))
	u := r.add(cpesim.Config{})
	asked := u.Called("GetParameterValues")
	for range 10 {
		if err := u.session(); err != nil {
			t.Fatal(err)
		}
	}
	if n := u.Called("GetParameterValues"); n != asked || u.Called("GetParameterNames") != 1 {
		t.Errorf("the CPE was asked for %d values and %d names again", n-asked, u.Called("GetParameterNames")-1)
	}
	if rec := u.record(); rec.DiscoveryFailures != freeFailures+1 || rec.Discovery() == "" {
		t.Errorf("after %d failures it says: %s", rec.DiscoveryFailures, rec.Discovery())
	}
	y.fail(store.Template, nil)
	u.discover(1)
	if n := u.Called("GetParameterValues"); n != asked {
		t.Errorf("the CPE was asked for %d values again in the end", n-asked)
	}
}

// deaf is a host of agents that fails to take in new devices at first.
type deaf struct {
	nobody
	failures int
	told     int
}

func (d *deaf) Hosted(context.Context, usp.EndpointID) error {
	if d.failures--; d.failures >= 0 {
		return errors.New("not now")
	}
	d.told++
	return nil
}

// Controllers are told of a new device once, and that is not lost: each session
// tries again until it succeeds. How many sessions there are is the CPE's business.
func TestNewDevicesAreAnnounced(t *testing.T) {
	r := newRig(t, nil)
	agents := &deaf{failures: 2}
	r.Attach(r.acs, agents)
	u := r.add(cpesim.Config{})
	if u.record().Template == "" {
		t.Fatal("it is not discovered")
	}
	for sessions := 1; u.record().Unannounced; sessions++ {
		if sessions > 5 {
			t.Fatalf("not announced after %d sessions", sessions)
		}
		if err := u.session(); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if agents.told != 1 || agents.failures != -1 {
		t.Errorf("it was announced %d times, after %d failures; want once, after 2", agents.told, 1-agents.failures)
	}
}
