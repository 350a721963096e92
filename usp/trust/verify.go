package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// maxChain bounds the certificates of one chain that are looked at: a leaf, some
// intermediates and a root that need not be there.
const maxChain = 10

// Verify says whether the holder of a certificate is to be believed to be peer,
// by the agent that it speaks to: "" is any agent, for which only the configured
// authorities count. The chain is as the peer has shown it, leaf first; that the
// peer has the leaf's key is for the caller to know. It is the process "Check
// cert" of TR-369 R-SEC.24; an error is or wraps the Reason.
func (t *Trust) Verify(ctx context.Context, agent, peer usp.EndpointID, chain []*x509.Certificate) error {
	return t.told(peer, t.check(ctx, agent, peer, chain, false))
}

// VerifyInside is Verify for a certificate that was shown inside of records. It is
// the sender's own: a trusted broker vouches for others on its connections only.
func (t *Trust) VerifyInside(ctx context.Context, agent, peer usp.EndpointID, chain []*x509.Certificate) error {
	return t.told(peer, t.check(ctx, agent, peer, chain, true))
}

// told counts a decision, and says whose certificate it is about.
func (t *Trust) told(peer usp.EndpointID, err error) error {
	outcome := "trusted"
	if err != nil {
		var reason Reason
		if outcome = "failed"; errors.As(err, &reason) {
			outcome = string(reason)
		}
		err = fmt.Errorf("certificate shown as that of %q: %w", peer, err)
	}
	t.metrics.verifications.WithLabelValues(outcome).Inc()
	return err
}

func (t *Trust) check(ctx context.Context, agent, peer usp.EndpointID, chain []*x509.Certificate, inside bool) error {
	if len(chain) == 0 {
		return NoCertificate
	}
	if len(chain) > maxChain {
		return fmt.Errorf("%w: %d certificates, at most %d are taken", Malformed, len(chain), maxChain)
	}
	known, err := t.known(ctx, agent, peer)
	if err != nil {
		return err
	}
	j := judgement{trust: t, agent: agent, peer: peer, chain: chain, inside: inside, known: known}
	var cas []*x509.Certificate
	cas, j.revoked = t.authorities()
	j.anchors = anchorsOf(cas, known.Authorities)
	return j.decide(ctx)
}

func (t *Trust) authorities() (cas []*x509.Certificate, revoked func(*x509.Certificate) bool) {
	if t.cfg.Authorities != nil {
		if cas, revoked = t.cfg.Authorities.Current(); revoked != nil {
			return cas, revoked
		}
	}
	return cas, func(*x509.Certificate) bool { return false }
}

// judgement is one certificate on its way to a decision.
type judgement struct {
	trust       *Trust
	agent, peer usp.EndpointID
	chain       []*x509.Certificate
	inside      bool // of records: no broker can have shown it
	known       Known
	anchors     anchors
	revoked     func(*x509.Certificate) bool
}

// decide follows the figure "Checking a Certificate", behind the checks of the
// certificate itself that hold on every way through it.
func (j *judgement) decide(ctx context.Context) error {
	leaf := j.chain[0]
	if err := j.trust.usable(leaf); err != nil {
		return err
	}
	path, signed := j.path()
	if signed == nil && path.by.Uses == Brokers && !j.inside {
		// The figure "Using a Trusted Broker": its word for others is taken.
		return j.unrevoked(path.certs)
	}
	kept := slices.ContainsFunc(j.known.Certificates, leaf.Equal)
	if err := j.named(leaf, kept); err != nil {
		return err
	}
	switch {
	case kept:
		return j.asKept(ctx, path, signed)
	case signed == nil && path.by.Uses != Peers:
		return fmt.Errorf("%w: %q may not say who a controller is (AllowedUses %s)", Untrusted, path.by.Certificate.Subject, path.by.Uses)
	case signed == nil:
		if err := j.unrevoked(path.certs); err != nil {
			return err
		}
		return j.admit(ctx, Admission{Credential: path.by.Credential})
	case errors.Is(signed, Expired) || errors.Is(signed, WrongUse):
		return signed
	case len(j.known.Certificates) > 0:
		return fmt.Errorf("%w: %w", Changed, signed)
	case !j.known.FirstUse || j.known.Registered:
		// Whoever has been given a role is not whoever comes first in its name (R-SEC.6).
		return signed
	}
	if err := j.unrevoked(j.chain[:1]); err != nil {
		return err
	}
	return j.admit(ctx, Admission{Remember: leaf})
}

// named checks that the certificate is the peer's: by the endpoint it names, or
// because it is kept as the peer's (figure "USP Record without USP Layer Secure
// Message Exchange", R-SEC.0a).
func (j *judgement) named(leaf *x509.Certificate, kept bool) error {
	names := usp.EndpointsOf(leaf)
	switch {
	case kept || usp.Names(leaf, j.peer):
		return nil
	case len(names) == 0:
		return NoEndpoint
	}
	return fmt.Errorf("%w: of %q", OtherEndpoint, names[0])
}

// asKept decides on a certificate that is kept as the peer's own: no authority has
// to vouch for it, though one that does gives it its roles.
func (j *judgement) asKept(ctx context.Context, path path, signed error) error {
	if err := j.unrevoked(j.chain[:1]); err != nil {
		if book := j.trust.book.Load(); book != nil && j.agent != "" {
			err = errors.Join(err, (*book).Revoked(ctx, j.agent, j.peer))
		}
		return err
	}
	var by Admission
	if signed == nil && path.by.Uses == Peers && j.unrevoked(path.certs) == nil {
		by.Credential = path.by.Credential
	}
	return j.admit(ctx, by)
}

func (j *judgement) unrevoked(certs []*x509.Certificate) error {
	for _, c := range certs {
		if j.revoked(c) {
			return fmt.Errorf("%w: %q, serial number %x", Revoked, c.Subject, c.SerialNumber)
		}
	}
	return nil
}

// admit tells the book why the peer is believed.
func (j *judgement) admit(ctx context.Context, by Admission) error {
	book := j.trust.book.Load()
	if book == nil || j.agent == "" {
		return nil
	}
	return (*book).Admitted(ctx, j.agent, j.peer, by)
}

// peerUses are the extended key usages of which a peer's certificate has one, if it
// says any: the peer is the client of a connection, or its server.
var peerUses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}

// usable checks what a certificate says of itself: when it is valid and what for.
func (t *Trust) usable(c *x509.Certificate) error {
	if now, known := t.time(); known && (now.Before(c.NotBefore) || now.After(c.NotAfter)) {
		return fmt.Errorf("%w: it is from %s to %s", Expired, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageKeyAgreement|x509.KeyUsageKeyEncipherment) == 0 {
		return fmt.Errorf("%w: its keyUsage allows no key exchange", WrongUse)
	}
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageAny || slices.Contains(peerUses, u)
	}) {
		return fmt.Errorf("%w: its extendedKeyUsage is neither of TLS clients nor of servers", WrongUse)
	}
	return nil
}

// earliest is before any time at which this program can run: a clock that shows
// less was never set.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// time returns the time, and whether it is known. While it is not, what a
// certificate says of time is left out of account (R-SEC.19, R-SEC.20).
func (t *Trust) time() (now time.Time, known bool) {
	now = t.cfg.Now()
	return now, now.After(earliest)
}
