package translate

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

const (
	// turnPatience is how long a session waits for its device's turn to be
	// discovered. It is short: the CPE has other things to do, and so have the
	// controllers whose operations come after.
	turnPatience = time.Second
	// turnTime is after how long a discovery no longer keeps others waiting. One
	// that takes longer waits for its CPE: it is no load, and a CPE that never
	// answers must delay no other.
	turnTime = 30 * time.Second
	// maxListed bounds the devices remembered to be woken, of some 100 bytes
	// each; those beyond are discovered when they next inform.
	maxListed = 200_000
)

// errMustWait is why a device is not discovered in this session.
var errMustWait = errors.New("too many devices are being discovered at once and the turn of this one has not come")

// throttle bounds the discoveries that run at once: a whole tree costs a hundred
// times what an ordinary session does, so that after a power cut new devices
// would hold up all others. Turns are given in the order in which devices asked.
// One whose session cannot wait so long is listed and woken when its turn has
// come; what is kept for it is its key.
//
// A device that comes by itself meanwhile takes its turn then, and one that
// cannot be woken loses it: its record still says that it must be discovered.
// That is also why a restart loses nothing.
type throttle struct {
	limit int // discoveries at once
	log   *slog.Logger

	mu       sync.Mutex
	running  int
	present  []*turn                               // sessions that wait, in order
	absent   []turn                                // listed devices, in order; some may be listed no more
	listed   map[cwmp.DeviceKey]uint64             // their numbers
	expected map[cwmp.DeviceKey]context.CancelFunc // turns kept for devices that are woken; ends that
	due      []cwmp.DeviceKey                      // expected ones that nobody has begun to wake
	last     uint64                                // number given last
	waking   bool                                  // run is running
	wake     chan struct{}                         // due has got longer; room for one

	since time.Time // when a device had to be listed first; zero: none is
	count int       // of devices listed since

	crowded bool // maxListed was reached since
}

// turn is a device's place in the order.
type turn struct {
	key    cwmp.DeviceKey
	number uint64
	come   chan struct{} // closed when it is this one's turn
}

func newThrottle(limit int, log *slog.Logger) *throttle {
	return &throttle{limit: limit, log: log, wake: make(chan struct{}, 1),
		listed: map[cwmp.DeviceKey]uint64{}, expected: map[cwmp.DeviceKey]context.CancelFunc{}}
}

// acquire waits a moment for the device's turn, and returns errMustWait if it
// has not come. release is to be called when the discovery has ended.
func (t *throttle) acquire(ctx context.Context, key cwmp.DeviceKey) (release func(), err error) {
	mine := t.ask(key)
	patience := time.NewTimer(turnPatience)
	defer patience.Stop()
	select {
	case <-mine.come:
	case <-patience.C:
		err = errMustWait
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && t.withdraw(mine) {
		return nil, err
	}
	end := sync.OnceFunc(t.release)
	late := time.AfterFunc(turnTime, end)
	return func() { late.Stop(); end() }, nil
}

// ask gives a device its place: the one it has, or the last.
func (t *throttle) ask(key cwmp.DeviceKey) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := &turn{key: key, come: make(chan struct{})}
	if end, ok := t.expected[key]; ok {
		delete(t.expected, key)
		end()
		t.give(mine)
		return mine
	}
	number, ok := t.listed[key]
	if !ok {
		t.last++
		number = t.last
	}
	mine.number = number
	at, _ := slices.BinarySearchFunc(t.present, number, func(other *turn, n uint64) int { return cmp.Compare(other.number, n) })
	t.present = slices.Insert(t.present, at, mine)
	t.advance()
	return mine
}

// give makes it a device's turn. The lock is held.
func (t *throttle) give(to *turn) {
	t.running++
	delete(t.listed, to.key)
	close(to.come)
}

// withdraw takes back what was asked for, unless the turn has come.
func (t *throttle) withdraw(mine *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.Index(t.present, mine)
	if at < 0 {
		return false
	}
	t.present = slices.Delete(t.present, at, at+1)
	return true
}

