package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
)

// Relay is the handler in front of that of hosted agents. It implements
// mtp.Handler.
type Relay struct {
	cfg       Config
	log       *slog.Logger
	routes    map[usp.EndpointID]mtp.Address // configured
	table     *table
	marks     *marks
	lanes     *lanes
	inboxes   inboxes
	sessions  *sessions
	held      *held // nil: turned off
	conflicts conflicts
	tell      occasionally // that there is no room
	metrics   *metrics

	ctx  context.Context // ends when Run has ended
	stop context.CancelFunc
}

var _ mtp.Handler = (*Relay)(nil)

const (
	// sendTimeout bounds the sending of one record; a broker that does not take
	// it over by then is taken to be away.
	sendTimeout = 30 * time.Second
	// sweepEvery is how often what has expired is looked for.
	sweepEvery = time.Minute
	// fullLogEvery keeps strangers from filling the log.
	fullLogEvery = time.Hour
	// startTimeout bounds what New reads from the store.
	startTimeout = time.Minute
)

// New returns a Relay that knows the endpoints that its store remembers. It relays
// from now on; what expires is looked after while Run runs.
func New(cfg Config) (*Relay, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Relay{
		cfg: cfg, log: cfg.Log, routes: map[usp.EndpointID]mtp.Address{},
		table: newTable(cfg.Expiry, cfg.Endpoints), marks: newMarks(cfg.Now),
		conflicts: conflicts{all: map[usp.EndpointID]*conflict{}},
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.inboxes = newInboxes(cfg.Transports, cfg.Inboxes)
	for id, at := range cfg.Controllers {
		if reachable(at) || at.Protocol != "" {
			r.routes[id] = at
		}
	}
	for id, at := range cfg.Routes {
		r.routes[id] = at
	}
	r.sessions = newSessions(cfg, r.routes)
	r.lanes = newLanes(cfg.Transports, r.process, slices.Collect(maps.Keys(r.sessions.targets))...)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := r.remembered(ctx); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	if cfg.Hold.Enabled {
		r.held = newHeld(cfg)
		if err := r.held.load(ctx); err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
	}
	var err error
	if r.metrics, err = newMetrics(cfg.Registerer, r); err != nil {
		return nil, fmt.Errorf("relay: metrics: %w", err)
	}
	r.dialConfigured(ctx)
	return r, r.listenForConfigured()
}

// Run looks after what expires until ctx ends, then waits for what is being sent.
func (r *Relay) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.stop()
			r.lanes.wait()
			return nil
		case <-tick.C:
			r.sweep(ctx)
		}
	}
}

// sweep removes what has waited for too long, and tries again to reach those that
// could not be reached before.
func (r *Relay) sweep(ctx context.Context) {
	r.settle(ctx)
	if r.held == nil {
		return
	}
	n, err := r.held.expire(ctx, r.cfg.Now())
	if err != nil {
		r.log.Error("records that waited too long for native agents could not be removed", "error", err)
	}
	r.metrics.dropped.WithLabelValues(droppedExpired).Add(float64(n))
	for _, id := range r.held.endpoints() {
		if _, ok := r.route(id, ""); ok {
			r.wake(id)
		}
	}
}

// Receive takes a record from a transport: it is relayed, refused, or for the next
// handler, whose answer then is ours.
func (r *Relay) Receive(in mtp.Inbound) error {
	env, err := record.ReadEnvelope(in.Record)
	if err != nil || !r.concerns(env) {
		return r.cfg.Next.Receive(in)
	}
	if reason := r.refusal(in, env); reason != "" {
		r.drop(env, in.Reply.Protocol, reason)
		return nil
	}
	moved, reason := r.heard(in, env)
	if reason != "" {
		r.drop(env, in.Reply.Protocol, reason)
		return nil
	}
	r.submit(job{env: env, record: in.Record, via: in.Reply.Protocol, moved: moved})
	return nil
}

// concerns reports whether a record is the relay's business: it is for a known
// controller, or for somebody whom the sender may reach and who is not hosted here.
func (r *Relay) concerns(env record.Envelope) bool {
	if env.From == r.cfg.Reserved || env.To == r.cfg.Reserved || env.From == env.To {
		return false
	}
	if _, known := r.cfg.Controllers[env.To]; known {
		return true
	}
	if !r.cfg.Policy.Allows(env.From, env.To) {
		return false
	}
	hosted, err := r.cfg.Claims.Hosted(r.ctx, env.To)
	if err != nil {
		r.log.Error("it cannot be told whether an endpoint is hosted here", "endpoint", env.To, "error", err)
		return false
	}
	return !hosted
}

// heard takes the sender's place down.
func (r *Relay) heard(in mtp.Inbound, env record.Envelope) (moved bool, refused string) {
	at := whereabouts(in.Reply)
	if inbox := inboxOf(env); env.Type.Connects() && inbox.Protocol == at.Protocol && inbox.Protocol != "" {
		at.Topic, at.Destination = inbox.Topic, inbox.Destination
	}
	if r.ofSession(env.From, in.Local) { // the session is the agent's, see sessionOpened
		at = mtp.Address{Protocol: at.Protocol}
	}
	c, err := r.table.learn(env.From, place{at: at, local: in.Local, proven: in.Proven, heard: r.cfg.Now()}, r.speaksAsAgent(env))
	switch {
	case errors.Is(err, errUnproven):
		return false, droppedUnproven
	case err != nil:
		r.tellFull(env.From)
		return false, droppedFull
	}
	if c.moved {
		r.log.Info("native endpoint is heard", "endpoint", env.From, "protocol", at.Protocol, "address", addressText(at))
	}
	if c.save {
		r.save(env.From)
	}
	if c.dial {
		r.dial(env.From)
	}
	return c.moved, ""
}

