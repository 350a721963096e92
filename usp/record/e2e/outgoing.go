package e2e

import (
	"errors"
	"fmt"
)

// outgoing are the records that were sent and may be asked for again (R-E2E.16),
// by rising sequence_id.
type outgoing struct {
	sent  []sent
	bytes int
}

type sent struct {
	sequence uint64
	record   []byte
	again    int // times it was sent again
}

// keep adds a record. Beyond the limits the oldest are given up.
func (o *outgoing) keep(sequence uint64, record []byte, lim *Limits) {
	o.sent = append(o.sent, sent{sequence: sequence, record: record})
	o.bytes += len(record)
	for len(o.sent) > lim.Kept || o.bytes > lim.KeptBytes && len(o.sent) > 1 {
		o.drop(1)
	}
}

// acknowledge gives up the records before the one that the peer expects.
func (o *outgoing) acknowledge(expected uint64) {
	n := 0
	for n < len(o.sent) && o.sent[n].sequence < expected {
		n++
	}
	o.drop(n)
}

func (o *outgoing) drop(n int) {
	for i := range o.sent[:n] {
		o.bytes -= len(o.sent[i].record)
		o.sent[i] = sent{}
	}
	o.sent = o.sent[n:]
	if len(o.sent) == 0 {
		o.sent = nil
	}
}

var errRetransmit = errors.New("the record cannot be sent again")

// again returns a record that the peer asks for, at most so many times; -1 is any
// number.
func (o *outgoing) again(sequence uint64, most int) ([]byte, error) {
	for i := range o.sent {
		s := &o.sent[i]
		if s.sequence != sequence {
			continue
		}
		if most >= 0 && s.again >= most {
			return nil, fmt.Errorf("%w: %d was sent again %d times already", errRetransmit, sequence, s.again)
		}
		s.again++
		return s.record, nil
	}
	return nil, fmt.Errorf("%w: %d is not kept", errRetransmit, sequence)
}
