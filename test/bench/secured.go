package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// The CPE of a row of secured, and their sessions.
const (
	securedDevices  = 100
	securedSessions = 2000
)

// secured are plain sessions once more, in the ways in which CPE prove who they
// are and hide what they say. A CPE opens a connection for each session.
func (m *measurement) secured(ctx context.Context) error {
	users := filepath.Join(m.dir, "users.yaml")
	if err := os.WriteFile(users, []byte("bench: {password: bench-secret}\n"), 0o600); err != nil {
		return err
	}
	trusted, keys, err := certificate(m.dir)
	if err != nil {
		return err
	}
	var resumed atomic.Int32
	for _, r := range []struct {
		name, what, settings string
		fleet                fleetConfig
	}{
		{"open", "session on a connection of its own", "", fleetConfig{}},
		{"digest", "session, digest authentication (a challenge each)", fmt.Sprintf(", auth: {mode: digest, users: %q}", users),
			fleetConfig{username: "bench", password: "bench-secret"}},
		{"tls", "session, TLS 1.3, full handshake, ECDSA P-256", keys, fleetConfig{tls: plainTLS(trusted)}},
		{"tls-resumed", "session, TLS 1.3, resumed", keys, fleetConfig{tls: resuming(trusted, &resumed)}},
	} {
		err := m.onBridge(ctx, r.name, r.settings, func(b *bridge) error {
			return m.securedRow(ctx, b, "session-"+r.name, row{what: r.what, n: securedSessions}, r.fleet)
		})
		if err != nil {
			return err
		}
	}
	if n := resumed.Load(); n < securedSessions {
		return fmt.Errorf("%d of more than %d TLS sessions were resumed", n, securedSessions)
	}
	return nil
}

// resuming is the configuration of clients that resume TLS sessions, which counts
// those that it does.
func resuming(trusted *x509.CertPool, count *atomic.Int32) *tls.Config {
	c := plainTLS(trusted)
	c.ClientSessionCache = new(tickets)
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if s.DidResume {
			count.Add(1)
		}
		return nil
	}
	return c
}

// plainTLS is the configuration of a client that knows the curves that CPE know:
// left alone, Go's own offers post-quantum key exchange, which they do not.
func plainTLS(trusted *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: trusted, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256}}
}

func (m *measurement) securedRow(ctx context.Context, b *bridge, name string, r row, c fleetConfig) (err error) {
	c.acs, c.count, c.open = "http://"+b.cwmp+"/", securedDevices, sessionsOpen
	if c.tls != nil {
		c.acs = "https://" + b.cwmp + "/"
	}
	f, err := newFleet(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.firstContact(ctx); err != nil {
		return err
	}
	seen := make([]time.Duration, r.n)
	spent, err := b.measure(ctx, name, func() error {
		return inParallel(sessionsOpen, r.n, func(i int) error {
			began := time.Now()
			err := f.devices[i%len(f.devices)].Inform(cwmp.Event{Code: cwmp.EventPeriodic})
			seen[i] = time.Since(began)
			return err
		})
	})
	if err != nil {
		return err
	}
	r.cpu, r.perSecond, r.p50, r.p99 = spent.each(r.n), spent.rate(r.n), quantile(seen, 0.5), quantile(seen, 0.99)
	m.table.add(r)
	return nil
}

// tickets keeps one session ticket for all CPE: what is measured is the bridge's
// side of a resumption.
type tickets struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
}

func (t *tickets) Get(string) (*tls.ClientSessionState, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.last != nil
}

func (t *tickets) Put(_ string, s *tls.ClientSessionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s != nil {
		t.last = s
	}
}

// certificate makes a certificate for loopback, and returns who trusts it and the
// settings of a bridge that shows it.
func certificate(dir string) (trusted *x509.CertPool, settings string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	certText, keyText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.WriteFile(certFile, certText, 0o600), os.WriteFile(keyFile, keyText, 0o600)); err != nil {
		return nil, "", err
	}
	trusted = x509.NewCertPool()
	trusted.AppendCertsFromPEM(certText)
	return trusted, fmt.Sprintf(", tls: {cert: %q, key: %q}", certFile, keyFile), nil
}
