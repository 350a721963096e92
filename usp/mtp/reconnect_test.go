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

func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		meter, err := mtp.NewMeter(nil, mtp.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		changed := make(chan struct{}, 1)
		refused := errors.New("refused")
		// How long each connection lasts, and how it ends.
		script := []struct {
			lasts time.Duration
			ends  error
		}{
			{0, refused}, {0, refused}, {time.Hour, refused}, {0, refused}, {0, mtp.ErrChanged}, {0, mtp.ErrDisabled}, {0, refused},
		}
		var waits []time.Duration
		at := 0
		mtp.Backoff{}.Reconnect(ctx, meter, changed, func(context.Context) error {
			if at == len(script) {
				cancel()
				return ctx.Err()
			}
			s := script[at]
			at++
			<-time.After(s.lasts)
			if s.ends == mtp.ErrDisabled {
				changed <- struct{}{} // enabled again
			}
			return s.ends
		}, func(_ error, wait time.Duration) { waits = append(waits, wait) })
		// The first waits double; a connection that has lasted begins them anew, and
		// so does a change.
		from := []time.Duration{time.Second, 2 * time.Second, time.Second, 2 * time.Second, time.Second}
		if len(waits) != len(from) || !slices.EqualFunc(waits, from, func(w, f time.Duration) bool { return w >= f && w <= 2*f }) {
			t.Errorf("waited %v, want from %v to twice that", waits, from)
		}
		if s := meter.Status(); s.Up || s.LastError != refused.Error() {
			t.Errorf("status %+v", s)
		}
	})
}

func TestGate(t *testing.T) {
	g := mtp.NewGate(1)
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Enter(ctx); err == nil {
		t.Error("two at once")
	}
	leave()
	leave() // once more does not matter
	if _, err := g.Enter(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := g.Enter(ctx); err == nil {
		t.Error("leaving twice has made room for two")
	}
	if _, err := mtp.Gate(nil).Enter(ctx); err != nil {
		t.Error(err)
	}
}
