package soap_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// FuzzRead: no input panics; every refusal is of a documented kind; what was
// read is written in the shape of its schema, and reads back as the same.
func FuzzRead(f *testing.F) {
	for _, tt := range tolerances {
		f.Add([]byte(tt.body), tt.contentType)
	}
	for _, s := range samples {
		f.Add(soap.Append(nil, &soap.Envelope{ID: "1", Version: cwmp.Version1_2, Body: s.m}), "text/xml")
	}
	for _, tt := range hostile {
		if body := tt.body(); len(body) < 1<<12 {
			f.Add([]byte(body), "text/xml")
		}
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
		out := soap.Append(nil, e)
		if err := checkShape(out); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		again, err := soap.Read(out, "", soap.Limits{})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, out)
		}
		if d := diff(asWritten(e), again); d != "" {
			t.Fatalf("%s\n%s", d, out)
		}
	})
}

// written is a message in an envelope of CWMP 1.2.
func written(m cwmp.Message) []byte {
	return soap.Append(nil, &soap.Envelope{Version: cwmp.Version1_2, Body: m})
}

// asWritten changes an envelope as writing does: to what its version has, and to
// what XML can have.
func asWritten(e *soap.Envelope) *soap.Envelope {
	if e.Version > cwmp.Version1_0 {
		e.NoMoreRequests = false
	}
	if e.Version < cwmp.Version1_2 {
		e.SessionTimeout, e.SupportedVersions, e.UseVersion = 0, "", ""
	}
	texts(reflect.ValueOf(e).Elem(), "")
	texts(reflect.ValueOf(e.Body).Elem(), "")
	switch m := e.Body.(type) {
	case *cwmp.ChangeDUState:
		for i := range m.Operations {
			switch op := &m.Operations[i]; op.Kind {
			case "Install":
				op.Version = ""
			case "Update":
				op.ExecutionEnvRef = ""
			case "Uninstall":
				op.URL, op.Username, op.Password = "", "", ""
			}
		}
	case *cwmp.DUStateChangeComplete:
		for i := range m.Results {
			m.Results[i].OperationPerformed = ""
		}
	}
	return e
}

// texts makes every text in v one that XML can have, every time that is left out
// the one that is not known, and every type that is not known a string.
func texts(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			texts(v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts(v.Index(i), name)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			texts(v.Elem(), name)
		}
	case reflect.String:
		v.SetString(ofXML(v.String()))
		if v.String() == "" && (name == "CurrentTime" || name == "StartTime" || name == "CompleteTime" || name == "StartDate") {
			v.SetString("0001-01-01T00:00:00Z")
		}
	case reflect.Uint8:
		if typ, ok := v.Addr().Interface().(*cwmp.Type); ok && *typ == cwmp.TypeUnknown {
			*typ = cwmp.TypeString
		}
	}
}

// ofXML replaces what XML 1.0 cannot have.
func ofXML(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 && r != '\t' && r != '\n' && r != '\r', r == 0xfffe, r == 0xffff:
			return utf8.RuneError
		}
		return r
	}, s)
}
