package e2e

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// R-E2E.14, R-E2E.15, R-E2E.17.
func TestNumbersOfRecords(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.tell(w.ctl, "one")
	w.tell(w.agent, "uno")
	for i, want := range []uint64{2, 3} {
		s := decode(t, w.agent.say(w.now, "next")[0]).GetSessionContext()
		if s.GetSequenceId() != want || s.GetExpectedId() != 2 || s.GetSessionId() != w.ctl.peer.current.id {
			t.Errorf("record %d is %v", i, s)
		}
	}
}

func TestOrder(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	a := w.agent
	a.take(w.now, session(7, 1, 1, "one"))
	a.expect("one")
	for range 2 { // R-E2E.25, also of one that waits
		a.take(w.now, session(7, 4, 4, "four"))
		a.take(w.now, session(7, 1, 1, "one"))
	}
	a.expect()
	a.take(w.now, session(7, 2, 2, "two"))
	a.expect("two")
	a.take(w.now, session(7, 3, 3, "three"))
	a.expect("three", "four")
	if a.last.Restarted || a.last.Refused != nil {
		t.Errorf("got %+v", a.last)
	}
}

func TestMissingRecordIsAskedFor(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.tell(w.ctl, "one")
	lost := w.ctl.say(w.now, "two")
	w.tell(w.ctl, "three")
	w.agent.expect("one")
	if at := w.agent.peer.Next(); at != w.now.Add(2*time.Second) {
		t.Fatalf("the agent has something to do at %v", at)
	}
	w.now = w.now.Add(2 * time.Second)
	w.carry(w.agent, w.agent.came(w.agent.peer.Tick(w.now)))
	w.agent.expect("two", "three")
	if again := w.ctl.last.Retransmitted; again != 1 {
		t.Errorf("%d records were sent again", again)
	}
	w.agent.take(w.now, decode(t, lost[0])) // after all
	w.agent.expect()
}

// Both ends wait for what the other has to send again.
func TestBothMissARecord(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.tell(w.ctl, "one")
	w.ctl.say(w.now, "two")
	w.agent.say(w.now, "uno")
	w.carry(w.ctl, w.ctl.say(w.now, "three"))
	w.carry(w.agent, w.agent.say(w.now, "due"))
	w.now = w.now.Add(3 * time.Second)
	mine, theirs := w.agent.came(w.agent.peer.Tick(w.now)), w.ctl.came(w.ctl.peer.Tick(w.now))
	w.carry(w.agent, mine)
	w.carry(w.ctl, theirs)
	w.agent.expect("one", "two", "three")
	w.ctl.expect("uno", "due")
}

func TestMissingRecordThatDoesNotCome(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.agent.take(w.now, session(7, 1, 1, "one"))
	w.agent.take(w.now, session(7, 3, 1, "three"))
	asked := 0
	for range 10 {
		w.now = w.agent.peer.Next()
		records := w.agent.came(w.agent.peer.Tick(w.now))
		s := decode(t, records[0]).GetSessionContext()
		if s.GetSessionId() != 7 {
			if asked != 5 || s.GetSequenceId() != 1 || s.GetRetransmitId() != 0 || !w.agent.last.Restarted {
				t.Errorf("after %d requests: %v", asked, s)
			}
			return
		}
		if s.GetRetransmitId() != 2 {
			t.Errorf("asked with %v", s)
		}
		asked++
	}
	t.Fatal("the session was not begun again")
}

// TP-469 3.14.
func TestRetransmitsAreBounded(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, Retransmits: 2}, false)
	w.agent.take(w.now, session(7, 1, 1, "one"))
	answer := w.agent.say(w.now, "uno")[0]
	for i := range uint64(2) {
		r := session(7, 2+i, 1, "")
		r.GetSessionContext().RetransmitId = 1
		if got := w.agent.take(w.now, r); len(got) != 1 || !bytes.Equal(got[0], answer) {
			t.Fatalf("at request %d: %d records", i+1, len(got))
		}
	}
	r := session(7, 4, 1, "")
	r.GetSessionContext().RetransmitId = 1
	got := w.agent.take(w.now, r)
	if len(got) != 1 || decode(t, got[0]).GetSessionContext().GetSessionId() == 7 || !errors.Is(w.agent.last.Refused, errRetransmit) {
		t.Errorf("at the third: %d records, %v", len(got), w.agent.last.Refused)
	}
}

// R-E2E.8, R-E2E.9.
func TestNumbersRunOut(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.tell(w.ctl, "one")
	w.tell(w.agent, "uno")
	w.ctl.expect("uno")
	c := w.agent.peer.current
	c.expected, c.next = exhausted-1, exhausted
	w.ctl.peer.current.next, w.ctl.peer.current.expected = exhausted-1, exhausted
	w.tell(w.ctl, "two")
	w.agent.expect("one", "two")
	if w.agent.peer.current.id == c.id || w.ctl.peer.current.id != w.agent.peer.current.id {
		t.Error("no session was begun")
	}
	w.agent.peer.current.next = exhausted
	w.tell(w.agent, "due")
	w.ctl.expect("due")
}

func TestKeptRecordsAreBounded(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.agent.peer.limits.Kept = 10
	w.agent.take(w.now, session(7, 1, 1, "one"))
	for range 100 {
		w.agent.say(w.now, "notification")
	}
	if n := len(w.agent.peer.current.out.sent); n != 10 {
		t.Errorf("%d records are kept", n)
	}
	w.agent.take(w.now, session(7, 2, 101, ""))
	if o := w.agent.peer.current.out; len(o.sent) != 0 || o.bytes != 0 { // R-E2E.16
		t.Errorf("after all came: %d records, %d bytes", len(o.sent), o.bytes)
	}
}
