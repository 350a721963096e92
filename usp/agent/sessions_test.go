package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// passports are the certificates of a test: of one authority, which all trust.
type passports struct {
	ca    *pki.CA
	certs map[usp.EndpointID]*tls.Certificate
}

func newPassports(t testing.TB) *passports {
	p := &passports{ca: pki.NewCA(t, "endpoints"), certs: map[usp.EndpointID]*tls.Certificate{}}
	for _, id := range []usp.EndpointID{testAgent, primary} {
		cert := p.ca.Client(string(id)).TLS()
		p.certs[id] = &cert
	}
	return p
}

func (p *passports) Certificate(_ context.Context, id usp.EndpointID) (*tls.Certificate, error) {
	return p.certs[id], nil
}

func (p *passports) Verify(_ context.Context, _, peer usp.EndpointID, chain []*x509.Certificate) error {
	if chain[0].Subject.CommonName != string(peer) {
		return fmt.Errorf("the certificate is of %s", chain[0].Subject.CommonName)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: p.ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}

func (p *passports) VerifyInside(ctx context.Context, agent, peer usp.EndpointID, chain []*x509.Certificate) error {
	return p.Verify(ctx, agent, peer, chain)
}

// half is one endpoint's side of passports.
type half struct {
	*passports
	pair e2e.Pair
}

func (h half) Certificate() (*tls.Certificate, error) {
	return h.passports.Certificate(context.Background(), h.pair.Local)
}

func (h half) Verify(chain []*x509.Certificate) error {
	return h.passports.Verify(context.Background(), h.pair.Local, h.pair.Remote, chain)
}

// insider is a controller that speaks in sessions.
type insider struct {
	b      *bench
	peer   *e2e.Peer
	policy e2e.Policy
	got    []*usppb.Msg
	lastID uint64 // of the session in which the agent last spoke
}

func (b *bench) insider(policy e2e.Policy, certs *passports) *insider {
	b.t.Helper()
	pair := e2e.Pair{Local: primary, Remote: testAgent}
	var id e2e.Identity
	if certs != nil {
		id = half{certs, pair}
	}
	c := &insider{b: b, peer: e2e.NewPeer(pair, id, e2e.Limits{}), policy: policy}
	b.t.Cleanup(c.peer.Forget)
	return c
}

// deliver hands records to the agent.
func (c *insider) deliver(records [][]byte) {
	c.b.t.Helper()
	for _, r := range records {
		if err := c.b.host.Receive(mtp.Inbound{Record: r, Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "reply"}}); err != nil {
			c.b.t.Fatal(err)
		}
	}
}

func (c *insider) say(msg *usppb.Msg) {
	c.b.t.Helper()
	b, err := proto.Marshal(msg)
	if err != nil {
		c.b.t.Fatal(err)
	}
	res, err := c.peer.Send(c.b.clock.Now(), c.policy, b)
	if err != nil {
		c.b.t.Fatal(err)
	}
	c.deliver(res.Records)
}

// await takes what the agent sends in the session until a message comes for which
// want holds.
func (c *insider) await(what string, want func(*usppb.Msg) bool) *usppb.Msg {
	c.b.t.Helper()
	for range 100 {
		for i, m := range c.got {
			if want(m) {
				c.got = append(c.got[:i:i], c.got[i+1:]...)
				return m
			}
		}
		s := c.b.next(what, func(s sentRecord) bool { return s.to == primary && s.record.GetSessionContext() != nil })
		c.lastID = s.record.GetSessionContext().GetSessionId()
		res := c.peer.Receive(c.b.clock.Now(), c.policy, s.record, false)
		c.deliver(res.Records)
		for _, came := range res.Messages {
			m, err := record.Limits{}.InSession(s.record, came.Payload)
			if err != nil {
				c.b.t.Fatal(err)
			}
			c.got = append(c.got, m)
		}
	}
	c.b.t.Fatalf("no end of records before %s", what)
	return nil
}

func (c *insider) ask(req *usppb.Request) *usppb.Body {
	c.b.t.Helper()
	id := c.b.msgID()
	c.say(&usppb.Msg{Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}}})
	return c.await("the answer", func(m *usppb.Msg) bool { return m.GetHeader().GetMsgId() == id }).GetBody()
}

const modelName = "Device.LocalAgent.EndpointID"

func answersGet(t *testing.T, body *usppb.Body) {
	t.Helper()
	if g := got(body.GetResponse().GetGetResp().GetReqPathResults()[0]); g != modelName+"="+string(testAgent) {
		t.Errorf("got %s", g)
	}
}

func isNotify(m *usppb.Msg) bool { return m.GetBody().GetRequest().GetNotify() != nil }

// changed has the device tell of a value that is subscribed to.
func (b *bench) changed() {
	b.t.Helper()
	if err := b.host.Deliver(b.t.Context(), testAgent, []Event{{Kind: ValueChanged, Ref: b.ref("Device.DeviceInfo.FriendlyName"), Value: "another"}}); err != nil {
		b.t.Fatal(err)
	}
}

