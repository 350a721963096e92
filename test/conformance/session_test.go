package conformance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// sessionCases are those of section 3 that need no certificates.
func sessionCases() []testCase {
	return []testCase{
		{number: "3.8", title: "A session context is established", play: func(t *trial) {
			s := t.session()
			if got := s.answer(s.get("Device.DeviceInfo.")); got.GetSessionId() != s.id || got.GetSequenceId() != 1 {
				t.Errorf("the answer's session context is %v, want session %d", got, s.id)
			}
		}},
		{number: "3.9", title: "A record of another session context", play: func(t *trial) {
			first := t.session()
			first.answer(first.get("Device.DeviceInfo."))
			second := t.session()
			if got := second.answer(second.get("Device.DeviceInfo.")); got.GetSessionId() != second.id || got.GetSequenceId() != 1 {
				t.Errorf("the answer's session context is %v, want session %d", got, second.id)
			}
		}},
		{number: "3.10", timed: true, title: "A session context expires", play: sessionExpires},
		{number: "3.11", title: "Sequence numbers of a session context", play: sessionNumbers},
		{number: "3.12", timed: true, title: "Records are kept for retransmission", play: func(t *trial) {
			s := t.session()
			id := s.get("Device.DeviceInfo.")
			first := s.arrival(id)
			if got, again := s.next(time.Duration(t.seconds(60, 2))*time.Second, s.answers(id)); again {
				t.Errorf("unasked for, %v came again", got.record)
			}
			s.post(&usppb.SessionContextRecord{SequenceId: 2, ExpectedId: 1, RetransmitId: 1})
			if again := s.arrival(id); !proto.Equal(first.record, again.record) {
				t.Errorf("at first %v, then %v", first.record, again.record)
			}
		}},
		{number: "3.14", title: "Retransmission of records", play: retransmission},
		{number: "3.15", title: "A record that comes twice", play: func(t *trial) {
			s := t.session()
			id := s.newID()
			for range 4 {
				s.send(&usppb.SessionContextRecord{SequenceId: 1, ExpectedId: 1}, id, "Device.DeviceInfo.ModelName")
			}
			s.arrival(id)
			t.value(endpointID) // handled behind them
			if again := s.arrived(s.answers(id)); len(again) > 0 {
				t.Errorf("there are %d more answers", len(again))
			}
		}},
	}
}

// sessionExpires expects notifications in one session that lasts, and each in
// another where sessions end sooner than the next comes.
func sessionExpires(t *trial) {
	s := t.session()
	own := t.own(primaryID)
	t.subscribe("periodic", "Event", "Device.LocalAgent.Periodic!", "Persistent=true")
	for _, tt := range []struct {
		expiration, interval int
		shared               bool
	}{{t.seconds(60, 10), t.seconds(10, 1), true}, {t.seconds(5, 1), t.seconds(10, 3), false}} {
		id := s.newID()
		s.request(id, &usppb.Request{ReqType: &usppb.Request_Set{Set: &usppb.Set{UpdateObjs: []*usppb.Set_UpdateObject{
			change(own+"E2ESession.", "SessionExpiration="+strconv.Itoa(tt.expiration)),
			change(own, "PeriodicNotifInterval="+strconv.Itoa(tt.interval)),
		}}}})
		s.arrival(id)
		sessions := map[uint64]bool{}
		for range 3 {
			got, ok := t.next(testenv.Patience+time.Duration(tt.interval)*time.Second, func(r received) bool {
				return inSession(r).GetBody().GetRequest().GetNotify() != nil
			})
			if !ok {
				t.Fatal("no notification came in a session")
			}
			sessions[got.record.GetSessionContext().GetSessionId()] = true
		}
		if tt.shared && len(sessions) != 1 || !tt.shared && len(sessions) != 3 {
			t.Errorf("with an expiration of %d s, the three notifications of every %d s are in %d sessions", tt.expiration, tt.interval, len(sessions))
		}
		s = t.session()
	}
}

// sessionNumbers expects that records are handled in the order of their numbers.
func sessionNumbers(t *trial) {
	s := t.session()
	ask := func(n uint64, path string) string {
		id := s.newID()
		s.send(&usppb.SessionContextRecord{SequenceId: n, ExpectedId: n}, id, path)
		return id
	}
	expect := func(id, path string, n uint64) {
		t.Helper()
		got := s.arrival(id)
		if c := got.record.GetSessionContext(); c.GetSequenceId() != n {
			t.Errorf("the answer about %s is record %d, want %d", path, c.GetSequenceId(), n)
		}
		if r := inSession(got).GetBody().GetResponse().GetGetResp().GetReqPathResults(); len(r) != 1 || r[0].GetRequestedPath() != path {
			t.Errorf("the answer about %s is %v", path, r)
		}
	}
	const model, software, hardware = "Device.DeviceInfo.ModelNumber", "Device.DeviceInfo.SoftwareVersion", "Device.DeviceInfo.HardwareVersion"
	expect(ask(1, model), model, 1)
	early := ask(4, software)
	t.value(endpointID)
	if got := s.arrived(s.answers(early)); len(got) > 0 {
		t.Error("the record that came too early was answered")
	}
	expect(ask(2, hardware), hardware, 2)
	expect(ask(3, hardware), hardware, 3)
	expect(early, software, 4)
}

