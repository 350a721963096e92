package record

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestEnvelopes(t *testing.T) {
	in, out := Envelope{From: ctrl, To: agent}, Envelope{From: agent, To: ctrl}
	for _, c := range []struct {
		name, record string
		base         Envelope
		kind         Type
		inbox        string
		connects     bool
	}{
		{"message", hexIn + hexGet, in, NoSessionContextType, "", false},
		{"session context", hexIn + "4206 0802 1001 1801", in, SessionContextType, "", false},
		{"WebSocket connect", hexOut + "4a00", out, WebSocketConnectType, "", true},
		{"MQTT connect", hexOut + "5207 0801 1203 742f61", out, MQTTConnectType, "t/a", true},
		{"MQTT connect without topic", hexOut + "5202 0801", out, MQTTConnectType, "", true},
		{"STOMP connect", hexOut + "5a04 1202 2f71", out, STOMPConnectType, "/q", true},
		{"disconnect", hexOut + "6209 0a02 6e6f 15 c21b0000", out, DisconnectType, "", false},
		{"UDS connect", hexOut + "6a00", out, UDSConnectType, "", true},
		{"record type of a newer version", hexOut + "a20100", out, 0, "", false},
		{"fields of a newer version", hexIn + "fa0100 f80107" + hexGet, in, NoSessionContextType, "", false},
		{"the last of two senders counts, as everywhere in protobuf", hexVersion + hexToAgent + hexFromAgt + hexFromCtr + hexGet, in, NoSessionContextType, "", false},
		{"empty", "", Envelope{}, 0, "", false},
	} {
		want := c.base
		want.Type, want.Inbox = c.kind, c.inbox
		if c.connects {
			want.Version = "1.4"
		}
		got, err := ReadEnvelope(unhexed(t, c.record))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
		if got.Type.Connects() != c.connects {
			t.Errorf("%s: Connects() is %t", c.name, !c.connects)
		}
	}
	for _, broken := range []string{"ffffffff", hexIn + "3a20", hexIn + hexGet + "ff"} {
		if e, err := ReadEnvelope(unhexed(t, broken)); err == nil || e != (Envelope{}) {
			t.Errorf("%s: got %+v, %v, want an error and nothing", broken, e, err)
		}
	}
}

// FuzzReadEnvelope: what is read is what a decoder of the whole record finds.
func FuzzReadEnvelope(f *testing.F) {
	for _, r := range refusals() {
		f.Add(unhexed(f, r.record))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ReadEnvelope(b)
		var r usppb.Record
		if proto.Unmarshal(b, &r) != nil {
			return // bad UTF-8, for example, which is no business of who passes on
		}
		if err != nil {
			t.Fatalf("a record that can be decoded is refused: %v", err)
		}
		if string(e.From) != r.GetFromId() || string(e.To) != r.GetToId() || e.Type.Connects() && e.Version != r.GetVersion() {
			t.Errorf("got %+v of %v", e, &r)
		}
	})
}
