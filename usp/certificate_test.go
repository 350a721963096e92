package usp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestURN(t *testing.T) {
	tests := []struct {
		urn  string
		want EndpointID // "": none
	}{
		{"urn:bbf:usp:id:proto::controller-1", "proto::controller-1"},
		{"urn:bbf:usp:id:oui:00256D:my-unique-bbf-id-42", "oui:00256D:my-unique-bbf-id-42"},
		{"urn:bbf:usp:id:ops::00259E-HG%208245-4857", "ops::00259E-HG%208245-4857"}, // as it is: not decoded, not encoded again
		{"URN:BBF:usp:id:self::x", "self::x"},
		{"urn:bbf:USP:ID:self::x", ""},
		{"urn:bbf:usp:id:", ""},
		{"urn:bbf:usp:id:controller-1", ""},
		{"urn:bbf:usp:id:ops::00259E-HG8245-*", ""}, // a certificate that agents share: no controller's
		{"urn:bbf:usp:id:self::a b", ""},
		{"urn:bbf:usp:id:self::a?b", ""},
		{"urn:bbf:usp:id:self::a#b", ""},
		{"urn:bbf:usp:id:self::" + strings.Repeat("x", MaxEndpointID), ""},
		{"urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got, ok := ParseURN(tt.urn)
		if ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("ParseURN(%q) = %q, %v, want %q", tt.urn, got, ok, tt.want)
		}
		if ok && !strings.EqualFold(got.URN(), tt.urn) {
			t.Errorf("%q becomes %q", tt.urn, got.URN())
		}
	}
}

func TestEndpointsOf(t *testing.T) {
	template := &x509.Certificate{
		URIs:     []*url.URL{{Scheme: "https", Host: "controller.example"}},
		DNSNames: []string{"controller.example", "*.example"},
	}
	EndpointID("ops::00259E-HG%208245-4857").AddTo(template)
	EndpointID("fqdn::other.example").AddTo(template)
	got := EndpointsOf(signed(t, template))
	want := []EndpointID{"ops::00259E-HG%208245-4857", "fqdn::other.example"}
	if !slices.Equal(got, want) {
		t.Errorf("endpoints %q, want %q", got, want)
	}
}

func TestNames(t *testing.T) {
	template := &x509.Certificate{DNSNames: []string{"Controller.example", "*.wild.example"}}
	EndpointID("proto::controller-1").AddTo(template)
	c := signed(t, template)
	for id, want := range map[EndpointID]bool{
		"proto::controller-1":       true,
		"proto::controller-2":       false,
		"fqdn::controller.example":  true,
		"fqdn::a.wild.example":      false,
		"fqdn::*.wild.example":      false,
		"proto::Controller.example": false,
		"":                          false,
	} {
		if got := Names(c, id); got != want {
			t.Errorf("%q: %v, want %v", id, got, want)
		}
	}
}

// signed returns a certificate as a peer reads it.
func signed(t *testing.T, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// FuzzParseURN: what is taken is an endpoint id in its only form, and survives a
// certificate.
func FuzzParseURN(f *testing.F) {
	f.Add("urn:bbf:usp:id:proto::controller-1")
	f.Add("URN:BBF:usp:id:ops::00259E-HG%208245-4857")
	f.Fuzz(func(t *testing.T, urn string) {
		id, ok := ParseURN(urn)
		if !ok {
			return
		}
		if err := id.Validate(); err != nil {
			t.Fatalf("%q: %v", urn, err)
		}
		var c x509.Certificate
		id.AddTo(&c)
		if got := EndpointsOf(&c); !slices.Equal(got, []EndpointID{id}) || !Names(&c, id) {
			t.Fatalf("%q came back as %q", id, got)
		}
	})
}
