package e2e

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Pair names the two ends of sessions.
type Pair struct {
	Local, Remote usp.EndpointID
}

// Peer is what there is with one remote endpoint: at most one session context at a
// time (R-E2E.5), and what has to be known to begin the next. It is not safe for
// concurrent use: records have to be sent in the order in which they are made.
type Peer struct {
	// Route is its owner's: how the peer is reached.
	Route any

	pair     Pair
	policy   Policy
	identity Identity // nil: no TLS, no signatures of ours
	limits   Limits
	version  string // of records

	current *sessionContext
	used    bool // there was a session: the next message begins another (R-E2E.7)
	tls     bool // with TLS
	ended   []uint64

	outbox  queue     // messages for the next session
	early   []*early  // records of a session whose first record has not come
	retries int       // sessions begun since a message last came (R-E2E.12)
	again   time.Time // when the next may be begun; zero: at once
	refused uint64    // a session of the peer that ours took precedence over
	active  time.Time // last exchange
	opened  bucket    // sessions begun by the peer
	vouched vouched   // the certificate that was found to be the peer's
}

// early is a record that came before the first of its session.
type early struct {
	record *usppb.Record
	proven bool
	at     time.Time
}

// Message is one that has come whole.
type Message struct {
	Payload []byte
	// Proven is set if it is certain who sent all of it: by TLS in the session, or
	// because the transport had proven the sender of each of its records. A signature
	// does not do: it leaves the payload out (R-E2E.32).
	Proven bool
}

// Result is what comes of a step: messages for the local endpoint, in order, and
// records for the remote one, to be sent in order.
type Result struct {
	Messages []Message
	Records  [][]byte
	// Proven is set if the record was processed and TLS in the session has proven who
	// sent it.
	Proven bool
	// Disconnect is the reason for which a Disconnect record is to be sent; 0: none
	// is. The session, if there was one, has ended.
	Disconnect usp.ErrorCode
	// Refused tells why a record was not taken, or why the session was begun again.
	Refused error

	Duplicates, Retransmitted int
	Opened, Restarted         bool
}

// NewPeer returns a Peer without a session. identity may be nil.
func NewPeer(pair Pair, identity Identity, limits Limits) *Peer {
	limits.setDefaults()
	return &Peer{pair: pair, identity: identity, limits: limits, version: usp.RecordVersion, opened: bucket{full: limits.Openings, every: limits.Opening}}
}

// Status of a session, as E2ESession.Status has it.
type Status string

// The values of Status.
const (
	Up          Status = "Up"
	Negotiating Status = "Negotiating" // obsolete in the data model, and what there is during the handshake
	Down        Status = "Down"
)

// Status tells how the session stands.
func (p *Peer) Status() Status {
	switch {
	case p.current == nil:
		return Down
	case !p.current.up():
		return Negotiating
	}
	return Up
}

// Retries returns how often the session has been begun since a message last came
// (E2ESession.CurrentRetryCount).
func (p *Peer) Retries() int { return p.retries }

// Wanted reports whether messages to the peer go through a session.
func (p *Peer) Wanted(policy Policy) bool {
	return policy.Mode == Require || policy.Mode == Allow && (p.current != nil || p.used)
}

// Receive takes a record of a session context. proven is set if the transport has
// proven its sender.
func (p *Peer) Receive(now time.Time, policy Policy, r *usppb.Record, proven bool) (res Result) {
	p.policy = policy
	p.expire(now)
	if code, why := p.refuses(r); why != nil {
		if p.policy.Mode == Forbid { // else one that stands is not for anybody to end
			p.forget()
		}
		return Result{Disconnect: code, Refused: why}
	}
	if slices.Contains(usp.SupportedVersions, r.GetVersion()) {
		p.version = r.GetVersion()
	}
	p.take(now, r, proven, &res)
	return res
}

