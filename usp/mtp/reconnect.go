package mtp

import (
	"context"
	"errors"
	"time"
)

// steady is how long a connection must have lasted for the next try to be the
// first again: a broker that throws us out at once is not to be hammered.
const steady = 30 * time.Second

// ErrChanged ends a connection whose settings have changed: the next one is made
// at once.
var ErrChanged = errors.New("the settings have changed")

// ErrDisabled is how a connection stands that is not wanted.
var ErrDisabled = errors.New("disabled")

// Gate lets so many connections be made at the same time, so that those of a
// whole fleet are no stampede for a broker that has just come back. The nil Gate
// lets all pass.
type Gate chan struct{}

// NewGate returns a Gate for n at once.
func NewGate(n int) Gate { return make(Gate, n) }

// Enter waits for its turn; leave must be called once the connection is made or
// has failed, and may be called again.
func (g Gate) Enter(ctx context.Context) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	left := false
	return func() {
		if !left {
			left = true
			<-g
		}
	}, nil
}

// Reconnect lives through one connection after another until ctx ends, with waits
// as the policy has them, which go to report. Connect returns why its connection
// ended; where that is ErrChanged the next is made at once. A signal on changed
// ends a wait.
func (b Backoff) Reconnect(ctx context.Context, m *Meter, changed <-chan struct{}, connect func(context.Context) error, report func(err error, wait time.Duration)) {
	for try := 1; ; try++ {
		began := time.Now()
		err := connect(ctx)
		if ctx.Err() != nil {
			m.Down(nil)
			return
		}
		m.Down(err)
		if errors.Is(err, ErrChanged) {
			try = 0
			continue
		}
		if time.Since(began) > steady {
			try = 1
		}
		wait := b.Wait(try)
		if errors.Is(err, ErrDisabled) {
			wait = time.Duration(1<<63 - 1) // until it is enabled
		} else {
			report(err, wait.Round(time.Millisecond))
		}
		if !pause(ctx, wait, changed) {
			try = 0
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// pause waits; it returns false if changed has ended the wait.
func pause(ctx context.Context, wait time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-changed:
		return false
	}
	return true
}
