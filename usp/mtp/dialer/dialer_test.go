package dialer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The waits of these tests have no jitter: the multiplier is all but 1, the
// interval of a wait empty.
var (
	fiveSeconds = mtp.Backoff{Min: 5 * time.Second, Max: 5 * time.Second, Multiplier: 1.000001}
	pair        = Pair{"os::1-1", "proto::c"}
)

// network is an Opener whose sessions tests end.
type network struct {
	dialer *Dialer
	began  time.Time

	mu     sync.Mutex
	down   bool
	takes  time.Duration // to open
	tries  []string      // "agent at seconds"
	open   map[Pair]*line
	others map[Pair]bool // sessions that the peer has opened
	most   int           // tries under way at once
	now    int
}

type line struct {
	network *network
	pair    Pair
	url     string
	mu      sync.Mutex
	closed  bool
	reason  string
}

// Close ends the session as the transport would.
func (l *line) Close(reason string) {
	l.mu.Lock()
	l.closed, l.reason = true, reason
	l.mu.Unlock()
	go l.network.ended(l)
}

func (l *line) Closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func (n *network) ended(l *line) {
	n.mu.Lock()
	if n.open[l.pair] == l {
		delete(n.open, l.pair)
	}
	n.mu.Unlock()
	n.dialer.Ended(l.pair)
}

func (n *network) Joined(p Pair) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.open[p] != nil || n.others[p]
}

func (n *network) Open(ctx context.Context, p Pair, to mtp.Target) (Session, error) {
	n.mu.Lock()
	n.tries = append(n.tries, fmt.Sprintf("%s at %v", p.Local, time.Since(n.began).Round(time.Millisecond)))
	n.now++
	n.most = max(n.most, n.now)
	takes, down := n.takes, n.down
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.now--
		n.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if down {
		return nil, errors.New("nobody there")
	}
	l := &line{network: n, pair: p, url: to.URL}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open[p] = l
	return l, nil
}

func (n *network) session(t *testing.T) *line {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.open[pair]
	if l == nil {
		t.Fatal("there is no session")
	}
	return l
}

func (n *network) set(down bool, takes time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down, n.takes = down, takes
}

// want compares the tries so far, and forgets them.
func (n *network) want(t *testing.T, tries ...string) {
	t.Helper()
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if fmt.Sprint(n.tries) != fmt.Sprint(tries) {
		t.Errorf("tries %v, want %v", n.tries, tries)
	}
	n.tries = nil
}

// play runs a test in a bubble of time with a Dialer that runs.
func play(t *testing.T, cfg Config, script func(t *testing.T, d *Dialer, n *network)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{began: time.Now(), open: map[Pair]*line{}, others: map[Pair]bool{}}
		d, err := New(cfg, n)
		if err != nil {
			t.Fatal(err)
		}
		n.dialer = d
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.Run(ctx)
		}()
		script(t, d, n)
		cancel()
		<-ended
	})
}

func dial(d *Dialer, url string) {
	d.Dial(pair.Local, pair.Peer, mtp.Target{URL: url, Retry: fiveSeconds})
}

func TestSessionIsOpenedAndOpenedAgain(t *testing.T) {
	play(t, Config{}, func(t *testing.T, d *Dialer, n *network) {
		dial(d, "ws://a")
		dial(d, "ws://a")
		n.want(t, "os::1-1 at 0s")
		if wanted, open := d.Wanted(); wanted != 1 || open != 1 {
			t.Errorf("%d wanted, %d open", wanted, open)
		}
		n.set(true, 0)
		n.session(t).Close("lost")
		<-time.After(11 * time.Second)
		n.want(t, "os::1-1 at 5s", "os::1-1 at 10s")
		if got := d.Retries(pair.Local, pair.Peer); got != 3 {
			t.Errorf("%d retries, want 3: the third waits", got)
		}
		n.set(false, 0)
		<-time.After(5 * time.Second)
		n.want(t, "os::1-1 at 15s")
		if got := d.Retries(pair.Local, pair.Peer); got != 0 {
			t.Errorf("%d retries after a session, want 0 (R-WS.20)", got)
		}
	})
}

