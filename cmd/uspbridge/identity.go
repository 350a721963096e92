package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
	"github.com/uspbridge/uspbridge/usp/trust"
)

// identity is how transports ask who is at the other end of a connection. They are
// made before what answers them, which is there when they serve.
type identity struct {
	trust  *trust.Trust
	agents *agent.Host
	claims claims
}

var _ websocket.Identity = (*identity)(nil)

// openTrust makes what issues and judges certificates.
func (b *bridge) openTrust(tlsMetrics *servertls.Metrics, metrics prometheus.Registerer) error {
	c := b.cfg.USP
	cas, crls := c.authorities()
	authorities, err := servertls.NewAuthorities(servertls.AuthoritiesConfig{
		Name: "usp.trust", CAs: cas, CRLs: crls, Log: b.log, Metrics: tlsMetrics,
	})
	if err != nil {
		return fmt.Errorf("usp.trust: %w", err)
	}
	ca, err := c.Identity.CA.issuer()
	if err != nil {
		return fmt.Errorf("usp.identity.ca: %w", err)
	}
	b.identity.trust, err = trust.New(trust.Config{
		Store: b.store, CA: ca, HandOff: bool(c.Identity.HandOff), Life: time.Duration(c.Identity.Life),
		Authorities: authorities, Log: b.log, Registerer: metrics,
	})
	return err
}

// attach joins certificates and agents.
func (i *identity) attach(agents *agent.Host, own claims) {
	i.agents, i.claims = agents, own
	i.trust.Attach(agents)
}

// certificate returns a hosted agent's certificate, for a connection of its own. For
// a native agent there is none: whoever has its key speaks as it, and that is not the
// bridge, which may have taken it at its word.
func (i *identity) certificate(ctx context.Context, agent usp.EndpointID) (*tls.Certificate, error) {
	if hosted, err := i.claims.Hosted(ctx, agent); err != nil || !hosted {
		return nil, err
	}
	return i.trust.Certificate(ctx, agent)
}

// Proves implements websocket.Identity. An endpoint that is not hosted here judges
// for itself: of its controllers only what is configured is known.
func (i *identity) Proves(ctx context.Context, local, peer usp.EndpointID, chain []*x509.Certificate) (bool, error) {
	unproven := websocket.ErrUnproven
	if len(chain) > 0 {
		err := i.trust.Verify(ctx, local, peer, chain)
		if errors.Is(err, agent.ErrUnknownEndpoint) {
			local = ""
			err = i.trust.Verify(ctx, local, peer, chain)
		}
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, trust.NoEndpoint), local == "" && errors.Is(err, trust.Untrusted):
			// It proves nothing here; an agent may know the certificate, or its CA.
			unproven = fmt.Errorf("%w: %w", websocket.ErrUnproven, err)
		default:
			return false, err
		}
	}
	if local != "" && !i.Claimable(ctx, local, peer) {
		return false, fmt.Errorf("%q is known to %q by a certificate, and has to show it", peer, local)
	}
	return false, unproven
}

// Claimable implements websocket.Identity.
func (i *identity) Claimable(ctx context.Context, local, peer usp.EndpointID) bool {
	return i.agents.Claimable(ctx, local, peer, mtp.WebSocket)
}