// refuses tells whether policy has a record refused.
func (p *Peer) refuses(r *usppb.Record) (usp.ErrorCode, error) {
	secured := r.GetPayloadSecurity() != usppb.Record_PLAINTEXT
	switch {
	case p.policy.Mode == Forbid: // R-E2E.6a
		return usp.ErrSessionContextDenied, errors.New("session contexts are not allowed")
	case secured && (p.policy.Security == Forbid || p.identity == nil):
		return usp.ErrSecureSessionNotSupp, errors.New("TLS in session contexts is not allowed")
	case !secured && p.policy.Security == Require && !(p.current != nil && p.current.id == r.GetSessionContext().GetSessionId()):
		return usp.ErrSecureSessionRequired, errors.New("a session context without TLS is not allowed")
	}
	return 0, nil
}

// take finds the session of a record.
func (p *Peer) take(now time.Time, r *usppb.Record, proven bool, res *Result) {
	s := r.GetSessionContext()
	id := s.GetSessionId()
	switch {
	case p.current != nil && p.current.id == id:
		p.within(now, r, proven, res)
	case id <= 1: // R-E2E.3
		res.Refused = fmt.Errorf("session_id %d: it has to be greater than 1", id)
	case slices.Contains(p.ended, id):
		// R-E2E.24. One that is sent again by a broker or by somebody else does not
		// end the session that stands.
		res.Refused = fmt.Errorf("session_id %d is of a session that has ended", id)
		switch c := p.current; {
		case c == nil:
			p.restart(now, nil, res)
		case c.ours && !c.heard && p.opened.take(now): // it has not heard of ours
			if err := c.retransmit(1, res); err != nil {
				p.failed(now, err, res)
			}
		}
	case s.GetSequenceId() != 1:
		p.hold(now, r, proven, res)
	default:
		p.open(now, r, proven, res)
	}
}

// within takes a record of the session that stands.
func (p *Peer) within(now time.Time, r *usppb.Record, proven bool, res *Result) {
	c := p.current
	heard := c.expected
	if err := c.receive(now, r, proven, res); err != nil {
		p.failed(now, err, res)
		return
	}
	if c.expected > heard {
		p.active = now
		res.Proven = c.secured()
		if c.up() {
			p.retries, p.again = 0, time.Time{} // R-E2E.12
		}
	}
}

// Send makes the records of a message. Where there is no session one is begun;
// until TLS is established, and while a session that failed may not be begun
// again, messages wait. An error means that the message was not taken.
func (p *Peer) Send(now time.Time, policy Policy, msg []byte) (res Result, err error) {
	p.policy = policy
	p.expire(now)
	if policy.Mode == Forbid {
		return res, errors.New("session contexts are not allowed with this controller")
	}
	if p.current != nil && p.current.next < exhausted {
		p.active = now
		if err := p.current.send(msg, &res); err != nil {
			if errors.Is(err, errWaiting) {
				return res, err
			}
			p.failed(now, err, &res)
			return res, err
		}
		return res, nil
	}
	p.finish()
	if err := p.outbox.put(msg, &p.limits); err != nil {
		return res, err
	}
	if !now.Before(p.again) {
		p.start(now, &res)
	}
	return res, nil
}

// Reset ends the session that stands; the next message begins another
// (E2ESession.Reset()).
func (p *Peer) Reset(now time.Time, policy Policy) (res Result) {
	p.policy = policy
	p.finish()
	p.retries, p.again = 0, time.Time{}
	p.restart(now, nil, &res)
	return res
}

// Forget ends the session, and what is known of earlier ones: the peer has said
// that it goes away, or is not to be spoken to by sessions any more (R-MTP.7).
func (p *Peer) Forget() { p.forget() }

// End is Forget at our side: a peer with which there is a session is told
// (R-E2E.6b).
func (p *Peer) End() (res Result) {
	if p.current != nil {
		res.Disconnect = usp.ErrSessionContextExpired
	}
	p.forget()
	return res
}

func (p *Peer) forget() {
	p.finish()
	p.used, p.tls, p.outbox, p.early, p.retries, p.again = false, false, queue{}, nil, 0, time.Time{}
}

// verifySignature checks a signature where there is one, or has to be: where the
// session is to be secured and the transport has not proven the sender (R-E2E.30).
func (p *Peer) verifySignature(r *usppb.Record, proven bool) error {
	if len(r.GetMacSignature()) == 0 {
		if p.policy.Security == Require && !proven {
			return fmt.Errorf("%w: it has no signature", record.ErrIntegrity)
		}
		return nil
	}
	return p.vouched.verify(r, p.identity)
}