var inPlain = e2e.Policy{Mode: e2e.Allow, Security: e2e.Forbid, Retransmits: 3}

func TestMessagesGoAsTheyCame(t *testing.T) {
	b := newBench(t)
	c := b.insider(inPlain, nil)
	answersGet(t, c.ask(getReq(modelName)))
	answersGet(t, b.ask(primary, getReq(modelName))) // and its answer is alone
	b.subscribe(primary, "names", "ValueChange", "Device.DeviceInfo.FriendlyName")
	b.changed()
	c.await("the notification", isNotify)
	if s := b.value("Device.LocalAgent.Controller.1.E2ESession.Status"); s != "Up" {
		t.Errorf("the session is %s", s)
	}
}

func TestRequiredSession(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Controllers[0].Session.Context = e2e.Require })
	wantError(t, b.ask(primary, getReq(modelName)), 7101)
	c := b.insider(inPlain, nil)
	answersGet(t, c.ask(getReq(modelName)))
	if n := testutil.ToFloat64(b.host.metrics.refused.WithLabelValues(refusedSession)); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

func TestAgentBeginsTheSession(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Controllers[0].Session.Context = e2e.Require })
	c := b.insider(inPlain, nil)
	if err := b.host.Hosted(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	n := c.await("the OnBoardRequest", isNotify)
	c.say(&usppb.Msg{Header: &usppb.Header{MsgId: n.GetHeader().GetMsgId(), MsgType: usppb.Header_NOTIFY_RESP},
		Body: &usppb.Body{MsgBody: &usppb.Body_Response{Response: &usppb.Response{RespType: &usppb.Response_NotifyResp{NotifyResp: &usppb.NotifyResp{}}}}}})
	b.settle()
	if k := b.host.metrics.notifications.WithLabelValues("OnBoardRequest", "acknowledged"); testutil.ToFloat64(k) != 1 {
		t.Error("the response in the session was not taken")
	}
}

// R-E2E.6a, R-E2E.6b.
func TestForbiddenSession(t *testing.T) {
	b := newBench(t)
	c := b.insider(inPlain, nil)
	answersGet(t, c.ask(getReq(modelName)))
	b.subscribe(primary, "names", "ValueChange", "Device.DeviceInfo.FriendlyName")
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.E2ESession.", kv{param: "SessionMode", value: "Forbid", required: true})))
	b.changed()
	isDisconnect := func(s sentRecord) bool { return s.record.GetDisconnect() != nil }
	if d := b.next("Disconnect", isDisconnect).record.GetDisconnect(); d.GetReasonCode() != 7105 || d.GetReason() == "" {
		t.Errorf("got %v", d)
	}
	b.notify(primary) // without a session
	c.say(&usppb.Msg{})
	if d := b.next("Disconnect", isDisconnect).record.GetDisconnect(); d.GetReasonCode() != 7106 {
		t.Errorf("got %v", d)
	}
}

func TestSecuredSession(t *testing.T) {
	certs := newPassports(t)
	b := newBench(t, func(c *Config) {
		c.Identity = certs
		c.Controllers[0].Session = SessionPolicy{Context: e2e.Require, Security: e2e.Require}
	})
	c := b.insider(e2e.Policy{Mode: e2e.Allow, Security: e2e.Require, TLS: true, Retransmits: 3}, certs)
	answersGet(t, c.ask(getReq(modelName)))
	plain := b.insider(inPlain, nil)
	plain.say(&usppb.Msg{Header: &usppb.Header{MsgId: "x"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq(modelName)}}})
	if d := b.next("Disconnect", func(s sentRecord) bool { return s.record.GetDisconnect() != nil }).record.GetDisconnect(); d.GetReasonCode() != 7101 {
		t.Errorf("a session without TLS is answered with %v", d)
	}
	wantError(t, b.ask(primary, getReq(modelName)), 7101)
}

func TestSecurityNeedsCertificates(t *testing.T) {
	cfg := newBench(t).cfg
	cfg.Controllers[0].Session.Security = e2e.Require
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "certificates") {
		t.Errorf("got %v", err)
	}
}

func TestAnswersInSegments(t *testing.T) {
	b := newBench(t)
	const object = "Device.LocalAgent.Controller.1.E2ESession."
	for _, tt := range []struct {
		param, value string
		code         uint32
	}{{"MaxUSPRecordSize", "511", 7012}, {"MaxRetransmitTries", "11", 7012}, {"SessionMode", "Sometimes", 7012}, {"SessionRetryMinimumWaitInterval", "0", 7012}, {"Status", "Up", 7013}} {
		body := b.ask(primary, setReq(true, update(object, kv{param: tt.param, value: tt.value, required: true})))
		if f := body.GetResponse().GetSetResp().GetUpdatedObjResults()[0].GetOperStatus().GetOperFailure().GetUpdatedInstFailures(); len(f) != 1 || f[0].GetParamErrs()[0].GetErrCode() != tt.code {
			t.Errorf("%s %s: %v", tt.param, tt.value, body)
		}
	}
	b.ask(primary, setReq(false, update(object, kv{param: "MaxUSPRecordSize", value: "600", required: true})))
	c := b.insider(inPlain, nil)
	body := c.ask(getReq("Device.LocalAgent."))
	if len(body.GetResponse().GetGetResp().GetReqPathResults()) != 1 || proto.Size(body) < 1000 {
		t.Errorf("got %v", body)
	}
}

