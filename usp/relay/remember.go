package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// memory is an endpoint as the store has it. A connection does not outlive the
// bridge, an address at a broker does.
type memory struct {
	Agent       bool         `json:"agent,omitempty"`
	First       time.Time    `json:"first"`
	Heard       time.Time    `json:"heard"`
	Protocol    mtp.Protocol `json:"protocol"`
	Topic       string       `json:"topic,omitempty"`
	Destination string       `json:"destination,omitempty"`
	URL         string       `json:"url,omitempty"`
}

func nativeKey(id usp.EndpointID) store.Key { return store.Key{Kind: store.Native, Owner: string(id)} }

// save writes what is known of an endpoint, without waiting for it: if it is lost
// the endpoint is learnt again when it is heard.
func (r *Relay) save(id usp.EndpointID) {
	e, ok := r.table.get(id)
	if !ok {
		return
	}
	m := memory{Agent: e.agent, First: e.first, Heard: e.heard, Protocol: e.protocol}
	if n := len(e.places); n > 0 && e.places[n-1].at.Conn == nil {
		at := e.places[n-1].at
		m.Protocol, m.Topic, m.Destination, m.URL = at.Protocol, at.Topic, at.Destination, at.URL
	}
	value, err := json.Marshal(m)
	if err != nil {
		r.log.Error("native endpoint cannot be remembered", "endpoint", id, "error", err)
		return
	}
	var b store.Batch
	b.Put(nativeKey(id), value)
	r.cfg.Store.Enqueue(&b, nil)
}

// remembered takes the endpoints that the store has, and listens for them.
func (r *Relay) remembered(ctx context.Context) error {
	var broken error
	var known []usp.EndpointID
	err := r.cfg.Store.Scan(ctx, store.Query{Kind: store.Native}, func(k store.Key, v []byte) bool {
		var m memory
		if broken = json.Unmarshal(v, &m); broken != nil {
			broken = fmt.Errorf("native endpoint %s in the store: %w", k.Owner, broken)
			return false
		}
		id := usp.EndpointID(k.Owner)
		if err := r.table.put(id, m.endpoint()); err != nil {
			r.log.Warn("not all native endpoints in the store are taken", "known", r.cfg.Endpoints, "error", err)
			return false
		}
		known = append(known, id)
		return true
	})
	if err = errors.Join(err, broken); err != nil {
		return err
	}
	for _, id := range known {
		r.standIn(id)
		r.dialAgain(ctx, id)
	}
	return nil
}

func (m memory) endpoint() *endpoint {
	e := &endpoint{agent: m.Agent, protocol: m.Protocol, first: m.First, heard: m.Heard, saved: m.Heard}
	if at := (mtp.Address{Protocol: m.Protocol, Topic: m.Topic, Destination: m.Destination, URL: m.URL}); reachable(at) {
		e.places = []place{{at: at, heard: m.Heard}}
	}
	return e
}

// ErrUnknown is returned for an endpoint that was never heard.
var ErrUnknown = errors.New("no such native agent was ever heard here")

// Agent is what is known of a native agent.
type Agent struct {
	ID        usp.EndpointID
	Protocol  mtp.Protocol // where it was heard last
	Address   string       // there; "" for a connection
	Reachable bool         // records for it can be sent now
	Proven    bool         // the transport has authenticated it
	First     time.Time
	Last      time.Time // heard
	Held      int       // records that wait for it
	HeldBytes int
}

// List calls fn for the native agents whose endpoint id has filter in it, in the
// order of their ids from behind after, until fn returns false.
func (r *Relay) List(ctx context.Context, filter string, after usp.EndpointID, fn func(Agent) bool) error {
	q := store.Query{Kind: store.Native}
	if after != "" {
		key := nativeKey(after)
		q.After = &key
	}
	filter = strings.ToLower(filter)
	return r.cfg.Store.Scan(ctx, q, func(k store.Key, _ []byte) bool {
		if !strings.Contains(strings.ToLower(k.Owner), filter) {
			return true
		}
		a, err := r.Show(usp.EndpointID(k.Owner))
		return err != nil || fn(a)
	})
}

// Show returns what is known of a native agent. It fails with ErrUnknown.
func (r *Relay) Show(id usp.EndpointID) (Agent, error) {
	e, ok := r.table.get(id)
	if !ok || !e.agent {
		return Agent{}, fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	a := Agent{ID: id, Protocol: e.protocol, First: e.first, Last: e.heard}
	var at mtp.Address
	if at, a.Reachable = r.route(id, ""); a.Reachable {
		a.Protocol, a.Address = at.Protocol, addressText(at)
	}
	for _, p := range e.places {
		a.Proven = a.Proven || p.proven
	}
	if r.held != nil {
		a.Held, a.HeldBytes = r.held.of(id)
	}
	return a, nil
}

// Forget drops what is kept of a native agent, the records that wait for it
// included. If it is heard again it is new. It fails with ErrUnknown.
func (r *Relay) Forget(ctx context.Context, id usp.EndpointID) error {
	if !r.table.isAgent(id) {
		return fmt.Errorf("%s: %w", id, ErrUnknown)
	}
	var b store.Batch
	b.Delete(nativeKey(id))
	if err := r.cfg.Store.Commit(ctx, &b); err != nil {
		return err
	}
	r.hang(id, r.table.remove)
	if hosted, err := r.cfg.Claims.Hosted(ctx, id); err != nil || !hosted {
		r.leave(id)
	}
	if r.held == nil {
		return nil
	}
	return r.held.forget(ctx, id)
}
