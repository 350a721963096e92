package acs_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// showing is a request over TLS with a verified client certificate, nil for none.
func showing(c *x509.Certificate) *http.Request {
	r := httptest.NewRequest("POST", "https://acs/", nil)
	r.TLS = &tls.ConnectionState{}
	if c != nil {
		r.TLS.PeerCertificates, r.TLS.VerifiedChains = []*x509.Certificate{c}, [][]*x509.Certificate{{c}}
	}
	return r
}

// outcome says how an Authenticator's error is answered.
func outcome(err error) string {
	var challenge *acs.Challenge
	switch {
	case err == nil:
		return "in"
	case errors.As(err, new(*acs.Mismatch)):
		return "8001"
	case errors.As(err, &challenge):
		return "401 " + challenge.Kind
	case errors.As(err, new(*acs.Denial)):
		return "403"
	}
	return err.Error()
}

func named(cn string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: cn, Organization: []string{"Example Networks"}}, Issuer: pkix.Name{CommonName: "CPE CA"}}
}

// TestCertificateRules: which devices a certificate speaks for.
func TestCertificateRules(t *testing.T) {
	device := cwmp.DeviceID{Manufacturer: "ACME", OUI: "00259E", ProductClass: "HG 1", SerialNumber: "A.1"}
	dashed := cwmp.DeviceID{OUI: "00259E", SerialNumber: "HG-1"}
	lower := device
	lower.OUI = "00259e"
	uri, err := url.Parse("urn:dev:ops:00259E-A.1")
	if err != nil {
		t.Fatal(err)
	}
	shared := []acs.CertificateRule{{Organization: "Example Networks", OUIs: []string{"00259e", "0017C4"}}}
	serialOf := func(r acs.CertificateRule) []acs.CertificateRule {
		if r.Field == "" {
			r.Field = acs.FieldCommonName
		}
		r.Template = "{serial}"
		return []acs.CertificateRule{r}
	}
	tests := []struct {
		name  string
		rules []acs.CertificateRule // nil: TR-069's
		cert  *x509.Certificate
		id    cwmp.DeviceID
		want  string
	}{
		{"OUI and serial number", nil, named("00259E-A.1"), device, "in"},
		{"with product class, escaped", nil, named("00259E-HG%201-A%2E1"), device, "in"},
		// Deviation: CPE whose certificates were made by hand – do not escape product class and serial number in the common name; it is taken where it is unambiguous
		{"with product class, plain", nil, named("00259E-HG 1-A.1"), device, "in"},
		// Deviation: several CPE – write their OUI in lower case, in the Inform or in the certificate; it is the same OUI
		{"OUI in lower case in the Inform", nil, named("00259E-A.1"), lower, "in"},
		{"OUI in lower case in the certificate", nil, named("00259e-A.1"), device, "in"},
		{"another serial number", nil, named("00259E-A.2"), device, "8001"},
		{"another product class", nil, named("00259E-HG%202-A%2E1"), device, "8001"},
		{"serial number in another case", nil, named("00259E-a.1"), device, "8001"},
		{"a dash in the serial number, escaped", nil, named("00259E-HG%2D1"), dashed, "in"},
		{"a dash in the serial number, plain: it may be product class HG, serial number 1", nil, named("00259E-HG-1"), dashed, "8001"},
		{"no common name", nil, named(""), device, "8001"},
		{"no serial number in the Inform", nil, named("00259E-"), cwmp.DeviceID{OUI: "00259E"}, "8001"},
		{"no certificate", nil, nil, device, "403"},

		{"serial number alone", serialOf(acs.CertificateRule{}), named("A.1"), device, "in"},
		{"of another vendor's CA", serialOf(acs.CertificateRule{Issuer: "CPE CA"}), named("A.1"), device, "in"},
		{"by another issuer", serialOf(acs.CertificateRule{Issuer: "Other CA"}), named("A.1"), device, "8001"},
		{"of another organization", serialOf(acs.CertificateRule{Organization: "Other"}), named("A.1"), device, "8001"},
		{"for other OUIs", serialOf(acs.CertificateRule{OUIs: []string{"0017C4"}}), named("A.1"), device, "8001"},
		{"subject's serialNumber", serialOf(acs.CertificateRule{Field: acs.FieldSerialNumber}), &x509.Certificate{Subject: pkix.Name{SerialNumber: "A.1"}}, device, "in"},
		{"DNS name, in any case", []acs.CertificateRule{{Field: acs.FieldDNS, Template: "{serial}.cpe.example"}},
			&x509.Certificate{DNSNames: []string{"other", "a.1.CPE.example"}}, device, "in"},
		{"URI", []acs.CertificateRule{{Field: acs.FieldURI, Template: "urn:dev:ops:{oui}-{serial}"}}, &x509.Certificate{URIs: []*url.URL{uri}}, device, "in"},
		{"mail address", []acs.CertificateRule{{Field: acs.FieldEmail, Template: "{serial}@{manufacturer}"}}, &x509.Certificate{EmailAddresses: []string{"A.1@ACME"}}, device, "in"},
		{"shared by a vendor's devices", shared, named("any"), device, "in"},
		{"shared by another vendor's devices", shared, named("any"), cwmp.DeviceID{OUI: "AABBCC", SerialNumber: "A.1"}, "8001"},
		{"one of several rules", append(shared, acs.DefaultCertificateRules()...), named("AABBCC-1"), cwmp.DeviceID{OUI: "AABBCC", SerialNumber: "1"}, "in"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := acs.NewCertificate(tt.rules)
			if err != nil {
				t.Fatal(err)
			}
			_, err = judge(t, c, showing(tt.cert), tt.id)
			if got := outcome(err); got != tt.want {
				t.Errorf("%s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

// TestUnverifiedCertificate: a certificate that the listener has not verified is none.
func TestUnverifiedCertificate(t *testing.T) {
	c, err := acs.NewCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := showing(named("00259E-A"))
	r.TLS.VerifiedChains = nil
	if _, err := judge(t, c, r, deviceA); outcome(err) != "403" {
		t.Errorf("got %v, want 403", err)
	}
}

// TestCertificateAndPassword: a certificate in place of a password, and with one.
func TestCertificateAndPassword(t *testing.T) {
	certificate, err := acs.NewCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	password := newBasic(t, acs.BasicConfig{})
	either, both := &acs.Either{Certificate: certificate, Password: password}, &acs.Both{Certificate: certificate, Password: password}
	certA, certB := named("00259E-A"), named("00259E-B")
	tests := []struct {
		name         string
		cert         *x509.Certificate
		password     string // "": none is sent
		id           cwmp.DeviceID
		either, both string
	}{
		{"neither", nil, "", deviceA, "401 challenged", "403"},
		{"certificate", certA, "", deviceA, "in", "401 challenged"},
		{"password", nil, "secret", deviceA, "in", "403"},
		{"certificate and password", certA, "secret", deviceA, "in", "in"},
		{"certificate and a wrong password", certA, "x", deviceA, "in", "401 unauthorized"},
		{"another's certificate", certB, "", deviceA, "401 challenged", "401 challenged"},
		{"another's certificate and the password", certB, "secret", deviceA, "in", "8001"},
		{"another's password", nil, "secret", deviceB, "8001", "403"},
		{"certificate and another's password", certB, "secret", deviceB, "in", "8001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := showing(tt.cert)
			if tt.password != "" {
				r.SetBasicAuth("cpe", tt.password)
			}
			_, err := judge(t, either, r, tt.id)
			if got := outcome(err); got != tt.either {
				t.Errorf("certificate or password: %s (%v), want %s", got, err, tt.either)
			}
			_, err = judge(t, both, r, tt.id)
			if got := outcome(err); got != tt.both {
				t.Errorf("certificate and password: %s (%v), want %s", got, err, tt.both)
			}
		})
	}
}