func TestReset(t *testing.T) {
	b := newBench(t)
	c := b.insider(inPlain, nil)
	answersGet(t, c.ask(getReq(modelName)))
	old := c.lastID
	body := c.ask(operateReq("Device.LocalAgent.Controller.1.E2ESession.Reset()", "", true, nil))
	if r := body.GetResponse().GetOperateResp().GetOperationResults(); len(r) != 1 || r[0].GetReqOutputArgs() == nil {
		t.Fatalf("got %v", body)
	}
	s := b.next("another session", func(s sentRecord) bool { return s.record.GetSessionContext() != nil }).record.GetSessionContext()
	if s.GetSessionId() == old || s.GetSequenceId() != 1 {
		t.Errorf("got %v", s)
	}
}

func TestSignedRecordsWithoutSession(t *testing.T) {
	certs := newPassports(t)
	b := newBench(t, func(c *Config) { c.Identity = certs })
	rec, err := record.WrapMsg(primary, testAgent, "1.3", &usppb.Msg{Header: &usppb.Header{MsgId: "m"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq(modelName)}}})
	if err != nil {
		t.Fatal(err)
	}
	if rec, err = record.SignEncoded(rec, certs.certs[primary]); err != nil {
		t.Fatal(err)
	}
	b.deliver(rec)
	s := b.next("the answer", func(s sentRecord) bool { return s.msg != nil })
	if chain, err := record.VerifySignature(s.record, nil); err != nil || chain[0].Subject.CommonName != string(testAgent) {
		t.Errorf("the answer's signature: %v", err)
	}
	forged := proto.CloneOf(decodeRecord(t, rec))
	forged.MacSignature[9] ^= 1
	other := proto.CloneOf(decodeRecord(t, rec))
	if err := record.Sign(other, certs.certs[testAgent]); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*usppb.Record{forged, other} {
		b2, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.deliver(b2)
	}
	b.settle()
	if n := testutil.ToFloat64(b.host.metrics.refused.WithLabelValues(refusedIntegrity)); n != 2 || len(b.net.sent) > 0 {
		t.Errorf("%v were refused, %d answered", n, len(b.net.sent))
	}
}

func decodeRecord(t *testing.T, b []byte) *usppb.Record {
	t.Helper()
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// deliver hands a record to the agent.
func (b *bench) deliver(rec []byte) {
	b.t.Helper()
	if err := b.host.Receive(mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "reply"}}); err != nil {
		b.t.Fatal(err)
	}
	b.settle()
}

// After a restart of the bridge the agent begins another session.
func TestSessionAfterRestart(t *testing.T) {
	b := newBench(t)
	c := b.insider(inPlain, nil)
	answersGet(t, c.ask(getReq(modelName)))
	old := c.lastID
	b.restart()
	c.say(&usppb.Msg{Header: &usppb.Header{MsgId: "lost"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq(modelName)}}})
	b.settle()
	b.clock.Advance(2 * time.Second)
	b.host.sessions.Pass()
	r := b.next("another session", func(s sentRecord) bool { return s.record.GetSessionContext() != nil }).record
	if id := r.GetSessionContext().GetSessionId(); id == old || r.GetSessionContext().GetSequenceId() != 1 {
		t.Errorf("got %v", r)
	}
	c.deliver(c.peer.Receive(b.clock.Now(), c.policy, r, false).Records)
	answersGet(t, c.ask(getReq(modelName)))
}

// A controller with which an agent has a session is told when the agent is
// forgotten, or the controller deleted or disabled: behind the answer.
func TestSessionEndsWithItsEnds(t *testing.T) {
	const row = "Device.LocalAgent.Controller.1."
	for name, end := range map[string]func(b *bench, c *insider){
		"the agent is forgotten": func(b *bench, _ *insider) {
			if err := b.host.Forget(b.t.Context(), testAgent); err != nil {
				b.t.Fatal(err)
			}
		},
		"the controller deletes itself": func(_ *bench, c *insider) { c.ask(deleteReq(false, row)) },
		"the controller disables itself": func(_ *bench, c *insider) {
			c.ask(setReq(false, update(row, kv{param: "Enable", value: "false", required: true})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := b.insider(inPlain, nil)
			answersGet(t, c.ask(getReq(modelName)))
			end(b, c)
			d := b.next("Disconnect", func(s sentRecord) bool { return s.record.GetDisconnect() != nil })
			if d.to != primary || d.addr.Topic != "reply" || d.record.GetDisconnect().GetReasonCode() != 7105 {
				t.Errorf("got %+v", d)
			}
			b.settle()
			if n := b.host.sessions.Open(); n != 0 {
				t.Errorf("%d sessions are open", n)
			}
		})
	}
}
