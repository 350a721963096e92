package e2e

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// sarState is short for the generated name.
type sarState = usppb.SessionContextRecord_PayloadSARState

const (
	sarNone      = usppb.SessionContextRecord_NONE
	sarBegin     = usppb.SessionContextRecord_BEGIN
	sarInProcess = usppb.SessionContextRecord_INPROCESS
	sarComplete  = usppb.SessionContextRecord_COMPLETE
)

// segment is the payload of one record.
type segment struct {
	payload  []byte
	state    sarState // of the message
	recState sarState // of the payload record: a TLS record, or the plaintext
}

var errTooSmall = errors.New("the largest record allowed has no room for a payload")

// segments cuts what has to be sent into payloads of at most room bytes; 0 is any
// number. units are the TLS records, or the one plaintext payload: what fits is
// sent in one record; else each unit that fits in a record of its own, and each
// that does not in several (TR-369 "SAR function algorithm").
func segments(units [][]byte, room int) ([]segment, error) {
	total := 0
	for _, u := range units {
		total += len(u)
	}
	if room == 0 || total <= room {
		one := units[0]
		for _, u := range units[1:] {
			one = append(one[:len(one):len(one)], u...)
		}
		return []segment{{payload: one}}, nil
	}
	if room < 0 {
		return nil, errTooSmall
	}
	var out []segment
	for _, u := range units {
		out = append(out, pieces(u, room)...)
	}
	for i := range out {
		out[i].state = sarInProcess
	}
	out[0].state, out[len(out)-1].state = sarBegin, sarComplete
	return out, nil
}

// pieces cuts one unit.
func pieces(unit []byte, room int) []segment {
	if len(unit) <= room {
		return []segment{{payload: unit}}
	}
	var out []segment
	for len(unit) > 0 {
		n := min(room, len(unit))
		out = append(out, segment{payload: unit[:n:n], recState: sarInProcess})
		unit = unit[n:]
	}
	out[0].recState, out[len(out)-1].recState = sarBegin, sarComplete
	return out
}

// roomFor returns how many bytes of payload a record like r, which has all that
// takes room but the payload, holds within most bytes: -1 if none, 0 if most is 0.
func roomFor(r *usppb.Record, most int) int {
	if most == 0 {
		return 0
	}
	// The numbers that are still to be set, and the lengths of the payload and of
	// the context around it, at their longest.
	const growth = 4*10 + 2*2 + 1 + 2*(5-1)
	room := most - proto.Size(r) - growth - protowire.SizeTag(fieldPayload)
	if room <= 0 {
		return -1
	}
	return room
}

// fieldPayload is the number of SessionContextRecord.payload.
const fieldPayload = 7

// reassembly puts payloads together.
type reassembly struct {
	within bool // after BEGIN, before COMPLETE
	data   []byte
}

var errSegments = errors.New("the segments do not fit together")

// check tells whether a record with that state may come now.
func (a *reassembly) check(state sarState) error {
	begins := state == sarNone || state == sarBegin
	if _, known := usppb.SessionContextRecord_PayloadSARState_name[int32(state)]; !known || begins == a.within {
		return fmt.Errorf("%w: payload_sar_state %s", errSegments, state)
	}
	return nil
}

// add appends what a record carried and returns the message if it is whole. An
// empty one is none.
func (a *reassembly) add(state sarState, data []byte, most int) ([]byte, error) {
	if len(a.data)+len(data) > most {
		return nil, fmt.Errorf("%w: more than %d bytes", errSegments, most)
	}
	a.within = state == sarBegin || state == sarInProcess
	if !a.within && a.data == nil {
		return data, nil
	}
	a.data = append(a.data, data...)
	if a.within {
		return nil, nil
	}
	whole := a.data
	a.data = nil
	return whole, nil
}
