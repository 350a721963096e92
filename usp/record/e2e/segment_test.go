package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestHugeGapsAndEndlessSegments(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.agent.take(w.now, session(7, 1, 1, "one"))
	w.agent.take(w.now, session(7, 1<<40, 1, "far"))
	if !errors.Is(w.agent.last.Refused, errAhead) || w.agent.peer.current.id == 7 {
		t.Errorf("a gap of 2^40: %v", w.agent.last.Refused)
	}
	w.agent.peer.Forget()
	piece := strings.Repeat("x", 1<<20)
	for i := range uint64(10) {
		r := session(9, 1+i, 1, piece)
		r.GetSessionContext().PayloadSarState, r.GetSessionContext().PayloadrecSarState = sarInProcess, sarInProcess
		if i == 0 {
			r.GetSessionContext().PayloadSarState = sarBegin
		}
		if w.agent.take(w.now, r); w.agent.last.Refused != nil {
			if !errors.Is(w.agent.last.Refused, errSegments) || i < 5 {
				t.Errorf("at segment %d: %v", i, w.agent.last.Refused)
			}
			return
		}
	}
	t.Error("segments without end were kept")
}

func TestSegments(t *testing.T) {
	msg := strings.Repeat("0123456789", 1000)
	for _, secured := range []bool{false, true} {
		for _, most := range []int{0, 4096, 20000} {
			t.Run(fmt.Sprintf("secured=%v/largest=%d", secured, most), func(t *testing.T) {
				w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: secured, MaxRecord: most, Retransmits: 3}, secured)
				w.tell(w.ctl, "hello")
				w.agent.expect("hello")
				records := w.ctl.say(w.now, msg)
				if most == 4096 && len(records) < 3 || most != 4096 && len(records) != 1 {
					t.Errorf("%d records", len(records))
				}
				for i, b := range records {
					if most > 0 && len(b) > most {
						t.Errorf("record %d has %d bytes", i, len(b))
					}
					s := decode(t, b).GetSessionContext()
					want := sarInProcess
					switch {
					case len(records) == 1:
						want = sarNone
					case i == 0:
						want = sarBegin
					case i == len(records)-1:
						want = sarComplete
					}
					if s.GetPayloadSarState() != want || s.GetPayloadrecSarState() != want {
						t.Errorf("record %d has the states %s, %s", i, s.GetPayloadSarState(), s.GetPayloadrecSarState())
					}
				}
				w.carry(w.ctl, records)
				w.agent.expect(msg)
			})
		}
	}
}

// The states of TR-369 "Segmentation Examples": units are TLS records.
func TestSegmentationCases(t *testing.T) {
	unit := func(n int) []byte { return make([]byte, n) }
	for _, tt := range []struct {
		name  string
		units [][]byte
		room  int
		want  string // size:state,recstate
	}{
		{"3: one TLS record", [][]byte{unit(100)}, 200, "100:0,0"},
		{"4: all TLS records in one", [][]byte{unit(100), unit(50)}, 200, "150:0,0"},
		{"5: one TLS record in pieces", [][]byte{unit(250)}, 100, "100:1,1 100:2,2 50:3,3"},
		{"6: each TLS record in one", [][]byte{unit(100), unit(100), unit(50)}, 100, "100:1,0 100:2,0 50:3,0"},
		{"7: some in pieces", [][]byte{unit(150), unit(50)}, 100, "100:1,1 50:2,3 50:3,0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts, err := segments(tt.units, tt.room)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range parts {
				got = append(got, fmt.Sprintf("%d:%d,%d", len(p.payload), p.state, p.recState))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %s, want %s", s, tt.want)
			}
		})
	}
}

func TestRecordsAreTooSmall(t *testing.T) {
	w := newTwo(t, Policy{Mode: Require, Security: Forbid, MaxRecord: 60}, false)
	if _, err := w.ctl.peer.Send(w.now, w.ctl.policy, []byte(strings.Repeat("x", 100))); err == nil && w.ctl.peer.current != nil {
		t.Error("a record of 60 bytes has room for a payload")
	}
}
