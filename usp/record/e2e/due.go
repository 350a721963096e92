package e2e

import (
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// expire ends a session in which nothing was exchanged for too long (R-E2E.7).
func (p *Peer) expire(now time.Time) {
	if at := p.expires(); !at.IsZero() && !now.Before(at) {
		p.finish()
		p.outbox, p.retries, p.again = queue{}, 0, time.Time{} // R-E2E.11
		p.active = time.Time{}                                 // or it would be due for ever
	}
}

func (p *Peer) expires() time.Time {
	if p.policy.Expiration <= 0 || p.active.IsZero() {
		return time.Time{}
	}
	return p.active.Add(p.policy.Expiration)
}

// Next returns when Tick has something to do; zero: nothing is due.
func (p *Peer) Next() time.Time {
	next := p.expires()
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	switch c := p.current; {
	case c == nil && p.policy.Mode != Forbid:
		at(p.again)
	case c != nil:
		at(c.gap)
		at(p.active.Add(p.limits.Idle))
		if !c.up() {
			at(c.began.Add(p.limits.Handshake))
		}
	}
	if len(p.early) > 0 {
		at(p.early[0].at.Add(p.limits.Gap))
	}
	return next
}

// Tick does what is due.
func (p *Peer) Tick(now time.Time) (res Result) {
	p.expire(now)
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch c := p.current; {
	case c == nil && due(p.again) && p.policy.Mode != Forbid:
		p.start(now, &res)
	case c == nil:
	case !c.up() && due(c.began.Add(p.limits.Handshake)):
		p.failed(now, fmt.Errorf("%w: the handshake takes longer than %v", errTLS, p.limits.Handshake), &res)
	case due(c.gap):
		p.chase(now, &res)
	case due(p.active.Add(p.limits.Idle)): // R-E2E.6b
		p.forget()
		res.Disconnect = usp.ErrSessionContextExpired
	}
	if len(p.early) > 0 && due(p.early[0].at.Add(p.limits.Gap)) { // R-E2E.24
		res.Refused = fmt.Errorf("session_id %d is not known", p.early[0].record.GetSessionContext().GetSessionId())
		p.early = nil
		p.finish()
		p.restart(now, nil, &res)
	}
	return res
}

// chase asks for the record that is missing, later each time.
func (p *Peer) chase(now time.Time, res *Result) {
	c := p.current
	if c.asked >= p.limits.Asked {
		p.failed(now, errMissing, res)
		return
	}
	c.gap = now.Add(p.limits.Gap << c.asked)
	c.asked++
	if err := c.say(c.expected, res); err != nil {
		p.failed(now, err, res)
	}
}

// Empty reports whether there is nothing to remember of the peer.
func (p *Peer) Empty() bool {
	return p.current == nil && !p.used && len(p.outbox.messages) == 0 && len(p.early) == 0 && p.again.IsZero()
}
