package record

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const (
	ctrl  = usp.EndpointID("self::c")
	agent = usp.EndpointID("os::00259E-1")
)

func local(id usp.EndpointID) bool { return id == agent }

func getMsg(id string, paths ...string) *usppb.Msg {
	return &usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{
			ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: paths}}}}},
	}
}

func must(t testing.TB) func(b []byte, err error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// unhexed reads bytes written as hex with blanks between fields.
func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	return must(t)(hex.DecodeString(strings.ReplaceAll(s, " ", "")))
}

// The fields that most records begin with: version 1.4, to_id, from_id.
const (
	hexVersion = "0a03 312e34 "
	hexToCtrl  = "1207 73656c663a3a63 "
	hexToAgent = "120c 6f733a3a3030323539452d31 "
	hexFromCtr = "1a07 73656c663a3a63 "
	hexFromAgt = "1a0c 6f733a3a3030323539452d31 "
	hexIn      = hexVersion + hexToAgent + hexFromCtr // controller to agent
	hexOut     = hexVersion + hexToCtrl + hexFromAgt  // agent to controller
)

func TestBytesOfRecords(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func() ([]byte, error)
		want  string
	}{
		{"WebSocket connect", func() ([]byte, error) { return WebSocketConnect(agent, ctrl, "") }, hexOut + "4a00"},
		{"MQTT 5 connect", func() ([]byte, error) {
			return MQTTConnect(agent, ctrl, "", usppb.MQTTConnectRecord_V5, "t/a")
		}, hexOut + "5207 0801 1203 742f61"},
		{"MQTT 3.1.1 connect", func() ([]byte, error) {
			return MQTTConnect(agent, ctrl, "", usppb.MQTTConnectRecord_V3_1_1, "t/a")
		}, hexOut + "5205 1203 742f61"},
		{"STOMP connect", func() ([]byte, error) { return STOMPConnect(agent, ctrl, "", "/q") }, hexOut + "5a04 1202 2f71"},
		{"UDS connect", func() ([]byte, error) { return UDSConnect(agent, ctrl, "") }, hexOut + "6a00"},
		{"disconnect", func() ([]byte, error) {
			return Disconnect(agent, ctrl, "", usp.ErrSessionContextDenied, "no")
		}, hexOut + "6209 0a02 6e6f 15 c21b0000"},
		{"message", func() ([]byte, error) { return WrapMsg(ctrl, agent, "1.4", getMsg("7", "A.")) },
			hexIn + "3a13 1211 0a05 0a01 37 1001 1208 0a06 0a04 0a02 412e"},
	} {
		b, err := c.build()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if want := unhexed(t, c.want); string(b) != string(want) && !sameRecord(t, b, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, b, want)
		}
		if _, err := Unwrap(b, Limits{}); err != nil {
			t.Errorf("%s: is refused: %v", c.name, err)
		}
	}
}

// sameRecord compares what bytes mean: the order of fields is the encoder's.
func sameRecord(t *testing.T, a, b []byte) bool {
	t.Helper()
	var ra, rb usppb.Record
	if err := errors.Join(proto.Unmarshal(a, &ra), proto.Unmarshal(b, &rb)); err != nil {
		t.Fatal(err)
	}
	return proto.Equal(&ra, &rb)
}

