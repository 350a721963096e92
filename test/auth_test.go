package test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// periodic is an Inform for no particular reason.
var periodic = cwmp.Event{Code: cwmp.EventPeriodic}

// writeFile writes a file of a test and returns its name.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestDigestAuthentication: CPE with credentials of their own, of their group and
// of the users file come in, others do not; also after a restart.
func TestDigestAuthentication(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{
		"cwmp.auth.mode": "digest", "cwmp.auth.algorithms": "SHA-256, MD5", "cwmp.auth.realm": "example acs",
		"cwmp.auth.users": writeFile(t, "users.yaml", "acs-user: {password: of the users}\n"),
	}})
	model := cpesim.TR181()
	oui, class := model.Identity().OUI, model.Identity().ProductClass
	out := env.Try("device", "credentials", "import", writeFile(t, "cpe.csv", fmt.Sprintf(
		"oui,product_class,serial_number,username,password\n%s,%s,OWN1,own,of its own\n%[1]s,*,GRP*,{oui}-{product_class}-{serial},of the group\n", oui, class)))
	if !strings.Contains(out, "2 entries: 2 added") {
		t.Fatalf("import: %s", out)
	}
	boot := func(serial, username, password string, p *cpesim.Profile) *testenv.CPE {
		return env.Boot(cpesim.Config{Model: model, Username: username, Password: password, Profile: p,
			Identity: cwmp.DeviceID{SerialNumber: serial}})
	}
	own := boot("OWN1", "own", "of its own", nil)
	group := boot("GRP7", oui+"-"+class+"-GRP7", "of the group", &cpesim.Profile{OnlyMD5: true, NoQOP: true})
	user := boot("USR1", "acs-user", "of the users", &cpesim.Profile{NewConnectionAfter401: true})
	for _, cpe := range []*testenv.CPE{own, group, user} {
		cpe.AwaitDiscovery()
	}
	env.Kill()
	env.Restart()
	own.Inform(periodic)

	for _, tt := range []struct{ name, serial, username, password, want string }{
		{"a wrong password", "OWN1X", "acs-user", "of its own", "401"},
		{"its group's, though it has its own", "GRP8", "acs-user", "of the users", "8001"},
		{"another device's", "OWN2", "own", "of its own", "401"},
		{"another group member's", "GRP9", oui + "-" + class + "-GRP7", "of the group", "8001"},
	} {
		if err := boot(tt.serial, tt.username, tt.password, nil).CPE.Inform(periodic); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	for _, reason := range []string{"unauthorized", "unknown_user", "identity"} {
		if env.Metric(`uspbridge_cwmp_refused_total{reason="`+reason+`"}`) == 0 {
			t.Errorf("no refusal is counted as %s", reason)
		}
	}
}

// TestMutualTLS: CPE are known by their certificates; certificates, the CA and the
// revocation list are exchanged while the bridge runs.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	serverCA, oldCA, newCA := pki.NewCA(t, "server CA"), pki.NewCA(t, "CPE CA 1"), pki.NewCA(t, "CPE CA 2")
	serverCA.IssueRSA(x509.Certificate{}).Write(file("acs.pem"), file("acs.key"))
	later := time.Now().Add(time.Hour)
	pki.WriteFile(t, file("ca.pem"), oldCA.PEM())
	pki.WriteFile(t, file("crl.pem"), oldCA.CRL(later))
	env := testenv.Start(t, program, testenv.Config{TLS: &tls.Config{RootCAs: serverCA.Pool()}, Keys: map[string]any{
		"cwmp.auth.mode": "certificate", "cwmp.tls.cert": file("acs.pem"), "cwmp.tls.key": file("acs.key"),
		"cwmp.tls.client_ca": file("ca.pem"), "cwmp.tls.client_crl": file("crl.pem"),
	}})
	oui := cpesim.TR098().Identity().OUI
	boot := func(serial string, p *pki.Pair) *testenv.CPE {
		pair := p.TLS()
		return env.Boot(cpesim.Config{Model: cpesim.TR098(), Identity: cwmp.DeviceID{SerialNumber: serial}, Certificate: &pair})
	}
	first, second := oldCA.Client(oui+"-TLS1"), oldCA.Client(oui+"-TLS2")
	one, two := boot("TLS1", first), boot("TLS2", second)
	one.AwaitDiscovery()
	two.AwaitDiscovery()
	if err := boot("TLS3", first).CPE.Inform(periodic); err == nil || !strings.Contains(err.Error(), "8001") {
		t.Errorf("another device's certificate: %v, want fault 8001", err)
	}

	pki.WriteFile(t, file("crl.pem"), oldCA.CRL(later, second))
	testenv.Until(t, "the revoked CPE is out", func() bool { return two.CPE.Inform(periodic) != nil })
	one.Inform(periodic)

	pki.WriteFile(t, file("ca.pem"), append(oldCA.PEM(), newCA.PEM()...))
	renewed := boot("TLS4", newCA.Client(oui+"-TLS4"))
	testenv.Until(t, "a CPE of the new CA is in", func() bool { return renewed.CPE.Inform(periodic) == nil })
	one.Inform(periodic)

	pki.WriteFile(t, file("acs.pem"), []byte("broken\n"))
	testenv.Until(t, "the broken certificate is told of", func() bool {
		one.Inform(periodic) // the files are looked at when somebody comes
		return strings.Contains(env.Log(), "changed TLS files cannot be used")
	})
	for _, reason := range []string{"certificate_revoked", "certificate_unknown_ca"} {
		if env.Metric(`uspbridge_tls_handshake_failures_total{listener="cwmp",reason="`+reason+`"}`) == 0 {
			t.Errorf("no handshake is counted as %s", reason)
		}
	}
}
