package translate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// snapshot is what is known of a device at one moment. It is immutable: readers
// take one and keep it for the length of a message.
type snapshot struct {
	rec     *Record
	tree    *tree.Tree       // nil until discovered
	numbers *mapping.Numbers // nil until discovered
	program *mapping.Program // nil until discovered

	viewOnce sync.Once
	view     *mapping.View
}

// See returns the device as the mapping shows it; nil until discovered. It is
// built at the first use: an Inform that nobody asks about does not pay for it.
func (s *snapshot) See(now func() time.Time) *mapping.View {
	s.viewOnce.Do(func() {
		if s.program != nil {
			s.view = s.program.View(s.tree, s.numbers, now)
		}
	})
	return s.view
}

// device is one CPE in memory. While it is there it is the only copy: all
// changes of a device go through its mutex.
type device struct {
	key   cwmp.DeviceKey
	state atomic.Pointer[snapshot]

	mu    sync.Mutex      // held while a change is made up and enqueued, never across I/O with the CPE
	gone  bool            // forgotten by the operator: nothing more is stored; guarded by mu
	fetch fetches         // live reads in flight
	adds  map[string]bool // PendingAdds that this process is at work on, by ID; guarded by mu

	images   map[uint32]bool // operations whose image this process is fetching, by Request; guarded by mu
	stopping map[uint32]bool // diagnostics that this process is canceling, by Request; guarded by mu

	telling sync.Mutex // held while the agent is told of ended operations

	order sync.Mutex // held while controllers are told of a change, before mu: they are told in order

	asked    atomic.Pointer[asked] // the last connection request, until the CPE has come or it failed
	compared atomic.Bool           // no value has changed since the tables were compared with the CPE's counts
	unsaved  atomic.Bool           // a batch failed: the next one has to carry everything
	pins     atomic.Int32          // users; a pinned device stays in memory
	lastUsed atomic.Int64          // unix nanoseconds

	load    sync.Once
	loadErr error
}

// devices is the set of devices in memory: loaded from the store when asked for
// and dropped when idle. It is sharded so that no two CPE contend without need.
type devices struct {
	store     store.Store
	sealer    store.Sealer
	templates *templates
	log       *slog.Logger
	now       func() time.Time
	shards    [64]deviceShard
	seed      maphash.Seed
	endpoints sync.Map // usp.EndpointID → cwmp.DeviceKey, of devices in memory
	crowded   bool     // makeRoom's
}

type deviceShard struct {
	mu sync.Mutex
	m  map[cwmp.DeviceKey]*device
}

func newDevices(st store.Store, sealer store.Sealer, t *templates, log *slog.Logger, now func() time.Time) *devices {
	d := &devices{store: st, sealer: sealer, templates: t, log: log, now: now, seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].m = make(map[cwmp.DeviceKey]*device)
	}
	return d
}

func (d *devices) shard(key cwmp.DeviceKey) *deviceShard {
	return &d.shards[maphash.String(d.seed, string(key))%uint64(len(d.shards))]
}

// errUnknownDevice is returned for a key that has never informed or was forgotten.
var errUnknownDevice = errors.New("no device of this name has ever informed here")

// acquire returns the device with that key, loading it if need be, and pins it;
// the caller must release it. It fails with errUnknownDevice if the store does
// not have it.
func (d *devices) acquire(ctx context.Context, key cwmp.DeviceKey) (*device, error) {
	dev := d.pin(key)
	dev.load.Do(func() { dev.loadErr = d.read(ctx, dev) })
	if dev.loadErr != nil {
		d.discard(dev)
		return nil, dev.loadErr
	}
	return d.remap(ctx, dev)
}

