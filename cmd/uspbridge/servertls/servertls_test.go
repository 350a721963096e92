package servertls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/test/clock"
	"github.com/uspbridge/uspbridge/test/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// syncBuffer may be written and read concurrently.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// listener is an HTTPS server that answers with the version, and whether the
// session was resumed.
type listener struct {
	t          *testing.T
	cfg        servertls.Config
	serverCA   *pki.CA
	clientCA   *pki.CA
	addr       string
	log        syncBuffer
	clock      *clock.Clock
	registry   *prometheus.Registry
	serverPair *pki.Pair
}

// listen starts a server; change completes its configuration.
func listen(t *testing.T, change func(l *listener)) *listener {
	t.Helper()
	dir := t.TempDir()
	l := &listener{t: t, serverCA: pki.NewCA(t, "server CA"), clientCA: pki.NewCA(t, "CPE CA"), registry: prometheus.NewRegistry()}
	l.clock = clock.At(time.Now())
	metrics, err := servertls.NewMetrics(l.registry)
	if err != nil {
		t.Fatal(err)
	}
	l.cfg = servertls.Config{Listener: "cwmp", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"),
		Version: tls.VersionTLS12, Metrics: metrics, Now: l.clock.Now, Log: slog.New(slog.NewTextHandler(&l.log, nil))}
	l.serverPair = l.serverCA.IssueRSA(x509.Certificate{Subject: pkix.Name{CommonName: "acs"}})
	l.serverPair.Write(l.cfg.Cert, l.cfg.Key)
	if change != nil {
		change(l)
	}
	s, err := servertls.New(l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.addr = inner.Addr().String()
	srv := &http.Server{TLSConfig: s.TLS(), ErrorLog: s.ErrorLog(), ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s %s resumed=%v", r.Proto, tls.VersionName(r.TLS.Version), r.TLS.DidResume)
		})}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(inner, "", "") }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l
}

// withClients makes the server ask for certificates of its client CA.
func withClients(request bool) func(*listener) {
	return func(l *listener) {
		l.cfg.ClientCA, l.cfg.Request = filepath.Join(filepath.Dir(l.cfg.Cert), "ca.pem"), request
		pki.WriteFile(l.t, l.cfg.ClientCA, l.clientCA.PEM())
	}
}

// unverified makes the server ask for certificates of whatever CA.
func unverified(request bool) func(*listener) {
	return func(l *listener) { l.cfg.Unverified, l.cfg.Request = true, request }
}

// TestUnverified: where certificates are judged behind the listener, any is taken
// by it, and none only if that is allowed.
func TestUnverified(t *testing.T) {
	for _, request := range []bool{true, false} {
		l := listen(t, unverified(request))
		l.ok(shows(pki.NewCA(t, "unknown").Client("c")), "TLS 1.3")
		if _, err := l.get(&tls.Config{}); (err == nil) != request {
			t.Errorf("without a certificate, which is needed: %v: %v", !request, err)
		}
	}
}

// withCRL also refuses those revoked.
func withCRL(revoked ...*pki.Pair) func(*listener) {
	return func(l *listener) {
		withClients(false)(l)
		l.cfg.ClientCRL = filepath.Join(filepath.Dir(l.cfg.Cert), "crl.pem")
		pki.WriteFile(l.t, l.cfg.ClientCRL, l.clientCA.CRL(time.Now().Add(time.Hour), revoked...))
	}
}

// get makes one request over a new connection.
func (l *listener) get(c *tls.Config) (string, error) {
	if c.RootCAs == nil {
		c.RootCAs = l.serverCA.Pool()
	}
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + l.addr + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// ok wants a request to succeed and its answer to have want in it.
func (l *listener) ok(c *tls.Config, want string) {
	l.t.Helper()
	if got, err := l.get(c); err != nil || !strings.Contains(got, want) {
		l.t.Errorf("%q, %v; want %q\n%s", got, err, want, &l.log)
	}
}

func shows(p *pki.Pair) *tls.Config {
	pair := p.TLS()
	return &tls.Config{Certificates: []tls.Certificate{pair}, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &pair, nil // also one that the server's CA has not signed
	}}
}

func (l *listener) failures(reason string) float64 {
	l.t.Helper()
	families, err := l.registry.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "uspbridge_tls_handshake_failures_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[1].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// until waits for what another goroutine does.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !is() {
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("%s did not happen", what)
		}
	}
}

