package e2e

import (
	"errors"
	"testing"

	"github.com/uspbridge/uspbridge/usp/record"
)

// TestProofOfMessages: a message is as certain as the least of the records that it
// came in, whatever the record is that made it whole or let it be read.
func TestProofOfMessages(t *testing.T) {
	in := func(sequence uint64, state sarState, proven bool) arrival {
		r := session(7, sequence, 1, "x")
		r.GetSessionContext().PayloadSarState = state
		return arrival{record: r, proven: proven}
	}
	tests := []struct {
		name     string
		arrivals []arrival
		want     []bool
	}{
		{"alone", []arrival{in(1, sarNone, true)}, []bool{true}},
		{"by its word", []arrival{in(1, sarNone, false)}, []bool{false}},
		{"before one that is missing", []arrival{in(1, sarNone, true), in(3, sarNone, false), in(2, sarNone, true)}, []bool{true, true, false}},
		{"in segments", []arrival{in(1, sarBegin, true), in(2, sarInProcess, true), in(3, sarComplete, true)}, []bool{true}},
		{"with a segment by its word", []arrival{in(1, sarBegin, true), in(2, sarInProcess, false), in(3, sarComplete, true), in(4, sarNone, true)}, []bool{false, true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newTwo(t, Policy{}, false)
			var got []bool
			for _, a := range tt.arrivals {
				for _, m := range w.agent.peer.Receive(w.now, w.agent.policy, a.record, a.proven).Messages {
					got = append(got, m.Proven)
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("%d messages, want %d", len(got), len(tt.want))
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("proven: %v, want %v", got, tt.want)
				}
			}
		})
	}
}

// TestProofByTLS: and a signature is none.
func TestProofByTLS(t *testing.T) {
	for secured, policy := range map[bool]Policy{
		true: {Mode: Allow, Security: Allow, TLS: true, Retransmits: 3}, false: {Mode: Allow, Security: Allow, Retransmits: 3},
	} {
		w := newTwo(t, policy, true)
		w.tell(w.ctl, "one")
		w.agent.expect("one")
		r := decode(t, w.ctl.say(w.now, "two")[0])
		if !secured {
			if err := record.Sign(r, &w.ctl.peer.identity.(*passport).cert); err != nil {
				t.Fatal(err)
			}
		}
		res := w.agent.peer.Receive(w.now, policy, r, false)
		if len(res.Messages) != 1 || res.Messages[0].Proven != secured || res.Proven != secured {
			t.Errorf("TLS %v: %+v, %v", secured, res.Messages, res.Refused)
		}
	}
}

// TestStrangerDoesNotEndTheSession: where records have to prove their integrity, one
// of a session that never began is not waited for.
func TestStrangerDoesNotEndTheSession(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Require, TLS: true, Retransmits: 3}, true)
	w.tell(w.ctl, "one")
	standing := w.agent.peer.current.id
	forged := decode(t, w.ctl.say(w.now, "two")[0])
	forged.GetSessionContext().SessionId, forged.GetSessionContext().SequenceId = standing+1, 5
	if w.agent.take(w.now, forged); !errors.Is(w.agent.last.Refused, record.ErrIntegrity) {
		t.Errorf("refused: %v", w.agent.last.Refused)
	}
	w.agent.came(w.agent.peer.Tick(w.now.Add(w.agent.peer.limits.Gap)))
	if c := w.agent.peer.current; c == nil || c.id != standing {
		t.Error("the session has ended")
	}
}
