package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
)

// ServerTLS makes a listener speak TLS. Without cert and key it speaks plain
// text; with client_ca it asks for a certificate that this CA has signed.
type ServerTLS struct {
	Cert       string     `mapstructure:"cert"`
	Key        string     `mapstructure:"key"`
	MinVersion TLSVersion `mapstructure:"min_version"`
	Ciphers    Ciphers    `mapstructure:"ciphers"`
	ClientCA   string     `mapstructure:"client_ca"`
	ClientAuth ClientAuth `mapstructure:"client_auth"`
	ClientCRL  string     `mapstructure:"client_crl"`
}

var defaultServerTLS = ServerTLS{MinVersion: "1.2", Ciphers: "modern", ClientAuth: clientsRequired}

// AuthConfig says how CPE prove who they are. Users is a YAML file, see cpeUser;
// basic and digest also know the credentials in the store.
type AuthConfig struct {
	Mode        AuthMode          `mapstructure:"mode"`
	Users       string            `mapstructure:"users"`
	Realm       string            `mapstructure:"realm"`
	Algorithms  DigestAlgorithms  `mapstructure:"algorithms"` // of digest, in the order in which they are offered
	QOP         QOP               `mapstructure:"qop"`
	NonceLife   Duration          `mapstructure:"nonce_life"`
	Throttle    ThrottleConfig    `mapstructure:"throttle"`
	Certificate CertificateConfig `mapstructure:"certificate"`
}

var defaultAuth = AuthConfig{Mode: "none", Realm: "uspbridge", Algorithms: "MD5", QOP: "auth", NonceLife: Duration(5 * time.Minute),
	Throttle: ThrottleConfig{PerAddress: 600, PerUser: 20}, Certificate: CertificateConfig{Policy: "ignored"}}

// ThrottleConfig is how many wrong passwords are taken in a minute; 0: any number.
type ThrottleConfig struct {
	PerAddress Count `mapstructure:"per_address"`
	PerUser    Count `mapstructure:"per_user"`
}

// CertificateConfig says what a client certificate is worth. Without rules those
// of TR-069 hold.
type CertificateConfig struct {
	Policy CertificatePolicy       `mapstructure:"policy"`
	Rules  []CertificateRuleConfig `mapstructure:"rules"`
}

// CertificateRuleConfig says which devices a certificate is for, see
// acs.CertificateRule.
type CertificateRuleConfig struct {
	Field        string   `mapstructure:"field"` // cn if empty
	Is           string   `mapstructure:"is"`
	Organization string   `mapstructure:"organization"`
	Issuer       string   `mapstructure:"issuer"`
	OUI          []string `mapstructure:"oui"`
}

func (r CertificateRuleConfig) rule() acs.CertificateRule {
	field := acs.CertificateField(r.Field)
	if field == "" {
		field = acs.FieldCommonName
	}
	return acs.CertificateRule{Field: field, Template: r.Is, Organization: r.Organization, Issuer: r.Issuer, OUIs: r.OUI}
}

// AuthMode is how CPE are authenticated.
type AuthMode string

// UnmarshalText takes one of the modes.
func (m *AuthMode) UnmarshalText(b []byte) error {
	return choose(m, b, "none", "basic", "digest", "certificate")
}

// CertificatePolicy is what a certificate is worth beside a password: nothing, as
// much as the password, or it must be there too.
type CertificatePolicy string

// UnmarshalText takes one of the policies.
func (p *CertificatePolicy) UnmarshalText(b []byte) error {
	return choose(p, b, "ignored", "sufficient", "required")
}

// QOP is whether digest offers qop="auth".
type QOP string

// UnmarshalText takes auth or none.
func (q *QOP) UnmarshalText(b []byte) error { return choose(q, b, "auth", "none") }

// TLSVersion is the oldest version of TLS that is spoken.
type TLSVersion string

// UnmarshalText takes one of the versions.
func (v *TLSVersion) UnmarshalText(b []byte) error { return choose(v, b, "1.0", "1.1", "1.2", "1.3") }

// Ciphers is the choice of cipher suites.
type Ciphers string

// UnmarshalText takes one of the choices.
func (c *Ciphers) UnmarshalText(b []byte) error { return choose(c, b, "modern", "legacy") }

// ClientAuth is whether clients must show a certificate, may, or are not asked. ""
// depends on what certificates are judged by.
type ClientAuth string