// TestFailures: each way in which a handshake fails is counted by its reason and
// logged with the client's address.
func TestFailures(t *testing.T) {
	stranger := pki.NewCA(t, "another CA")
	revoked := func(l *listener) *pki.Pair {
		p := l.clientCA.Client("revoked")
		withCRL(p)(l)
		return p
	}
	var bad *pki.Pair
	tests := []struct {
		reason string
		change func(*listener)
		client func(*listener)
	}{
		{"version", nil, func(l *listener) {
			_, _ = l.get(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		}},
		{"cipher", nil, func(l *listener) {
			_, _ = l.get(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}})
		}},
		{"no_certificate", withClients(false), func(l *listener) { _, _ = l.get(&tls.Config{}) }},
		{"certificate_unknown_ca", withClients(true), func(l *listener) { _, _ = l.get(shows(stranger.Client("x"))) }},
		{"certificate_expired", withClients(true), func(l *listener) {
			_, _ = l.get(shows(l.clientCA.Issue(x509.Certificate{NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})))
		}},
		{"certificate_revoked", func(l *listener) { bad = revoked(l) }, func(l *listener) { _, _ = l.get(shows(bad)) }},
		{"refused_by_client", nil, func(l *listener) { _, _ = l.get(&tls.Config{RootCAs: stranger.Pool()}) }},
		{"not_tls", nil, func(l *listener) {
			if resp, err := http.Get("http://" + l.addr + "/"); err == nil {
				resp.Body.Close()
			}
			http.DefaultClient.CloseIdleConnections()
		}},
		{"not_tls", nil, func(l *listener) { l.send("garbage that is no record\r\n") }},
		{"closed", nil, func(l *listener) { l.send("") }},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			l := listen(t, tt.change)
			tt.client(l)
			until(t, "a failure for "+tt.reason, func() bool { return l.failures(tt.reason) == 1 })
			if tt.reason != "closed" {
				until(t, "its log", func() bool { return strings.Contains(l.log.String(), "remote=127.0.0.1") })
			}
		})
	}
}

// send opens a connection, writes and closes.
func (l *listener) send(text string) {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := conn.Write([]byte(text)); err != nil {
		l.t.Error(err)
	}
	if text != "" {
		_, _ = io.ReadAll(conn) // until the server has closed
	}
	conn.Close()
}

// TestFailuresDoNotFloodTheLog: many failures for one reason are one warning.
func TestFailuresDoNotFloodTheLog(t *testing.T) {
	l := listen(t, withClients(false))
	for range 5 {
		_, _ = l.get(&tls.Config{})
	}
	until(t, "five failures", func() bool { return l.failures("no_certificate") == 5 })
	if n := strings.Count(l.log.String(), "level=WARN msg=\"TLS handshake failed\""); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, &l.log)
	}
	l.clock.Advance(11 * time.Second)
	_, _ = l.get(&tls.Config{})
	until(t, "the next warning", func() bool { return strings.Contains(l.log.String(), "unlogged=4") })
}

// TestVersions: what old and new clients speak.
func TestVersions(t *testing.T) {
	old := func(version uint16, legacy bool) func(*listener) {
		return func(l *listener) { l.cfg.Version, l.cfg.Legacy = version, legacy }
	}
	t.Run("1.2 and 1.3 by default", func(t *testing.T) {
		l := listen(t, nil)
		l.ok(&tls.Config{}, "HTTP/1.1 TLS 1.3")
		l.ok(&tls.Config{MaxVersion: tls.VersionTLS12}, "TLS 1.2")
	})
	// Deviation: CPE of the 2000s – speak TLS 1.0 at most; cwmp.tls.min_version lets them in, with a warning
	t.Run("1.0 if allowed", func(t *testing.T) {
		l := listen(t, old(tls.VersionTLS10, false))
		l.ok(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "TLS 1.0")
		if !strings.Contains(l.log.String(), "TLS older than 1.2") {
			t.Errorf("no warning: %s", &l.log)
		}
	})
	t.Run("1.3 only", func(t *testing.T) {
		l := listen(t, old(tls.VersionTLS13, false))
		if got, err := l.get(&tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
			t.Errorf("TLS 1.2 was spoken: %s", got)
		}
	})
	// Deviation: CPE with old TLS stacks – know RSA key exchange with CBC only, the suite that TLS 1.2 made mandatory; cwmp.tls.ciphers: legacy lets them in
	t.Run("RSA key exchange and 3DES if allowed", func(t *testing.T) {
		l := listen(t, old(tls.VersionTLS12, true))
		for _, suite := range []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA} {
			l.ok(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}, "TLS 1.2")
		}
		l.ok(&tls.Config{}, "TLS 1.3")
	})
}

