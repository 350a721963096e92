package servertls_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/test/clock"
	"github.com/uspbridge/uspbridge/test/pki"
)

// TestAuthorities: changed files of CAs and revocations count after a moment;
// broken ones do not.
func TestAuthorities(t *testing.T) {
	first, second := pki.NewCA(t, "first"), pki.NewCA(t, "second")
	leaf := first.Client("leaf")
	dir := t.TempDir()
	cas, crl := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "crl.pem")
	pki.WriteFile(t, cas, first.PEM())
	pki.WriteFile(t, crl, first.CRL(time.Now().Add(time.Hour)))
	metrics, err := servertls.NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.At(time.Now())
	a, err := servertls.NewAuthorities(servertls.AuthoritiesConfig{
		Name: "peers", CAs: []string{cas}, CRLs: []string{crl}, Log: slog.New(slog.DiscardHandler), Metrics: metrics, Now: now.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, count int, revoked bool) {
		t.Helper()
		got, is := a.Current()
		if len(got) != count || is(leaf.Cert) != revoked {
			t.Errorf("%s: %d CAs, revoked %v; want %d, %v", when, len(got), is(leaf.Cert), count, revoked)
		}
	}
	check("at the start", 1, false)
	pki.WriteFile(t, crl, first.CRL(time.Now().Add(time.Hour), leaf))
	now.Advance(time.Minute)
	check("with a new list", 1, true)
	pki.WriteFile(t, cas, append(first.PEM(), second.PEM()...))
	now.Advance(time.Minute)
	check("with another CA", 2, true)
	pki.WriteFile(t, cas, []byte("nothing"))
	now.Advance(time.Minute)
	check("with a broken file", 2, true)
	if err := servertls.CheckAuthorities([]string{cas}, nil); err == nil {
		t.Error("the broken file is found good")
	}
	pki.WriteFile(t, cas, second.PEM())
	if err := servertls.CheckAuthorities([]string{cas}, []string{crl}); err == nil {
		t.Error("a list of no CA of the files is found good")
	}
}
