package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/trust"
)

// certificates shows the certificates of agents to the console, and has an operator
// take part in making them. It implements console.Certificates.
type certificates struct{ b *bridge }

var _ console.Certificates = certificates{}

func (c certificates) trust() *trust.Trust { return c.b.identity.trust }

// List implements console.Certificates.
func (c certificates) List(ctx context.Context, q console.ListQuery) (list []console.CertificateSummary, next string, err error) {
	err = c.trust().List(ctx, usp.EndpointID(q.After), func(h trust.Held) bool {
		if !strings.Contains(string(h.Agent), q.Filter) {
			return true
		}
		if len(list) == q.Limit {
			next = list[len(list)-1].Agent
			return false
		}
		list = append(list, summaryOf(h))
		return true
	})
	return list, next, err
}

func summaryOf(h trust.Held) console.CertificateSummary {
	s := console.CertificateSummary{Agent: string(h.Agent), Waiting: h.Request != nil, Since: h.Since}
	if len(h.Chain) > 0 {
		leaf := h.Chain[0]
		s.Serial, s.Issuer = fmt.Sprintf("%x", leaf.SerialNumber), leaf.Issuer.String()
		s.NotBefore, s.NotAfter = leaf.NotBefore, leaf.NotAfter
		s.Fingerprint = fmt.Sprintf("%x", sha256.Sum256(leaf.Raw))
	}
	return s
}

// Show implements console.Certificates.
func (c certificates) Show(ctx context.Context, id string) (console.Certificate, error) {
	endpoint, err := endpointOf(id)
	if err != nil {
		return console.Certificate{}, err
	}
	h, err := c.trust().Show(ctx, endpoint)
	if errors.Is(err, trust.ErrNone) {
		return console.Certificate{}, fmt.Errorf("%s: %w", id, console.ErrNoCertificate)
	} else if err != nil {
		return console.Certificate{}, err
	}
	cert := console.Certificate{CertificateSummary: summaryOf(h)}
	for _, x := range h.Chain {
		cert.Chain += encodePEM("CERTIFICATE", x.Raw)
	}
	if h.Request != nil {
		cert.Request = encodePEM("CERTIFICATE REQUEST", h.Request)
	}
	return cert, nil
}

func endpointOf(id string) (usp.EndpointID, error) {
	if err := usp.EndpointID(id).Validate(); err != nil {
		return "", fmt.Errorf("%w: %w", console.ErrInvalid, err)
	}
	return usp.EndpointID(id), nil
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// hosted fails for an endpoint that is no agent of the bridge: it would be given a
// key that nobody uses.
func (c certificates) hosted(ctx context.Context, id string) (usp.EndpointID, error) {
	_, _, err := c.b.joint.Model(ctx, usp.EndpointID(id))
	if errors.Is(err, agent.ErrUnknownEndpoint) {
		return "", fmt.Errorf("%s: %w", id, console.ErrUnknownDevice)
	}
	return usp.EndpointID(id), err
}

// Issue implements console.Certificates.
func (c certificates) Issue(ctx context.Context, id string) (console.Certificate, error) {
	endpoint, err := c.hosted(ctx, id)
	if err == nil {
		_, err = c.trust().Certificate(ctx, endpoint)
	}
	if errors.Is(err, trust.ErrWaiting) {
		return console.Certificate{}, fmt.Errorf("%w: %w", console.ErrInvalid, err)
	} else if err != nil {
		return console.Certificate{}, err
	}
	return c.Show(ctx, id)
}

// Request implements console.Certificates.
func (c certificates) Request(ctx context.Context, id string) (console.Certificate, error) {
	endpoint, err := c.hosted(ctx, id)
	if err == nil {
		_, err = c.trust().Request(ctx, endpoint)
	}
	if errors.Is(err, trust.ErrSignedHere) {
		return console.Certificate{}, fmt.Errorf("%w: %w", console.ErrInvalid, err)
	} else if err != nil {
		return console.Certificate{}, err
	}
	return c.Show(ctx, id)
}

// Import implements console.Certificates.
func (c certificates) Import(ctx context.Context, text string) (console.Certificate, error) {
	chain, err := parseChain(text)
	if err != nil {
		return console.Certificate{}, fmt.Errorf("%w: %w", console.ErrInvalid, err)
	}
	id, err := c.trust().Import(ctx, chain)
	if err != nil {
		return console.Certificate{}, fmt.Errorf("%w: %w", console.ErrInvalid, err)
	}
	serial := fmt.Sprintf("%x", chain[0].SerialNumber)
	if err := c.audit(ctx, id, "ImportCertificate", serial); err != nil {
		return console.Certificate{}, err
	}
	return c.Show(ctx, string(id))
}

// parseChain reads certificates in PEM form, the agent's first.
func parseChain(text string) (chain []*x509.Certificate, err error) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block %.40q, want CERTIFICATE: keys stay where they were made", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate in PEM form")
	}
	return chain, nil
}

// Revoke implements console.Certificates.
func (c certificates) Revoke(ctx context.Context, id string) (console.CertificateRevoked, error) {
	endpoint, err := endpointOf(id)
	if err != nil {
		return console.CertificateRevoked{}, err
	}
	leaf, listed, err := c.trust().Revoke(ctx, endpoint)
	if errors.Is(err, trust.ErrNone) {
		return console.CertificateRevoked{}, fmt.Errorf("%s: %w", id, console.ErrNoCertificate)
	} else if err != nil {
		return console.CertificateRevoked{}, err
	}
	done := console.CertificateRevoked{Agent: id, Listed: listed}
	if leaf != nil {
		done.Serial = fmt.Sprintf("%x", leaf.SerialNumber)
	}
	return done, c.audit(ctx, endpoint, "RevokeCertificate", done.Serial)
}

func (c certificates) audit(ctx context.Context, id usp.EndpointID, action, serial string) error {
	return c.b.agents.Audit(ctx, id, action, agent.AuditChange{
		Path: "Device.LocalAgent.", Params: map[string]string{"SerialNumber": serial}, Result: "ok",
	})
}

// Authority implements console.Certificates.
func (c certificates) Authority(ctx context.Context) (console.Authority, error) {
	root, err := c.trust().Root(ctx)
	if errors.Is(err, trust.ErrSignedElsewhere) {
		return console.Authority{}, fmt.Errorf("%w: %w", console.ErrInvalid, err)
	} else if err != nil {
		return console.Authority{}, err
	}
	crl, err := c.trust().CRL(ctx)
	if err != nil {
		return console.Authority{}, err
	}
	return console.Authority{Root: encodePEM("CERTIFICATE", root.Raw), CRL: encodePEM("X509 CRL", crl)}, nil
}
