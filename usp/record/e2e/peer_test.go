package e2e

import (
	"bytes"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestMessagesInASession(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.tell(w.ctl, "one")
	w.tell(w.agent, "uno")
	w.tell(w.ctl, "two")
	w.agent.expect("one", "two")
	w.ctl.expect("uno")
	if w.agent.peer.current.id != w.ctl.peer.current.id || w.agent.peer.current.ours || !w.ctl.peer.current.ours {
		t.Error("the session is not the one that the controller has begun")
	}
}

func TestRefusedByPolicy(t *testing.T) {
	for _, tt := range []struct {
		name         string
		ours, theirs Policy
		secured      bool
		want         usp.ErrorCode
	}{
		{"session contexts", Policy{Mode: Forbid}, Policy{Mode: Allow}, false, usp.ErrSessionContextDenied},
		{"TLS without certificates", Policy{Mode: Allow, Security: Allow}, Policy{Mode: Allow, TLS: true}, false, usp.ErrSecureSessionNotSupp},
		{"TLS", Policy{Mode: Allow, Security: Forbid}, Policy{Mode: Allow, TLS: true}, true, usp.ErrSecureSessionNotSupp},
		{"plaintext", Policy{Mode: Allow, Security: Require}, Policy{Mode: Allow}, true, usp.ErrSecureSessionRequired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newTwo(t, tt.ours, true)
			if !tt.secured {
				w.agent.peer.identity = nil
			}
			w.ctl.policy = tt.theirs
			w.agent.take(w.now, decode(t, w.ctl.say(w.now, "hello")[0]))
			if w.agent.last.Disconnect != tt.want || w.agent.last.Refused == nil || len(w.agent.got) > 0 {
				t.Errorf("got %+v", w.agent.last)
			}
		})
	}
}

// Who is not allowed to speak ends no session that stands.
func TestRefusalLeavesTheSession(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Require, Retransmits: 3}, true)
	w.tell(w.ctl, "one")
	w.agent.take(w.now, session(9, 1, 1, "plain"))
	if w.agent.last.Disconnect != usp.ErrSecureSessionRequired {
		t.Errorf("got %+v", w.agent.last)
	}
	w.tell(w.ctl, "two")
	w.agent.expect("one", "two")
}

func session(id, sequence, expected uint64, payload string) *usppb.Record {
	return &usppb.Record{
		Version: "1.4", ToId: string(agentID), FromId: string(controllerID),
		RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{
			SessionId: id, SequenceId: sequence, ExpectedId: expected, Payload: [][]byte{[]byte(payload)},
		}},
	}
}

func TestSessionOfThePeerTakesThePlaceOfTheOld(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.agent.take(w.now, session(7, 1, 1, "one"))
	w.agent.say(w.now, "uno")
	w.agent.take(w.now, session(8, 1, 1, "two"))
	w.agent.expect("one", "two")
	s := decode(t, w.agent.say(w.now, "due")[0]).GetSessionContext() // R-E2E.6
	if s.GetSessionId() != 8 || s.GetSequenceId() != 1 || s.GetExpectedId() != 2 {
		t.Errorf("got %v", s)
	}
	w.agent.take(w.now, session(7, 1, 1, "one")) // comes again, from a broker perhaps
	w.agent.take(w.now, session(7, 2, 1, "two"))
	w.agent.expect()
	if w.agent.peer.current.id != 8 {
		t.Error("an old session has come back")
	}
}

// R-E2E.24: a bridge that has been restarted knows no sessions.
func TestUnknownSession(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.agent.take(w.now, session(7, 57, 40, "request"))
	w.agent.expect()
	w.now = w.agent.peer.Next()
	got := w.agent.came(w.agent.peer.Tick(w.now))
	if len(got) != 1 {
		t.Fatalf("%d records", len(got))
	}
	if s := decode(t, got[0]).GetSessionContext(); s.GetSequenceId() != 1 || s.GetSessionId() < 2 || s.GetSessionId() == 7 || len(bytes.Join(s.GetPayload(), nil)) > 0 {
		t.Errorf("got %v", s)
	}
}

func TestFirstRecordComesLate(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.agent.take(w.now, session(7, 2, 1, "two"))
	w.agent.take(w.now, session(7, 1, 1, "one"))
	w.agent.expect("one", "two")
}

func TestBothBeginAtOnce(t *testing.T) {
	w := newTwo(t, Policy{Mode: Require, Security: Forbid}, false)
	mine, theirs := w.agent.say(w.now, "uno"), w.ctl.say(w.now, "one")
	fromAgent, fromController := w.agent.take(w.now, decode(t, theirs[0])), w.ctl.take(w.now, decode(t, mine[0]))
	w.carry(w.agent, fromAgent)
	w.carry(w.ctl, fromController)
	w.tell(w.agent, "due")
	w.tell(w.ctl, "two")
	w.agent.expect("one", "two")
	w.ctl.expect("uno", "due")
	if w.agent.peer.current.id != w.ctl.peer.current.id {
		t.Error("they do not agree on the session")
	}
}

// R-E2E.7, TP-469 3.10.
func TestExpiration(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, Expiration: time.Minute}, false)
	w.tell(w.ctl, "one")
	first := w.agent.peer.current.id
	w.now = w.now.Add(59 * time.Second)
	w.tell(w.agent, "uno")
	if w.agent.peer.current.id != first {
		t.Error("the session was not kept")
	}
	w.now = w.now.Add(time.Minute)
	if !w.agent.peer.Wanted(w.agent.policy) {
		t.Error("after the session the peer is spoken to without one")
	}
	s := decode(t, w.agent.say(w.now, "due")[0]).GetSessionContext()
	if s.GetSessionId() == first || s.GetSequenceId() != 1 {
		t.Errorf("got %v", s)
	}
}

func TestIdleSessionEnds(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	w.tell(w.ctl, "one")
	w.now = w.agent.peer.Next()
	if res := w.agent.peer.Tick(w.now); res.Disconnect != usp.ErrSessionContextExpired || !w.agent.peer.Empty() {
		t.Errorf("got %+v", res)
	}
}

func TestFloodOfOpenings(t *testing.T) {
	w := newTwo(t, Policy{}, false)
	taken := 0
	for i := range uint64(1000) {
		w.agent.take(w.now, session(1000+i, 1, 1, "x"))
		if w.agent.last.Refused == nil {
			taken++
		}
	}
	if taken != 10 || len(w.agent.peer.ended) > maxEnded {
		t.Errorf("%d sessions were taken, %d are remembered", taken, len(w.agent.peer.ended))
	}
}