func TestAgain(t *testing.T) { // R-WS.21
	play(t, Config{}, func(t *testing.T, d *Dialer, n *network) {
		n.set(true, 0)
		dial(d, "ws://a")
		<-time.After(7 * time.Second)
		n.want(t, "os::1-1 at 0s", "os::1-1 at 5s")
		d.Again(pair.Local, pair.Peer)
		n.want(t, "os::1-1 at 7s")
		if got := d.Retries(pair.Local, pair.Peer); got != 1 {
			t.Errorf("%d retries, want 1", got)
		}
		n.set(false, 0)
		<-time.After(5 * time.Second)
		n.want(t, "os::1-1 at 12s")
		d.Again(pair.Local, pair.Peer) // it has a session
		d.Again(pair.Local, "proto::unknown")
		<-time.After(time.Minute)
		n.want(t)
	})
}

func TestSessionOfThePeerIsAsGood(t *testing.T) {
	play(t, Config{}, func(t *testing.T, d *Dialer, n *network) {
		n.others[pair] = true
		dial(d, "ws://a")
		<-time.After(time.Minute)
		n.want(t)
		n.mu.Lock()
		delete(n.others, pair)
		n.mu.Unlock()
		d.Ended(pair)
		<-time.After(5 * time.Second)
		n.want(t, "os::1-1 at 1m5s")
	})
}

func TestAnotherAddress(t *testing.T) {
	play(t, Config{}, func(t *testing.T, d *Dialer, n *network) {
		dial(d, "ws://a")
		n.want(t, "os::1-1 at 0s")
		old := n.session(t)
		dial(d, "ws://b")
		<-time.After(time.Second)
		n.want(t, "os::1-1 at 10ms") // as the pace has it
		if !old.Closed() || n.session(t).url != "ws://b" {
			t.Errorf("the session goes to %s", n.session(t).url)
		}
		// A change while a try is under way.
		n.set(false, time.Second)
		n.session(t).Close("lost")
		<-time.After(5500 * time.Millisecond)
		dial(d, "ws://c")
		n.want(t, "os::1-1 at 6s")
		<-time.After(2 * time.Second)
		n.want(t, "os::1-1 at 7s")
		if got := n.session(t).url; got != "ws://c" {
			t.Errorf("the session goes to %s, want ws://c", got)
		}
	})
}

func TestHang(t *testing.T) {
	for name, when := range map[string]time.Duration{"while trying": time.Second / 2, "while open": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			play(t, Config{}, func(t *testing.T, d *Dialer, n *network) {
				n.set(false, time.Second)
				dial(d, "ws://a")
				<-time.After(when)
				d.Hang(pair.Local, pair.Peer)
				<-time.After(time.Minute)
				n.want(t, "os::1-1 at 0s")
				if wanted, open := d.Wanted(); wanted != 0 || open != 0 || n.Joined(pair) {
					t.Errorf("%d wanted, %d open, session: %t", wanted, open, n.Joined(pair))
				}
			})
		})
	}
	t.Run("while waiting", func(t *testing.T) {
		play(t, Config{}, func(t *testing.T, d *Dialer, n *network) {
			n.set(true, 0)
			dial(d, "ws://a")
			n.want(t, "os::1-1 at 0s")
			d.Hang(pair.Local, pair.Peer)
			d.Hang(pair.Local, pair.Peer)
			<-time.After(time.Minute)
			n.want(t)
		})
	})
}

func fleet(d *Dialer, n int) {
	for i := range n {
		d.Dial(usp.EndpointID(fmt.Sprintf("os::1-%d", i)), pair.Peer, mtp.Target{URL: "ws://a", Retry: fiveSeconds})
	}
}