func TestWrapMsgIsARecordLikeAnyOther(t *testing.T) {
	msg := getMsg("id", strings.Repeat("Device.", 40), "Device.X") // lengths of two bytes
	b := must(t)(WrapMsg(ctrl, agent, "1.3", msg))
	payload := must(t)(proto.Marshal(msg))
	var got usppb.Record
	if err := proto.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := &usppb.Record{Version: "1.3", ToId: string(agent), FromId: string(ctrl), RecordType: &usppb.Record_NoSessionContext{
		NoSessionContext: &usppb.NoSessionContextRecord{Payload: payload}}}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	r, err := Unwrap(b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Message(r)
	if diff := cmp.Diff(msg, m, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if from, to, err := Addresses(b); from != ctrl || to != agent || err != nil {
		t.Errorf("addresses %q, %q, %v", from, to, err)
	}
}

func TestAppendMsgKeepsTheBuffer(t *testing.T) {
	one := must(t)(AppendMsg([]byte("before"), ctrl, agent, "", getMsg("1")))
	if !strings.HasPrefix(string(one), "before") || !sameRecord(t, one[len("before"):], must(t)(WrapMsg(ctrl, agent, "", getMsg("1")))) {
		t.Errorf("got %x", one)
	}
}

func TestBuildersRefuse(t *testing.T) {
	notUTF8 := getMsg("\xff")
	for name, err := range map[string]error{
		"no receiver":           errOf(WrapMsg(ctrl, "", "", getMsg("1"))),
		"no sender":             errOf(WebSocketConnect("", ctrl, "")),
		"address not UTF-8":     errOf(WrapMsg(ctrl, "os::\xff", "", getMsg("1"))),
		"message not UTF-8":     errOf(WrapMsg(ctrl, agent, "", notUTF8)),
		"reason not UTF-8":      errOf(Disconnect(agent, ctrl, "", 0, "\xff")),
		"MQTT without topic":    errOf(MQTTConnect(agent, ctrl, "", usppb.MQTTConnectRecord_V5, "")),
		"STOMP, no destination": errOf(STOMPConnect(agent, ctrl, "", "")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func errOf(_ []byte, err error) error { return err }

// refusal is what is expected of a record that is refused.
type refusal struct {
	name   string
	record string // hex
	code   usp.ErrorCode
	text   string
	answer string // "error": Error message with msg_id 7; "disconnect"; "": none
}

// hexGet is the NoSessionContextRecord of a Get with msg_id "7".
const hexGet = "3a13 1211 0a05 0a01 37 1001 1208 0a06 0a04 0a02 412e "

// hexMsg is the NoSessionContextRecord of an encoded message.
func hexMsg(msg string) string {
	n := len(strings.ReplaceAll(msg, " ", "")) / 2
	inner := protowire.AppendVarint([]byte{0x12}, uint64(n))
	outer := protowire.AppendVarint([]byte{0x3a}, uint64(n+len(inner)))
	return hex.EncodeToString(outer) + hex.EncodeToString(inner) + msg
}

func refusals() []refusal {
	const h = "0a05 0a01 37 1001 " // header: msg_id 7, GET
	return []refusal{
		// The record (R-MTP.5, R-ENC.2 … 5).
		{"empty", "", 7104, "0 record types", ""},
		{"random", "ffffffff", 7100, "not valid protobuf", ""},
		{"cut short", hexIn + "3a20", 7100, "not valid protobuf", ""},
		{"garbage behind a request", hexIn + hexGet + "ff", 7100, "not valid protobuf", "error"},
		{"no record type", hexIn, 7104, "0 record types", ""},
		{"two record types", hexIn + hexGet + "4a00", 7104, "2 record types", ""},
		{"twice the same record type", hexIn + hexGet + hexGet, 7104, "2 record types", ""},
		{"unknown record type", hexIn + "7200", 7104, "0 record types", ""},
		{"no version", hexToAgent + hexFromCtr + hexGet, 7104, "version", "error"},
		{"version is a word", "0a01 78" + hexToAgent + hexFromCtr + hexGet, 7104, "version", "error"},
		{"no to_id", hexVersion + hexFromCtr + hexGet, 7104, "to_id", ""},
		{"for another endpoint", "0a00" + hexToCtrl + "1a04 733a3a78" + hexGet, 7104, "version", ""},
		{"to_id is no endpoint id", hexVersion + "1201 78" + hexFromCtr + hexGet, 7104, "to_id", ""},
		{"no from_id", hexVersion + hexToAgent + hexGet, 7104, "from_id", ""},
		{"from_id is no endpoint id", hexVersion + hexToAgent + "1a01 78" + hexGet, 7104, "from_id", ""},
		{"from_id is not UTF-8", hexVersion + hexToAgent + "1a04 613a3aff" + hexGet, 7100, "UTF-8", ""},
		{"unknown payload_security", hexIn + "2005" + hexGet, 7104, "payload_security", "error"},
		{"TLS without session", hexIn + "2001" + hexGet, 7102, "not supported", "error"},
		{"empty payload", hexIn + "3a00", 7104, "payload is empty", ""},
		{"MQTT connect without topic", hexIn + "5202 0801", 7104, "subscribed_topic", ""},
		{"MQTT connect of unknown version", hexIn + "5207 0809 1203 742f61", 7104, "MQTT version", ""},
		{"STOMP connect without destination", hexIn + "5a00", 7104, "subscribed_destination", ""},
		{"STOMP connect of unknown version", hexIn + "5a06 0807 1202 2f71", 7104, "STOMP version", ""},
		{"session context", hexIn + "4206 0802 1001 1801", 7106, "session contexts", "disconnect"}, // R-E2E.6a
		{"no message at all", hexIn + "4a00", 7104, "no message", ""},
		// The message.
		{"payload is no protobuf", hexIn + hexMsg("ffff"), 7004, "Msg", ""},
		{"request with garbage behind", hexIn + hexMsg(h+"1208 0a06 0a04 0a02 412e ff"), 7004, "Msg", "error"},
		{"text in a Get is not UTF-8", hexIn + hexMsg(h+"1207 0a05 0a03 0a01 ff"), 7004, "UTF-8", "error"},
		{"no header", hexIn + hexMsg("1208 0a06 0a04 0a02 412e"), 7004, "msg_id", ""},
		{"two headers", hexIn + hexMsg(h+h+"1204 0a02 0a00"), 7004, "more than one header", "error"},
		{"no body", hexIn + hexMsg(h), 7004, "no body", ""},
		{"empty body", hexIn + hexMsg(h+"1200"), 7004, "no body", ""},
		{"request without content", hexIn + hexMsg(h+"1202 0a00"), 7004, "no body", "error"},
		{"request of a newer type", hexIn + hexMsg(h+"1205 0a03 fa0100"), 7001, "not supported", "error"},
		{"two requests in one", hexIn + hexMsg(h+"1206 0a04 0a00 2200"), 7004, "more than one req_type", "error"},
		{"request and response", hexIn + hexMsg(h+"1208 0a02 0a00 1202 0a00"), 7004, "more than one msg_body", "error"},
		{"unknown msg_type", hexIn + hexMsg("0a05 0a01 37 1063 1204 0a02 0a00"), 7004, "msg_type", "error"},
		{"bad response is not answered", hexIn + hexMsg(h+"1202 1200"), 7004, "no body", ""},
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals() {
		t.Run(c.name, func(t *testing.T) {
			r, err := Unwrap(unhexed(t, c.record), Limits{})
			if err == nil {
				_, err = Message(r)
			}
			var e *Error
			if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Msg, c.text) {
				t.Fatalf("got %v, want error %d with %q", err, c.code, c.text)
			}
			answer, ok := e.Answer(local)
			if ok != (c.answer != "") {
				t.Fatalf("answered: %t, want %q", ok, c.answer)
			}
			if ok {
				checkAnswer(t, answer, c)
			}
		})
	}
}

func checkAnswer(t *testing.T, answer []byte, c refusal) {
	t.Helper()
	r, err := Unwrap(answer, Limits{})
	if err != nil || r.GetFromId() != string(agent) || r.GetToId() != string(ctrl) || r.GetVersion() != "1.4" {
		t.Fatalf("answer %v, %v", r, err)
	}
	if c.answer == "disconnect" {
		if d := r.GetDisconnect(); d.GetReasonCode() != uint32(c.code) || d.GetReason() == "" {
			t.Errorf("disconnect %v", d)
		}
		return
	}
	m, err := Message(r)
	if err != nil || m.GetHeader().GetMsgId() != "7" || m.GetHeader().GetMsgType() != usppb.Header_ERROR {
		t.Fatalf("message %v, %v", m, err)
	}
	if e := m.GetBody().GetError(); e.GetErrCode() != uint32(c.code) || e.GetErrMsg() == "" {
		t.Errorf("error %v", e)
	}
}

// Deviation: usp-js and controllers to come – write records of a newer version, with fields that are not known; they are read
func TestNewerVersionsAreTolerated(t *testing.T) {
	b := must(t)(WrapMsg(ctrl, agent, "2.17", getMsg("7")))
	r, err := Unwrap(append(b, 0xfa, 0x01, 0x00), Limits{}) // a field we do not know
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Message(r); err != nil {
		t.Error(err)
	}
	_, err = Unwrap(append(b, 0x20, 0x07), Limits{}) // and an error in it is answered in our version
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	answer, ok := e.Answer(local)
	if r, err := Unwrap(answer, Limits{}); !ok || err != nil || r.GetVersion() != usp.RecordVersion {
		t.Errorf("answered %t with %v, %v", ok, r, err)
	}
}

func TestLimits(t *testing.T) {
	small := Limits{Record: 1000, Elements: 20}
	many := getMsg("7", make([]string, 30)...) // 60 bytes of empty paths
	r, err := Unwrap(must(t)(WrapMsg(ctrl, agent, "", many)), small)
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := small.Message(r); !errors.As(err, &e) || e.Code != usp.ErrResourcesExceeded || e.MsgID != "7" {
		t.Errorf("30 elements of 20: %v", err)
	}
	if _, err := Message(r); err != nil {
		t.Errorf("default limits: %v", err)
	}
	if _, err := Unwrap(make([]byte, 1001), small); !errors.As(err, &e) || e.Code != usp.ErrResourcesExceeded {
		t.Errorf("1001 bytes of 1000: %v", err)
	}
	payloads := unhexed(t, hexIn+"422a"+strings.Repeat("3a00", 21))
	if _, err := Unwrap(payloads, small); !errors.As(err, &e) || e.Code != usp.ErrResourcesExceeded {
		t.Errorf("21 payloads of 20: %v", err)
	}
}

// TestTypeOf goes through the schema, so that a new message type is not
// forgotten.
func TestTypeOf(t *testing.T) {
	for _, side := range []string{"request", "response"} {
		body := (*usppb.Body)(nil).ProtoReflect().Descriptor().Fields().ByName(protoName(side))
		members := body.Message().Oneofs().Get(0).Fields()
		for i := range members.Len() {
			field := members.Get(i)
			m := new(usppb.Msg)
			inner := mutableBody(m, side)
			inner.Mutable(field)
			want := strings.ToUpper(string(field.Name()))
			want = strings.Replace(want, "SUPPORTED_PROTOCOL", "SUPPORTED_PROTO", 1)
			if got := TypeOf(m).String(); got != want {
				t.Errorf("body %s: type %s, want %s", field.Name(), got, want)
			}
		}
	}
	if got := TypeOf(ErrorMsg("1", &usp.Error{Code: usp.ErrInternal})); got != usppb.Header_ERROR {
		t.Errorf("error: type %s", got)
	}
}

func TestErrorMsg(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *usp.Error
		want *usppb.Error
	}{
		{"whole message", &usp.Error{Code: 7001, Msg: "no"}, &usppb.Error{ErrCode: 7001, ErrMsg: "no"}},
		{"a path", &usp.Error{Code: 7026, Path: "Device.X.", Msg: "no"}, &usppb.Error{ErrCode: 7026, ErrMsg: "no",
			ParamErrs: []*usppb.Error_ParamError{{ParamPath: "Device.X.", ErrCode: 7026, ErrMsg: "no"}}}},
		{"parameters", &usp.Error{Code: 7004, Path: "Device.X.1.", Msg: "no", Params: []usp.ParamError{{Param: "A", Code: 7012, Msg: "bad"}, {Param: "B", Code: 7013, Msg: "ro"}}},
			&usppb.Error{ErrCode: 7004, ErrMsg: "no", ParamErrs: []*usppb.Error_ParamError{
				{ParamPath: "Device.X.1.A", ErrCode: 7012, ErrMsg: "bad"}, {ParamPath: "Device.X.1.B", ErrCode: 7013, ErrMsg: "ro"}}}},
	} {
		m := ErrorMsg("42", c.err)
		if m.GetHeader().GetMsgId() != "42" {
			t.Errorf("%s: msg_id %q", c.name, m.GetHeader().GetMsgId())
		}
		if diff := cmp.Diff(c.want, m.GetBody().GetError(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
