package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"time"
)

// serials returns what the list of the CA has revoked.
func (b *bench) serials(t *testing.T) (all []string) {
	t.Helper()
	der, err := b.CRL(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(mustRoot(t, b)); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.RevokedCertificateEntries {
		all = append(all, e.SerialNumber.String())
	}
	return all
}

// TestRevoke: a revoked certificate is on the list until it would have ended, and
// the agent gets another.
func TestRevoke(t *testing.T) {
	ctx := context.Background()
	b := newBench(t, func(c *Config) { c.Life = time.Hour })
	if got := b.serials(t); got != nil {
		t.Errorf("revoked before anything was issued: %v", got)
	}
	if _, _, err := b.Revoke(ctx, testAgent); !errors.Is(err, ErrNone) {
		t.Errorf("%v, want %v", err, ErrNone)
	}
	first := b.certificate(t, testAgent).Leaf
	leaf, listed, err := b.Revoke(ctx, testAgent)
	if err != nil || !listed || !leaf.Equal(first) {
		t.Fatalf("listed %v, %v", listed, err)
	}
	if got := b.serials(t); len(got) != 1 || got[0] != first.SerialNumber.String() {
		t.Errorf("revoked %v, want %s", got, first.SerialNumber)
	}
	if b.certificate(t, testAgent).Leaf.Equal(first) {
		t.Error("the revoked certificate is still in use")
	}
	b.now.Set(first.NotAfter.Add(time.Second))
	if got := b.serials(t); got != nil {
		t.Errorf("revoked %v, though it has ended", got)
	}
}

// TestRevokeHandedOff: what was signed elsewhere is only let go of here.
func TestRevokeHandedOff(t *testing.T) {
	ctx := context.Background()
	b := newBench(t, handOff)
	if _, err := b.Request(ctx, testAgent); err != nil {
		t.Fatal(err)
	}
	if leaf, listed, err := b.Revoke(ctx, testAgent); err != nil || listed || leaf != nil {
		t.Errorf("%v, listed %v, %v", leaf, listed, err)
	}
	if _, err := b.Show(ctx, testAgent); !errors.Is(err, ErrNone) {
		t.Errorf("the request is still there: %v", err)
	}
	if _, err := b.CRL(ctx); err == nil {
		t.Error("a list without a CA")
	}
}
