package e2e

import (
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// incoming are records that came before one that is missing (R-E2E.20).
type incoming struct {
	bytes int
	early map[uint64]arrival
}

// arrival is a record that has come.
type arrival struct {
	record   *usppb.Record
	proven   bool // by the transport
	verified bool
	served   bool // what it asks for was sent again
}

var errAhead = errors.New("the record is too far ahead of those that are missing")

// put keeps an early record.
func (in *incoming) put(a arrival, expected uint64, lim *Limits) error {
	s := a.record.GetSessionContext()
	size := sizeOf(s)
	if s.GetSequenceId()-expected > uint64(lim.Ahead) || in.bytes+size > lim.AheadBytes {
		return fmt.Errorf("%w: sequence_id %d, expected %d", errAhead, s.GetSequenceId(), expected)
	}
	if in.early == nil {
		in.early = map[uint64]arrival{}
	}
	in.early[s.GetSequenceId()] = a
	in.bytes += size
	return nil
}

// take returns the early record of that number, if it has come.
func (in *incoming) take(sequence uint64) (arrival, bool) {
	a, ok := in.early[sequence]
	if ok {
		delete(in.early, sequence)
		in.bytes -= sizeOf(a.record.GetSessionContext())
	}
	return a, ok
}

// recordCost is what a record takes in memory beside its payload.
const recordCost = 512

func sizeOf(s *usppb.SessionContextRecord) int {
	size := recordCost
	for _, p := range s.GetPayload() {
		size += len(p) + 24
	}
	return size
}
