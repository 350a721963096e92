package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agentID      = usp.EndpointID("os::00259E-1")
	controllerID = usp.EndpointID("proto::controller-1")
)

// passport is an Identity: a certificate of an authority, and the trust in those of
// the same authority that name the peer.
type passport struct {
	cert tls.Certificate
	ca   *pki.CA
	peer usp.EndpointID
	now  time.Time
}

func (p *passport) Certificate() (*tls.Certificate, error) { return &p.cert, nil }

func (p *passport) Verify(chain []*x509.Certificate) error {
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: p.ca.Pool(), CurrentTime: p.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	if len(chain[0].URIs) != 1 || chain[0].URIs[0].String() != urn(p.peer) {
		return fmt.Errorf("the certificate is not of %s", p.peer)
	}
	return nil
}

func urn(id usp.EndpointID) string {
	return "urn:bbf:usp:id:" + strings.ReplaceAll(string(id), "::", ":")
}

func issue(t testing.TB, ca *pki.CA, id, peer usp.EndpointID) *passport {
	t.Helper()
	u, err := url.Parse(urn(id))
	if err != nil {
		t.Fatal(err)
	}
	return &passport{cert: ca.Issue(x509.Certificate{URIs: []*url.URL{u}}).TLS(), ca: ca, peer: peer}
}

// end is one endpoint of a test.
type end struct {
	t       testing.TB
	name    string
	peer    *Peer
	policy  Policy
	got     []string
	last    Result
	failure error // the last Refused
}

// two are the ends of one line, and the time.
type two struct {
	t          testing.TB
	now        time.Time
	agent, ctl *end
}

func newTwo(t testing.TB, policy Policy, secured bool) *two {
	t.Helper()
	w := &two{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var mine, theirs Identity
	if secured {
		ca := pki.NewCA(t, "endpoints")
		mine, theirs = issue(t, ca, agentID, controllerID), issue(t, ca, controllerID, agentID)
	}
	if policy.Mode == "" {
		policy.Mode, policy.Security, policy.Retransmits = Allow, Allow, -1
	}
	w.agent = &end{t: t, name: "agent", peer: NewPeer(Pair{agentID, controllerID}, mine, Limits{}), policy: policy}
	w.ctl = &end{t: t, name: "controller", peer: NewPeer(Pair{controllerID, agentID}, theirs, Limits{}), policy: policy}
	t.Cleanup(func() { w.agent.peer.Forget(); w.ctl.peer.Forget() })
	return w
}

func decode(t testing.TB, b []byte) *usppb.Record {
	t.Helper()
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// take hands a record to an end and returns what it sends.
func (e *end) take(now time.Time, r *usppb.Record) [][]byte {
	e.t.Helper()
	return e.came(e.peer.Receive(now, e.policy, r, false))
}

func (e *end) came(res Result) [][]byte {
	e.last = res
	if res.Refused != nil {
		e.failure = res.Refused
	}
	for _, m := range res.Messages {
		e.got = append(e.got, string(m.Payload))
	}
	return res.Records
}

// say makes the records of a message.
func (e *end) say(now time.Time, msg string) [][]byte {
	e.t.Helper()
	res, err := e.peer.Send(now, e.policy, []byte(msg))
	if err != nil {
		e.t.Fatal(err)
	}
	return e.came(res)
}

// carry brings records from one end to the other, and the answers back, until
// nobody has anything to say.
func (w *two) carry(from *end, records [][]byte) {
	w.t.Helper()
	to := w.other(from)
	for n := 0; len(records) > 0; n++ {
		if n > 100 {
			w.t.Fatal("the ends do not come to rest")
		}
		var back [][]byte
		for _, b := range records {
			back = append(back, to.take(w.now, decode(w.t, b))...)
		}
		from, to, records = to, from, back
	}
}

func (w *two) other(e *end) *end {
	if e == w.agent {
		return w.ctl
	}
	return w.agent
}

func (w *two) tell(from *end, msg string) {
	w.t.Helper()
	w.carry(from, from.say(w.now, msg))
}

func (e *end) expect(want ...string) {
	e.t.Helper()
	if len(e.got) != len(want) {
		e.t.Fatalf("the %s got %d messages %.200q, want %d", e.name, len(e.got), e.got, len(want))
	}
	for i := range want {
		if e.got[i] != want[i] {
			e.t.Fatalf("the %s got %.100q, want %.100q", e.name, e.got[i], want[i])
		}
	}
	e.got = nil
}

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