// create returns the device with that key, pinned. If the store does not have
// it, it is made with the record that first returns, and made durable; created
// is then true.
func (d *devices) create(ctx context.Context, key cwmp.DeviceKey, first func() (*snapshot, error)) (dev *device, created bool, err error) {
	for {
		dev, created = d.pin(key), false
		tried := false
		dev.load.Do(func() {
			tried = true
			dev.loadErr = d.read(ctx, dev)
			if !errors.Is(dev.loadErr, errUnknownDevice) {
				return
			}
			var s *snapshot
			if s, dev.loadErr = first(); dev.loadErr == nil {
				dev.state.Store(s)
				created = true
			}
		})
		if dev.loadErr == nil {
			dev, err = d.remap(ctx, dev)
			return dev, created, err
		}
		d.discard(dev)
		// Somebody else asked for the device just before it was made.
		if tried || !errors.Is(dev.loadErr, errUnknownDevice) {
			return nil, false, dev.loadErr
		}
	}
}

func (d *devices) pin(key cwmp.DeviceKey) *device {
	s := d.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	dev := s.m[key]
	if dev == nil {
		dev = &device{key: key}
		s.m[key] = dev
	}
	dev.pins.Add(1)
	return dev
}

// release unpins a device.
func (d *devices) release(dev *device) {
	dev.lastUsed.Store(d.now().UnixNano())
	dev.pins.Add(-1)
}

// discard takes a device that could not be loaded out of the set, so that the
// next caller tries anew.
func (d *devices) discard(dev *device) {
	s := d.shard(dev.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	dev.pins.Add(-1)
	if s.m[dev.key] == dev {
		delete(s.m, dev.key)
	}
	d.forgetEndpoint(dev)
}

func (d *devices) forgetEndpoint(dev *device) {
	if s := dev.state.Load(); s != nil {
		d.endpoints.Delete(s.rec.Endpoint)
	}
}

// evict drops devices that nobody has used since the given time. A device whose
// changes are not yet durable is pinned, so that what is loaded later is never
// older than what was dropped.
func (d *devices) evict(before time.Time) (dropped int) {
	limit := before.UnixNano()
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		for key, dev := range s.m {
			if dev.pins.Load() == 0 && !dev.unsaved.Load() && dev.lastUsed.Load() < limit {
				delete(s.m, key)
				d.forgetEndpoint(dev)
				dropped++
			}
		}
		s.mu.Unlock()
	}
	return dropped
}

// evictEvery is how often idle devices are looked for. Between two looks no more
// devices come than a node has sessions for.
const evictEvery = time.Second

// makeRoom drops devices that have been idle for a time, and for less and less of
// it while there are more than max. That it has to is told once, and once that it
// has not for some time.
func (d *devices) makeRoom(max int, idle time.Duration) {
	d.evict(d.now().Add(-idle))
	n := d.loaded()
	switch {
	case n > max && !d.crowded:
		d.crowded = true
		d.log.Warn("limit reached: devices stay in memory for a shorter time", "limit", "cwmp.limits.devices", "value", max)
	case n <= max/2 && d.crowded:
		d.crowded = false
		d.log.Info("limit no longer reached", "limit", "cwmp.limits.devices", "value", max)
	}
	for ; n > max && idle > evictEvery; n = d.loaded() {
		idle /= 2
		d.evict(d.now().Add(-idle))
	}
}

// loaded returns how many devices are in memory.
func (d *devices) loaded() (n int) {
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}

// read loads a device's snapshot from the store.
func (d *devices) read(ctx context.Context, dev *device) error {
	b, err := d.store.Get(ctx, recordKey(dev.key))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("device %s: %w", dev.key, errUnknownDevice)
	} else if err != nil {
		return fmt.Errorf("device %s: %w", dev.key, err)
	}
	s := new(snapshot)
	if s.rec, err = decodeRecord(b); err != nil {
		return fmt.Errorf("device %s: %w", dev.key, err)
	}
	if err := s.rec.checkPassword(d.sealer); err != nil {
		d.log.Error("a device's connection request password cannot be opened; the CPE is given a new one in its next session", "device", dev.key, "error", err)
	}
	if s.rec.Template != "" {
		if err := d.readTree(ctx, dev.key, s); errors.Is(err, errDamaged) {
			// The CPE has it all: it is read again, with the numbers kept.
			d.log.Error("a device's parameter tree cannot be used and is read from the CPE again", "device", dev.key, "error", err)
			s.tree, s.program = nil, nil
			s.rec = s.rec.clone()
			s.rec.Template, s.rec.Rediscover = "", true
		} else if err != nil {
			return fmt.Errorf("device %s: %w", dev.key, err)
		}
	}
	dev.state.Store(s)
	return nil
}

