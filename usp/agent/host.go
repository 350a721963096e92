package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Host is all hosted agents. It implements mtp.Handler.
type Host struct {
	cfg        Config
	log        *slog.Logger
	spec       *localSpec
	classes    classes
	seed       *state // what every agent starts with
	schemas    *schemas
	agents     *agents
	dispatch   *dispatcher[usp.EndpointID, any] // messages to agents
	outgoing   *dispatcher[lane, letter]
	due        *due
	metrics    *metrics
	volatile   volatile
	bulk       *reportQueue
	sessions   *e2e.Table
	admissions admissions
	builtin    *controller
	protocols  []string
	dialing    map[mtp.Protocol]mtp.Dialing // the transports that open sessions

	challengeKeys map[uint32]string // of the configured challenges, by instance

	started time.Time

	sequence   atomic.Uint64 // makes names of messages and records unique
	operations atomic.Int64  // running asynchronous operations

	unbelievedAt atomic.Int64 // when a record was last warned of whose sender is not believed, Unix ms

	ctx         context.Context // ends when Run ends
	stop        context.CancelFunc
	sending     context.Context // ends a while later
	stopSending context.CancelFunc
	background  sync.WaitGroup
}

// classes are the rows that code deals with by name.
type classes struct {
	controller, subscription, request, role *class
}

var _ mtp.Handler = (*Host)(nil)

// startTimeout bounds what New reads from the store.
const startTimeout = 10 * time.Second

// New returns a Host over an open store. It handles what it receives from now
// on; notifications are retried and schedules kept while Run runs.
func New(cfg Config) (*Host, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, log: cfg.Log, started: cfg.Now(), dialing: map[mtp.Protocol]mtp.Dialing{}}
	var err error
	connected := brokersOf(cfg.Transports)
	if h.spec, err = newLocalSpec(declarations(connected)); err != nil {
		return nil, err
	}
	h.spec.brokers = connected
	h.classes = classes{
		controller: h.spec.classAt(controllerTable), subscription: h.spec.classAt(subscriptionTable),
		request: h.spec.classAt(requestTable), role: h.spec.classAt(roleTable),
	}
	if h.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("agent: metrics: %w", err)
	}
	for _, t := range cfg.Transports {
		if p := string(t.Protocol()); !slices.Contains(h.protocols, p) {
			h.protocols = append(h.protocols, p)
		}
		if d, ok := t.(mtp.Dialing); ok {
			h.dialing[t.Protocol()] = d
		}
	}
	h.schemas = newSchemas(h.spec.schema)
	h.volatile.byConn = map[any]map[*agent]int{}
	h.agents = newAgents(h)
	h.due = &due{h: h, wake: make(chan struct{}, 1)}
	h.bulk = newReportQueue(cfg)
	h.dispatch = newDispatcher(dispatchLimits{workers: cfg.Limits.Workers, atOnce: cfg.Limits.AgentWorkers, queue: cfg.Limits.AgentQueue}, h.process)
	h.dispatch.source = source
	h.outgoing = newOutgoing(h)
	h.sessions = h.newSessions()
	if err := h.metrics.sessionsOpen(cfg.Registerer, h.sessions); err != nil {
		return nil, fmt.Errorf("agent: metrics: %w", err)
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.sending, h.stopSending = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if h.seed, err = h.seedState(ctx); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	if err := h.restoreConnections(h.ctx); err != nil {
		return nil, err
	}
	h.builtin = &controller{
		endpoint: cfg.BuiltinController, enabled: true, minimumWait: time.Second, multiplier: 2,
		roles:    h.seed.index(h.spec).roleSetOf(h.spec, h.seed, []string{rolePath(fullAccessRole)}),
		sessions: e2e.Policy{Mode: e2e.Forbid}, // nothing is between us
	}
	return h, nil
}

