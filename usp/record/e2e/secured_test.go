package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestSecuredSession(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := newTwo(t, Policy{Mode: Require, Security: Require, Retransmits: 3}, true)
			w.limit(version)
			w.tell(w.agent, "notification")
			w.ctl.expect("notification")
			w.tell(w.ctl, "request")
			w.agent.expect("request")
			large := strings.Repeat("large ", 20000)
			w.tell(w.ctl, large)
			w.agent.expect(large)
			if v := w.agent.peer.current.tls.version; v != version {
				t.Errorf("TLS is %s", tls.VersionName(v))
			}
			r := decode(t, w.agent.say(w.now, "protected")[0])
			if len(r.GetMacSignature()) != 32 || len(r.GetSenderCert()) != 0 || r.GetPayloadSecurity() != usppb.Record_TLS12 {
				t.Errorf("a record with MAC %x, certificate %q", r.GetMacSignature(), r.GetSenderCert())
			}
			if bytes.Contains(r.GetSessionContext().GetPayload()[0], []byte("protected")) {
				t.Error("the payload can be read")
			}
		})
	}
}

// limit keeps TLS to a version.
func (w *two) limit(version uint16) {
	w.agent.peer.limits.newestTLS, w.ctl.peer.limits.newestTLS = version, version
}

// TP-469 3.13.
func TestLessSecurityThanTheSession(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: true, Retransmits: 3}, true)
	w.tell(w.ctl, "one")
	w.agent.expect("one")
	old := w.agent.peer.current
	r := session(old.id, old.expected, old.next, "plain")
	got := w.agent.take(w.now, r)
	w.agent.expect()
	if !errors.Is(w.agent.last.Refused, errSecurity) || len(got) != 1 || w.agent.peer.current == old {
		t.Fatalf("%v, %d records", w.agent.last.Refused, len(got))
	}
	w.carry(w.agent, got)
	w.tell(w.ctl, "two")
	w.agent.expect("two")
}

func TestForgedFields(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: true, Retransmits: 3}, true)
	w.tell(w.ctl, "one")
	w.agent.expect("one")
	good := w.ctl.say(w.now, "two")[0]
	for name, forge := range map[string]func(*usppb.Record){
		"retransmit_id": func(r *usppb.Record) { r.GetSessionContext().RetransmitId = 1 },
		"expected_id":   func(r *usppb.Record) { r.GetSessionContext().ExpectedId++ },
		"version":       func(r *usppb.Record) { r.Version = "1.3" },
		"SAR state":     func(r *usppb.Record) { r.GetSessionContext().PayloadSarState = sarBegin },
		"no MAC":        func(r *usppb.Record) { r.MacSignature = nil },
	} {
		r := decode(t, good)
		forge(r)
		res := Result{}
		if err := w.agent.peer.current.verify(r, false); !errors.Is(err, record.ErrIntegrity) {
			t.Errorf("%s: %v, %v", name, err, res)
		}
	}
	if err := w.agent.peer.current.verify(decode(t, good), false); err != nil {
		t.Error(err)
	}
}

// TP-469 3.3, 2.7.
func TestSignatures(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: true, Retransmits: 3}, true)
	hello := w.ctl.say(w.now, "one")[0]
	stranger := issue(t, pki.NewCA(t, "strangers"), controllerID, agentID)
	for name, forge := range map[string]func(*usppb.Record){
		"wrong signature":    func(r *usppb.Record) { r.MacSignature[10] ^= 1 },
		"another session_id": func(r *usppb.Record) { r.GetSessionContext().SessionId++ },
		"no certificate":     func(r *usppb.Record) { r.SenderCert = nil },
		"a certificate that is none": func(r *usppb.Record) {
			r.SenderCert = []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
		"a stranger's": func(r *usppb.Record) {
			if err := record.Sign(r, &stranger.cert); err != nil {
				t.Fatal(err)
			}
		},
	} {
		r := decode(t, hello)
		forge(r)
		if got := w.agent.take(w.now, r); len(got) > 0 || !errors.Is(w.agent.last.Refused, record.ErrIntegrity) || w.agent.peer.current != nil {
			t.Errorf("%s: %d records, %v", name, len(got), w.agent.last.Refused)
		}
	}
	w.carry(w.ctl, [][]byte{hello})
	w.agent.expect("one")
}

// TP-469 3.7, 2.8.
func TestCertificateThatIsNotThePeers(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: true, Retransmits: 3}, true)
			w.limit(version)
			mine := w.agent.peer.identity.(*passport)
			mine.now = time.Now().Add(2000 * time.Hour) // the controller's is no longer valid
			records := w.ctl.say(w.now, "one")
			r := decode(t, records[0])
			r.MacSignature, r.SenderCert = nil, nil // TLS itself has to find out
			back := w.agent.take(w.now, r)
			for n := 0; len(back) > 0 && n < 5; n++ {
				var forth [][]byte
				for _, b := range back {
					forth = append(forth, w.ctl.take(w.now, decode(t, b))...)
				}
				back = nil
				for _, b := range forth {
					r := decode(t, b)
					r.MacSignature, r.SenderCert = nil, nil
					back = append(back, w.agent.take(w.now, r)...)
				}
			}
			w.agent.expect()
			if w.agent.peer.current != nil || !errors.Is(w.agent.failure, errTLS) {
				t.Errorf("the session stands: %v", w.agent.last.Refused)
			}
		})
	}
}

