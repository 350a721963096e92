package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
	"github.com/uspbridge/uspbridge/test/pki"
)

// tlsFiles makes a server's certificate, a CA of clients and its revocations, and
// returns the start of a configuration with them.
func tlsFiles(t *testing.T, dir string) (yaml string) {
	t.Helper()
	ca := pki.NewCA(t, "CPE CA")
	file := func(name string) string { return filepath.Join(dir, name) }
	ca.IssueRSA(x509.Certificate{}).Write(file("acs.pem"), file("acs.key"))
	ca.Issue(x509.Certificate{}).Write(file("bridge.pem"), file("bridge.key"))
	for _, of := range []string{"cpe", "controllers"} {
		pki.WriteFile(t, file(of+"-ca.pem"), ca.PEM())
		pki.WriteFile(t, file(of+".crl"), ca.CRL(time.Now().Add(time.Hour)))
	}
	return "cert: " + file("acs.pem") + ", key: " + file("acs.key")
}

// TestAuthConfig: which ways of authentication go together, and what is wrong with
// those that do not.
func TestAuthConfig(t *testing.T) {
	dir := t.TempDir()
	server := tlsFiles(t, dir)
	ca := ", client_ca: " + filepath.Join(dir, "cpe-ca.pem")
	crl := ", client_crl: " + filepath.Join(dir, "cpe.crl")
	noUsers, badUsers := filepath.Join(dir, "none.yaml"), filepath.Join(dir, "bad.yaml")
	pki.WriteFile(t, noUsers, nil)
	pki.WriteFile(t, badUsers, []byte("a: {pass: x}\n"))
	missing := filepath.Join(dir, "missing")
	_, err := os.Stat(missing)
	if err == nil {
		t.Fatal("the file must be missing")
	}
	const rules = ", rules: [{is: '{serial}', issuer: 'CPE CA', oui: [00259E]}, {organization: ACME, oui: [0017C4]}]"
	tests := []struct {
		name, tls, auth string
		want            []string // nil: taken
	}{
		{"digest with the credentials of the store", "", "mode: digest", nil},
		{"certificate", server + ca + crl, "mode: certificate, certificate: {policy: ignored" + rules + "}", nil},
		{"certificate or password", server + ca + ", client_auth: request", "mode: digest, certificate: {policy: sufficient" + rules + "}", nil},
		{"certificate and password", server + ca, "mode: basic, certificate: {policy: required}", nil},

		{"users without passwords", "", "users: x", []string{
			"cwmp.auth.users: is set, but cwmp.auth.mode is none: set the mode to basic or digest"}},
		{"users missing", "", "mode: basic, users: " + missing, []string{"cwmp.auth.users: open " + missing + ": no such file or directory"}},
		{"users empty", "", "mode: basic, users: " + noUsers, []string{
			"cwmp.auth.users: " + noUsers + ": no user in it; write for example `acs-user: {password: s3cret}`"}},
		{"users misspelt", "", "mode: basic, users: " + badUsers, []string{
			"cwmp.auth.users: " + badUsers + ": line 1: field pass not found; write for example `acs-user: {password: s3cret}`"}},
		{"certificate without CA", "", "mode: certificate", []string{
			"cwmp.tls.client_ca: must be set: CPE are to authenticate by certificates, and it says whose are trusted"}},
		{"a policy without passwords", server + ca, "mode: certificate, certificate: {policy: required}", []string{
			"cwmp.auth.certificate.policy: is for certificates beside passwords, but cwmp.auth.mode is certificate"}},
		{"sufficient, but required", server + ca, "mode: digest, certificate: {policy: sufficient}", []string{
			"cwmp.tls.client_auth: is require, so that a CPE without a certificate is not let in to give a password: set it to request"}},
		{"rules for nothing", server + ca, "mode: digest, certificate: {rules: [{is: '{serial}'}]}", []string{
			"cwmp.auth.certificate.rules: are set, but certificates are ignored: set cwmp.auth.mode to certificate, or cwmp.auth.certificate.policy"}},
		{"rules that cannot be", server + ca, "mode: certificate, certificate: {rules: [{is: '{oui}'}, {organization: A}, {is: '{mac}-{serial}'}, {field: ou, is: '{serial}'}]}", []string{
			`cwmp.auth.certificate.rules[0]: template "{oui}" has no {serial}: it would not tell one device from another`,
			"cwmp.auth.certificate.rules[1]: a rule without a template is for a shared certificate: name the OUIs that it is good for",
			`cwmp.auth.certificate.rules[2]: template "{mac}-{serial}": only {oui}, {product_class}, {serial} and {manufacturer} can stand in braces`,
			`cwmp.auth.certificate.rules[3]: field "ou" is not known; use cn, serial_number, san_dns, san_uri or san_email`}},
		{"an algorithm of another time", "", "algorithms: SHA-1", []string{
			`cwmp.auth.algorithms: "SHA-1": use MD5, SHA-256, or both in the order in which they are to be offered`}},
		{"an algorithm twice", "", "algorithms: 'MD5, md5'", []string{
			`cwmp.auth.algorithms: "MD5, md5": use MD5, SHA-256, or both in the order in which they are to be offered`}},
		{"a realm with a quote", "", `realm: 'a"b'`, []string{`cwmp.auth.realm: realm "a\"b": use printable ASCII without quotes and backslashes`}},
		{"no life", "", "nonce_life: 0s", []string{"cwmp.auth.nonce_life: must be more than 0"}},
		{"less than nothing", "", "throttle: {per_user: -1}", []string{`cwmp.auth.throttle.per_user: "-1" is not a number, 0 or more; write for example 1000`}},
		{"SSL", "min_version: 3.0", "mode: none", []string{`cwmp.tls.min_version: "3.0" is not known; use 1.0, 1.1, 1.2, 1.3`}},
		{"CRL without CA", server + crl, "mode: none", []string{"cwmp.tls.client_crl: is set, but there is no client_ca: clients are not asked for certificates"}},
		{"CRL that is none", server + ca + ", client_crl: " + badUsers, "mode: none", []string{
			"cwmp.tls.client_crl: " + badUsers + ": list 1: x509: malformed crl"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load("cwmp: {tls: {"+tt.tls+"}, auth: {"+tt.auth+"}}\n", nil)
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("was taken")
			}
			want := "configuration: bridge.yaml:1: " + strings.Join(tt.want, "\nconfiguration: bridge.yaml:1: ")
			if err.Error() != want {
				t.Errorf("got:\n%v\nwant:\n%s", err, want)
			}
		})
	}
}

// TestValuesAsWritten: what looks like a number in YAML is the text it is.
func TestValuesAsWritten(t *testing.T) {
	c, _, err := load("cwmp: {tls: {min_version: 1.0}, auth: {realm: 0x10}, connection_request: {username: 0123, password: 1e3}}\nusp: {mtp: {mqtt: {version: 5.0}}}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{string(c.CWMP.TLS.MinVersion), c.CWMP.Auth.Realm, c.CWMP.ConnectionRequest.Username, string(c.CWMP.ConnectionRequest.Password), string(c.USP.MTP.MQTT.Version)}
	if want := []string{"1.0", "0x10", "0123", "1e3", "5.0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDigestAlgorithms(t *testing.T) {
	if got, want := DigestAlgorithms("sha-256 ,MD5").list(), []digest.Algorithm{digest.SHA256, digest.MD5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
