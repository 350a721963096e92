package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/credential"
)

// openKeyring opens the credentials of CPE, those of the store and of the users file.
func (b *bridge) openKeyring(ctx context.Context) error {
	users := map[string]credential.User{}
	if file := b.cfg.CWMP.Auth.Users; file != "" {
		read, err := readCPEUsers(file)
		if err != nil {
			return fmt.Errorf("cwmp.auth.users: %w", err)
		}
		users = keyringUsers(read)
	}
	var err error
	b.keyring, err = credential.New(ctx, credential.Config{Store: b.store, Sealer: b.sealer, Users: users})
	return err
}

// authenticator returns what the ACS knows CPE by, nil if it takes any.
func (b *bridge) authenticator() (acs.Authenticator, error) {
	c := b.cfg.CWMP.Auth
	if c.Mode == "none" {
		return nil, nil
	}
	var rules []acs.CertificateRule
	for _, r := range c.Certificate.Rules {
		rules = append(rules, r.rule())
	}
	certificate, err := acs.NewCertificate(rules)
	if err != nil || c.Mode == "certificate" {
		return certificate, err
	}
	password, err := b.passwordAuthenticator(c)
	switch {
	case err != nil:
		return nil, err
	case c.Certificate.Policy == "sufficient":
		return &acs.Either{Certificate: certificate, Password: password}, nil
	case c.Certificate.Policy == "required":
		return &acs.Both{Certificate: certificate, Password: password}, nil
	}
	return password, nil
}

func (b *bridge) passwordAuthenticator(c AuthConfig) (acs.Authenticator, error) {
	throttle := acs.NewThrottle(acs.ThrottleConfig{PerAddress: int(c.Throttle.PerAddress), PerUser: int(c.Throttle.PerUser), Log: b.log})
	if c.Mode == "basic" {
		return acs.NewBasic(acs.BasicConfig{Realm: c.Realm, Credentials: b.keyring, Throttle: throttle})
	}
	return acs.NewDigest(acs.DigestConfig{Realm: c.Realm, Credentials: b.keyring, Throttle: throttle,
		Algorithms: c.Algorithms.list(), NoQOP: c.QOP == "none", NonceLife: time.Duration(c.NonceLife)})
}

// config returns what a listener's TLS needs.
func (t ServerTLS) config() servertls.Config {
	versions := map[TLSVersion]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	c := servertls.Config{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA, ClientCRL: t.ClientCRL,
		Request: t.ClientAuth == clientsAsked, Version: versions[t.MinVersion], Legacy: t.Ciphers == "legacy"}
	if t.ClientAuth == clientsNotAsked {
		c.ClientCA, c.ClientCRL = "", ""
	}
	return c
}

// server returns the TLS of a listener, nil for plain text. Without a CA
// certificates that are asked for are judged behind the listener, if at all.
func (t ServerTLS) server(section string, log *slog.Logger, metrics *servertls.Metrics) (*servertls.Server, error) {
	if t.Cert == "" {
		return nil, nil
	}
	c := t.config()
	c.Unverified = section == "websocket" && t.ClientAuth != clientsNotAsked
	c.Listener, c.Log, c.Metrics = section, log, metrics
	s, err := servertls.New(c)
	if err != nil {
		return nil, fmt.Errorf("%s.tls: %w", section, err)
	}
	return s, nil
}
