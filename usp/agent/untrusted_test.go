package agent

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Over a broker that is not trusted a controller has to prove who it is end to end.
func overUntrusted(certs *passports) func(*Config) {
	return func(c *Config) {
		c.Identity = certs
		c.Senders = map[mtp.Protocol]Belief{mtp.MQTT: Proof}
	}
}

func (b *bench) unbelieved() float64 {
	return testutil.ToFloat64(b.host.metrics.refused.WithLabelValues(refusedIdentity))
}

// TestASignatureDoesNotProveTheMessage: it leaves the payload out, so that whoever
// has seen one record of a controller could sign any message with it.
func TestASignatureDoesNotProveTheMessage(t *testing.T) {
	certs := newPassports(t)
	b := newBench(t, overUntrusted(certs))
	ask := func(path string) []byte {
		rec, err := record.WrapMsg(primary, testAgent, "1.3", &usppb.Msg{Header: &usppb.Header{MsgId: path}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq(path)}}})
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	signed, err := record.SignEncoded(ask(modelName), certs.certs[primary])
	if err != nil {
		t.Fatal(err)
	}
	forged := decodeRecord(t, ask("Device.DeviceInfo.FriendlyName"))
	seen := decodeRecord(t, signed)
	forged.SenderCert, forged.MacSignature = seen.SenderCert, seen.MacSignature
	if _, err := record.VerifySignature(forged, nil); err != nil {
		t.Fatalf("the payload is signed, too: %v", err)
	}
	rec, err := proto.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	b.deliver(rec)
	if n := b.unbelieved(); n != 1 || len(b.net.sent) > 0 {
		t.Errorf("%v were refused, %d answered", n, len(b.net.sent))
	}
}

// TestOthersDoNotComeIntoASession that has proven whose it is, nor draw to
// themselves what is sent in it.
func TestOthersDoNotComeIntoASession(t *testing.T) {
	certs := newPassports(t)
	b := newBench(t, overUntrusted(certs))
	c := b.insider(e2e.Policy{Mode: e2e.Allow, Security: e2e.Require, TLS: true, Retransmits: 3}, certs)
	answersGet(t, c.ask(getReq(modelName)))
	standing := c.lastID

	thief := b.insider(inPlain, nil)
	records, err := thief.peer.Send(b.clock.Now(), inPlain, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	late := decodeRecord(t, records.Records[0])
	late.GetSessionContext().SessionId, late.PayloadSecurity = standing, usppb.Record_TLS12 // and old in the session
	old, err := proto.Marshal(late)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range append(records.Records, old) {
		if err := b.host.Receive(mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "thief"}}); err != nil {
			t.Fatal(err)
		}
	}
	b.settle()
	answersGet(t, c.ask(getReq(modelName)))
	if c.lastID != standing {
		t.Error("the session has ended")
	}
	c.ask(operateReq("Device.LocalAgent.Controller.1.E2ESession.Reset()", "", true, nil))
	s := b.next("another session", func(s sentRecord) bool {
		return s.record.GetSessionContext() != nil && s.record.GetSessionContext().GetSessionId() != standing
	})
	if s.addr.Topic == "thief" {
		t.Error("the next session is begun with a stranger")
	}
}

// TestPlainSessionWithAStranger: where a controller has to prove who it is, no
// session without TLS is begun in its name.
func TestPlainSessionWithAStranger(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"certificates": overUntrusted(newPassports(t)),
		"none":         func(c *Config) { c.Senders = map[mtp.Protocol]Belief{mtp.MQTT: Proof} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, change)
			b.insider(inPlain, nil).say(&usppb.Msg{Header: &usppb.Header{MsgId: "x"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq(modelName)}}})
			b.settle()
			if status, _ := b.host.sessions.Status(e2e.Pair{Local: testAgent, Remote: primary}); status != e2e.Down {
				t.Errorf("the session is %s", status)
			}
		})
	}
}
