// Package servertls is the TLS side of the bridge's listeners: certificates,
// the CAs and revocations of client certificates, versions and ciphers for CPE of
// all ages, taking over changed files while running, and counting of failed
// handshakes. It knows files and crypto/tls, nothing of what the listeners are for.
package servertls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Config is what a listener's TLS needs.
type Config struct {
	Listener  string // name in logs and metrics
	Cert, Key string // PEM files
	ClientCA  string // PEM file; "": clients are not asked for certificates
	ClientCRL string // PEM or DER file of those revoked; "": none
	// Unverified asks clients for certificates without a ClientCA: what they are
	// worth is judged behind the listener.
	Unverified bool
	Request    bool   // clients may come without a certificate, too
	Version    uint16 // the oldest that is spoken
	Legacy     bool   // also the cipher suites that only old CPE need
	Log        *slog.Logger
	Metrics    *Metrics
	Now        func() time.Time // default time.Now
}

// Server holds a listener's TLS configuration and keeps it up to date.
type Server struct {
	cfg     Config
	current atomic.Pointer[loaded]
	watch   watch
	failed  *failures
}

// loaded is what the files said.
type loaded struct {
	config *tls.Config
	leaf   *x509.Certificate
}

// New reads the files. It fails if they cannot be used.
func New(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg}
	s.failed = &failures{cfg: &s.cfg}
	s.watch.begin(cfg.Now(), cfg.files())
	l, err := load(cfg)
	if err != nil {
		return nil, err
	}
	s.take(l)
	if cfg.Version < tls.VersionTLS12 {
		cfg.Log.Warn("TLS older than 1.2 is accepted: it is broken; use it only for CPE that know nothing else", "listener", cfg.Listener)
	}
	if cfg.Legacy {
		cfg.Log.Warn("legacy cipher suites are accepted: without forward secrecy, and some of them weak", "listener", cfg.Listener)
	}
	return s, nil
}

// TLS returns the configuration for the listener. Sessions are resumed by tickets;
// a resumed client's certificate is judged again by the present CAs and
// revocations. There is no ALPN: CWMP and WebSocket are HTTP/1.1.
func (s *Server) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: s.cfg.Version,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			s.refresh()
			return s.current.Load().config, nil
		},
	}
}

// refresh takes changed files over. What cannot be used is logged, and the old
// goes on.
func (s *Server) refresh() {
	s.watch.whenChanged(s.cfg.Now(), s.cfg.files(), func() {
		l, err := load(s.cfg)
		if err != nil {
			s.cfg.Metrics.reloads.WithLabelValues(s.cfg.Listener, "failed").Inc()
			s.cfg.Log.Error("changed TLS files cannot be used; the former ones stay in use", "listener", s.cfg.Listener, "error", err)
			return
		}
		s.cfg.Metrics.reloads.WithLabelValues(s.cfg.Listener, "ok").Inc()
		s.take(l)
		s.cfg.Log.Info("changed TLS files are in use", "listener", s.cfg.Listener,
			"certificate", l.leaf.Subject.String(), "until", l.leaf.NotAfter.UTC().Format(time.RFC3339))
	})
}

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

func (s *Server) take(l *loaded) {
	s.current.Store(l)
	s.cfg.Metrics.notAfter.WithLabelValues(s.cfg.Listener).Set(float64(l.leaf.NotAfter.Unix()))
	if left := l.leaf.NotAfter.Sub(s.cfg.Now()); left < expiresSoon {
		s.cfg.Log.Warn("the server certificate ends soon or has ended", "listener", s.cfg.Listener,
			"until", l.leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

func load(cfg Config) (*loaded, error) {
	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Cert, err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: cfg.Version, CipherSuites: suites(cfg.Legacy)}
	if cfg.ClientCA != "" {
		cas, err := readCAs(cfg.ClientCA)
		if err != nil {
			return nil, err
		}
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		for _, ca := range cas {
			c.ClientCAs.AddCert(ca)
		}
		if cfg.Request {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
		if cfg.ClientCRL != "" {
			revoked, err := readCRL(cfg.ClientCRL, cas, cfg.Now(), cfg.Log)
			if err != nil {
				return nil, err
			}
			c.VerifyConnection = revoked.verify
		}
	} else if cfg.Unverified {
		if c.ClientAuth = tls.RequireAnyClientCert; cfg.Request {
			c.ClientAuth = tls.RequestClientCert
		}
	}
	return &loaded{c, pair.Leaf}, nil
}

// suites returns the cipher suites of TLS 1.2 and older, nil for Go's own choice:
// forward secrecy, AES and ChaCha20. TLS 1.2 made TLS_RSA_WITH_AES_128_CBC_SHA
// mandatory, and old CPE know little else. RC4 is never spoken.
func suites(legacy bool) []uint16 {
	if !legacy {
		return nil
	}
	var ids []uint16
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	return append(ids,
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
}

func (c Config) files() []string { return []string{c.Cert, c.Key, c.ClientCA, c.ClientCRL} }

// Check returns what is wrong with the files of a Config.
func Check(cfg Config) error {
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	_, err := load(cfg)
	return err
}

// errRevoked is why a handshake fails.
var errRevoked = errors.New("client certificate was revoked")