// TestReload: changed files are taken over without a restart; broken ones are not,
// and say so once.
func TestReload(t *testing.T) {
	l := listen(t, withClients(false))
	other := pki.NewCA(t, "the other CA")
	client := shows(l.clientCA.Client("x"))
	l.ok(client, "TLS 1.3")

	// A new certificate, first without its key.
	cert, key := other.IssueRSA(x509.Certificate{Subject: pkix.Name{CommonName: "renewed"}}).PEM()
	pki.WriteFile(t, l.cfg.Cert, cert)
	l.ok(client, "TLS 1.3") // nobody looks yet
	l.clock.Advance(3 * time.Second)
	l.ok(client, "TLS 1.3")
	l.clock.Advance(3 * time.Second)
	l.ok(client, "TLS 1.3")
	if n := strings.Count(l.log.String(), "changed TLS files cannot be used"); n != 1 {
		t.Errorf("the broken pair is logged %d times, want once: %s", n, &l.log)
	}
	pki.WriteFile(t, l.cfg.Key, key)
	l.clock.Advance(3 * time.Second)
	client = shows(l.clientCA.Client("x"))
	client.RootCAs, client.ClientSessionCache = other.Pool(), tls.NewLRUClientSessionCache(1)

	// Another client CA: whom it has not signed is out, also when it resumes.
	l.ok(client, "resumed=false")
	l.ok(client, "resumed=true")
	pki.WriteFile(t, l.cfg.ClientCA, other.PEM())
	l.clock.Advance(3 * time.Second)
	if got, err := l.get(client); err == nil {
		t.Errorf("a client of the former CA got %s", got)
	}
	client = shows(other.Client("y"))
	client.RootCAs = other.Pool()
	l.ok(client, "TLS 1.3")
	if got := testutil.CollectAndCount(l.registry, "uspbridge_tls_reloads_total"); got != 2 {
		t.Errorf("%d outcomes of reloads are counted, want ok and failed", got)
	}
}

// TestRevocation: a revoked certificate is out from the moment that the list says
// so, also in a resumed session.
func TestRevocation(t *testing.T) {
	l := listen(t, withCRL())
	good, bad := l.clientCA.Client("good"), shows(l.clientCA.Client("bad"))
	bad.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	l.ok(shows(good), "TLS 1.3")
	l.ok(bad, "resumed=false")
	l.ok(bad, "resumed=true")

	revoked := l.clientCA.Client("other")
	pair := &pki.Pair{Cert: leaf(t, bad)}
	pki.WriteFile(t, l.cfg.ClientCRL, l.clientCA.CRL(time.Now().Add(-time.Minute), pair, revoked))
	l.clock.Advance(3 * time.Second)
	if got, err := l.get(bad); err == nil {
		t.Errorf("a revoked client got %s", got)
	}
	l.ok(shows(good), "TLS 1.3")
	if !strings.Contains(l.log.String(), "out of date") {
		t.Errorf("the old list is not warned of: %s", &l.log)
	}
}

func leaf(t *testing.T, c *tls.Config) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestCheck: what is wrong with the files is told with the file.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	ca, stranger := pki.NewCA(t, "CA"), pki.NewCA(t, "another CA")
	file := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		pki.WriteFile(t, name, content)
		return name
	}
	cert, key := ca.Client("acs").PEM()
	_, otherKey := ca.Client("other").PEM()
	good := servertls.Config{Cert: file("cert.pem", cert), Key: file("key.pem", key), ClientCA: file("ca.pem", ca.PEM())}
	tests := []struct {
		name   string
		change func(*servertls.Config)
		want   string
	}{
		{"good", func(*servertls.Config) {}, ""},
		{"another's key", func(c *servertls.Config) { c.Key = file("other.pem", otherKey) }, "cert.pem: tls: private key does not match"},
		{"no CA", func(c *servertls.Config) { c.ClientCA = file("none.pem", []byte("x")) }, "none.pem: no certificate in PEM form"},
		{"CRL of the CA", func(c *servertls.Config) { c.ClientCRL = file("crl.pem", ca.CRL(time.Now().Add(time.Hour))) }, ""},
		{"CRL of another", func(c *servertls.Config) { c.ClientCRL = file("crl2.pem", stranger.CRL(time.Now().Add(time.Hour))) },
			"crl2.pem: list 1, of CN=another CA: no certificate of the client CA file has signed it"},
		{"no CRL", func(c *servertls.Config) { c.ClientCRL = c.ClientCA }, "ca.pem: no revocation list (X509 CRL) in PEM form"},
		{"noise", func(c *servertls.Config) { c.ClientCRL = file("noise", []byte{1, 2, 3}) }, "noise: list 1: x509"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			err := servertls.Check(c)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
