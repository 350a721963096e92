package record

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func protoName(s string) protoreflect.Name { return protoreflect.Name(s) }

// mutableBody returns the empty request or response in m.
func mutableBody(m *usppb.Msg, side string) protoreflect.Message {
	m.Body = new(usppb.Body)
	body := m.Body.ProtoReflect()
	return body.Mutable(body.Descriptor().Fields().ByName(protoName(side))).Message()
}

// FuzzUnwrap: no bytes panic; what is refused is refused by an *Error whose
// answer is a good record to the sender; what is accepted has one known type and
// can be encoded again.
func FuzzUnwrap(f *testing.F) {
	for _, c := range refusals() {
		f.Add(unhexed(f, c.record))
	}
	f.Add(must(f)(WrapMsg(ctrl, agent, "", getMsg("7", "Device."))))
	f.Add(must(f)(WrapMsg(agent, ctrl, "", ErrorMsg("7", &usp.Error{Code: usp.ErrInternal, Path: "Device.", Msg: "x"}))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Unwrap(b, Limits{})
		var m *usppb.Msg
		if err == nil {
			if r.GetRecordType() == nil || r.GetFromId() == "" || r.GetToId() == "" {
				t.Fatalf("accepted %v", r)
			}
			m, err = Message(r)
		}
		if err != nil {
			checkRefused(t, err)
			return
		}
		if m.GetHeader().GetMsgId() == "" || m.GetBody().GetMsgBody() == nil {
			t.Fatalf("accepted %v", m)
		}
		again, err := WrapMsg(usp.EndpointID(r.GetFromId()), usp.EndpointID(r.GetToId()), r.GetVersion(), m)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = Unwrap(again, Limits{}); err != nil {
			t.Fatal(err)
		}
		if n, err := Message(r); err != nil || !proto.Equal(m, n) {
			t.Fatalf("%v is not %v, %v", n, m, err)
		}
	})
}

func checkRefused(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code == 0 || e.Msg == "" {
		t.Fatalf("refused by %#v", err)
	}
	answer, ok := e.Answer(func(usp.EndpointID) bool { return true })
	if !ok {
		return
	}
	if r, err := Unwrap(answer, Limits{}); err != nil || r.GetToId() != string(e.From) {
		t.Fatalf("answer %v, %v", r, err)
	}
}

func benchMsg(paths int) *usppb.Msg {
	m := getMsg("4711")
	get := m.GetBody().GetRequest().GetGet()
	for i := range paths {
		get.ParamPaths = append(get.ParamPaths, fmt.Sprintf("Device.WiFi.SSID.%d.SSID", i+1))
	}
	return m
}

func BenchmarkUnwrap(b *testing.B) {
	for _, paths := range []int{1, 150} {
		b.Run(fmt.Sprintf("paths=%d", paths), func(b *testing.B) {
			rec := must(b)(WrapMsg(ctrl, agent, "", benchMsg(paths)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := Unwrap(rec, Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Message(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWrapMsg(b *testing.B) {
	for _, paths := range []int{1, 150} {
		b.Run(fmt.Sprintf("paths=%d", paths), func(b *testing.B) {
			m := benchMsg(paths)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := WrapMsg(ctrl, agent, "", m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
