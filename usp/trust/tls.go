package trust

import (
	"context"
	"crypto/tls"

	"github.com/uspbridge/uspbridge/usp"
)

// AsAgent returns a TLS configuration for a connection that an agent makes to a
// broker or a server which base says how to verify: it shows the agent's
// certificate when it is asked for one.
func (t *Trust) AsAgent(base *tls.Config, agent usp.EndpointID) *tls.Config {
	c := base.Clone()
	c.Certificates = nil
	c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return t.Certificate(r.Context(), agent)
	}
	return c
}

// BetweenEndpoints returns a TLS configuration for a connection that an agent makes
// to its controller with nothing between them: as AsAgent, and the server has to be
// the controller, by Verify and not by its domain (TR-369 R-SEC.0a).
func (t *Trust) BetweenEndpoints(ctx context.Context, base *tls.Config, agent, controller usp.EndpointID) *tls.Config {
	c := t.AsAgent(base, agent)
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(s tls.ConnectionState) error {
		return t.Verify(ctx, agent, controller, s.PeerCertificates)
	}
	return c
}
