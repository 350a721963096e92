package trust

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// ErrSignedHere is the failure of Request and Import where a CA of the bridge
// issues.
var ErrSignedHere = errors.New("a CA of the bridge issues the certificates of agents: set usp.identity.hand_off to have requests signed elsewhere")

// Request returns the certificate request (PKCS #10, DER) of an agent whose
// certificate an operator signs. The key stays here; it is made with the first
// request and is the same until a certificate for it has been imported.
func (t *Trust) Request(ctx context.Context, agent usp.EndpointID) ([]byte, error) {
	if !t.cfg.HandOff {
		return nil, ErrSignedHere
	}
	if err := agent.Validate(); err != nil {
		return nil, err
	}
	p, err := t.request(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("request for agent %s: %w", agent, err)
	}
	return p.Request, nil
}

func (t *Trust) request(ctx context.Context, agent usp.EndpointID) (*pair, error) {
	return t.once(ctx, waitingKey(agent), func() (*pair, error) {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		want := t.template(agent, t.cfg.Now())
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: want.Subject.CommonName}, URIs: want.URIs, DNSNames: want.DNSNames,
		}, key)
		if err != nil {
			return nil, err
		}
		p, err := newPair(key, nil)
		if err != nil {
			return nil, err
		}
		p.Request, p.Issued = der, t.cfg.Now().UTC().Format(time.RFC3339)
		t.cfg.Log.Info("an agent's certificate waits for an operator to sign it", "agent", agent)
		return p, nil
	})
}

// Import takes a certificate in that an operator has signed, with the chain above
// it. It is the agent's from then on.
func (t *Trust) Import(ctx context.Context, chain []*x509.Certificate) (usp.EndpointID, error) {
	if !t.cfg.HandOff {
		return "", ErrSignedHere
	}
	if len(chain) == 0 || len(chain) > maxChain {
		return "", fmt.Errorf("a chain of %d certificates: want 1 to %d, that of the agent first", len(chain), maxChain)
	}
	leaf := chain[0]
	for _, agent := range usp.EndpointsOf(leaf) {
		done, err := t.importFor(ctx, agent, chain)
		if err != nil {
			return "", fmt.Errorf("certificate of agent %s: %w", agent, err)
		}
		if done {
			return agent, nil
		}
	}
	return "", fmt.Errorf("%q: the certificate is for no request that waits here; it has to have the key and the subjectAltName of the request", leaf.Subject)
}

// importFor reports whether a request of the agent waits for the certificate.
func (t *Trust) importFor(ctx context.Context, agent usp.EndpointID, chain []*x509.Certificate) (bool, error) {
	waiting, _, err := t.read(ctx, waitingKey(agent))
	if err != nil || waiting == nil {
		return false, err
	}
	request, err := x509.ParseCertificateRequest(waiting.Request)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(request.RawSubjectPublicKeyInfo, chain[0].RawSubjectPublicKeyInfo) {
		return false, nil
	}
	if err := t.usable(chain[0]); err != nil {
		return false, err
	}
	p := &pair{Key: waiting.Key, Issued: t.cfg.Now().UTC().Format(time.RFC3339)}
	for i, c := range chain {
		if i > 0 && chain[i-1].CheckSignatureFrom(c) != nil {
			return false, fmt.Errorf("certificate %d of the chain has not signed the one before it", i+1)
		}
		p.Chain = append(p.Chain, c.Raw)
	}
	_, record, err := t.read(ctx, currentKey(agent))
	if err != nil {
		return false, err
	}
	err = t.swap(ctx, currentKey(agent), record, p, store.Op{Key: waitingKey(agent)})
	if err == nil {
		t.metrics.issued.WithLabelValues("imported").Inc()
		t.cfg.Log.Info("a certificate was imported", "agent", agent, "serial", fmt.Sprintf("%x", chain[0].SerialNumber),
			"until", chain[0].NotAfter.UTC().Format(time.RFC3339))
	}
	return err == nil, err
}