func (t *throttle) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	t.advance()
}

// list has a device woken when its turn has come.
func (t *throttle) list(key cwmp.DeviceKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, has := t.listed[key]
	if _, woken := t.expected[key]; has || woken {
		return
	}
	if len(t.absent) >= maxListed {
		if !t.crowded {
			t.crowded = true
			t.log.Warn("limit reached: further devices are not woken for their discovery; they are discovered when they inform next", "value", maxListed)
		}
		return
	}
	if t.since.IsZero() {
		t.since, t.count = time.Now(), 0
		t.log.Warn("limit reached: devices wait in order for their discovery", "limit", "cwmp.limits.discoveries", "value", t.limit)
	}
	t.count++
	t.last++
	t.listed[key] = t.last
	t.absent = append(t.absent, turn{key: key, number: t.last})
	t.advance()
}

// advance gives the turns that are free to those who have waited longest. The
// lock is held.
func (t *throttle) advance() {
	for t.running+len(t.expected) < t.limit {
		next, waits := t.firstAbsent()
		switch {
		case waits && (len(t.present) == 0 || next.number < t.present[0].number):
			t.absent = t.absent[1:]
			delete(t.listed, next.key)
			t.expected[next.key] = func() {}
			t.due = append(t.due, next.key)
			select {
			case t.wake <- struct{}{}:
			default: // it has been told
			}
		case len(t.present) > 0:
			first := t.present[0]
			t.present = slices.Delete(t.present, 0, 1)
			t.give(first)
		default:
			t.relieve()
			return
		}
	}
}

// firstAbsent returns the listed device whose turn is the next, if it can be
// kept one: only half of all turns are, since a device that is woken may not
// come. The lock is held.
func (t *throttle) firstAbsent() (first turn, ok bool) {
	for len(t.absent) > 0 && t.listed[t.absent[0].key] != t.absent[0].number {
		t.absent = t.absent[1:] // it came by itself
	}
	if len(t.absent) == 0 || !t.waking || len(t.expected) >= max(t.limit/2, 1) {
		return turn{}, false
	}
	return t.absent[0], true
}

// relieve tells that nobody waits any more. The lock is held.
func (t *throttle) relieve() {
	if t.since.IsZero() || len(t.listed)+len(t.expected)+len(t.present) > 0 {
		return
	}
	t.log.Info("limit no longer reached", "limit", "cwmp.limits.discoveries", "value", t.limit,
		"times", t.count, "took", time.Since(t.since).Round(time.Millisecond))
	t.since, t.absent, t.crowded = time.Time{}, nil, false
}

// run has listed devices woken until ctx ends. wake returns when the device's
// session has ended or when there will be none: so there are about as many calls
// at once as turns, and no more.
func (t *throttle) run(ctx context.Context, wake func(context.Context, cwmp.DeviceKey)) {
	t.begin()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		for _, key := range t.takeDue() {
			calling, cancel := context.WithCancel(ctx)
			if !t.expect(key, cancel) {
				cancel() // it has come meanwhile
				continue
			}
			calls.Go(func() {
				defer cancel()
				wake(calling, key)
				t.giveUp(key)
			})
		}
	}
}

func (t *throttle) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waking = true
	t.advance()
}

func (t *throttle) takeDue() (keys []cwmp.DeviceKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, t.due = t.due, nil
	return keys
}

// expect notes how to end the waking of a device. It reports false if no turn is
// kept for it any more.
func (t *throttle) expect(key cwmp.DeviceKey, end context.CancelFunc) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.expected[key]
	if ok {
		t.expected[key] = end
	}
	return ok
}

// giveUp takes back the turn that was kept for a device.
func (t *throttle) giveUp(key cwmp.DeviceKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if end, ok := t.expected[key]; ok {
		delete(t.expected, key)
		end()
		t.advance()
	}
}

// state returns how many discoveries run and how many devices wait for theirs.
func (t *throttle) state() (running, waiting int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running, len(t.present) + len(t.listed) + len(t.expected)
}
