package servertls

import (
	"crypto/x509"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// AuthoritiesConfig names files of CAs and of what they have revoked.
type AuthoritiesConfig struct {
	Name    string   // in logs and metrics
	CAs     []string // PEM files
	CRLs    []string // PEM or DER files; each list signed by one of the CAs
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time // default time.Now
}

// Authorities are CAs and revocations that outlast a handshake: certificates are
// judged by them where it is known what they are for. Changed files are taken over
// while running, as those of a listener.
type Authorities struct {
	cfg     AuthoritiesConfig
	current atomic.Pointer[authorities]
	watch   watch
}

type authorities struct {
	cas     []*x509.Certificate
	revoked revocations
}

// NewAuthorities reads the files. It fails if they cannot be used.
func NewAuthorities(cfg AuthoritiesConfig) (*Authorities, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &Authorities{cfg: cfg}
	a.watch.begin(cfg.Now(), cfg.files())
	l, err := cfg.read()
	if err != nil {
		return nil, err
	}
	a.current.Store(l)
	return a, nil
}

func (c AuthoritiesConfig) files() []string { return slices.Concat(c.CAs, c.CRLs) }

func (c AuthoritiesConfig) read() (*authorities, error) {
	a := &authorities{revoked: revocations{}}
	for _, name := range c.CAs {
		cas, err := readCAs(name)
		if err != nil {
			return nil, err
		}
		a.cas = append(a.cas, cas...)
	}
	for _, name := range c.CRLs {
		revoked, err := readCRL(name, a.cas, c.Now(), c.Log)
		if err != nil {
			return nil, err
		}
		for k := range revoked {
			a.revoked[k] = struct{}{}
		}
	}
	return a, nil
}

// Current returns the CAs, and whether a certificate is among those that they have
// revoked. Neither may be changed.
func (a *Authorities) Current() ([]*x509.Certificate, func(*x509.Certificate) bool) {
	a.refresh()
	c := a.current.Load()
	return c.cas, c.revoked.has
}

// refresh takes changed files over. What cannot be used is logged, and the old
// goes on.
func (a *Authorities) refresh() {
	a.watch.whenChanged(a.cfg.Now(), a.cfg.files(), func() {
		l, err := a.cfg.read()
		if err != nil {
			a.cfg.Metrics.reloads.WithLabelValues(a.cfg.Name, "failed").Inc()
			a.cfg.Log.Error("changed files of CAs and revocations cannot be used; the former ones stay in use", "of", a.cfg.Name, "error", err)
			return
		}
		a.cfg.Metrics.reloads.WithLabelValues(a.cfg.Name, "ok").Inc()
		a.current.Store(l)
		a.cfg.Log.Info("changed files of CAs and revocations are in use", "of", a.cfg.Name, "cas", len(l.cas), "revoked", len(l.revoked))
	})
}

// CheckAuthorities returns what is wrong with the files.
func CheckAuthorities(cas, crls []string) error {
	_, err := AuthoritiesConfig{CAs: cas, CRLs: crls, Log: slog.New(slog.DiscardHandler), Now: time.Now}.read()
	return err
}
