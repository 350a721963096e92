package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// newTable returns a Table, what it tells of its own accord, and its time.
func newTable(t testing.TB, peers int) (table *Table, told func() map[Pair]Result, advance func(time.Duration)) {
	var mu sync.Mutex
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := map[Pair]Result{}
	table = NewTable(TableConfig{
		Peers: peers,
		Now:   func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Due: func(pair Pair, _ *Peer, res Result) {
			mu.Lock()
			defer mu.Unlock()
			all[pair] = res
		},
	})
	t.Cleanup(table.Close)
	return table, func() map[Pair]Result { mu.Lock(); defer mu.Unlock(); return all },
		func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
}

func pairOf(n int) Pair { return Pair{usp.EndpointID(fmt.Sprintf("os::00259E-%d", n)), controllerID} }

var allowed = Policy{Mode: Allow, Security: Allow}

// begin has the peer of a pair begin a session.
func begin(table *Table, pair Pair) {
	table.With(pair, func(p *Peer) {
		r := session(7, 1, 1, "hello")
		r.ToId = string(pair.Local)
		p.Receive(table.cfg.Now(), allowed, r, false)
	})
}

func TestTableIsBounded(t *testing.T) {
	table, told, _ := newTable(t, 64)
	for n := range 1000 {
		begin(table, pairOf(n))
		table.Pass()
	}
	open := table.Open()
	if open > 64 {
		t.Errorf("%d sessions are open", open)
	}
	if gone := told(); len(gone) != 1000-open {
		t.Errorf("%d of %d that had to go were told", len(gone), 1000-open)
	}
	for pair, res := range told() { // R-E2E.6b
		if res.Disconnect != usp.ErrSessionContextExpired {
			t.Fatalf("%v: %+v", pair, res)
		}
		if s, _ := table.Status(pair); s != Down {
			t.Fatalf("%v is %s", pair, s)
		}
	}
	if s, _ := table.Status(pairOf(999)); s != Up {
		t.Errorf("the latest is %s", s)
	}
}

// Whoever uses the table is not kept by the farewells of those that have to go, and
// however slow these are there is an end to what is remembered of them.
func TestTableIsNotHeldUpByWhatGoes(t *testing.T) {
	release := make(chan struct{})
	table := NewTable(TableConfig{Peers: tableShards, Now: time.Now, Due: func(Pair, *Peer, Result) { <-release }})
	t.Cleanup(table.Close)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); table.Run(ctx) }()
	for n := range 1000 {
		begin(table, pairOf(n))
	}
	if open := table.Open(); open > 2*tableShards+dueWorkers {
		t.Errorf("%d sessions are open", open)
	}
	close(release)
	stop()
	<-ended
}

// A session that was to make room stays if it is used before its peer was told.
func TestTableKeepsWhatIsUsedAgain(t *testing.T) {
	table, told, _ := newTable(t, 1)
	first := pairOf(0)
	begin(table, first)
	var second Pair
	for n := 1; second == (Pair{}); n++ {
		if table.shard(pairOf(n)) == table.shard(first) {
			second = pairOf(n)
		}
	}
	begin(table, second)
	table.With(first, func(p *Peer) {
		if p.Status() != Up {
			t.Errorf("the session that is used again is %s", p.Status())
		}
	})
	table.Pass()
	if _, gone := told()[second]; !gone || len(told()) != 1 {
		t.Errorf("told %v, want %v", told(), second)
	}
	if s, _ := table.Status(first); s != Up {
		t.Errorf("it is %s", s)
	}
}