// seedState makes the objects that every agent starts with: transports, roles,
// and the configured controllers.
func (h *Host) seedState(ctx context.Context) (*state, error) {
	s := &state{rows: map[rowKey]*row{}, next: map[rowKey]uint32{}}
	s.rows[rowKey{class: h.spec.root}] = h.spec.root.fresh()
	roles, err := h.seedRoles(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := h.seedChallenges(ctx, s, roles); err != nil {
		return nil, err
	}
	for i, t := range h.cfg.Transports {
		row := dm.Inst(uint32(i + 1))
		s.put(h.spec.classAt(mtpTable), row, map[string]string{"Protocol": string(t.Protocol())})
		if path := map[mtp.Protocol]string{mtp.MQTT: mqttClient, mtp.STOMP: stompConnection}[t.Protocol()]; path != "" {
			s.put(h.spec.classAt(path), row, nil)
		}
	}
	sockets, err := h.seedSockets(ctx, s)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range h.cfg.Controllers {
		ids = append(ids, string(c.EndpointID))
	}
	numbers, err := h.seedNumbers(ctx, "controllers", 1, ids)
	if err != nil {
		return nil, err
	}
	for _, c := range h.cfg.Controllers {
		n := numbers[string(c.EndpointID)]
		row := c.Session.values()
		row["Enable"], row["EndpointID"], row["AssignedRole"] = "true", string(c.EndpointID), rolePath(roles[c.Role])
		s.put(h.classes.controller, dm.Inst(n), row)
		if c.MTP.Protocol == "" {
			continue
		}
		values := map[string]string{"Enable": "true"}
		if err := setAddress(values, c.MTP, sockets); err != nil {
			return nil, fmt.Errorf("controller %s: %w", c.EndpointID, err)
		}
		h.spec.refersToBroker(s, values)
		s.put(h.spec.classAt(controllerMTP), dm.Inst(n, 1), values)
	}
	return s, nil
}

// put adds a row with values over the defaults.
func (s *state) put(c *class, inst dm.Instance, values map[string]string) {
	r := c.fresh()
	r.values[c.byName["Alias"].index] = fmt.Sprintf("cpe-%d", inst.Last())
	for rel, v := range values {
		r.values[c.byName[rel].index] = v
	}
	s.rows[rowKey{c, inst}] = r
}

// seedNumbers returns the instance numbers of configured rows of one kind, from
// first on. They are kept: a row has the same number whatever becomes of the others
// in the configuration (TR-369 R-ARC.8).
func (h *Host) seedNumbers(ctx context.Context, kind string, first uint32, names []string) (map[string]uint32, error) {
	key := store.Key{Kind: store.Meta, Owner: "agent", Name: kind}
	for {
		old, err := h.cfg.Store.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			old, err = nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("numbers of the configured %s: %w", kind, err)
		}
		numbers := map[string]uint32{}
		if old != nil {
			if err := json.Unmarshal(old, &numbers); err != nil {
				return nil, fmt.Errorf("numbers of the configured %s: %w", kind, err)
			}
		}
		known := len(numbers)
		next := first
		for _, n := range numbers {
			next = max(next, n+1)
		}
		for _, name := range names {
			if _, ok := numbers[name]; !ok {
				numbers[name] = next
				next++
			}
		}
		if next > maxSeeded+1 {
			return nil, fmt.Errorf("more than %d %s have been configured over time; numbers are not used again", maxSeeded, kind)
		}
		if len(numbers) == known {
			return numbers, nil
		}
		var b store.Batch
		b.CompareAndSet(key, old, encodeJSON(numbers))
		if err := h.cfg.Store.Commit(ctx, &b); !errors.Is(err, store.ErrConflict) {
			return numbers, err
		}
	}
}