// TP-469 3.6.
func TestRenegotiationIsNotAccepted(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: true, Retransmits: 3}, true)
	w.limit(tls.VersionTLS12)
	w.tell(w.ctl, "one")
	c := w.ctl.peer.current
	var res Result
	helloRequest := []byte{tlsHandshake, 3, 3, 0, 4, 0, 0, 0, 0}
	if err := c.transmit(payload{units: [][]byte{helloRequest}}, &res); err != nil {
		t.Fatal(err)
	}
	if got := w.agent.take(w.now, decode(t, res.Records[0])); len(got) > 0 || w.agent.last.Refused != nil {
		t.Errorf("%d records, %v", len(got), w.agent.last.Refused)
	}
	w.tell(w.ctl, "two")
	w.agent.expect("one", "two")
}

// TP-469 3.5: a session that cannot be secured is begun again, later each time.
func TestFailedHandshakeIsTriedAgain(t *testing.T) {
	policy := Policy{Mode: Require, Security: Require, Wait: func(n int) time.Duration { return time.Duration(5<<n) * time.Second }}
	w := newTwo(t, policy, true)
	alert := []byte{21, 3, 3, 0, 2, 2, 40}
	records := w.agent.say(w.now, "notification")
	for n := range 3 {
		hello := decode(t, records[0])
		r := session(hello.GetSessionContext().GetSessionId(), 1, 2, string(alert))
		r.PayloadSecurity = usppb.Record_TLS12
		if err := record.Sign(r, &w.ctl.peer.identity.(*passport).cert); err != nil {
			t.Fatal(err)
		}
		if got := w.agent.take(w.now, r); len(got) > 0 {
			t.Fatalf("%d records after the alert", len(got))
		}
		wait := w.agent.peer.Next().Sub(w.now)
		if wait != policy.Wait(n) || w.agent.peer.Retries() != n+1 {
			t.Fatalf("try %d comes after %v", w.agent.peer.Retries(), wait)
		}
		w.now = w.now.Add(wait)
		records = w.agent.came(w.agent.peer.Tick(w.now))
	}
	w.carry(w.agent, records)
	w.ctl.expect("notification")
	w.tell(w.ctl, "response")
	if w.agent.peer.Retries() != 0 { // R-E2E.12
		t.Errorf("%d retries", w.agent.peer.Retries())
	}
}

func TestTLSGarbage(t *testing.T) {
	for name, b := range map[string]string{
		"HTTP":             "GET / HTTP/1.1\r\n\r\n",
		"a huge record":    "\x16\x03\x01\xff\xff" + strings.Repeat("x", 100),
		"an empty message": "\x16\x03\x01\x00\x04\x00\x00\x00\x00",
		"no end":           strings.Repeat("\x16\x03\x01\x40\x00"+"\x01\x00\xff\xff"+strings.Repeat("x", 16380), 5),
	} {
		t.Run(name, func(t *testing.T) {
			w := newTwo(t, Policy{}, true)
			r := session(7, 1, 1, b)
			r.PayloadSecurity = usppb.Record_TLS12
			w.agent.take(w.now, r)
			if !errors.Is(w.agent.last.Refused, errTLS) || w.agent.peer.current != nil {
				t.Errorf("got %v", w.agent.last.Refused)
			}
		})
	}
}

func TestHandshakeThatStops(t *testing.T) {
	w := newTwo(t, Policy{Mode: Allow, Security: Allow, TLS: true}, true)
	if back := w.agent.take(w.now, decode(t, w.ctl.say(w.now, "one")[0])); len(back) == 0 {
		t.Fatal("no answer to the ClientHello")
	}
	if s := w.agent.peer.Status(); s != Negotiating {
		t.Errorf("the session is %s", s)
	}
	w.now = w.agent.peer.Next()
	if res := w.agent.peer.Tick(w.now); !errors.Is(res.Refused, errTLS) || w.agent.peer.Status() != Down {
		t.Errorf("got %+v", res)
	}
}

func TestProtectedFields(t *testing.T) {
	r := session(0x0102030405060708, 9, 10, "payload")
	r.GetSessionContext().RetransmitId = 3
	r.GetSessionContext().PayloadSarState, r.GetSessionContext().PayloadrecSarState = sarBegin, sarComplete
	r.PayloadSecurity, r.SenderCert = usppb.Record_TLS12, []byte("PEM")
	key := []byte("key")
	record.Authenticate(r, key)
	again := proto.CloneOf(r)
	again.GetSessionContext().Payload = nil
	if err := record.VerifyMAC(again, key); err != nil {
		t.Errorf("the payload is under the MAC: %v", err)
	}
}
