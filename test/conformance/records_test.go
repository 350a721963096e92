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
	}, sessionCases(), securedCases())
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
