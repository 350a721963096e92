package stomp

import (
	"strconv"
	"strings"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// sharedID is the subscription to the destination that is for every endpoint, or
// for the one that the connection is of.
const sharedID = 0

// hosted are the subscriptions that Host and Listen want. They outlive
// connections.
type hosted struct {
	mu     sync.Mutex
	next   uint64
	ids    map[usp.EndpointID]uint64 // by Host
	places map[string]uint64         // by Listen: destinations
	ends   map[uint64]usp.EndpointID // whose they are
}

func newHosted() *hosted {
	return &hosted{ids: make(map[usp.EndpointID]uint64), ends: make(map[uint64]usp.EndpointID)}
}

func (h *hosted) allot(e usp.EndpointID) uint64 {
	h.next++
	h.ends[h.next] = e
	return h.next
}

// add returns the subscription id of a new endpoint, false if it is known.
func (h *hosted) add(e usp.EndpointID) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.ids[e]; ok {
		return 0, false
	}
	h.ids[e] = h.allot(e)
	return h.ids[e], true
}

// remove returns the subscription id that the endpoint had, false for none.
func (h *hosted) remove(e usp.EndpointID) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.ids[e]
	delete(h.ids, e)
	delete(h.ends, id)
	return id, ok
}

// listen returns the subscription id of a new destination, false if it is known
// and has got another endpoint.
func (h *hosted) listen(destination string, e usp.EndpointID) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id, ok := h.places[destination]; ok {
		h.ends[id] = e
		return id, false
	}
	if h.places == nil {
		h.places = map[string]uint64{}
	}
	h.places[destination] = h.allot(e)
	return h.places[destination], true
}

// unlisten returns the subscription id that the destination had, false for none.
func (h *hosted) unlisten(destination string) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.places[destination]
	delete(h.places, destination)
	delete(h.ends, id)
	return id, ok
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

// all returns the subscriptions of destinations, and of endpoints unless those
// share one.
func (h *hosted) all(shared bool) []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]change, 0, len(h.ends))
	for destination, id := range h.places {
		all = append(all, change{id: id, destination: destination})
	}
	if shared {
		return all
	}
	for e, id := range h.ids {
		all = append(all, change{id: id, endpoint: e})
	}
	return all
}

// change is a subscription that is to be made, at a destination or that of an
// endpoint, or one that is to be ended.
type change struct {
	id          uint64
	destination string
	endpoint    usp.EndpointID
	ends        bool
}

// Host subscribes to the destinations of endpoints, now and after each loss of
// the connection. With a destination for all of them it does nothing.
func (t *Transport) Host(endpoints ...usp.EndpointID) {
	if !t.dest.PerEndpoint() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range endpoints {
		if id, isNew := t.hosted.add(e); isNew && t.live != nil && !t.live.shared {
			t.live.change(change{id: id, endpoint: e})
		}
	}
}

// Unhost ends the subscriptions of endpoints (R-STOMP.28).
func (t *Transport) Unhost(endpoints ...usp.EndpointID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range endpoints {
		if id, known := t.hosted.remove(e); known && t.live != nil && !t.live.shared {
			t.live.change(change{id: id, ends: true})
		}
	}
}

// Listen takes records at a destination besides the template's; Inbound.Local is
// then endpoint. It implements mtp.Listening.
func (t *Transport) Listen(at mtp.Address, endpoint usp.EndpointID) error {
	if at.Destination == "" || strings.ContainsRune(at.Destination, 0) {
		return errNoDestination
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, isNew := t.hosted.listen(at.Destination, endpoint); isNew && t.live != nil {
		t.live.change(change{id: id, destination: at.Destination})
	}
	return nil
}

// Unlisten ends what Listen began.
func (t *Transport) Unlisten(at mtp.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, known := t.hosted.unlisten(at.Destination); known && t.live != nil {
		t.live.change(change{id: id, ends: true})
	}
}
