package acs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/pki"
)

// field is an ACS, over TLS if CPE have certificates, and the CA of those.
type field struct {
	t        *testing.T
	url      string
	serverCA *pki.CA
	cpeCA    *pki.CA
	fleet    *fleet
	metrics  *prometheus.Registry
	sim      *cpesim.Fleet
}

// newField starts an ACS with that authenticator and a fleet of no CPE.
func newField(t *testing.T, auth acs.Authenticator, secure bool) *field {
	t.Helper()
	f := &field{t: t, fleet: newFleet(), metrics: prometheus.NewRegistry()}
	f.fleet.inform = func(s *acs.Session) error { f.fleet.note("%s by %s", s.DeviceID().SerialNumber, s.User()); return nil }
	cfg := acs.Config{Fleet: f.fleet, Auth: auth, Metrics: f.metrics}
	simulation := cpesim.FleetConfig{}
	if secure {
		f.serverCA, f.cpeCA = pki.NewCA(t, "server CA"), pki.NewCA(t, "CPE CA")
		f.url = listenTLS(t, cfg, &tls.Config{Certificates: []tls.Certificate{f.serverCA.Issue(x509.Certificate{}).TLS()},
			ClientCAs: f.cpeCA.Pool(), ClientAuth: tls.VerifyClientCertIfGiven})
		simulation.TLS = &tls.Config{RootCAs: f.serverCA.Pool()}
	} else {
		_, f.url = listen(t, cfg)
	}
	var err error
	if f.sim, err = cpesim.NewFleet(simulation); err != nil {
		t.Fatal(err)
	}
	if err := f.sim.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.sim.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// listenTLS is listen over TLS.
func listenTLS(t *testing.T, cfg acs.Config, c *tls.Config) (url string) {
	t.Helper()
	s, err := acs.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(s)
	h.Config.ConnContext, h.TLS = acs.ConnContext, c
	h.StartTLS()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Close(ctx) // whatever is still open is broken off
		h.Close()
	})
	return h.URL
}

