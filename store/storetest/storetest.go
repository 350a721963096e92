// Package storetest is the conformance test of package store: every driver's
// tests run it, so that all drivers keep the same promises. It uses only the
// interface; what a driver does on its own disk is for the driver's tests.
package storetest

import (
	"testing"

	"github.com/uspbridge/uspbridge/store"
)

// Open returns a fresh, empty store. The test closes it; what else was opened is
// cleaned up by t.Cleanup.
type Open func(t *testing.T) store.Store

// Run runs the conformance test, each part on a store of its own.
func Run(t *testing.T, open Open) {
	parts := []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"a record is read as it was written", testRoundTrip},
		{"kinds, owners and names keep records apart", testKeys},
		{"a read value belongs to the reader", testCopies},
		{"compare-and-set compares with what is stored", testCompareAndSet},
		{"a conflict leaves the whole batch out", testConflictIsAtomic},
		{"checks see the state before their own batch", testChecksBeforeChanges},
		{"one of many concurrent compare-and-sets wins", testCompareAndSetRace},
		{"batches of one goroutine are applied in order", testOrder},
		{"enqueue reports the outcome", testEnqueueOutcome},
		{"scan selects by owner and name", testScanSelects},
		{"scan pages without gaps or repetition", testScanPages},
		{"scan ends when told to", testScanStops},
		{"impossible keys and queries are refused", testRefusals},
		{"contexts end calls", testContexts},
		{"close keeps what was enqueued and ends the rest", testClose},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			p.run(t, s)
		})
	}
}