// errDamaged is a tree in the store that does not fit its template or is not there.
var errDamaged = errors.New("the stored parameter tree is damaged")

func (d *devices) readTree(ctx context.Context, key cwmp.DeviceKey, s *snapshot) error {
	blob, err := d.store.Get(ctx, numbersKey(key))
	if err != nil {
		return fmt.Errorf("instance numbers: %w", err)
	}
	if s.numbers, err = mapping.DecodeNumbers(blob); err != nil {
		return fmt.Errorf("instance numbers: %w", err)
	}
	t, err := d.templates.load(ctx, s.rec.Template)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	} else if err != nil {
		return err
	}
	if s.program, err = d.templates.program(t, s.rec); err != nil {
		return err
	}
	blob, err = d.store.Get(ctx, treeKey(key))
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: it is not there", errDamaged)
	} else if err != nil {
		return fmt.Errorf("parameter tree: %w", err)
	}
	if s.tree, err = tree.Decode(t, blob); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	// A mapping file may have changed since: rows it now shows get numbers.
	next, _, _, changed := s.program.Reconcile(s.tree, s.numbers)
	if !changed {
		return nil
	}
	s.numbers = next
	return d.keepNumbers(ctx, key, next)
}

func (d *devices) keepNumbers(ctx context.Context, key cwmp.DeviceKey, n *mapping.Numbers) error {
	var b store.Batch
	b.Put(numbersKey(key), n.Encode())
	return d.store.Commit(ctx, &b)
}

// change is what a writer makes of a snapshot: nil fields stay as they are.
type change struct {
	rec     *Record
	tree    *tree.Tree
	aged    *tree.Tree // as tree, but differs in ages only: not worth a write
	numbers *mapping.Numbers
	program *mapping.Program

	structural bool        // a value has changed that rows hang on
	batch      store.Batch // what else is written with it
}

// whole returns the change with everything that the device has, for a batch that
// makes up for one that failed.
func (c change) whole(old *snapshot) change {
	if c.rec == nil {
		c.rec = old.rec
	}
	if c.tree == nil {
		c.tree = c.aged
	}
	if c.tree == nil {
		c.tree = old.tree
	}
	if c.numbers == nil {
		c.numbers = old.numbers
	}
	return c
}

// onto returns the device as the change would make it.
func (c change) onto(old *snapshot) *snapshot {
	s := &snapshot{rec: old.rec, tree: old.tree, numbers: old.numbers, program: old.program}
	if c.aged != nil {
		s.tree = c.aged
	}
	if c.rec != nil {
		s.rec = c.rec
	}
	if c.tree != nil {
		s.tree = c.tree
	}
	if c.numbers != nil {
		s.numbers = c.numbers
	}
	if c.program != nil {
		s.program = c.program
	}
	return s
}

// apply makes c the device's state and adds it to batch. dev.mu is held.
func (dev *device) apply(c change, batch *store.Batch) *snapshot {
	old := dev.state.Load()
	unsaved := dev.unsaved.Swap(false)
	if unsaved {
		c = c.whole(old)
	}
	s := c.onto(old)
	if c.tree != nil {
		dev.compared.Store(false)
	}
	if c.rec != nil && c.rec.Due != 0 && unsaved {
		batch.Put(dueKey(c.rec.Due, dev.key), nil) // it was in what could not be stored
	}
	if c.rec != nil {
		batch.Put(recordKey(dev.key), c.rec.encode())
	}
	if c.tree != nil {
		batch.Put(treeKey(dev.key), c.tree.Encode(nil))
	}
	if c.numbers != nil {
		batch.Put(numbersKey(dev.key), c.numbers.Encode())
	}
	dev.state.Store(s)
	return s
}
