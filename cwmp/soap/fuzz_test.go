package soap_test

import (
	"errors"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// FuzzRead: no input panics; every refusal is of a documented kind; what was
// read can be written, and reads back as the same.
func FuzzRead(f *testing.F) {
	for _, tt := range tolerances {
		f.Add([]byte(tt.body), tt.contentType)
	}
	for _, m := range everyMessage {
		f.Add(soap.Append(nil, &soap.Envelope{ID: "1", Version: cwmp.Version1_2, Body: m}), "text/xml")
	}
	limits := soap.Limits{Bytes: 1 << 16, Depth: 16, Elements: 1000, Attributes: 16, NameBytes: 64}
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		e, err := soap.Read(body, contentType, limits)
		if e == nil {
			t.Fatal("no envelope")
		}
		var syntax *soap.SyntaxError
		var unknown *soap.UnknownRPCError
		var fault *cwmp.Fault
		if err != nil && !errors.As(err, &syntax) && !errors.As(err, &unknown) && !errors.As(err, &fault) {
			t.Fatalf("error of unknown kind: %v", err)
		}
		if err != nil || e.Body == nil {
			return
		}
		first := soap.Append(nil, e)
		again, err := soap.Read(first, "", soap.Limits{})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, first)
		}
		// Writing replaces what XML cannot have; from there on it is stable.
		second := soap.Append(nil, again)
		if string(first) != string(second) {
			t.Fatalf("wrote\n%s\nthen\n%s", first, second)
		}
	})
}
