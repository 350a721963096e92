package e2e

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// FuzzReceive: whatever numbers, states and payloads records have, a peer panics
// not, keeps no more than it may, and never says the same number twice.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{1, 1, 1, 0, 0, 0, 'x', 1, 2, 1, 0, 0, 0, 'y'})
	f.Add([]byte{1, 1, 1, 0, 1, 0, 'x', 1, 3, 1, 2, 2, 0, 'y', 1, 2, 0, 1, 3, 0, 'z'})
	f.Add([]byte{1, 1, 1, 0, 0, 1, 22, 1, 2, 1, 0, 0, 1, 23})
	ca := pki.NewCA(f, "endpoints")
	mine := issue(f, ca, agentID, controllerID)
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := Limits{Ahead: 4, AheadBytes: 4096, Kept: 4, KeptBytes: 4096, Message: 64, Waiting: 2, Asked: 2, Openings: 1000}
		p := NewPeer(Pair{agentID, controllerID}, mine, limits)
		defer p.Forget()
		policy := Policy{Mode: Allow, Security: Allow, Retransmits: 2, TLS: len(b)%2 == 0, MaxRecord: len(b) % 3 * 400}
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		last := map[uint64]uint64{}
		for ; len(b) >= 7; b = b[7:] {
			r := session(2+uint64(b[0]%4), uint64(b[1]%16), uint64(b[2]), string(bytes.Repeat(b[6:7], int(b[6]))))
			s := r.GetSessionContext()
			s.RetransmitId, s.PayloadSarState, s.PayloadrecSarState = uint64(b[3]%8), sarState(b[4]%5), sarState(b[4]/5%4)
			r.PayloadSecurity = usppb.Record_PayloadSecurity(b[5] % 2)
			res := p.Receive(now, policy, r, b[5]&2 != 0)
			if b[5]&4 != 0 {
				now = now.Add(time.Duration(b[5]) * time.Second)
				more := p.Tick(now)
				res.Records = append(res.Records, more.Records...)
			}
			if b[5]&8 != 0 {
				if more, err := p.Send(now, policy, []byte("message")); err == nil {
					res.Records = append(res.Records, more.Records...)
				}
			}
			checkRecords(t, res, last)
			checkBounds(t, p)
		}
	})
}

// checkRecords: what is sent are records in order, or again.
func checkRecords(t *testing.T, res Result, last map[uint64]uint64) {
	t.Helper()
	for _, b := range res.Records {
		s := decode(t, b).GetSessionContext()
		if s.GetSequenceId() > last[s.GetSessionId()]+1 || s.GetSessionId() < 2 {
			t.Fatalf("after record %d comes %v", last[s.GetSessionId()], s)
		}
		last[s.GetSessionId()] = max(last[s.GetSessionId()], s.GetSequenceId())
	}
}

func checkBounds(t *testing.T, p *Peer) {
	t.Helper()
	if len(p.ended) > maxEnded || len(p.early) > maxEarly || len(p.outbox.messages) > p.limits.Waiting {
		t.Fatalf("kept: %d ended, %d early, %d waiting", len(p.ended), len(p.early), len(p.outbox.messages))
	}
	c := p.current
	if c == nil {
		return
	}
	if c.in.bytes > p.limits.AheadBytes || len(c.in.early) > p.limits.Ahead || len(c.out.sent) > p.limits.Kept || len(c.data) > p.limits.Message {
		t.Fatalf("kept: %d bytes and %d records ahead, %d records sent, %d bytes of a message", c.in.bytes, len(c.in.early), len(c.out.sent), len(c.data))
	}
}

// FuzzReassembly: what is cut in segments comes together again.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte("message"), 3, 5)
	f.Fuzz(func(t *testing.T, msg []byte, room, unit int) {
		if room <= 0 || unit <= 0 || len(msg) == 0 {
			return
		}
		var units [][]byte
		for rest := msg; len(rest) > 0; {
			n := min(unit, len(rest))
			units, rest = append(units, rest[:n]), rest[n:]
		}
		parts, err := segments(units, room)
		if err != nil {
			t.Fatal(err)
		}
		var a reassembly
		var got []byte
		for i, p := range parts {
			if err := a.check(p.state); err != nil || len(p.payload) > room {
				t.Fatalf("segment %d of %d bytes: %v", i, len(p.payload), err)
			}
			whole, err := a.add(p.state, p.payload, len(msg))
			if err != nil {
				t.Fatal(err)
			}
			if (whole != nil) != (i == len(parts)-1) {
				t.Fatalf("a message after segment %d of %d", i, len(parts))
			}
			got = whole
		}
		if !bytes.Equal(got, msg) {
			t.Fatalf("got %q, want %q", got, msg)
		}
	})
}

// FuzzTLS: no bytes of TLS panic, nor make a session without a certificate.
func FuzzTLS(f *testing.F) {
	ca := pki.NewCA(f, "endpoints")
	mine, theirs := issue(f, ca, agentID, controllerID), issue(f, ca, controllerID, agentID)
	hello, err := newSecure(true, &theirs.cert, theirs, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello.wire.taken())
	hello.close()
	f.Add([]byte{tlsHandshake, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newSecure(false, &mine.cert, mine, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for len(b) > 0 {
			n := min(1+int(b[0]), len(b))
			plain, err := s.receive(b[:n], false)
			if len(plain) > 0 || s.established {
				t.Fatalf("%q, established %v", plain, s.established)
			}
			if err != nil {
				return
			}
			b = b[n:]
		}
	})
}

// BenchmarkExchange: a message each way is one round; the larger one is a full GetResp.
func BenchmarkExchange(b *testing.B) {
	for _, secured := range []bool{false, true} {
		for _, size := range []int{100, 10_000} {
			b.Run(fmt.Sprintf("secured=%v/bytes=%d", secured, size), func(b *testing.B) {
				w := newTwo(b, Policy{Mode: Allow, Security: Allow, TLS: secured, Retransmits: 3}, secured)
				msg := string(bytes.Repeat([]byte("x"), size))
				w.tell(w.ctl, msg)
				b.ReportAllocs()
				for b.Loop() {
					w.tell(w.ctl, msg)
					w.tell(w.agent, msg)
					w.agent.got, w.ctl.got = nil, nil
				}
				b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkOpen: a session from its first record to the first message.
func BenchmarkOpen(b *testing.B) {
	for _, secured := range []bool{false, true} {
		b.Run(fmt.Sprintf("secured=%v", secured), func(b *testing.B) {
			w := newTwo(b, Policy{Mode: Allow, Security: Allow, TLS: secured, Retransmits: 3}, secured)
			w.agent.peer.limits.Openings = 1 << 30
			w.agent.peer.opened.full = 1 << 30
			b.ReportAllocs()
			for b.Loop() {
				w.ctl.peer.Forget()
				w.tell(w.ctl, "hello")
				w.agent.got = nil
			}
		})
	}
}
