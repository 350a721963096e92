package mtp_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// box is an Outbox of a test, with what was given up.
type box struct {
	*mtp.Outbox[string]
	lost []error
}

func newBox(limit mtp.OutboxLimit) *box {
	b := &box{}
	b.Outbox = mtp.NewOutbox[string](limit, time.Minute, func(err error) { b.lost = append(b.lost, err) })
	return b
}

// take returns the messages that may be sent now, and their ids.
func (b *box) take() (messages []string, ids []uint16) {
	for {
		e, ok := b.Next()
		if !ok {
			return messages, ids
		}
		text := e.Message
		if e.Again {
			text += " again"
		}
		messages, ids = append(messages, text), append(ids, e.ID)
	}
}

func (b *box) keep(t *testing.T, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := b.Keep(m, len(m)); err != nil {
			t.Fatal(err)
		}
	}
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

var small = mtp.OutboxLimit{Messages: 4, Bytes: 100}

// What a lost connection leaves unconfirmed is sent again on the next, first and
// in order, under its id.
func TestOutboxAcrossConnections(t *testing.T) {
	b := newBox(small)
	b.keep(t, "a", "b", "c")
	got, _ := b.take()
	same(t, "without a connection", got)
	b.Open(2)
	got, first := b.take()
	same(t, "as many as may be unconfirmed", got, "a", "b")
	if !b.Confirm(first[0], nil) || b.Confirm(first[0], nil) {
		t.Error("a message is confirmed once")
	}
	got, _ = b.take()
	same(t, "once there is room", got, "c")
	b.Shut()
	if b.Confirm(first[1], nil) {
		t.Error("confirmed by a connection that has ended")
	}
	b.keep(t, "d")
	b.Open(10)
	got, second := b.take()
	same(t, "on the next connection", got, "b again", "c again", "d")
	if second[0] != first[1] {
		t.Errorf("b has id %d, had %d", second[0], first[1])
	}
	b.Close()
	if len(b.lost) != 3 {
		t.Errorf("%d messages given up at the end, want 3", len(b.lost))
	}
}

func TestOutboxBounds(t *testing.T) {
	b := newBox(small)
	b.keep(t, "a", "b", "c", "d")
	if err := b.Keep("e", 1); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("a fifth message: %v, want ErrUnreachable", err)
	}
	b = newBox(small)
	if err := b.Keep("alone, however large", 1000); err != nil {
		t.Error(err)
	}
	if err := b.Keep("second", 1); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("beyond the bytes: %v, want ErrUnreachable", err)
	}
}

func TestOutboxGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(small)
		b.keep(t, "old")
		<-time.After(59 * time.Second)
		b.keep(t, "new")
		<-time.After(2 * time.Second)
		b.Open(10)
		got, _ := b.take()
		same(t, "after a minute", got, "new")
		if len(b.lost) != 1 {
			t.Errorf("given up: %v", b.lost)
		}
	})
	// A message that ends each connection on which it is sent.
	b := newBox(small)
	b.keep(t, "poison")
	tries := 0
	for len(b.lost) == 0 && tries < 100 {
		b.Open(1)
		if got, _ := b.take(); len(got) == 1 {
			tries++
		}
		b.Shut()
	}
	if tries != 5 {
		t.Errorf("sent on %d connections, want 5", tries)
	}
}

func TestOutboxOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(small)
		b.keep(t, "a")
		b.Open(1)
		_, ids := b.take()
		<-time.After(59 * time.Second)
		if b.Overdue() {
			t.Error("overdue before its time")
		}
		<-time.After(2 * time.Second)
		if !b.Overdue() {
			t.Error("not overdue after a minute in flight")
		}
		b.Confirm(ids[0], nil)
		if b.Overdue() {
			t.Error("overdue although it is confirmed")
		}
	})
}

// handed is what became of a Hand.
type handed struct {
	err   error
	after time.Duration
}

func hand(b *box, m string, surely bool) <-chan handed {
	done, began := make(chan handed, 1), time.Now()
	go func() {
		f := b.Hand
		if surely {
			f = b.HandSurely
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := f(ctx, m, len(m), func() {})
		done <- handed{err, time.Since(began)}
	}()
	return done
}

// Who sends waits for the broker's word, but not for one that lets it wait.
func TestOutboxPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(small)
		b.Open(1)
		refusal := errors.New("not authorized")
		done := hand(b, "refused", false)
		synctest.Wait()
		_, ids := b.take()
		b.Confirm(ids[0], refusal)
		if got := <-done; got.err != refusal || got.after != 0 {
			t.Errorf("refused: %+v", got)
		}
		if got := <-hand(b, "first that waits", false); got.err != nil || got.after != time.Second || !b.Late() {
			t.Errorf("first that waits: %+v, late %v", got, b.Late())
		}
		if got := <-hand(b, "second", false); got.err != nil || got.after != 0 {
			t.Errorf("second: %+v, want nobody to wait", got)
		}
		b.keep(t, "third", "fourth")
		if got := <-hand(b, "no room", false); !errors.Is(got.err, mtp.ErrUnreachable) || got.after != 0 {
			t.Errorf("no room: %+v", got)
		}
		_, ids = b.take()
		b.Confirm(ids[0], nil)
		if b.Late() {
			t.Error("late although the broker answers again")
		}
		if got := <-hand(b, "surely", true); !errors.Is(got.err, context.DeadlineExceeded) || got.after != 10*time.Second {
			t.Errorf("surely: %+v", got)
		}
	})
}

// Where there is no room Hand waits while the broker takes messages.
func TestOutboxWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(small)
		b.Open(10)
		b.keep(t, "a", "b", "c", "d")
		_, ids := b.take()
		done := hand(b, "e", false)
		synctest.Wait()
		b.Confirm(ids[0], nil)
		synctest.Wait()
		got, next := b.take()
		same(t, "in the room", got, "e")
		b.Confirm(next[0], nil)
		if got := <-done; got.err != nil {
			t.Error(got.err)
		}
	})
}