// add adds a CPE, which opens its first session by itself.
func (f *field) add(serial, username, password, certificate string, p cpesim.Profile) *cpesim.CPE {
	f.t.Helper()
	cfg := cpesim.Config{ACSURL: f.url, Username: username, Password: password, Model: cpesim.TR181(), Profile: &p,
		Identity: cwmp.DeviceID{OUI: "00259E", SerialNumber: serial}}
	if certificate != "" {
		pair := f.cpeCA.Client(certificate).TLS()
		cfg.Certificate = &pair
	}
	c, err := f.sim.Add(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// refused returns how often requests were refused for a reason.
func (f *field) refused(reason string) float64 {
	f.t.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "uspbridge_cwmp_refused_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// session has a CPE hold a session; its error is how the CPE saw it.
func session(c *cpesim.CPE) error { return c.Inform(cwmp.Event{Code: cwmp.EventPeriodic}) }

// digestOf and basicOf are authenticators of the accounts that this file's tests use.
func digestOf(t testing.TB, algorithms ...digest.Algorithm) acs.Authenticator {
	return newDigest(t, acs.DigestConfig{Algorithms: algorithms})
}

func basicOf(t testing.TB) acs.Authenticator { return newBasic(t, acs.BasicConfig{}) }

// TestFieldPasswords: CPE of all habits come in with the right password, without a
// refusal that counts against them, and not with a wrong one.
func TestFieldPasswords(t *testing.T) {
	md5, sha, both := []digest.Algorithm{digest.MD5}, []digest.Algorithm{digest.SHA256}, []digest.Algorithm{digest.SHA256, digest.MD5}
	tests := []struct {
		name       string
		algorithms []digest.Algorithm // nil: basic
		noQOP      bool
		profile    cpesim.Profile
	}{
		{"basic", nil, false, cpesim.Profile{}},
		{"basic before it is asked", nil, false, cpesim.Profile{PreemptiveBasic: true}},
		{"basic, first empty", nil, false, cpesim.Profile{EmptyBasicFirst: true}},
		{"digest MD5", md5, false, cpesim.Profile{}},
		{"digest SHA-256", sha, false, cpesim.Profile{}},
		{"both offered, the first is taken", both, false, cpesim.Profile{}},
		// Deviation: CPE older than RFC 7616 – know MD5 only; both can be offered, and they overlook SHA-256
		{"both offered, MD5 is taken", both, false, cpesim.Profile{OnlyMD5: true}},
		{"digest without qop offered", md5, true, cpesim.Profile{}},
		{"digest SHA-256 without qop offered", sha, true, cpesim.Profile{}},
		{"digest without qop answered", md5, false, cpesim.Profile{NoQOP: true}},
		{"digest with nc stuck", md5, false, cpesim.Profile{NonceCountStuck: true, KeepNonce: true}},
		{"digest over a new connection", md5, false, cpesim.Profile{NewConnectionAfter401: true}},
		{"digest, a connection for each request", md5, false, cpesim.Profile{CloseAfterEachResponse: true}},
		{"digest, algorithm in lower case", md5, false, cpesim.Profile{AlgorithmSpelling: "md5"}},
		{"digest, algorithm left out", md5, false, cpesim.Profile{AlgorithmSpelling: "-"}},
		// Deviation: several CPE – spell the digest algorithm without its dash or in words of their own; the length of the response tells
		{"digest, algorithm of its own", md5, false, cpesim.Profile{AlgorithmSpelling: "MD5-RFC2617"}},
		{"digest SHA-256, without dash", sha, false, cpesim.Profile{AlgorithmSpelling: "SHA256"}},
		{"digest SHA-256, of its own", sha, false, cpesim.Profile{AlgorithmSpelling: "sha2"}},
		{"digest, basic before it is asked", md5, false, cpesim.Profile{PreemptiveBasic: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			auth := basicOf(t)
			if tt.algorithms != nil {
				auth = newDigest(t, acs.DigestConfig{Algorithms: tt.algorithms, NoQOP: tt.noQOP})
			}
			f := newField(t, auth, false)
			good := f.add("A", "cpe", "secret", "", tt.profile)
			for range 2 {
				if err := session(good); err != nil {
					t.Errorf("the right password: %v", err)
				}
			}
			f.fleet.until(t, "A by cpe")
			if n := f.refused("unauthorized") + f.refused("unknown_user") + f.refused("not_offered"); n > 0 {
				t.Errorf("%v refusals count against a CPE with the right password", n)
			}
			bad := f.add("B", "nobody", "secret", "", tt.profile)
			if err := session(bad); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("an unknown user: %v, want 401", err)
			}
			wrong := f.add("A2", "cpe", "wrong", "", tt.profile)
			if err := session(wrong); err == nil || !strings.Contains(err.Error(), "401") {
				t.Errorf("a wrong password: %v, want 401", err)
			}
			if f.refused("unauthorized") == 0 || f.refused("unknown_user") == 0 {
				t.Error("the refusals are not counted by their reason")
			}
		})
	}
}

// restarted is an ACS's authenticator over its restart: another one.
type restarted struct{ atomic.Pointer[acs.Digest] }

func (r *restarted) Authenticate(ctx context.Context, req *http.Request) (acs.Identity, error) {
	return r.Load().Authenticate(ctx, req)
}

// TestFieldStaleNonce: a CPE that answers the last session's challenge unasked, to
// an ACS that has restarted since, is given a new nonce and comes in.
func TestFieldStaleNonce(t *testing.T) {
	var auth restarted
	auth.Store(newDigest(t, acs.DigestConfig{}))
	f := newField(t, &auth, false)
	// Deviation: several CPE – answer an old challenge in a new session; an unknown nonce is stale, not wrong
	c := f.add("A", "cpe", "secret", "", cpesim.Profile{KeepNonce: true})
	if err := session(c); err != nil {
		t.Fatal(err)
	}
	auth.Store(newDigest(t, acs.DigestConfig{}))
	if err := session(c); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	if f.refused("stale_nonce") != 1 || f.refused("unauthorized") != 0 {
		t.Errorf("%v refusals for stale nonces and %v for wrong passwords, want 1 and 0", f.refused("stale_nonce"), f.refused("unauthorized"))
	}
}

// TestFieldCertificates: certificates alone, beside passwords, in their place.
func TestFieldCertificates(t *testing.T) {
	certificate, err := acs.NewCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	type kind func(testing.TB) acs.Authenticator
	alone := func(testing.TB) acs.Authenticator { return certificate }
	either := func(p kind) kind {
		return func(t testing.TB) acs.Authenticator { return &acs.Either{Certificate: certificate, Password: p(t)} }
	}
	both := func(p kind) kind {
		return func(t testing.TB) acs.Authenticator { return &acs.Both{Certificate: certificate, Password: p(t)} }
	}
	digestMD5 := func(t testing.TB) acs.Authenticator { return digestOf(t) }
	tests := []struct {
		name                   string
		auth                   kind
		certificate, user, key string
		want                   string // "": let in
		reason                 string // that is counted
	}{
		{"certificate", alone, "00259E-A", "", "", "", ""},
		{"another's certificate", alone, "00259E-B", "", "", "8001", "identity"},
		{"no certificate", alone, "", "cpe", "secret", "403", "no_certificate"},
		{"certificate or digest: certificate", either(digestMD5), "00259E-A", "", "", "", ""},
		{"certificate or digest: digest", either(digestMD5), "", "cpe", "secret", "", "challenged"},
		{"certificate or digest: digest with another's certificate", either(digestMD5), "00259E-B", "cpe", "secret", "", "challenged"},
		{"certificate or basic: a wrong password", either(basicOf), "", "cpe", "wrong", "401", "unauthorized"},
		{"certificate and digest", both(digestMD5), "00259E-A", "cpe", "secret", "", "challenged"},
		{"certificate and basic", both(basicOf), "00259E-A", "cpe", "secret", "", "challenged"},
		{"certificate and digest: no password", both(digestMD5), "00259E-A", "", "", "asks for authentication", "challenged"},
		{"certificate and digest: no certificate", both(digestMD5), "", "cpe", "secret", "403", "no_certificate"},
		{"certificate and digest: another's certificate", both(digestMD5), "00259E-B", "cpe", "secret", "8001", "identity"},
		{"certificate and digest: a wrong password", both(digestMD5), "00259E-A", "cpe", "wrong", "401", "unauthorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newField(t, tt.auth(t), true)
			err := session(f.add("A", tt.user, tt.key, tt.certificate, cpesim.Profile{}))
			// The model's product class stays in the identity: the rules must not need it.
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if tt.reason != "" && f.refused(tt.reason) == 0 {
				t.Errorf("no refusal is counted as %s", tt.reason)
			}
		})
	}
}

// TestTwoDevicesOnOneTLSConnection: what one device has proved is no proof for
// another on the same connection, whether its session is still open or not.
func TestTwoDevicesOnOneTLSConnection(t *testing.T) {
	certificate, err := acs.NewCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ended := range []bool{false, true} {
		serverCA, cpeCA := pki.NewCA(t, "server CA"), pki.NewCA(t, "CPE CA")
		url := listenTLS(t, acs.Config{Fleet: newFleet(), Auth: certificate}, &tls.Config{
			Certificates: []tls.Certificate{serverCA.Issue(x509.Certificate{}).TLS()},
			ClientCAs:    cpeCA.Pool(), ClientAuth: tls.RequireAndVerifyClientCert})
		c := newCPE(t, url)
		c.transport.MaxConnsPerHost = 1
		c.transport.TLSClientConfig = &tls.Config{RootCAs: serverCA.Pool(), Certificates: []tls.Certificate{cpeCA.Client("00AA01-A").TLS()}}
		if got := c.say("Inform A"); got != "InformResponse" {
			t.Fatalf("the certificate's device: %s", got)
		}
		if ended {
			if got := c.say("empty"); got != "204" {
				t.Fatalf("the end of the session: %s", got)
			}
		}
		c.cookie = ""
		if got := c.say("Inform B"); got != "Fault 8001" {
			t.Errorf("session ended %v: another device on the connection: %s, want Fault 8001", ended, got)
		}
		if got := c.say("Inform A"); got != "InformResponse" {
			t.Errorf("session ended %v: the certificate's device again: %s", ended, got)
		}
	}
}
