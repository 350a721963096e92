package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/test/pki"
)

func handOff(c *Config) { c.HandOff = true }

// sign does what an operator's CA does with a request.
func sign(t *testing.T, ca *pki.CA, request []byte, until time.Time) *x509.Certificate {
	t.Helper()
	r, err := x509.ParseCertificateRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckSignature(); err != nil {
		t.Fatal(err)
	}
	return ca.Sign(x509.Certificate{Subject: r.Subject, URIs: r.URIs, NotBefore: time.Now().Add(-time.Hour), NotAfter: until}, r.PublicKey)
}

// TestHandOff: an agent waits for its certificate until an operator's CA has
// signed it, and for the next one with the old.
func TestHandOff(t *testing.T) {
	ctx := context.Background()
	b, ca := newBench(t, handOff), pki.NewCA(t, "operator")
	if _, err := b.Certificate(ctx, testAgent); !errors.Is(err, ErrWaiting) {
		t.Fatalf("%v, want %v", err, ErrWaiting)
	}
	held, err := b.Show(ctx, testAgent)
	if err != nil || held.Request == nil || held.Chain != nil {
		t.Fatalf("%+v, %v; want a request and nothing else", held, err)
	}
	request, err := b.Request(ctx, testAgent)
	if err != nil || string(request) != string(held.Request) {
		t.Fatalf("another request (%v) although the first waits", err)
	}
	first := sign(t, ca, request, time.Now().Add(30*time.Hour))
	if agent, err := b.Import(ctx, []*x509.Certificate{first, ca.Cert}); err != nil || agent != testAgent {
		t.Fatalf("imported for %q: %v", agent, err)
	}
	if got := b.certificate(t, testAgent); !got.Leaf.Equal(first) || len(got.Certificate) != 2 {
		t.Error("the imported certificate is not the agent's")
	}
	if held, err = b.Show(ctx, testAgent); err != nil || held.Request != nil || len(held.Chain) != 2 {
		t.Errorf("%+v, %v; want the certificate and no request", held, err)
	}

	b.now.Set(time.Now().Add(25 * time.Hour))
	if got := b.certificate(t, testAgent); !got.Leaf.Equal(first) {
		t.Error("the old certificate is not used while the next one waits")
	}
	if held, err = b.Show(ctx, testAgent); err != nil || held.Request == nil || string(held.Request) == string(request) {
		t.Errorf("no new request near the end (%v)", err)
	}
	b.now.Set(time.Now().Add(31 * time.Hour))
	if _, err := b.Certificate(ctx, testAgent); !errors.Is(err, ErrWaiting) {
		t.Errorf("%v after the end, want %v", err, ErrWaiting)
	}
}

// TestImportRefused: what was not asked for is not taken.
func TestImportRefused(t *testing.T) {
	ctx := context.Background()
	b, ca, other := newBench(t, handOff), pki.NewCA(t, "operator"), pki.NewCA(t, "other")
	request, err := b.Request(ctx, testAgent)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	tests := []struct {
		name  string
		chain []*x509.Certificate
		want  string
	}{
		{"nothing", nil, "0 certificates"},
		{"another key", []*x509.Certificate{ca.Endpoint(testAgent.URN()).Cert}, "no request"},
		{"another agent", []*x509.Certificate{ca.Endpoint("urn:bbf:usp:id:os::00259E-1").Cert}, "no request"},
		{"no endpoint", []*x509.Certificate{ca.Client("x").Cert}, "no request"},
		{"a chain that is none", []*x509.Certificate{sign(t, ca, request, later), other.Cert}, "certificate 2 of the chain"},
		{"expired", []*x509.Certificate{sign(t, ca, request, time.Now().Add(-time.Minute))}, Expired.Error()},
	}
	for _, tt := range tests {
		if _, err := b.Import(ctx, tt.chain); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want something of %q", tt.name, err, tt.want)
		}
	}
	if held, err := b.Show(ctx, testAgent); err != nil || held.Request == nil || held.Chain != nil {
		t.Errorf("%+v, %v; want the request still waiting", held, err)
	}
}

// TestSignedHere: where a CA of the bridge issues, nothing waits for an operator.
func TestSignedHere(t *testing.T) {
	b := newBench(t)
	if _, err := b.Request(context.Background(), testAgent); !errors.Is(err, ErrSignedHere) {
		t.Errorf("Request: %v", err)
	}
	if _, err := b.Import(context.Background(), []*x509.Certificate{pki.NewCA(t, "x").Cert}); !errors.Is(err, ErrSignedHere) {
		t.Errorf("Import: %v", err)
	}
}
