package relay

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
)

// Sessions that the bridge opens to controllers in the name of native agents, which
// are reached otherwise: one for each two endpoints of which one may write to the
// other. A session is wanted from when the agent is heard, or from the start if an
// address of it is configured or remembered, until it is forgotten or was away for
// long; see settle. The transports keep it, see mtp.Dialing.

// sessionKeepAlive is KeepAliveInterval of a controller's WebSocket where nothing
// else is configured (Device:2).
const sessionKeepAlive = 30 * time.Second

// target is a controller that is connected to.
type target struct {
	mtp.Target
	dialing mtp.Dialing
}

// sessions are those to be kept.
type sessions struct {
	targets map[usp.EndpointID]target // fixed
	wanted  atomic.Int64
	tell    occasionally

	changing sync.Mutex // orders changes of in whose name sessions are kept

	mu      sync.Mutex
	waiting map[ends]chan mtp.Address // who waits for a session; a lane each
}

// newSessions finds the controllers that have a URL on a transport which opens
// sessions.
func newSessions(cfg Config, routes map[usp.EndpointID]mtp.Address) *sessions {
	s := &sessions{targets: map[usp.EndpointID]target{}, waiting: map[ends]chan mtp.Address{}}
	for id, at := range routes {
		for _, t := range cfg.Transports {
			if d, ok := t.(mtp.Dialing); ok && at.URL != "" && t.Protocol() == at.Protocol {
				to := mtp.Target{URL: at.URL, Retry: mtp.WebSocketRetry, KeepAlive: sessionKeepAlive, Guest: true}
				if at.Protocol == mtp.UDS {
					to = mtp.Target{URL: at.URL, Retry: mtp.UDSRetry, Guest: true}
				}
				s.targets[id] = target{to, d}
			}
		}
	}
	return s
}

// dials reports whether sessions are kept to a controller.
func (s *sessions) dials(id usp.EndpointID) bool {
	_, ok := s.targets[id]
	return ok
}

// sessionsOf returns the controllers to which sessions are kept in the name of an agent.
func (r *Relay) sessionsOf(id usp.EndpointID) map[usp.EndpointID]target {
	if r.isController(id) {
		return nil
	}
	all := map[usp.EndpointID]target{}
	for c, t := range r.sessions.targets {
		if r.cfg.Policy.Allows(id, c) || r.cfg.Policy.Allows(c, id) {
			all[c] = t
		}
	}
	return all
}

// dial has sessions kept in the name of an agent.
func (r *Relay) dial(id usp.EndpointID) {
	if len(r.sessions.targets) > 0 && !r.begin(id) && r.sessions.tell.now(r.cfg.Now()) {
		r.log.Warn("no session is opened to controllers in the name of a native agent: as many are kept as may be; "+
			"`uspbridge device forget` makes room, or raise the bound", "endpoint", shorten(id), "most", r.cfg.Sessions)
	}
}

// begin is dial without a word; not ok: there are as many sessions as may be.
func (r *Relay) begin(id usp.EndpointID) (ok bool) {
	most := int64(r.cfg.Sessions)
	if r.sessions.wanted.Load() >= most {
		return false // without a wait for others, as it is with each record of the agent
	}
	r.sessions.changing.Lock()
	defer r.sessions.changing.Unlock()
	if !r.table.keep(id) {
		return true // somebody else has
	}
	all := r.sessionsOf(id)
	n := int64(len(all))
	if r.sessions.wanted.Load()+n > most {
		r.table.release(id)
		return false
	}
	r.sessions.wanted.Add(n)
	for c, t := range all {
		t.dialing.Dial(id, c, t.Target)
	}
	return true
}

// hang ends what dial began. release is what the table does of it; it reports
// whether sessions were kept.
func (r *Relay) hang(id usp.EndpointID, release func(usp.EndpointID) bool) {
	r.sessions.changing.Lock()
	defer r.sessions.changing.Unlock()
	if !release(id) {
		return
	}
	hosted, err := r.cfg.Claims.Hosted(r.ctx, id)
	if err != nil {
		r.log.Error("it cannot be told whether an endpoint is hosted here", "endpoint", id, "error", err)
	}
	all := r.sessionsOf(id)
	r.sessions.wanted.Add(-int64(len(all)))
	for c, t := range all {
		if _, theirs := r.cfg.Controllers[c]; theirs && hosted {
			continue // it is that of the hosted agent by now
		}
		t.dialing.Hang(id, c)
	}
}

// retry has sessions tried for at once, as if for the first time, when their agent
// has come back: it may have rebooted (R-WS.21).
func (r *Relay) retry(id usp.EndpointID) {
	if len(r.sessions.targets) == 0 || !r.table.keeps(id) {
		return
	}
	for c, t := range r.sessionsOf(id) {
		t.dialing.Again(id, c)
	}
}

// settle ends the sessions of agents that were away for two sweeps, so that one that
// connects again finds them, and of those that are hosted by now. The others are
// asked for once more: a hosted agent of the same id may have ended them.
func (r *Relay) settle(ctx context.Context) {
	if len(r.sessions.targets) == 0 {
		return
	}
	for i := range r.table.shards {
		stay, gone := r.table.settle(i, r.present)
		for _, id := range gone {
			r.log.Info("sessions of a native agent are ended: it is away", "endpoint", id)
			r.hang(id, r.table.release)
		}
		for _, id := range stay {
			hosted, err := r.cfg.Claims.Hosted(ctx, id)
			switch {
			case err != nil: // it is logged when its next record comes
			case hosted:
				r.hang(id, r.table.release)
			default:
				r.assert(id)
			}
		}
	}
}

