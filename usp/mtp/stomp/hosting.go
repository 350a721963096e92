package stomp

import (
	"strconv"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
)

// sharedID is the subscription that is for every endpoint.
const sharedID = "0"

// hosted is the set of endpoints that have a subscription of their own. It
// outlives connections.
type hosted struct {
	mu   sync.Mutex
	next uint64
	ids  map[usp.EndpointID]uint64
	ends map[uint64]usp.EndpointID
}

func newHosted() *hosted {
	return &hosted{ids: make(map[usp.EndpointID]uint64), ends: make(map[uint64]usp.EndpointID)}
}

// add returns the subscription id of a new endpoint, false if it is known.
func (h *hosted) add(e usp.EndpointID) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.ids[e]; ok {
		return "", false
	}
	h.next++
	h.ids[e], h.ends[h.next] = h.next, e
	return strconv.FormatUint(h.next, 10), true
}

// remove returns the subscription id that the endpoint had, false for none.
func (h *hosted) remove(e usp.EndpointID) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.ids[e]
	delete(h.ids, e)
	delete(h.ends, id)
	return strconv.FormatUint(id, 10), ok
}

// endpoint returns whose subscription id is, "" if it is nobody's.
func (h *hosted) endpoint(id string) usp.EndpointID {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ends[n]
}

// all returns a copy of the set.
func (h *hosted) all() map[usp.EndpointID]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[usp.EndpointID]string, len(h.ids))
	for e, id := range h.ids {
		all[e] = strconv.FormatUint(id, 10)
	}
	return all
}

// Host subscribes to the destinations of endpoints, now and after each loss of
// the connection. With a destination for all of them it does nothing.
func (t *Transport) Host(endpoints ...usp.EndpointID) {
	if !t.dest.PerEndpoint() {
		return
	}
	t.changing.Lock()
	defer t.changing.Unlock()
	for _, e := range endpoints {
		id, isNew := t.hosted.add(e)
		if c := t.conn.Load(); isNew && c != nil && !c.shared {
			c.report(c.subscribe(id, t.AgentDestination(e)))
		}
	}
}

// Unhost ends the subscriptions of endpoints (R-STOMP.28).
func (t *Transport) Unhost(endpoints ...usp.EndpointID) {
	t.changing.Lock()
	defer t.changing.Unlock()
	for _, e := range endpoints {
		id, known := t.hosted.remove(e)
		if c := t.conn.Load(); known && c != nil && !c.shared {
			c.report(c.unsubscribe(id))
		}
	}
}
