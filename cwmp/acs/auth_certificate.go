package acs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/uspbridge/uspbridge/cwmp"
)

// CertificateField is the part of a certificate that names a device.
type CertificateField string

// The fields a rule can look at.
const (
	FieldCommonName   CertificateField = "cn"            // subject CN
	FieldSerialNumber CertificateField = "serial_number" // subject serialNumber (not the certificate's own)
	FieldDNS          CertificateField = "san_dns"       // subject alternative names, in any case
	FieldURI          CertificateField = "san_uri"
	FieldEmail        CertificateField = "san_email"
)

// CertificateRule says which devices a client certificate speaks for. All of its
// conditions must hold.
type CertificateRule struct {
	// Field must be the Template with {oui}, {product_class}, {serial} and
	// {manufacturer} replaced by what the Inform has, plain or escaped as in
	// TR-069 3.4.4. An empty Template is a certificate that many devices share: it
	// proves the vendor only, so that OUIs must say whose devices it is good for.
	Field    CertificateField
	Template string
	// Organization and Issuer, if not empty, are the subject's O and the issuer's CN.
	Organization string
	Issuer       string
	OUIs         []string // of devices the rule is for, in any case; nil: all
}

// DefaultCertificateRules are the forms that TR-069 (3.3, 3.4.4) gives the common
// name of a device's own certificate.
func DefaultCertificateRules() []CertificateRule {
	return []CertificateRule{
		{Field: FieldCommonName, Template: "{oui}-{product_class}-{serial}"},
		{Field: FieldCommonName, Template: "{oui}-{serial}"},
	}
}

// Check returns what is wrong with a rule.
func (c CertificateRule) Check() error {
	fields := []CertificateField{FieldCommonName, FieldSerialNumber, FieldDNS, FieldURI, FieldEmail}
	rest := placeholders.Replace(c.Template)
	switch {
	case c.Template == "" && len(c.OUIs) == 0:
		return errors.New("a rule without a template is for a shared certificate: name the OUIs that it is good for")
	case c.Template != "" && !slices.Contains(fields, c.Field):
		return fmt.Errorf("field %q is not known; use cn, serial_number, san_dns, san_uri or san_email", c.Field)
	case strings.ContainsAny(rest, "{}"):
		return fmt.Errorf("template %q: only {oui}, {product_class}, {serial} and {manufacturer} can stand in braces", c.Template)
	case c.Template != "" && !strings.Contains(c.Template, "{serial}"):
		return fmt.Errorf("template %q has no {serial}: it would not tell one device from another", c.Template)
	}
	return nil
}

var placeholders = strings.NewReplacer("{oui}", "", "{product_class}", "", "{serial}", "", "{manufacturer}", "")

// Certificate authenticates by the TLS client certificate, which the listener has
// verified: chain, time, revocation.
type Certificate struct{ rules []CertificateRule }

// NewCertificate returns a Certificate; without rules it has the default ones.
func NewCertificate(rules []CertificateRule) (*Certificate, error) {
	if len(rules) == 0 {
		rules = DefaultCertificateRules()
	}
	for i, r := range rules {
		if err := r.Check(); err != nil {
			return nil, fmt.Errorf("acs: certificate rule %d: %w", i+1, err)
		}
	}
	return &Certificate{rules}, nil
}

// Authenticate implements Authenticator.
func (c *Certificate) Authenticate(_ context.Context, r *http.Request) (Identity, error) {
	cert := clientCertificate(r)
	if cert == nil {
		return Identity{}, &Denial{kindNoCertificate, "no client certificate: this ACS knows CPE by their certificates, over TLS"}
	}
	return Identity{Username: cert.Subject.CommonName, Confirm: func(_ context.Context, id cwmp.DeviceID) error {
		return c.confirm(cert, id)
	}}, nil
}

// clientCertificate returns the certificate that the CPE showed and the listener
// verified, nil if there is none.
func clientCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

func (c *Certificate) confirm(cert *x509.Certificate, id cwmp.DeviceID) error {
	for i := range c.rules {
		if c.rules[i].allows(cert, id) {
			return nil
		}
	}
	return &Mismatch{fmt.Sprintf("the certificate of %.128q, issued by %.128q, is not this device's by any rule",
		cert.Subject.String(), cert.Issuer.CommonName)}
}

