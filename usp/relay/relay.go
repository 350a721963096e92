package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	held      *held // nil: turned off
	conflicts conflicts
	toldFull  atomic.Int64 // unix nanoseconds
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
	r.lanes = newLanes(cfg.Transports, r.process)
	r.inboxes = newInboxes(cfg.Transports, cfg.Inboxes)
	for id, at := range cfg.Controllers {
		if reachable(at) || at.Protocol != "" {
			r.routes[id] = at
		}
	}
	for id, at := range cfg.Routes {
		r.routes[id] = at
	}
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
	return c.moved, ""
}

// tellFull logs, once in a while, that there is no room for further endpoints.
func (r *Relay) tellFull(id usp.EndpointID) {
	now := r.cfg.Now()
	if last := r.toldFull.Load(); now.Sub(time.Unix(0, last)) >= fullLogEvery && r.toldFull.CompareAndSwap(last, now.UnixNano()) {
		r.log.Warn("native endpoints are not relayed: as many are known as may be; `uspbridge device forget` makes room, or raise the bound",
			"endpoint", shorten(id), "known", r.cfg.Endpoints)
	}
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
		return slices.ContainsFunc(r.cfg.Agents, func(pattern string) bool { return matches(pattern, env.From) })
	}
	_, fromController := r.cfg.Controllers[env.From]
	_, toController := r.cfg.Controllers[env.To]
	return toController && !fromController
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
	conn, ok := via.Conn.(mtp.Proven)
	proven := ok && conn.Proven()
	if hosted, err := r.cfg.Claims.Hosted(r.ctx, peer); err == nil && !hosted && (proven || r.trusts(via.Protocol)) {
		// A refusal is told when the peer speaks.
		c, err := r.table.learn(peer, place{at: whereabouts(via), local: local, proven: proven, heard: r.cfg.Now()}, false)
		if err == nil && c.save {
			r.save(peer)
		}
		if c.moved {
			r.submit(job{kind: jobListen, env: record.Envelope{From: peer}, moved: true})
		}
	}
	if !r.table.isAgent(local) {
		r.cfg.Next.Connected(peer, local, via)
		return
	}
	if r.cfg.Policy.Allows(local, peer) {
		r.submit(job{kind: jobGreet, env: record.Envelope{From: local, To: peer}, at: via})
	}
}

// Disconnected forgets a connection.
func (r *Relay) Disconnected(peer, local usp.EndpointID, via mtp.Address) {
	if via.Conn != nil && peer != "" {
		r.table.disconnected(peer, via.Conn)
	}
	r.cfg.Next.Disconnected(peer, local, via)
}

func (r *Relay) submit(j job) {
	at, _ := r.route(j.env.To, j.env.From)
	if !r.lanes.submit(at.Protocol, j) {
		r.drop(j.env, j.via, droppedOverload)
	}
}

// route returns where an endpoint is reached: where it was heard, else where it
// was configured.
func (r *Relay) route(id, from usp.EndpointID) (mtp.Address, bool) {
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
