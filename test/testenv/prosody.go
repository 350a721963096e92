package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// XMPPDomain is the domain of a Prosody's accounts.
const XMPPDomain = "xmpp.test"

// Prosody is an XMPP server that speaks STARTTLS only.
type Prosody struct {
	Address string // host and port
	CA      string // file with the certificate to trust

	t    testing.TB
	dir  string
	stop func()
}

// NewProsody starts an XMPP server with accounts, by name and password. Where it
// is not installed the test is skipped, but not in CI.
func NewProsody(t testing.TB, accounts map[string]string) *Prosody {
	t.Helper()
	installed(t, "prosody")
	p := &Prosody{t: t, dir: t.TempDir(), Address: FreeAddress(t)}
	p.CA = filepath.Join(p.dir, "cert.pem")
	p.certify()
	host, port, _ := net.SplitHostPort(p.Address) // FreeAddress made it
	write(t, filepath.Join(p.dir, "prosody.cfg.lua"), fmt.Sprintf(`
run_as_root = true
pidfile = %[1]q
data_path = %[2]q
log = { info = "*console" }
interfaces = { %[3]q }
c2s_ports = { %[4]s }
s2s_ports = {}
http_ports = {}
https_ports = {}
modules_enabled = { "saslauth", "tls", "ping" }
modules_disabled = { "s2s" }
c2s_require_encryption = true
authentication = "internal_plain"
storage = "internal"
ssl = { certificate = %[5]q, key = %[6]q }
VirtualHost %[7]q
`, filepath.Join(p.dir, "pid"), filepath.Join(p.dir, "data"), host, port, p.CA, filepath.Join(p.dir, "key.pem"), XMPPDomain))
	// Its store: one file an account, in a directory a domain.
	store := filepath.Join(p.dir, "data", "xmpp%2etest", "accounts")
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, password := range accounts {
		write(t, filepath.Join(store, storeName(name)+".dat"), fmt.Sprintf("return { [\"password\"] = %q; };\n", password))
	}
	p.Start()
	return p
}

// storeName escapes a name as Prosody does for its files.
func storeName(name string) (escaped string) {
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			escaped += string(rune(c))
		} else {
			escaped += fmt.Sprintf("%%%02x", c)
		}
	}
	return escaped
}

// Start starts the server, again after Stop, and waits until it listens.
func (p *Prosody) Start() {
	p.t.Helper()
	p.stop = startBroker(p.t, exec.Command("prosody", "--config", filepath.Join(p.dir, "prosody.cfg.lua"), "-F"), p.dir, p.Address)
}

// Stop kills the server.
func (p *Prosody) Stop() { p.stop() }

// Trusting returns what a client of the server needs.
func (p *Prosody) Trusting() *tls.Config {
	p.t.Helper()
	text, err := os.ReadFile(p.CA)
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// certify makes the server's certificate, signed by itself.
func (p *Prosody) certify() {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: XMPPDomain}, DNSNames: []string{XMPPDomain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: XMPPDomain}}, &key.PublicKey, key)
	if err != nil {
		p.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	write(p.t, p.CA, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	write(p.t, filepath.Join(p.dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}
