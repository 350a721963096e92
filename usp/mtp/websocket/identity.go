package websocket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/usp"
)

// Identity is the judgement of who is at the other end of a connection. Local is
// the agent that a connection is for, "" for any.
type Identity interface {
	// Proves reports whether peer has proven who it is to local by the certificate
	// chain that it has shown, leaf first, if any. An error says why it is refused:
	// it shows another's certificate, or shows none where it has to. One that wraps
	// ErrUnproven says why a certificate proves nothing: its holder is refused only
	// where there has to be proof.
	Proves(ctx context.Context, local, peer usp.EndpointID, chain []*x509.Certificate) (bool, error)
	// Claimable reports whether records of local may go to peer on a connection on
	// which it has proven nothing.
	Claimable(ctx context.Context, local, peer usp.EndpointID) bool
}

// ErrUnproven is why a peer is refused that has to prove who it is.
var ErrUnproven = errors.New("the client has to prove who it is: with a certificate that names its endpoint id (urn:bbf:usp:id:…) in its subjectAltName")

// identify completes a handshake by what the client has shown in that of TLS. A
// client that does not say who it is, is who its certificate names.
func (s *Server) identify(ctx context.Context, hs *handshake, state *tls.ConnectionState) error {
	if s.cfg.Identity == nil {
		return nil
	}
	if state != nil {
		hs.chain = state.PeerCertificates
	}
	if names := namesOf(hs.chain); hs.peer == "" && len(names) == 1 {
		hs.peer = names[0]
	}
	err := ErrUnproven
	if hs.peer != "" {
		hs.proven, err = s.prove(ctx, hs.local, hs.peer, hs.chain)
	}
	if errors.Is(err, ErrUnproven) && (!s.cfg.RequireProof || hs.trusted && len(hs.chain) == 0) {
		return nil // the command line shows no certificate
	}
	return err
}

// prove asks the Identity, for no longer than a handshake may take. Who has not
// proven who it is has an error that says so.
func (s *Server) prove(ctx context.Context, local, peer usp.EndpointID, chain []*x509.Certificate) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WriteTimeout)
	defer cancel()
	proven, err := s.cfg.Identity.Proves(ctx, local, peer, chain)
	if err == nil && !proven {
		err = ErrUnproven
	}
	return proven, err
}

// bindable checks the sender of a connection's first record, before the connection
// becomes its.
func (c *conn) bindable(from usp.EndpointID) error {
	if c.server.cfg.Identity == nil {
		return nil
	}
	if names := namesOf(c.chain); len(names) > 0 && !usp.Names(c.chain[0], from) {
		return fmt.Errorf("a record of %q, but the certificate is of %q", from, names[0])
	}
	var err error
	c.proven, err = c.server.prove(context.Background(), c.local, from, c.chain)
	if errors.Is(err, ErrUnproven) {
		return nil // who has to prove it has been refused before
	}
	return err
}

func namesOf(chain []*x509.Certificate) []usp.EndpointID {
	if len(chain) == 0 {
		return nil
	}
	return usp.EndpointsOf(chain[0])
}

// mayCarry tells of connections whether records between two endpoints may go over
// them: a peer that an agent knows by its certificate is not the first who claims
// to be it.
func (s *Server) mayCarry(ctx context.Context, from, to usp.EndpointID) func(*conn) bool {
	var asked, claimable bool
	return func(c *conn) bool {
		if c.proven || s.cfg.Identity == nil {
			return true
		}
		if !asked {
			asked, claimable = true, s.cfg.Identity.Claimable(ctx, from, to)
		}
		return claimable
	}
}
