package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/trust"
)

// IdentityConfig says who issues the certificates of agents: a CA that the bridge
// makes, one that is given, or with hand_off an operator who signs requests.
type IdentityConfig struct {
	CA      IssuerConfig `mapstructure:"ca"`
	HandOff Switch       `mapstructure:"hand_off"`
	Life    Duration     `mapstructure:"life"`
}

// IssuerConfig is an operator's CA: its certificate with the chain above it, and
// its key.
type IssuerConfig struct {
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
}

// TrustConfig says which controllers agents believe, besides what agents' own
// tables say.
type TrustConfig struct {
	CA           string `mapstructure:"ca"`
	CRL          string `mapstructure:"crl"`
	FirstUse     Switch `mapstructure:"first_use"`
	RequireProof Switch `mapstructure:"require_proof"`
}

const maxIdentityLife = 10 * 365 * 24 * time.Hour

var defaultIdentity = IdentityConfig{Life: Duration(365 * 24 * time.Hour)}

func (l *configLoader) checkIdentity(c IdentityConfig) {
	const key = "usp.identity."
	if life := time.Duration(c.Life); life < time.Hour || life > maxIdentityLife {
		l.wrong(key+"life", "%s: want 1h to %s", life, maxIdentityLife)
	}
	switch {
	case (c.CA.Cert == "") != (c.CA.Key == ""):
		l.wrong(key+"ca", "cert and key must both be set, or neither")
	case c.CA.Cert != "" && bool(c.HandOff):
		l.wrong(key+"hand_off", "is set, and so is ca: either an operator signs the certificates of agents elsewhere, or this CA does")
	default:
		before := len(l.problems)
		l.checkPair(key+"ca", c.CA.Cert, c.CA.Key)
		if _, err := c.CA.issuer(); err != nil && len(l.problems) == before {
			l.wrong(key+"ca.cert", "%v", err)
		}
	}
}

// issuer reads the CA, nil if there is none.
func (c IssuerConfig) issuer() (*trust.Issuer, error) {
	if c.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	chain := make([]*x509.Certificate, len(pair.Certificate))
	for i, der := range pair.Certificate {
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", c.Cert, i+1, err)
		}
	}
	return trust.NewIssuer(chain, signer, time.Now())
}

func (l *configLoader) checkTrust(c TrustConfig, w WebSocketConfig) {
	const key = "usp.trust."
	switch {
	case c.CRL != "" && c.CA == "":
		l.wrong(key+"crl", "is set, but there is no ca whose lists it could have")
	case c.CA != "":
		if err := servertls.CheckAuthorities([]string{c.CA}, nil); err != nil {
			l.wrong(key+"ca", "%v", err)
		} else if err := servertls.CheckAuthorities([]string{c.CA}, c.crls()); err != nil {
			l.wrong(key+"crl", "%v", err)
		}
	}
	if bool(c.RequireProof) && w.Listen != "" && c.clientAuth(w.TLS) == clientsNotAsked {
		l.wrong(key+"require_proof", "is set, but clients of usp.mtp.websocket cannot show certificates: set its tls.cert, and usp.trust.ca, tls.client_ca or tls.client_auth")
	}
}

func (c TrustConfig) crls() []string {
	if c.CRL == "" {
		return nil
	}
	return []string{c.CRL}
}

// The values of client_auth.
const (
	clientsRequired ClientAuth = "require"
	clientsAsked    ClientAuth = "request"
	clientsNotAsked ClientAuth = "none"
)

// clientAuth returns what the WebSocket server asks its clients for.
func (c TrustConfig) clientAuth(t ServerTLS) ClientAuth {
	switch {
	case t.Cert == "":
		return clientsNotAsked
	case t.ClientAuth != "":
		return t.ClientAuth
	case t.ClientCA != "":
		return clientsRequired
	case c.CA != "" || bool(c.FirstUse) || bool(c.RequireProof):
		return clientsAsked
	}
	return clientsNotAsked
}

// authorities returns the files of CAs that vouch for controllers, those for the
// WebSocket server alone included, and of what they have revoked.
func (c USPConfig) authorities() (cas, crls []string) {
	for _, f := range []string{c.Trust.CA, c.MTP.WebSocket.TLS.ClientCA} {
		if f != "" {
			cas = append(cas, f)
		}
	}
	for _, f := range []string{c.Trust.CRL, c.MTP.WebSocket.TLS.ClientCRL} {
		if f != "" {
			crls = append(crls, f)
		}
	}
	return cas, crls
}

// senders returns what the transports' word for a sender is worth. Brokers are the
// operator's, and trusted unless they are not.
func (c USPConfig) senders() map[mtp.Protocol]agent.Belief {
	belief := map[mtp.Protocol]agent.Belief{mtp.MQTT: agent.Vouched, mtp.STOMP: agent.Vouched}
	if !c.MTP.MQTT.Trusted {
		belief[mtp.MQTT] = agent.Proof
	}
	if !c.MTP.STOMP.Trusted {
		belief[mtp.STOMP] = agent.Proof
	}
	if c.Trust.RequireProof {
		belief[mtp.WebSocket], belief[mtp.CoAP] = agent.Proof, agent.Proof
	}
	return belief
}