// retransmission expects that a record is sent again as often as the parameter says,
// and then another session is begun.
func retransmission(t *trial) {
	s := t.session()
	id := s.newID()
	s.request(id, &usppb.Request{ReqType: &usppb.Request_Set{Set: &usppb.Set{UpdateObjs: []*usppb.Set_UpdateObject{
		change(t.own(primaryID)+"E2ESession.", "MaxRetransmitTries=2"),
	}}}})
	sequence := s.arrival(id).record.GetSessionContext().GetSequenceId()
	for n := range uint64(3) {
		s.post(&usppb.SessionContextRecord{SequenceId: 2 + n, ExpectedId: sequence, RetransmitId: sequence})
		if n < 2 {
			if c := s.arrival(id).record.GetSessionContext(); c.GetSessionId() != s.id {
				t.Errorf("sent again in session %d, want %d", c.GetSessionId(), s.id)
			}
		}
	}
	got := s.begun()
	if len(s.arrived(s.answers(id))) > 0 {
		t.Error("the record was sent again for the third time")
	}
	if got.GetSequenceId() != 1 {
		t.Errorf("the new session begins with record %d", got.GetSequenceId())
	}
}

// badSignature expects that a signed record is ignored if the signature is wrong
// (2.7).
func badSignature(t *trial) {
	id := t.newID()
	b, err := record.WrapMsg(t.controller.id, t.agent, usp.RecordVersion, getMessage(id, "Device.DeviceInfo."))
	if err == nil {
		b, err = record.SignEncoded(b, t.selfSigned())
	}
	if err != nil {
		t.Fatal(err)
	}
	r := new(usppb.Record)
	if err := proto.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	r.MacSignature[len(r.MacSignature)-1] ^= 1
	if b, err = proto.Marshal(r); err != nil {
		t.Fatal(err)
	}
	t.postRecord(b)
	t.value(endpointID)
	if got := t.arrived(func(r received) bool { return r.msg.GetHeader().GetMsgId() == id }); len(got) > 0 {
		t.Errorf("answered with %v", got[0].msg)
	}
}

// selfSigned is a certificate that nobody vouches for.
func (t *trial) selfSigned() *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// session is a session context that the controller begins, record by record as the
// plan has it.
type session struct {
	*trial
	id uint64
}

// firstSession is greater than what agents choose: where both ends begin at once,
// the greater stands.
const firstSession = 1 << 53

func (t *trial) session() *session {
	t.sessions++
	return &session{t, firstSession + t.sessions}
}

// post sends a record of the session.
func (s *session) post(c *usppb.SessionContextRecord) {
	s.Helper()
	c.SessionId = s.id
	b, err := proto.Marshal(&usppb.Record{
		Version: usp.RecordVersion, ToId: string(s.agent), FromId: string(s.controller.id),
		RecordType: &usppb.Record_SessionContext{SessionContext: c},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.postRecord(b)
}

// send sends a Get in a record.
func (s *session) send(c *usppb.SessionContextRecord, id, path string) {
	s.Helper()
	b, err := proto.Marshal(getMessage(id, path))
	if err != nil {
		s.Fatal(err)
	}
	c.Payload = [][]byte{b}
	s.post(c)
}

// request sends a request in the first record.
func (s *session) request(id string, req *usppb.Request) {
	s.Helper()
	b, err := proto.Marshal(&usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_SET},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.post(&usppb.SessionContextRecord{SequenceId: 1, ExpectedId: 1, Payload: [][]byte{b}})
}

// get begins the session with a Get and returns its msg_id.
func (s *session) get(path string) string {
	s.Helper()
	id := s.newID()
	s.send(&usppb.SessionContextRecord{SequenceId: 1, ExpectedId: 1}, id, path)
	return id
}

func getMessage(id, path string) *usppb.Msg {
	return &usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: []string{path}}}}}},
	}
}

// inSession is the message in a record of a session context; nil if there is none.
func inSession(r received) *usppb.Msg {
	b := bytes.Join(r.record.GetSessionContext().GetPayload(), nil)
	msg, err := record.Limits{}.InSession(r.record, b)
	if err != nil {
		return nil
	}
	return msg
}

func (s *session) answers(id string) func(received) bool {
	return func(r received) bool {
		return r.record.GetSessionContext() != nil && inSession(r).GetHeader().GetMsgId() == id
	}
}

// arrival waits for the answer to a request, in a session.
func (s *session) arrival(id string) received {
	s.Helper()
	got, ok := s.next(testenv.Patience, s.answers(id))
	if !ok {
		s.Fatalf("%s was not answered in a session within %v", id, testenv.Patience)
	}
	return got
}

func (s *session) answer(id string) *usppb.SessionContextRecord {
	s.Helper()
	got := s.arrival(id)
	if inSession(got).GetBody().GetResponse().GetGetResp() == nil {
		s.Errorf("answered with %v", inSession(got))
	}
	return got.record.GetSessionContext()
}

// begun waits for another session that the agent begins.
func (s *session) begun() *usppb.SessionContextRecord {
	s.Helper()
	got, ok := s.next(testenv.Patience, func(r received) bool {
		c := r.record.GetSessionContext()
		return c != nil && c.GetSessionId() != s.id
	})
	if !ok {
		s.Fatalf("no session was begun within %v", testenv.Patience)
	}
	return got.record.GetSessionContext()
}