// tellFull logs, once in a while, that there is no room for further endpoints.
func (r *Relay) tellFull(id usp.EndpointID) {
	if r.tell.now(r.cfg.Now()) {
		r.log.Warn("native endpoints are not relayed: as many are known as may be; `uspbridge device forget` makes room, or raise the bound",
			"endpoint", shorten(id), "known", r.cfg.Endpoints)
	}
}

// occasionally is when something was logged that strangers can bring about.
type occasionally struct{ last atomic.Int64 } // unix nanoseconds

// now reports whether it is time to log it once more.
func (o *occasionally) now(now time.Time) bool {
	last := o.last.Load()
	return now.Sub(time.Unix(0, last)) >= fullLogEvery && o.last.CompareAndSwap(last, now.UnixNano())
}

// inboxOf returns where the sender of a Connect record says that it listens, zero
// if it says nothing.
func inboxOf(env record.Envelope) mtp.Address {
	switch {
	case env.Inbox == "":
	case env.Type == record.MQTTConnectType:
		return mtp.Address{Protocol: mtp.MQTT, Topic: env.Inbox}
	case env.Type == record.STOMPConnectType:
		return mtp.Address{Protocol: mtp.STOMP, Destination: env.Inbox}
	}
	return mtp.Address{}
}

// speaksAsAgent reports whether a record shows that its sender is an agent: it
// matches the configured patterns; without any, it is no known controller but
// writes to one.
func (r *Relay) speaksAsAgent(env record.Envelope) bool {
	if len(r.cfg.Agents) > 0 {
		return r.matchesAgents(env.From)
	}
	return r.isController(env.To) && !r.isController(env.From)
}

func (r *Relay) matchesAgents(id usp.EndpointID) bool {
	return slices.ContainsFunc(r.cfg.Agents, func(pattern string) bool { return Matches(pattern, id) })
}

// isController reports whether an endpoint is known to be one by the configuration.
func (r *Relay) isController(id usp.EndpointID) bool {
	_, known := r.cfg.Controllers[id]
	return known || r.sessions.dials(id)
}

// Connected takes down where a peer is connected that the policy names, and greets
// it in the name of a native agent that it has connected to. Nobody draws another's
// records to himself by connecting in its name: who is not believed to be who it
// says is sent nothing but the greeting.
func (r *Relay) Connected(peer, local usp.EndpointID, via mtp.Address) {
	if peer == "" || peer == r.cfg.Reserved || !r.cfg.Policy.names(peer) {
		r.cfg.Next.Connected(peer, local, via)
		return
	}
	if r.ofSession(peer, local) {
		r.sessionOpened(peer, local, via)
		return
	}
	proven := provenBy(via)
	if hosted, err := r.cfg.Claims.Hosted(r.ctx, peer); err == nil && !hosted && (proven || r.trusts(via.Protocol)) {
		// A refusal is told when the peer speaks.
		c, err := r.table.learn(peer, place{at: whereabouts(via), local: local, proven: proven, heard: r.cfg.Now()}, r.matchesAgents(peer))
		if err == nil && c.save {
			r.save(peer)
		}
		if err == nil && c.dial {
			r.dial(peer)
		}
		if c.moved {
			r.submit(job{kind: jobListen, env: record.Envelope{From: peer}, moved: true})
		}
	}
	switch {
	case r.table.isAgent(local):
		if r.cfg.Policy.Allows(local, peer) {
			r.submit(job{kind: jobGreet, env: record.Envelope{From: local, To: peer}, at: via})
		}
	case !r.isController(local): // to which an agent has connected
		r.cfg.Next.Connected(peer, local, via)
	}
}

// provenBy reports whether a connection's peer has proven who it is.
func provenBy(via mtp.Address) bool {
	conn, ok := via.Conn.(mtp.Proven)
	return ok && conn.Proven()
}

// Disconnected forgets a connection.
func (r *Relay) Disconnected(peer, local usp.EndpointID, via mtp.Address) {
	if via.Conn != nil && peer != "" {
		r.table.disconnected(peer, via.Conn)
		if r.sessions.dials(peer) {
			r.table.parted(local, via.Conn)
		}
	}
	r.cfg.Next.Disconnected(peer, local, via)
}

func (r *Relay) submit(j job) {
	bound := string(j.env.To)
	if !r.sessions.dials(j.env.To) {
		at, _ := r.route(j.env.To, j.env.From)
		bound = string(at.Protocol)
	}
	if !r.lanes.submit(bound, j) {
		r.drop(j.env, j.via, droppedOverload)
	}
}

// route returns where an endpoint is reached: by its session with from, if it is one
// that sessions are kept to, else where it was heard, else where it was configured.
func (r *Relay) route(id, from usp.EndpointID) (mtp.Address, bool) {
	if r.sessions.dials(id) {
		if at, ok := r.table.session(from, id); ok {
			return at, true
		}
	}
	if at, ok := r.table.route(id, from, r.cfg.Now()); ok {
		return at, true
	}
	at, ok := r.routes[id]
	return at, ok
}

func addressText(a mtp.Address) string {
	for _, s := range []string{a.Topic, a.Destination, a.URL} {
		if s != "" {
			return s
		}
	}
	return ""
}
