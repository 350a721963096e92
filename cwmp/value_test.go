package cwmp_test

import (
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// TestParseType has the types as the standard writes them and as CPE do.
//
// Deviation: STB, ZyXEL and others – misspell xsi:type, leave its prefix out or add a length; the type that is meant is read
func TestParseType(t *testing.T) {
	for typ := cwmp.TypeString; typ <= cwmp.TypeDecimal; typ++ {
		if got := cwmp.ParseType("xsd:" + typ.XSD()); got != typ {
			t.Errorf("xsd:%s reads as %v", typ.XSD(), got)
		}
	}
	tests := []struct {
		wire string
		want cwmp.Type
	}{
		{"string", cwmp.TypeString},
		{"xsd:string(64)", cwmp.TypeString},
		{"xs:string[256]", cwmp.TypeString},
		{" xsd:string ", cwmp.TypeString},
		{"xsd:Int", cwmp.TypeInt},
		{"xsd:integer", cwmp.TypeInt},
		{"xsd:unsignedint", cwmp.TypeUnsignedInt},
		{"xsd:unsigendInt", cwmp.TypeUnsignedInt},
		{"xsd:bool", cwmp.TypeBoolean},
		{"xsd:datetime", cwmp.TypeDateTime},
		{"SOAP-ENC:base64", cwmp.TypeBase64},
		{"xsd:base64Binary", cwmp.TypeBase64},
		{"xsd:double", cwmp.TypeDecimal},
		{"", cwmp.TypeUnknown},
		{"xsd:", cwmp.TypeUnknown},
		{"xsd:anySimpleType", cwmp.TypeUnknown},
		{"(64)", cwmp.TypeUnknown},
	}
	for _, tt := range tests {
		if got := cwmp.ParseType(tt.wire); got != tt.want {
			t.Errorf("%q reads as %v, want %v", tt.wire, got, tt.want)
		}
	}
}

// TestTypeXSD: what is not known is written as a string.
func TestTypeXSD(t *testing.T) {
	for typ, want := range map[cwmp.Type]string{cwmp.TypeUnknown: "string", cwmp.TypeUnsignedInt: "unsignedInt", 200: "string"} {
		if got := typ.String(); got != want {
			t.Errorf("type %d is written %q, want %q", typ, got, want)
		}
	}
}

// TestParseBoolean has the booleans met on the wire and in device trees.
//
// Deviation: many CPE – write booleans as TRUE, 2, 30, 4294967295 or Accept; numbers other than 0 and the common words are read
func TestParseBoolean(t *testing.T) {
	tests := []struct {
		text  string
		v, ok bool
	}{
		{"0", false, true}, {"1", true, true}, {"true", true, true}, {"false", false, true},
		{"TRUE", true, true}, {" False\n", false, true}, {"2", true, true}, {"30", true, true}, {"00", false, true}, {"-1", true, true},
		{"4294967295", true, true}, {"99999999999999999999", true, true},
		{"Accept", true, true}, {"Enabled", true, true}, {"Disabled", false, true}, {"yes", true, true}, {"off", false, true},
		{"", false, false}, {"maybe", false, false}, {"0.5", false, false},
	}
	for _, tt := range tests {
		if v, ok := cwmp.ParseBoolean(tt.text); v != tt.v || ok != tt.ok {
			t.Errorf("%q reads as %v %v, want %v %v", tt.text, v, ok, tt.v, tt.ok)
		}
	}
}

// TestParseTime has the spellings of date and time met in the field.
//
// Deviation: many CPE – write dateTime without a zone, with +0000, as text of date(1), or with the year 0000; all but the last are read, that one is no time
func TestParseTime(t *testing.T) {
	tests := []struct{ text, want string }{ // "" for what is no time
		{"2013-10-15T15:48:15Z", "2013-10-15T15:48:15Z"},
		{"2013-10-15T15:48:15.123456Z", "2013-10-15T15:48:15.123456Z"},
		{" 2013-10-15T15:48:15-05:00\n", "2013-10-15T20:48:15Z"},
		{"2013-10-15T15:48:15.123+0000", "2013-10-15T15:48:15.123Z"},
		{"2013-10-15T15:48:15", "2013-10-15T15:48:15Z"},
		{"2013-10-15 15:48:15.5", "2013-10-15T15:48:15.5Z"},
		{"Tue Oct 15 15:48:15 UTC 2013", "2013-10-15T15:48:15Z"},
		{"Tue Oct  5 15:48:15 2013", "2013-10-05T15:48:15Z"},
		{"Tue, 15 Oct 2013 15:48:15 GMT", "2013-10-15T15:48:15Z"},
		{"1969-12-31T23:59:59+00:00", "1969-12-31T23:59:59Z"},
		{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
		{"0001-01-01T00:01:03", "0001-01-01T00:01:03Z"},
		{"0000-00-00T00:00:00", ""}, {"0000-01-01T00:00:00Z", ""},
		{"2013-10-15T11:54::14", ""}, {"2013-02-30T00:00:00Z", ""}, {"514", ""}, {"", ""},
	}
	for _, tt := range tests {
		got, ok := cwmp.ParseTime(tt.text)
		if text := got.Format(time.RFC3339Nano); ok != (tt.want != "") || ok && text != tt.want {
			t.Errorf("%q reads as %s %v, want %q", tt.text, text, ok, tt.want)
		}
	}
}

// FuzzParseValue: any text is a boolean or none, a time or none, and a time that
// is written as the standard has it reads back as the same.
func FuzzParseValue(f *testing.F) {
	f.Add("2013-10-15T15:48:15.123+0000")
	f.Add("Tue Oct 15 15:48:15 UTC 2013")
	f.Add("4294967295")
	f.Fuzz(func(t *testing.T, s string) {
		if v, ok := cwmp.ParseBoolean(s); v && !ok {
			t.Errorf("%q is true and no boolean", s)
		}
		if at, ok := cwmp.ParseTime(s); ok && at.Year() > 0 && at.Year() < 10000 {
			if again, ok := cwmp.ParseTime(at.Format(time.RFC3339Nano)); !ok || !again.Equal(at) {
				t.Errorf("%q is %v, which reads back as %v", s, at, again)
			}
		}
	})
}

// FuzzParseType: any text is a type or TypeUnknown, and never panics.
func FuzzParseType(f *testing.F) {
	f.Add("xsd:string(64)")
	f.Fuzz(func(t *testing.T, s string) {
		if typ := cwmp.ParseType(s); typ > cwmp.TypeDecimal {
			t.Errorf("%q reads as %d", s, typ)
		}
	})
}