// What Work has no room for is done later; what it has taken is not given to it again.
func TestTableGivesWorkAway(t *testing.T) {
	table, told, advance := newTable(t, 1)
	var given []func()
	full := true
	table.cfg.Work = func(_ Pair, do func()) bool {
		if !full {
			given = append(given, do)
		}
		return !full
	}
	pair := pairOf(1)
	begin(table, pair)
	table.With(pair, func(p *Peer) { p.Receive(table.cfg.Now(), allowed, session(7, 3, 1, "early"), false) })
	other := pairOf(2)
	for n := 2; table.shard(other) != table.shard(pair); n++ {
		other = pairOf(n)
	}
	begin(table, other) // the first has to make room
	second := pairOf(3)
	for n := 3; table.shard(second) == table.shard(pair); n++ {
		second = pairOf(n)
	}
	begin(table, second)
	table.With(second, func(p *Peer) { p.Receive(table.cfg.Now(), allowed, session(7, 3, 1, "early"), false) })
	advance(2 * time.Second)
	table.Pass()
	full = false
	advance(workLater)
	table.Pass()
	table.Pass()
	if len(given) != 2 || len(told()) != 0 {
		t.Fatalf("%d pieces of work were given away, %v done", len(given), told())
	}
	for _, do := range given {
		do()
	}
	if res := told(); res[pair].Disconnect != usp.ErrSessionContextExpired || len(res[second].Records) != 1 {
		t.Errorf("done is %v", res)
	}
}

func TestTableForgetsWhatIsEmpty(t *testing.T) {
	table, _, _ := newTable(t, 0)
	begin(table, pairOf(1))
	table.Known(pairOf(1), (*Peer).Forget)
	table.With(pairOf(2), func(*Peer) {})
	for i := range table.shards {
		if n := len(table.shards[i].byPair) + len(table.shards[i].due); n > 0 {
			t.Errorf("a shard keeps %d", n)
		}
	}
	if n := table.Open(); n != 0 {
		t.Errorf("%d sessions are open", n)
	}
}

func TestTableDoesWhatIsDue(t *testing.T) {
	table, told, advance := newTable(t, 0)
	pair := pairOf(1)
	begin(table, pair)
	table.With(pair, func(p *Peer) { p.Receive(table.cfg.Now(), allowed, session(7, 3, 1, "early"), false) })
	if table.Pass(); len(told()) > 0 {
		t.Error("something was done before its time")
	}
	advance(2 * time.Second)
	table.Pass()
	if res := told()[pair]; len(res.Records) != 1 || decode(t, res.Records[0]).GetSessionContext().GetRetransmitId() != 2 {
		t.Errorf("got %+v", res)
	}
}

func TestTableRuns(t *testing.T) {
	woken := make(chan struct{}, 1)
	table := NewTable(TableConfig{
		Now: time.Now, Limits: Limits{Gap: time.Millisecond},
		Due: func(Pair, *Peer, Result) {
			select {
			case woken <- struct{}{}:
			default:
			}
		},
	})
	defer table.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); table.Run(ctx) }()
	table.With(pairOf(1), func(p *Peer) { p.Receive(time.Now(), allowed, session(7, 3, 1, "of an unknown session"), false) })
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Error("nothing was done")
	}
	stop()
	<-ended
}

// TestExpiredSessionIsDueNoMore: Run has nothing to do for a session that has ended,
// though what is known of it stays.
func TestExpiredSessionIsDueNoMore(t *testing.T) {
	table, _, advance := newTable(t, 0)
	table.With(pairOf(1), func(p *Peer) {
		r := session(7, 1, 1, "hello")
		r.ToId = string(pairOf(1).Local)
		policy := allowed
		policy.Expiration = time.Minute
		p.Receive(table.cfg.Now(), policy, r, false)
	})
	advance(2 * time.Minute)
	table.Pass()
	if s, _ := table.Status(pairOf(1)); s != Down {
		t.Errorf("the session is %s", s)
	}
	if next := table.Pass(); next.Before(table.cfg.Now().Add(tablePoll)) {
		t.Errorf("the next pass is due %v after this", next.Sub(table.cfg.Now()))
	}
}

func TestTableUsedByMany(t *testing.T) {
	table, _, advance := newTable(t, 64)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 200 {
				begin(table, pairOf((n*i)%100))
				advance(time.Second)
				table.Pass()
			}
		})
	}
	wg.Wait()
	if n := table.Open(); n == 0 || n > 64 {
		t.Errorf("%d sessions are open", n)
	}
}
