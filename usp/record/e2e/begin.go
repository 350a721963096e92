package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// hold keeps a record of an unknown session for the time in which its first may
// come; after that the session is begun anew (R-E2E.24).
func (p *Peer) hold(now time.Time, r *usppb.Record, proven bool, res *Result) {
	id := r.GetSessionContext().GetSessionId()
	if len(p.early) > 0 && p.early[0].record.GetSessionContext().GetSessionId() != id || len(p.early) >= maxEarly || sizeOf(r.GetSessionContext()) > maxEarlyBytes {
		res.Refused = fmt.Errorf("session_id %d is not known", id)
		return
	}
	if p.current != nil { // which has to end if no first record comes: not for anybody's sake
		if err := p.verifySignature(r, proven); err != nil {
			res.Refused = err
			return
		}
	}
	p.early = append(p.early, &early{r, proven, now})
}

// Bounds of what is kept of a session whose first record has not come.
const (
	maxEarly      = 8
	maxEarlyBytes = 64 << 10 // of one
)

// open takes the first record of a session that the peer begins (R-E2E.4, R-E2E.6).
func (p *Peer) open(now time.Time, r *usppb.Record, proven bool, res *Result) {
	id := r.GetSessionContext().GetSessionId()
	if old := p.current; old != nil && old.ours && !old.heard && id < old.id && now.Before(old.began.Add(p.limits.Gap)) && p.refused == 0 {
		// Both began at once. The greater session_id stands, so that both do not
		// begin again and again; a peer that insists is heard.
		p.refused = id
		res.Refused = fmt.Errorf("session_id %d comes after ours was begun", id)
		return
	}
	if !p.opened.take(now) {
		res.Refused = errors.New("the peer begins too many sessions")
		return
	}
	if err := p.verifySignature(r, proven); err != nil { // R-E2E.23: nothing of it is true, nothing has to end
		res.Refused = err
		return
	}
	c := &sessionContext{peer: p, id: id, security: r.GetPayloadSecurity(), next: 1, expected: 1, began: now}
	if err := c.secure(p.identity != nil && len(r.GetMacSignature()) > 0); err != nil {
		res.Refused = err
		return
	}
	p.begin(now, c)
	res.Opened = true
	p.within(now, r, proven, res)
	if p.current == c {
		p.resume(now, res)
	}
}

// begin makes a session the one that stands.
func (p *Peer) begin(now time.Time, c *sessionContext) {
	p.finish()
	p.current, p.used, p.tls, p.active, p.refused = c, true, c.tls != nil, now, 0
}

// finish ends the session that stands; what the peer has not seen of it waits for
// the next.
func (p *Peer) finish() {
	c := p.current
	if c == nil {
		return
	}
	p.current, p.vouched = nil, vouched{}
	for _, msg := range c.end() {
		p.outbox.push(msg, &p.limits)
	}
	p.ended = append(p.ended, c.id)
	if len(p.ended) > maxEnded {
		p.ended = p.ended[1:]
	}
}

// maxEnded is how many sessions of a peer are known to have ended.
const maxEnded = 8

// resume sends what waits for a session, and deals with the records that came
// before its first.
func (p *Peer) resume(now time.Time, res *Result) {
	waiting := p.outbox.messages
	p.outbox = queue{}
	for i, msg := range waiting {
		if err := p.current.send(msg, res); err != nil {
			for _, rest := range waiting[i+1:] {
				p.outbox.push(rest, &p.limits)
			}
			p.failed(now, err, res)
			return
		}
	}
	held := p.early
	p.early = nil
	for _, e := range held {
		if p.current != nil && p.current.id == e.record.GetSessionContext().GetSessionId() {
			p.within(now, e.record, e.proven, res)
		}
	}
}

// failed ends a session in which a record could not be processed, and begins
// another (R-E2E.21, R-E2E.23) if there was one to go on with, or there is
// something to say. A peer with which there was none begins itself, or does not:
// nobody has to be chased who cannot prove who it is.
func (p *Peer) failed(now time.Time, why error, res *Result) {
	c := p.current
	established := c.heard && c.up()
	p.finish()
	p.restart(now, &failure{why, established}, res)
}

// failure is why a session is begun again.
type failure struct {
	why         error
	established bool // it had been of use
}

// restart begins a session at our side, now or when it may be (R-E2E.10).
func (p *Peer) restart(now time.Time, f *failure, res *Result) {
	if f != nil {
		res.Refused = f.why
		if !f.established && len(p.outbox.messages) == 0 {
			return
		}
		if !f.established || p.retries > 0 || p.policy.Mode == Forbid {
			p.later(now)
			return
		}
	}
	if now.Before(p.again) {
		return
	}
	p.start(now, res)
}

// later sets when a session may be begun again.
func (p *Peer) later(now time.Time) {
	if p.again.After(now) {
		return
	}
	p.again = now.Add(p.wait(p.retries))
	p.retries++
}

// start begins a session with what waits for one, or with a record without
// payload.
func (p *Peer) start(now time.Time, res *Result) {
	c := &sessionContext{peer: p, id: p.newID(), ours: true, security: p.policy.payloadSecurity(), next: 1, expected: 1, began: now}
	if p.policy.Security == Allow && p.used && p.identity != nil && p.tls {
		c.security = usppb.Record_TLS12 // as before
	}
	err := c.secure(p.policy.Security == Require)
	if err != nil {
		res.Refused = err
		p.later(now)
		return
	}
	p.again = time.Time{}
	p.begin(now, c)
	res.Restarted = true
	if c.tls != nil {
		err = c.flush(true, res)
	} else if len(p.outbox.messages) == 0 {
		err = c.say(0, res)
	}
	if err != nil {
		p.failed(now, err, res)
		return
	}
	p.resume(now, res)
}

// newID draws a session_id that no session of late has had (R-E2E.3). It stays
// within what JavaScript has of integers.
func (p *Peer) newID() uint64 {
	for {
		if id := rand.Uint64N(1 << 52); id > 1 && !slices.Contains(p.ended, id) {
			return id
		}
	}
}

// wait is how long a session that failed is not begun again.
func (p *Peer) wait(n int) time.Duration {
	if p.policy.Wait == nil {
		return p.limits.Gap
	}
	return p.policy.Wait(n)
}