func (c *CertificateRule) allows(cert *x509.Certificate, id cwmp.DeviceID) bool {
	sameOUI := func(oui string) bool { return strings.EqualFold(oui, id.OUI) }
	if c.OUIs != nil && !slices.ContainsFunc(c.OUIs, sameOUI) ||
		c.Organization != "" && !slices.Contains(cert.Subject.Organization, c.Organization) ||
		c.Issuer != "" && cert.Issuer.CommonName != c.Issuer {
		return false
	}
	if c.Template == "" {
		return true
	}
	if id.SerialNumber == "" {
		return false // CPE without one would all be the same device
	}
	names := c.names(id)
	for _, have := range c.values(cert) {
		if slices.ContainsFunc(names, func(name string) bool { return c.same(name, have) }) {
			return true
		}
	}
	return false
}

// names returns what the field may be for a device. OUIs are hexadecimal numbers:
// their case says nothing, and CPE write either.
func (c *CertificateRule) names(id cwmp.DeviceID) (names []string) {
	forms := []func(string) string{cwmp.EscapeID}
	if c.plain(id) {
		forms = append(forms, func(s string) string { return s })
	}
	for _, oui := range []string{id.OUI, strings.ToUpper(id.OUI), strings.ToLower(id.OUI)} {
		for _, form := range forms {
			name := strings.NewReplacer("{oui}", form(oui), "{product_class}", form(id.ProductClass),
				"{serial}", form(id.SerialNumber), "{manufacturer}", form(id.Manufacturer)).Replace(c.Template)
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// plain reports whether the device's parts can stand in the template as they are:
// not if one has a separator in it, since OUI-A-1 may then be another device's.
func (c *CertificateRule) plain(id cwmp.DeviceID) bool {
	separators := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return -1
		}
		return r
	}, placeholders.Replace(c.Template))
	return strings.Count(c.Template, "{") == 1 || !strings.ContainsAny(id.OUI+id.ProductClass+id.SerialNumber+id.Manufacturer, separators)
}

func (c *CertificateRule) same(name, have string) bool {
	if c.Field == FieldDNS {
		return strings.EqualFold(name, have)
	}
	return name == have
}

func (c *CertificateRule) values(cert *x509.Certificate) []string {
	switch c.Field {
	case FieldCommonName:
		return []string{cert.Subject.CommonName}
	case FieldSerialNumber:
		return []string{cert.Subject.SerialNumber}
	case FieldDNS:
		return cert.DNSNames
	case FieldEmail:
		return cert.EmailAddresses
	}
	uris := make([]string, len(cert.URIs))
	for i, u := range cert.URIs {
		uris[i] = u.String()
	}
	return uris
}

// Either takes a certificate that is the device's, and asks for a password where
// there is none.
type Either struct {
	Certificate *Certificate
	Password    Authenticator
}

// Authenticate implements Authenticator.
func (e *Either) Authenticate(ctx context.Context, r *http.Request) (Identity, error) {
	cert := clientCertificate(r)
	if cert == nil {
		return e.Password.Authenticate(ctx, r)
	}
	return Identity{Username: cert.Subject.CommonName, Confirm: func(ctx context.Context, id cwmp.DeviceID) error {
		if e.Certificate.confirm(cert, id) == nil {
			return nil
		}
		user, err := e.Password.Authenticate(ctx, r)
		if err != nil {
			return err
		}
		return user.confirm(ctx, id)
	}}, nil
}

// Both wants a certificate that is the device's and a password.
type Both struct {
	Certificate *Certificate
	Password    Authenticator
}

// Authenticate implements Authenticator.
func (b *Both) Authenticate(ctx context.Context, r *http.Request) (Identity, error) {
	cert, err := b.Certificate.Authenticate(ctx, r)
	if err != nil {
		return Identity{}, err
	}
	user, err := b.Password.Authenticate(ctx, r)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Username: user.Username, Confirm: func(ctx context.Context, id cwmp.DeviceID) error {
		if err := cert.confirm(ctx, id); err != nil {
			return err
		}
		return user.confirm(ctx, id)
	}}, nil
}