// assert is dial for an agent of which it was called before.
func (r *Relay) assert(id usp.EndpointID) {
	r.sessions.changing.Lock()
	defer r.sessions.changing.Unlock()
	if !r.table.keeps(id) {
		return
	}
	for c, t := range r.sessionsOf(id) {
		t.dialing.Dial(id, c, t.Target)
	}
}

// present reports whether records for an agent can be sent, or would wait for it.
func (r *Relay) present(id usp.EndpointID, e *endpoint) bool {
	if _, configured := r.routes[id]; configured {
		return true
	}
	now := r.cfg.Now()
	if _, ok := e.route("", now, r.cfg.Expiry); ok {
		return true
	}
	return r.cfg.Hold.Enabled && now.Sub(e.heard) < max(r.cfg.Expiry, r.cfg.Hold.Expiry)
}

// dialAgain has sessions kept in the name of an agent that was known before the
// bridge was restarted.
func (r *Relay) dialAgain(ctx context.Context, id usp.EndpointID) {
	e, ok := r.table.get(id)
	if !ok || !e.agent || len(r.sessions.targets) == 0 || !r.present(id, &e) {
		return
	}
	hosted, err := r.cfg.Claims.Hosted(ctx, id)
	if err != nil {
		r.log.Error("it cannot be told whether an endpoint is hosted here; sessions in its name are opened when it is heard", "endpoint", id, "error", err)
	} else if !hosted {
		r.dial(id)
	}
}

// dialConfigured has sessions kept in the name of agents that were never heard but
// have an address by configuration: their controllers may be the first to speak.
func (r *Relay) dialConfigured(ctx context.Context) {
	if len(r.sessions.targets) == 0 {
		return
	}
	for id := range r.cfg.Routes {
		if r.isController(id) || len(r.cfg.Agents) > 0 && !r.matchesAgents(id) {
			continue
		}
		if err := r.table.admit(id); err != nil {
			r.log.Warn("no session is opened in the name of a native agent", "endpoint", id, "error", err)
			continue
		}
		r.dialAgain(ctx, id)
	}
}

// ofSession reports whether a connection of a controller is a session with a native
// agent: one that was opened here, or by the controller in its place.
func (r *Relay) ofSession(peer, local usp.EndpointID) bool {
	return local != "" && r.sessions.dials(peer) && r.table.isAgent(local)
}

// sessionOpened takes a session into use. It begins with the agent's Connect record
// (R-MTP.6): no other can come before it as long as the transport waits here. A
// controller that is not believed to be who it says is sent nothing else.
func (r *Relay) sessionOpened(peer, local usp.EndpointID, via mtp.Address) {
	if hosted, err := r.cfg.Claims.Hosted(r.ctx, local); err != nil || hosted {
		r.cfg.Next.Connected(peer, local, via)
		return
	}
	if r.cfg.Policy.Allows(local, peer) {
		ctx, cancel := context.WithTimeout(r.ctx, sendTimeout)
		defer cancel()
		r.introduce(ctx, record.Envelope{From: local, To: peer}, via)
	}
	if !provenBy(via) && !r.trusts(via.Protocol) {
		return
	}
	if s := (session{peer, via.Protocol, via.Conn}); r.table.join(local, s) {
		r.sessions.opened(ends{local, peer}, s.address())
	}
}

// byURL reports whether a controller that sessions are kept to is to be written to at
// its URL: there is no session.
func (r *Relay) byURL(id usp.EndpointID, at mtp.Address) bool {
	t, ok := r.sessions.targets[id]
	return ok && at.Conn == nil && at.URL == t.URL
}

// awaitSession returns the session of two endpoints, and waits a while for one that
// is being opened; at is returned if none comes. Behind a second try that has failed
// the controller is taken to be away, and nobody waits.
func (r *Relay) awaitSession(ctx context.Context, env record.Envelope, at mtp.Address) mtp.Address {
	opened, done := r.sessions.await(ends{env.From, env.To})
	defer done()
	if session, ok := r.table.session(env.From, env.To); ok {
		return session
	}
	if !r.table.keeps(env.From) || r.sessions.targets[env.To].dialing.Retries(env.From, env.To) > 1 {
		return at
	}
	patience := time.NewTimer(r.cfg.SessionWait)
	defer patience.Stop()
	select {
	case at = <-opened:
	case <-patience.C:
	case <-ctx.Done():
	}
	return at
}

// await returns what a session comes by when it is opened. A lane waits for one
// session, and no other does for the same.
func (s *sessions) await(e ends) (opened <-chan mtp.Address, done func()) {
	ch := make(chan mtp.Address, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[e] = ch
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, e)
	}
}

// opened tells who waits that a session is open.
func (s *sessions) opened(e ends, at mtp.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.waiting[e] <- at: // blocks if nobody waits, or was told of another
	default:
	}
}
