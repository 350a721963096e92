package conformance

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// recordCases are the tests of section 3.
func recordCases() []testCase {
	return slices.Concat([]testCase{
		{number: "3.1", title: "A malformed record without session context", play: malformedRecords},
	},
		without(notYet, "session contexts and secure message exchange are not supported; a record with a session context is refused with a Disconnect record", map[string]string{
			"3.2": "Integrity of fields outside the payload", "3.3": "A session that starts with a bad signature", "3.4": "TLS inside records",
			"3.5": "TLS inside records that fails", "3.6": "TLS renegotiation inside records", "3.7": "Certificates inside records",
			"3.8": "A session context is established", "3.9": "A record of another session context", "3.10": "A session context expires",
			"3.11": "Sequence numbers of a session context", "3.12": "Records are kept for retransmission", "3.13": "A record with less security than its session",
			"3.14": "Retransmission of records", "3.15": "A record that comes twice",
		}))
}

// malformedRecords expects that the agent takes malformed records for no requests,
// and goes on.
func malformedRecords(t *trial) {
	other := t.another()
	for _, b := range other.malformed() {
		if t.field.over == mtp.WebSocket { // the connection may be closed (7.6)
			other = t.as(newController(t, other.controller.id, t.field.link(t.T, other.controller.id)))
		}
		other.postRecord(b)
		t.value(endpointID)
		if got := other.arrived(func(r received) bool { return r.msg.GetBody().GetResponse() != nil }); len(got) > 0 {
			t.Errorf("answered with %v", got[0].msg)
		}
	}
}

// malformed returns records that are none: noise, a truncated one, one without a
// type, and one whose payload is no message.
func (t *trial) malformed() [][]byte {
	t.Helper()
	r := &usppb.Record{Version: "1.4", ToId: string(t.agent), FromId: string(t.controller.id)}
	encode := func() []byte {
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	untyped := encode()
	r.RecordType = &usppb.Record_NoSessionContext{NoSessionContext: &usppb.NoSessionContextRecord{Payload: []byte("\xff\xff\xff")}}
	noMessage := encode()
	return [][]byte{[]byte("no record"), noMessage[:len(noMessage)-2], untyped, noMessage}
}
