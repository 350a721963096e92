package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/test/pki"
)

// inspect runs a command on a bridge's console and wants its exit code, and a text
// in what it prints.
func (r *running) inspect(t *testing.T, code int, want string, args ...string) string {
	t.Helper()
	got := runApp(t.Context(), nil, append(args, "--console", r.flag("--console"))...)
	if got.code != code || !strings.Contains(got.stdout+got.stderr, want) {
		t.Errorf("%s: exit %d\n%s%s\nwant exit %d and %q", strings.Join(args, " "), got.code, got.stdout, got.stderr, code, want)
	}
	return got.stdout
}

// TestCertificateCommands: the bridge's CA issues and revokes, as an operator types
// it; no key is shown.
func TestCertificateCommands(t *testing.T) {
	r := startDemo(t, t.TempDir())
	agent := r.flag("--to")
	r.inspect(t, exitDone, "no certificates", "certificate", "list")
	r.inspect(t, exitFailed, "the agent has no certificate", "certificate", "show", agent)
	r.inspect(t, exitFailed, "no such device", "certificate", "issue", "os::00259E-elsewhere")
	r.inspect(t, exitFailed, "want scheme:authority:instance", "certificate", "show", "ca")
	r.inspect(t, exitDone, agent, "certificate", "issue", agent)
	r.inspect(t, exitDone, agent, "certificate", "list", agent[5:11])
	r.inspect(t, exitDone, "no certificates", "certificate", "list", "--waiting")
	r.inspect(t, exitFailed, "set usp.identity.hand_off", "certificate", "request", agent)
	leaf := parsePEM(t, r.inspect(t, exitDone, "BEGIN CERTIFICATE", "certificate", "show", agent, "--pem"), "CERTIFICATE")
	root := parsePEM(t, r.inspect(t, exitDone, "BEGIN CERTIFICATE", "certificate", "authority"), "CERTIFICATE")
	pool := x509.NewCertPool()
	pool.AddCert(mustParse(t, root))
	if _, err := mustParse(t, leaf).Verify(x509.VerifyOptions{Roots: pool}); err != nil {
		t.Error(err)
	}
	r.inspect(t, exitDone, "is revoked", "certificate", "revoke", agent)
	r.inspect(t, exitFailed, "the agent has no certificate", "certificate", "revoke", agent)
	list, err := x509.ParseRevocationList(parsePEM(t, r.inspect(t, exitDone, "X509 CRL", "certificate", "authority", "--crl"), "X509 CRL"))
	if err != nil || len(list.RevokedCertificateEntries) != 1 {
		t.Errorf("revocation list %+v, %v; want one entry", list, err)
	}
	r.inspect(t, exitDone, agent, "certificate", "issue", agent)
	for _, args := range [][]string{{"certificate", "show", agent}, {"certificate", "authority"}, {"certificate", "list"}} {
		if got := r.inspect(t, exitDone, "{", append(args, "--json")...); strings.Contains(got, "PRIVATE") || strings.Contains(got, `"key"`) {
			t.Errorf("%v shows a key:\n%s", args, got)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestCertificateHandOff: requests go out in files, certificates come in, and a file
// that has something else is refused.
func TestCertificateHandOff(t *testing.T) {
	r := startDemo(t, t.TempDir(), "--usp.identity.hand_off=true")
	agent, dir, ca := r.flag("--to"), t.TempDir(), pki.NewCA(t, "operator")
	r.inspect(t, exitUsage, "name agents, or all that wait", "certificate", "request")
	r.inspect(t, exitFailed, "waits for an operator to sign it", "certificate", "issue", agent)
	r.inspect(t, exitDone, agent, "certificate", "list", "--waiting")
	r.inspect(t, exitDone, "1 requests are in", "certificate", "request", "--waiting", "--dir", dir)
	text, err := os.ReadFile(filepath.Join(dir, agent+".csr"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(parsePEM(t, string(text), "CERTIFICATE REQUEST"))
	if err != nil {
		t.Fatal(err)
	}
	cert := ca.Sign(x509.Certificate{Subject: request.Subject, URIs: request.URIs}, request.PublicKey)
	signed, bad := filepath.Join(dir, "signed.pem"), filepath.Join(dir, "bad.pem")
	pki.WriteFile(t, signed, append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), ca.PEM()...))
	pki.WriteFile(t, bad, text)
	r.inspect(t, exitFailed, "keys stay where they were made", "certificate", "import", bad)
	pki.WriteFile(t, bad, bytes.Repeat([]byte{'x'}, 1<<20))
	r.inspect(t, exitFailed, "has at most", "certificate", "import", bad)
	r.inspect(t, exitDone, "CN=operator", "certificate", "import", signed)
	r.inspect(t, exitFailed, "no request that waits", "certificate", "import", signed)
	r.inspect(t, exitDone, "CN=operator", "certificate", "issue", agent)
	r.inspect(t, exitFailed, "signed elsewhere", "certificate", "authority")
	r.inspect(t, exitDone, "revoke it where it was", "certificate", "revoke", agent)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func parsePEM(t *testing.T, text, kind string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != kind {
		t.Fatalf("no %s in\n%s", kind, text)
	}
	return block.Bytes
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
