package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/trust"
)

// Credentials is who hosted agents are, and the judgement of who their peers are.
type Credentials interface {
	// Certificate returns a hosted agent's certificate with its key.
	Certificate(ctx context.Context, agent usp.EndpointID) (*tls.Certificate, error)
	// Verify says whether the holder of a certificate is to be believed to be peer,
	// by an agent; the chain has the leaf first.
	Verify(ctx context.Context, agent, peer usp.EndpointID, chain []*x509.Certificate) error
	// VerifyInside is Verify for a certificate in a record, or of TLS in a session.
	VerifyInside(ctx context.Context, agent, peer usp.EndpointID, chain []*x509.Certificate) error
}

// Belief is what a transport's word for the sender of a record is worth.
type Belief int

// What is believed. A sender that has proven who it is always is.
const (
	// Claimed: a sender is who it says it is, unless it is a controller that the
	// agent knows by its certificate.
	Claimed Belief = iota
	// Vouched: a broker that is trusted stands between, and knows its clients
	// (TR-369 "Trusted Brokers").
	Vouched
	// Proof: a sender has to have proven who it is.
	Proof
)

// believes reports whether a record is taken as that of a controller. The built-in
// one is known by its connection.
func (h *Host) believes(by *controller, over mtp.Protocol, proven bool) bool {
	if proven || by == h.builtin {
		return true
	}
	switch h.cfg.Senders[over] {
	case Vouched:
		return true
	case Proof:
		return false
	}
	return !by.proves || h.cfg.Identity == nil
}

// Claimable reports whether an agent has to do with a peer that has proven nothing
// on a transport. For an endpoint that is not hosted here it does not speak.
func (h *Host) Claimable(ctx context.Context, id, peer usp.EndpointID, over mtp.Protocol) bool {
	if _, _, err := h.cfg.Devices.Model(ctx, id); err != nil {
		return errors.Is(err, ErrUnknownEndpoint)
	}
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return false
	}
	defer h.agents.release(a)
	by := a.state.Load().index(h.spec).controllers[peer]
	return by == nil || h.believes(by, over, false)
}

// proofLife is how long a certificate that was judged is not judged again on the
// same connection: so long a revocation can go unnoticed.
const proofLife = time.Minute

// maxProofs bounds the judgements kept with one agent.
const maxProofs = 32

// proofKey is a certificate on one connection, which has it parsed but once, and
// whose it is said to be.
type proofKey struct {
	leaf *x509.Certificate
	peer usp.EndpointID
}

// proof is what has come of a certificate. It is good until then, and as long as the
// agent's objects are what they were.
type proof struct {
	refusal error // nil: the peer has proven who it is
	state   *state
	until   time.Time
}

// proven reports whether a record's sender has proven who it is, on its connection
// or to the transport. A certificate that names no endpoint proves nothing; one
// that is not good, or another's, is an error (TR-369 R-SEC.0a).
func (h *Host) proven(ctx context.Context, a *agent, from usp.EndpointID, in *mtp.Inbound) (bool, error) {
	if len(in.Chain) == 0 || h.cfg.Identity == nil {
		return in.Proven, nil
	}
	p, known := a.proof(from, in.Chain, h.cfg.Now())
	if !known {
		p.refusal = h.cfg.Identity.Verify(ctx, a.id, from, in.Chain)
		// Verifying may have changed the agent's objects.
		p.state, p.until = a.state.Load(), h.cfg.Now().Add(proofLife)
		if reason := trust.Reason(""); p.refusal == nil || errors.As(p.refusal, &reason) {
			a.keep(from, in.Chain, p)
		}
	}
	if errors.Is(p.refusal, trust.NoEndpoint) {
		return false, nil
	}
	return p.refusal == nil, p.refusal
}

// hasProven is proven as far as it is known without judging a certificate.
func (h *Host) hasProven(a *agent, from usp.EndpointID, in *mtp.Inbound) bool {
	if len(in.Chain) == 0 || h.cfg.Identity == nil {
		return in.Proven
	}
	p, known := a.proof(from, in.Chain, h.cfg.Now())
	return known && p.refusal == nil
}

// proof returns what is known of a certificate.
func (a *agent) proof(from usp.EndpointID, chain []*x509.Certificate, now time.Time) (proof, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, known := a.proofs[proofKey{chain[0], from}]
	return p, known && p.state == a.state.Load() && now.Before(p.until)
}

// keep notes what has come of a certificate.
func (a *agent) keep(from usp.EndpointID, chain []*x509.Certificate, p proof) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proofs == nil || len(a.proofs) >= maxProofs {
		a.proofs = map[proofKey]proof{}
	}
	a.proofs[proofKey{chain[0], from}] = p
}

// unbelieved counts and logs a record whose sender is not believed. Whoever can
// connect could fill the log: the next within refusalEvery is for those who look
// closer.
func (h *Host) unbelieved(a *agent, from usp.EndpointID, over mtp.Protocol, err error) {
	h.refuse(refusedIdentity)
	now, level := h.cfg.Now().UnixMilli(), slog.LevelDebug
	if last := h.unbelievedAt.Load(); now-last >= refusalEvery.Milliseconds() && h.unbelievedAt.CompareAndSwap(last, now) {
		level = slog.LevelWarn
	}
	h.log.Log(h.ctx, level, "record refused: its sender is not believed", "agent", a.id, "from", shorten(string(from)), "protocol", over, "error", err)
}

// believed is believes for a record, of which Proven has what is known by then: its
// connection's proof, and its own.
func (h *Host) believed(a *agent, by *controller, in *inbound) bool {
	if h.believes(by, in.Reply.Protocol, in.Proven) {
		return true
	}
	h.unbelieved(a, by.endpoint, in.Reply.Protocol, errNotProven)
	return false
}

// refusalEvery is how often a sender that is not believed is worth a warning.
const refusalEvery = 10 * time.Second

// errNotProven is why a record is refused of a sender that has shown nothing.
var errNotProven = errors.New("it has not proven who it is, and has to")