func TestPace(t *testing.T) {
	play(t, Config{Rate: 2}, func(t *testing.T, d *Dialer, n *network) {
		fleet(d, 4)
		<-time.After(3 * time.Second)
		synctest.Wait()
		for i, try := range n.tries {
			if want := fmt.Sprintf("os::1-%d at %v", i, time.Duration(i)*time.Second/2); len(try) < 7 || try[7:] != want[7:] {
				t.Errorf("try %d: %s, want one at %s", i, try, want[7:])
			}
		}
		if len(n.tries) != 4 {
			t.Errorf("%d tries", len(n.tries))
		}
	})
}

func TestBounds(t *testing.T) {
	play(t, Config{Concurrent: 3, Max: 5, Rate: 1000}, func(t *testing.T, d *Dialer, n *network) {
		n.set(false, time.Second)
		fleet(d, 8)
		<-time.After(time.Minute)
		synctest.Wait()
		if _, open := d.Wanted(); open != 5 || n.most != 3 {
			t.Errorf("%d are open, %d were tried at once; want 5 and 3", open, n.most)
		}
		var first *line
		for _, l := range n.open {
			first = l
		}
		d.Hang(first.pair.Local, first.pair.Peer)
		<-time.After(3 * time.Second)
		if _, open := d.Wanted(); open != 5 {
			t.Errorf("%d are open after one has gone; want 5", open)
		}
	})
}

// guests are dialled one after the other.
func guests(d *Dialer, n int) {
	for i := range n {
		d.Dial(usp.EndpointID(fmt.Sprint("os::guest-", i)), pair.Peer, mtp.Target{URL: "ws://a", Retry: fiveSeconds, Guest: true})
		<-time.After(time.Nanosecond)
	}
}

// TestGuestsTakeTurns: who is hosted does not wait for all guests that came before.
func TestGuestsTakeTurns(t *testing.T) {
	play(t, Config{Rate: 10}, func(t *testing.T, d *Dialer, n *network) {
		guests(d, 4)
		n.want(t, "os::guest-0 at 0s")
		fleet(d, 2)
		<-time.After(time.Second)
		n.want(t, "os::1-0 at 100ms", "os::guest-1 at 200ms", "os::1-1 at 300ms", "os::guest-2 at 400ms", "os::guest-3 at 500ms")
	})
}

// TestGuestsLeaveHalfOfTheTries to the others, if theirs take long.
func TestGuestsLeaveHalfOfTheTries(t *testing.T) {
	play(t, Config{Rate: 1000, Concurrent: 4}, func(t *testing.T, d *Dialer, n *network) {
		n.set(false, time.Second)
		guests(d, 8)
		<-time.After(100 * time.Millisecond)
		n.want(t, "os::guest-0 at 0s", "os::guest-1 at 1ms")
		fleet(d, 2)
		<-time.After(100 * time.Millisecond)
		n.want(t, "os::1-0 at 100ms", "os::1-1 at 101ms")
		<-time.After(time.Minute)
		if _, open := d.Wanted(); open != 10 {
			t.Errorf("%d are open, want 10", open)
		}
	})
}

func TestTryHasATimeout(t *testing.T) {
	play(t, Config{Timeout: 2 * time.Second}, func(t *testing.T, d *Dialer, n *network) {
		n.set(false, time.Hour)
		dial(d, "ws://a")
		<-time.After(8 * time.Second)
		n.want(t, "os::1-1 at 0s", "os::1-1 at 7s")
	})
}

func TestBadConfiguration(t *testing.T) {
	if _, err := New(Config{Rate: -1}, nil); err == nil {
		t.Error("a negative rate is accepted")
	}
}

// BenchmarkDial: what one more pair takes.
func BenchmarkDial(b *testing.B) {
	d, err := New(Config{}, &network{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Dial(usp.EndpointID(fmt.Sprintf("os::00259E-%d", i)), pair.Peer, mtp.Target{URL: "ws://a", Retry: fiveSeconds})
	}
}
