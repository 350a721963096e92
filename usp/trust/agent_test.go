package trust

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
)

func (b *bench) certificate(t testing.TB, agent usp.EndpointID) *tls.Certificate {
	t.Helper()
	c, err := b.Certificate(context.Background(), agent)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCertificate: an agent's certificate is one that a peer can verify with the
// root, and names the agent.
func TestCertificate(t *testing.T) {
	b := newBench(t)
	root, err := b.Root(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, agent := range []usp.EndpointID{testAgent, "os::00259E-S%2F1", "fqdn::agent.example", "self::" + usp.EndpointID(bytes.Repeat([]byte("x"), 200))} {
		c := b.certificate(t, agent)
		if got := usp.EndpointsOf(c.Leaf); !slices.Contains(got, agent) {
			t.Errorf("certificate of %q names %q", agent, got)
		}
		pool := x509.NewCertPool()
		pool.AddCert(root)
		for _, use := range peerUses {
			if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
				t.Errorf("%s: %v", agent, err)
			}
		}
		if key, ok := c.PrivateKey.(*ecdsa.PrivateKey); !ok || !key.PublicKey.Equal(c.Leaf.PublicKey) {
			t.Errorf("%s: the key is not the certificate's", agent)
		}
	}
}

// TestCertificateLasts: an agent keeps its certificate until a third of its life is
// left, over restarts too, and then gets another key.
func TestCertificateLasts(t *testing.T) {
	life := 30 * 24 * time.Hour
	b := newBench(t, func(c *Config) { c.Life = life })
	first := b.certificate(t, testAgent)
	restarted, err := New(Config{Store: b.store, Now: b.now.Now})
	if err != nil {
		t.Fatal(err)
	}
	b.now.Set(b.now.Now().Add(life * 6 / 10))
	again, err := restarted.Certificate(context.Background(), testAgent)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Leaf.Equal(first.Leaf) {
		t.Error("the certificate was replaced in the middle of its life")
	}
	b.now.Set(b.now.Now().Add(life / 10))
	next := b.certificate(t, testAgent)
	if next.Leaf.Equal(first.Leaf) || bytes.Equal(next.Leaf.RawSubjectPublicKeyInfo, first.Leaf.RawSubjectPublicKeyInfo) {
		t.Error("the certificate was not renewed with another key when a third of its life was left")
	}
	if next.Leaf.CheckSignatureFrom(mustRoot(t, b)) != nil {
		t.Error("the CA is another after a restart")
	}
}

func mustRoot(t testing.TB, b *bench) *x509.Certificate {
	t.Helper()
	root, err := b.Root(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestCertificateOnce: many who ask at once, for the first agent of all, get one
// certificate of one CA.
func TestCertificateOnce(t *testing.T) {
	b := newBench(t)
	certs := make([]*tls.Certificate, 8)
	var all sync.WaitGroup
	for i := range certs {
		all.Go(func() {
			var err error
			if certs[i], err = b.Certificate(context.Background(), testAgent); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, c := range certs[1:] {
		if c == nil || !c.Leaf.Equal(certs[0].Leaf) {
			t.Fatal("two certificates were given out for one agent")
		}
	}
}

// TestKeysAreSealed: no key is in the store for all to read.
func TestKeysAreSealed(t *testing.T) {
	b := newBench(t)
	b.certificate(t, testAgent)
	n := 0
	err := b.plain.Scan(context.Background(), store.Query{Kind: store.Certificate}, func(k store.Key, v []byte) bool {
		n++
		if bytes.Contains(v, []byte("key")) {
			t.Errorf("record %s/%s is plain", k.Owner, k.Name)
		}
		return true
	})
	if err != nil || n != 2 {
		t.Errorf("%d records, %v; want the CA and the agent", n, err)
	}
}

// TestCertificateClockUnset: nothing is issued that would have begun in 1970.
func TestCertificateClockUnset(t *testing.T) {
	b := newBench(t)
	b.now.Set(time.Unix(1000, 0))
	if c, err := b.Certificate(context.Background(), testAgent); err == nil {
		t.Errorf("a certificate from %s was issued", c.Leaf.NotBefore)
	}
}

// TestOperatorCA: agents' certificates are issued by a CA that the operator gives,
// with its chain, and never outlive it.
func TestOperatorCA(t *testing.T) {
	root := pki.NewCA(t, "operator root")
	middle := root.Intermediate("operator agents")
	chain := []*x509.Certificate{middle.Cert, root.Cert}
	issuer, err := NewIssuer(chain, middle.Key(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(c *Config) { c.CA, c.Life = issuer, 100*365*24*time.Hour })
	c := b.certificate(t, testAgent)
	if len(c.Certificate) != 2 || !bytes.Equal(c.Certificate[1], middle.Cert.Raw) {
		t.Errorf("a chain of %d certificates, want that of the agent and the intermediate", len(c.Certificate))
	}
	if !c.Leaf.NotAfter.Equal(middle.Cert.NotAfter) {
		t.Errorf("valid until %s, the CA until %s", c.Leaf.NotAfter, middle.Cert.NotAfter)
	}
	if got := mustRoot(t, b); !got.Equal(root.Cert) {
		t.Errorf("root %q, want the operator's", got.Subject)
	}
}

func TestNewIssuer(t *testing.T) {
	root, other := pki.NewCA(t, "root"), pki.NewCA(t, "other")
	leaf := root.Client("leaf")
	tests := []struct {
		name  string
		chain []*x509.Certificate
		key   *pki.CA
		at    time.Time
	}{
		{"no certificate", nil, root, time.Now()},
		{"a certificate of no CA", []*x509.Certificate{leaf.Cert}, root, time.Now()},
		{"the key of another", []*x509.Certificate{root.Cert}, other, time.Now()},
		{"a CA that has ended", []*x509.Certificate{root.Cert}, root, root.Cert.NotAfter.Add(time.Second)},
		{"a chain that is none", []*x509.Certificate{root.Cert, other.Cert}, root, time.Now()},
	}
	for _, tt := range tests {
		if _, err := NewIssuer(tt.chain, tt.key.Key(), tt.at); err == nil {
			t.Errorf("%s: taken", tt.name)
		}
	}
}