// Run retries notifications, keeps schedules, opens the sessions that agents are to
// have with controllers and reports operations that were interrupted, until ctx ends; then it waits for what is in work.
func (h *Host) Run(ctx context.Context) error {
	defer h.close()
	if err := h.failInterrupted(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	h.background.Go(func() { h.sessions.Run(h.ctx) })
	h.background.Go(func() { h.dialKnown(ctx) })
	return h.due.run(ctx)
}

// close ends running operations and waits for all goroutines.
func (h *Host) close() {
	h.stop()
	h.dispatch.wait()
	h.background.Wait()
	h.drain()
	h.sessions.Close()
	h.bulk.client.Close()
}

// Hosted tells that there is a new agent. The controllers that have an address
// get a Connect record (R-MTP.6) and an OnBoardRequest (R-NOT.5.2), which is
// durable when Hosted returns nil.
func (h *Host) Hosted(ctx context.Context, id usp.EndpointID) error {
	return h.locked(ctx, id, func(d *device, tx *txn) error {
		var notes []*notification
		h.dial(id, nil, tx.base)
		for _, c := range tx.base.index(h.spec).byInstance {
			if !c.enabled || len(c.mtps) == 0 {
				continue
			}
			h.connect(id, c)
			if n := h.onboardNote(d, tx.a, c); n != nil {
				notes = append(notes, n)
			}
		}
		return h.keepAndSend(ctx, tx.a, notes)
	})
}

// connectAll sends Connect records to all controllers that have an address, and
// tries at once for the sessions that are to be opened: an agent whose device has
// rebooted begins anew, though the bridge's connection to the broker has lasted
// (R-MTP.6, R-WS.21).
func (h *Host) connectAll(id usp.EndpointID, s *state) {
	for _, c := range s.index(h.spec).byInstance {
		if c.enabled {
			h.connect(id, c)
		}
	}
	for k := range h.dials(s) {
		h.dialing[k.protocol].Again(id, k.controller)
	}
}

// connect sends a controller the Connect record of each broker it is reached
// over. A failure is no loss: what the agent has to tell is told in notifications.
func (h *Host) connect(id usp.EndpointID, c *controller) {
	for _, w := range c.mtps {
		rec, err := h.brokerConnect(id, c, w.address.Protocol)
		if err == nil && rec == nil {
			continue
		}
		failed := func(err error) {
			if err != nil {
				h.log.Debug("Connect record not sent", "agent", id, "controller", c.endpoint, "protocol", w.address.Protocol, "error", err)
			}
		}
		if err == nil {
			err = h.post(lane{agent: id, controller: c.endpoint}, func(ctx context.Context) { failed(h.toAddress(ctx, id, c.endpoint, w.address, rec)) })
		}
		failed(err)
	}
}

// brokerConnect makes the Connect record by which a controller learns where it
// reaches an agent over a broker; nil if there is none.
func (h *Host) brokerConnect(id usp.EndpointID, c *controller, p mtp.Protocol) ([]byte, error) {
	own := h.cfg.AgentAddress(p, id)
	switch {
	case p == mtp.MQTT && own.Topic != "":
		version := usppb.MQTTConnectRecord_V5
		if own.Version == "3.1.1" {
			version = usppb.MQTTConnectRecord_V3_1_1
		}
		return record.MQTTConnect(id, c.endpoint, usp.RecordVersion, version, own.Topic)
	case p == mtp.STOMP && own.Destination != "":
		return record.STOMPConnect(id, c.endpoint, usp.RecordVersion, own.Destination)
	}
	return nil, nil
}

// Forget removes all that is kept of an agent, its audit trail excepted. The
// controllers with which it has sessions are told that they have ended: its
// transports are to be there until Forget returns.
func (h *Host) Forget(ctx context.Context, id usp.EndpointID) error {
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	a.mu.Lock()
	for _, cancel := range a.cancels {
		cancel()
	}
	a.mu.Unlock()
	last, err := h.erase(ctx, a)
	if err != nil {
		return fmt.Errorf("agent %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, farewellTimeout)
	defer cancel()
	select {
	case <-h.endSessions(id, h.unspoken(last, nil)):
	case <-ctx.Done():
	}
	return nil
}

// erase takes an agent out of the store and out of memory, and returns its last
// state.
func (h *Host) erase(ctx context.Context, a *agent) (last *state, err error) {
	a.write.Lock()
	defer a.write.Unlock()
	var b store.Batch
	for _, kind := range []store.Kind{store.Controller, store.Subscription, store.Request, store.Notification, store.Report, store.AgentState, store.Certificate} {
		err := h.cfg.Store.Scan(ctx, store.Query{Kind: kind, Owner: string(a.id), WholeOwner: true}, func(k store.Key, _ []byte) bool {
			b.Delete(k)
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	b.Delete(connectionsKey(a.id))
	if err := h.cfg.Store.Commit(ctx, &b); err != nil {
		return nil, err
	}
	last = a.state.Load()
	h.dial(a.id, last, nil)
	a.state.Store(h.seed)
	h.agents.forget(a)
	return last, nil
}

func (h *Host) transportAt(n uint32) mtp.Transport {
	if n == 0 || int(n) > len(h.cfg.Transports) {
		return nil
	}
	return h.cfg.Transports[n-1]
}

func versions() string { return strings.Join(usp.SupportedVersions, ",") }

// volatile remembers on which connections subscriptions live that are in memory
// only, and keeps their agents there.
type volatile struct {
	mu     sync.Mutex
	byConn map[any]map[*agent]int
}
