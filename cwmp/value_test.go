package cwmp_test

import (
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
)

// TestParseType has the types as the standard writes them and as CPE do.
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

// FuzzParseType: any text is a type or TypeUnknown, and never panics.
func FuzzParseType(f *testing.F) {
	f.Add("xsd:string(64)")
	f.Fuzz(func(t *testing.T, s string) {
		if typ := cwmp.ParseType(s); typ > cwmp.TypeDecimal {
			t.Errorf("%q reads as %d", s, typ)
		}
	})
}
