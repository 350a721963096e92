// Package mtptest has what the tests of transports share: a Handler that passes
// on what it is told, and waiting with a limit. Programs do not import it.
package mtptest

import (
	"context"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Patience is how long a test waits for what must come.
const Patience = 20 * time.Second

// Ends are the two sides that Connected and Disconnected name.
type Ends struct{ Peer, Local usp.EndpointID }

// Recorder is an mtp.Handler that passes on what it is told. Verdict, if set,
// is asked first and may refuse a record.
type Recorder struct {
	In      chan mtp.Inbound
	Opened  chan Ends
	Closed  chan Ends
	Verdict func(mtp.Inbound) error
}

// NewRecorder returns a Recorder with room for 1,000 of each.
func NewRecorder() *Recorder {
	return &Recorder{In: make(chan mtp.Inbound, 1000), Opened: make(chan Ends, 1000), Closed: make(chan Ends, 1000)}
}

// Receive passes on a record.
func (r *Recorder) Receive(in mtp.Inbound) error {
	if r.Verdict != nil {
		if err := r.Verdict(in); err != nil {
			return err
		}
	}
	r.In <- in
	return nil
}

// Connected passes on a connection's ends.
func (r *Recorder) Connected(peer, local usp.EndpointID, _ mtp.Address) {
	r.Opened <- Ends{peer, local}
}

// Disconnected passes on a connection's ends.
func (r *Recorder) Disconnected(peer, local usp.EndpointID, _ mtp.Address) {
	r.Closed <- Ends{peer, local}
}

// Wait returns what comes from ch, or ends the test.
func Wait[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatalf("no %s within %s", what, Patience)
		panic("unreachable")
	}
}

// Until waits for a condition that nothing tells of.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(Patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Serve runs a transport until the test ends, and waits until it is ready.
func Serve(t testing.TB, tr mtp.Transport, h mtp.Handler) {
	t.Helper()
	Start(t, tr, h)
	Wait(t, tr.Ready(), "readiness of "+string(tr.Protocol()))
}

// Start runs a transport until the test ends or stop is called, which waits.
func Start(t testing.TB, tr mtp.Transport, h mtp.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- tr.Serve(ctx, h)
		close(ended)
	}()
	stop = func() {
		cancel()
		if err := Wait(t, ended, "end of Serve"); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}
