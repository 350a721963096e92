// Package pki makes certificate authorities, certificates and revocation lists for
// tests: of CPE, of the bridge's listeners. It knows files and X.509 only.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"testing"
	"time"
)

// CA is a certificate authority.
type CA struct {
	t    testing.TB
	Cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes an authority of that common name.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	ca := &CA{t: t}
	ca.Cert, ca.key = ca.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, newECDSA(t))
	return ca
}

// Key returns the authority's key.
func (ca *CA) Key() crypto.Signer { return ca.key }

// Intermediate makes an authority below this one.
func (ca *CA) Intermediate(name string) *CA {
	ca.t.Helper()
	below := &CA{t: ca.t}
	below.Cert, below.key = ca.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, newECDSA(ca.t))
	return below
}

// Pair is a certificate with its key.
type Pair struct {
	t    testing.TB
	Cert *x509.Certificate
	key  crypto.Signer
}

// Issue makes a certificate after a template, for a server on loopback or a client.
func (ca *CA) Issue(template x509.Certificate) *Pair {
	ca.t.Helper()
	return ca.pair(template, newECDSA(ca.t))
}

// IssueRSA is Issue with an RSA key, as old CPE need the server to have.
func (ca *CA) IssueRSA(template x509.Certificate) *Pair {
	ca.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		ca.t.Fatal(err)
	}
	return ca.pair(template, key)
}

// Client makes a client certificate with that common name.
func (ca *CA) Client(name string) *Pair {
	ca.t.Helper()
	return ca.Issue(x509.Certificate{Subject: pkix.Name{CommonName: name}})
}

// Endpoint makes the certificate of a USP endpoint, with its URN: "urn:bbf:usp:id:…".
func (ca *CA) Endpoint(urn string) *Pair {
	ca.t.Helper()
	u, err := url.Parse(urn)
	if err != nil {
		ca.t.Fatal(err)
	}
	return ca.Issue(x509.Certificate{Subject: pkix.Name{CommonName: urn}, URIs: []*url.URL{u}})
}

// SelfSigned makes a certificate that nobody vouches for.
func SelfSigned(t testing.TB, template x509.Certificate) *Pair {
	t.Helper()
	return (&CA{t: t}).Issue(template)
}

// Sign makes a certificate after a template for a key that is elsewhere.
func (ca *CA) Sign(template x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	ca.t.Helper()
	return ca.pair(template, elsewhere{public}).Cert
}

// elsewhere is a key of which only the public half is here.
type elsewhere struct{ public crypto.PublicKey }

func (e elsewhere) Public() crypto.PublicKey { return e.public }

func (elsewhere) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is elsewhere")
}

func (ca *CA) pair(template x509.Certificate, key crypto.Signer) *Pair {
	ca.t.Helper()
	if template.KeyUsage == 0 {
		template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	}
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	cert, signer := ca.issue(&template, key)
	return &Pair{ca.t, cert, signer}
}

func (ca *CA) issue(template *x509.Certificate, key crypto.Signer) (*x509.Certificate, crypto.Signer) {
	ca.t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		ca.t.Fatal(err)
	}
	template.SerialNumber = serial
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour)
	}
	parent, signer := ca.Cert, ca.key
	if parent == nil { // itself
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}

func newECDSA(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// PEM returns the authority's certificate.
func (ca *CA) PEM() []byte { return encode("CERTIFICATE", ca.Cert.Raw) }

// Pool returns a pool with the authority in it.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// CRL returns a list that revokes certificates, due at next.
func (ca *CA) CRL(next time.Time, revoked ...*Pair) []byte {
	ca.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next}
	for _, p := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: p.Cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca.Cert, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return encode("X509 CRL", der)
}

// PEM returns the certificate and its key.
func (p *Pair) PEM() (cert, key []byte) {
	p.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return encode("CERTIFICATE", p.Cert.Raw), encode("PRIVATE KEY", der)
}

// TLS returns the pair as crypto/tls has it.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.key, Leaf: p.Cert}
}

// Write writes the pair into two files.
func (p *Pair) Write(certFile, keyFile string) {
	p.t.Helper()
	cert, key := p.PEM()
	WriteFile(p.t, certFile, cert)
	WriteFile(p.t, keyFile, key)
}

// WriteFile replaces a file at once, as programs that renew certificates do.
func WriteFile(t testing.TB, name string, content []byte) {
	t.Helper()
	draft := name + ".draft"
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(draft, name); err != nil {
		t.Fatal(err)
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