// UnmarshalText takes require, request or none.
func (c *ClientAuth) UnmarshalText(b []byte) error {
	return choose(c, b, "", clientsRequired, clientsAsked, clientsNotAsked)
}

// DigestAlgorithms is a list of algorithms, "SHA-256, MD5".
type DigestAlgorithms string

// UnmarshalText takes a list of the algorithms that are offered.
func (d *DigestAlgorithms) UnmarshalText(b []byte) error {
	*d = DigestAlgorithms(b)
	seen := map[digest.Algorithm]bool{}
	for _, a := range d.list() {
		if a != digest.MD5 && a != digest.SHA256 || seen[a] {
			return fmt.Errorf("%q: use MD5, SHA-256, or both in the order in which they are to be offered", b)
		}
		seen[a] = true
	}
	return nil
}

func (d DigestAlgorithms) list() (all []digest.Algorithm) {
	for name := range strings.SplitSeq(string(d), ",") {
		all = append(all, digest.Algorithm(strings.ToUpper(strings.TrimSpace(name))))
	}
	return all
}

// checkAuth checks how CPE authenticate, and whether TLS and that go together.
func (l *configLoader) checkAuth(c CWMPConfig) {
	password := c.Auth.Mode == "basic" || c.Auth.Mode == "digest"
	if !password && c.Auth.Users != "" {
		l.wrong("cwmp.auth.users", "is set, but cwmp.auth.mode is %s: set the mode to basic or digest", c.Auth.Mode)
	} else if c.Auth.Users != "" {
		if _, err := readCPEUsers(c.Auth.Users); err != nil {
			l.wrong("cwmp.auth.users", "%v", err)
		}
	}
	if a := c.TLS.ClientAuth; a != clientsRequired && a != clientsAsked {
		l.wrong("cwmp.tls.client_auth", "%q is not for CPE; use require or request, and leave client_ca empty to ask for no certificates", a)
	}
	if err := acs.CheckRealm(c.Auth.Realm); err != nil {
		l.invalid("cwmp.auth.realm", "%v", err)
	}
	if c.Auth.NonceLife == 0 {
		l.invalid("cwmp.auth.nonce_life", "must be more than 0")
	}
	const rules = "cwmp.auth.certificate.rules"
	for i, r := range c.Auth.Certificate.Rules {
		if err := r.rule().Check(); err != nil {
			l.wrong(fmt.Sprintf("%s[%d]", rules, i), "%v", err)
		}
	}
	policy := c.Auth.Certificate.Policy
	switch {
	case c.Auth.Mode != "certificate" && policy == "ignored":
		if len(c.Auth.Certificate.Rules) > 0 {
			l.wrong(rules, "are set, but certificates are ignored: set cwmp.auth.mode to certificate, or cwmp.auth.certificate.policy")
		}
	case c.TLS.ClientCA == "":
		l.wrong("cwmp.tls.client_ca", "must be set: CPE are to authenticate by certificates, and it says whose are trusted")
	case policy != "ignored" && !password:
		l.wrong("cwmp.auth.certificate.policy", "is for certificates beside passwords, but cwmp.auth.mode is %s", c.Auth.Mode)
	case policy == "sufficient" && c.TLS.ClientAuth == "require":
		l.wrong("cwmp.tls.client_auth", "is require, so that a CPE without a certificate is not let in to give a password: set it to request")
	}
}

func (l *configLoader) checkServerTLS(key string, t ServerTLS) {
	if (t.Cert == "") != (t.Key == "") {
		l.wrong(key, "cert and key must both be set, or neither")
		return
	}
	if t.Cert == "" && t.ClientCA != "" {
		l.wrong(key+".client_ca", "is set, but there is no cert: without TLS no client can show a certificate")
		return
	}
	if t.ClientCRL != "" && t.ClientCA == "" {
		l.wrong(key+".client_crl", "is set, but there is no client_ca: clients are not asked for certificates")
		return
	}
	before := len(l.problems)
	l.checkPair(key, t.Cert, t.Key)
	l.checkCA(key+".client_ca", t.ClientCA)
	if t.ClientCRL != "" && len(l.problems) == before {
		if err := servertls.Check(t.config()); err != nil {
			l.wrong(key+".client_crl", "%v", err)
		}
	}
}
