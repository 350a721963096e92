package trust

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// defaultLife is how long an agent's certificate is valid.
const defaultLife = 365 * 24 * time.Hour

// The names of an agent's records.
const (
	currentName = "current" // the key and certificate in use
	waitingName = "waiting" // a key whose certificate an operator is to sign
)

func currentKey(agent usp.EndpointID) store.Key {
	return store.Key{Kind: store.Certificate, Owner: string(agent), Name: currentName}
}

func waitingKey(agent usp.EndpointID) store.Key {
	return store.Key{Kind: store.Certificate, Owner: string(agent), Name: waitingName}
}

// ErrWaiting is the failure of Certificate for an agent whose certificate an
// operator has to sign.
var ErrWaiting = errors.New("the agent's certificate waits for an operator to sign it: " +
	"`uspbridge certificate request` gives the request, `uspbridge certificate import` takes the certificate")

// Certificate returns a hosted agent's certificate with its key and the chain up
// to, and without, the root. The first time it is made, and again when a third of
// its life is left. It fails with ErrWaiting where an operator has to sign it.
func (t *Trust) Certificate(ctx context.Context, agent usp.EndpointID) (*tls.Certificate, error) {
	c, err := t.certificate(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("certificate of agent %s: %w", agent, err)
	}
	return c, nil
}

func (t *Trust) certificate(ctx context.Context, agent usp.EndpointID) (*tls.Certificate, error) {
	if err := agent.Validate(); err != nil {
		return nil, err
	}
	for {
		p, record, err := t.read(ctx, currentKey(agent))
		if err != nil {
			return nil, err
		}
		var present *tls.Certificate
		if p != nil {
			if present, err = p.tls(); err != nil {
				return nil, err
			}
			if now, known := t.time(); !known || now.Before(renewal(present.Leaf)) {
				return present, nil
			}
		}
		next, err := t.renew(ctx, agent, present, record)
		if !errors.Is(err, store.ErrConflict) {
			return next, err
		}
	}
}

// renew makes an agent's first or next certificate. One that is still valid goes on
// to be used when that is not possible.
func (t *Trust) renew(ctx context.Context, agent usp.EndpointID, present *tls.Certificate, record []byte) (*tls.Certificate, error) {
	next, err := t.issue(ctx, agent, record)
	if err == nil || errors.Is(err, store.ErrConflict) || present == nil || t.cfg.Now().After(present.Leaf.NotAfter) {
		return next, err
	}
	if !errors.Is(err, ErrWaiting) {
		t.cfg.Log.Warn("a certificate could not be renewed; the present one goes on", "agent", agent,
			"until", present.Leaf.NotAfter.UTC().Format(time.RFC3339), "error", err)
	}
	return present, nil
}

// renewal is when a certificate is to be replaced: early enough that peers and
// operators have time to notice what fails.
func renewal(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

func (t *Trust) issue(ctx context.Context, agent usp.EndpointID, record []byte) (*tls.Certificate, error) {
	if t.cfg.HandOff {
		if _, err := t.request(ctx, agent); err != nil {
			return nil, err
		}
		return nil, ErrWaiting
	}
	now, known := t.time()
	if !known {
		return nil, fmt.Errorf("the clock says %s: no certificate is issued before it is set", now.UTC().Format(time.RFC3339))
	}
	ca, err := t.authority(ctx)
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := t.template(agent, now)
	if end := ca.Chain[0].NotAfter; template.NotAfter.After(end) {
		template.NotAfter = end
	}
	if !template.NotAfter.After(now) {
		return nil, fmt.Errorf("the CA %q has ended", ca.Chain[0].Subject)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Chain[0], key.Public(), ca.Key)
	if err != nil {
		return nil, err
	}
	p, err := newPair(key, append([][]byte{der}, ca.below()...))
	if err != nil {
		return nil, err
	}
	p.Issued = now.UTC().Format(time.RFC3339)
	if err := t.swap(ctx, currentKey(agent), record, p); err != nil {
		return nil, err
	}
	t.metrics.issued.WithLabelValues("issued").Inc()
	t.cfg.Log.Info("an agent has a new certificate", "agent", agent, "serial", fmt.Sprintf("%x", template.SerialNumber),
		"until", template.NotAfter.UTC().Format(time.RFC3339))
	return p.tls()
}

// template is an agent's certificate before it is signed (R-SEC.10). The common
// name is for people; it is cut to what X.520 allows.
func (t *Trust) template(agent usp.EndpointID, now time.Time) *x509.Certificate {
	const maxCommonName = 64
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: string(agent[:min(len(agent), maxCommonName)])},
		NotBefore:    now.Add(-backdate), NotAfter: now.Add(t.cfg.Life),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature, ExtKeyUsage: peerUses,
	}
	agent.AddTo(template)
	return template
}

// below returns the issuing chain without its root, which peers have or do not
// trust.
func (i *Issuer) below() (chain [][]byte) {
	for _, c := range i.Chain {
		if c.CheckSignatureFrom(c) != nil {
			chain = append(chain, c.Raw)
		}
	}
	return chain
}

func (p *pair) tls() (*tls.Certificate, error) {
	key, err := p.signer()
	if err != nil {
		return nil, err
	}
	chain, err := p.certificates()
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: p.Chain, PrivateKey: key, Leaf: chain[0]}, nil
}
