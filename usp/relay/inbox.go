package relay

import (
	"fmt"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// inboxes are the addresses at brokers where the relay listens in the place of
// endpoints that are reached elsewhere. Where an endpoint listens itself the relay
// must not: from a queue it would take away what is the endpoint's.
type inboxes struct {
	transports []mtp.Transport
	configured map[usp.EndpointID][]mtp.Address

	changing *sync.Mutex // orders changes of what is listened to
}

func newInboxes(transports []mtp.Transport, configured []Inbox) inboxes {
	x := inboxes{transports: transports, configured: map[usp.EndpointID][]mtp.Address{}, changing: new(sync.Mutex)}
	for _, i := range configured {
		x.configured[i.Endpoint] = append(x.configured[i.Endpoint], i.At)
	}
	return x
}

// template returns the address that a transport's template makes for an endpoint,
// false for a transport without addresses of endpoints.
func (x *inboxes) template(on mtp.Protocol, id usp.EndpointID) (mtp.Address, bool) {
	for _, t := range x.transports {
		if a, ok := t.(mtp.Addressing); ok && t.Protocol() == on {
			return a.AgentAddress(id), true
		}
	}
	return mtp.Address{}, false
}

// of returns the addresses on a transport at which records for an endpoint may
// arrive here.
func (x *inboxes) of(on mtp.Protocol, id usp.EndpointID) []mtp.Address {
	var all []mtp.Address
	if at, ok := x.template(on, id); ok {
		all = append(all, at)
	}
	for _, at := range x.configured[id] {
		if at.Protocol == on {
			all = append(all, at)
		}
	}
	return all
}

// has reports whether an address is one of those.
func (x *inboxes) has(at mtp.Address, id usp.EndpointID) bool {
	for _, own := range x.of(at.Protocol, id) {
		if samePlace(own, at) {
			return true
		}
	}
	return false
}

// standIn makes the relay listen for an endpoint at all brokers but where it
// listens itself.
func (r *Relay) standIn(id usp.EndpointID) {
	r.inboxes.changing.Lock()
	defer r.inboxes.changing.Unlock()
	if err := r.listenFor(id); err != nil {
		r.log.Error("records for a native endpoint are not heard at one of its addresses", "endpoint", id, "error", err)
	}
}

func (r *Relay) listenFor(id usp.EndpointID) error {
	at, _ := r.route(id, "")
	for _, t := range r.inboxes.transports {
		if each, ok := t.(mtp.Hosting); ok {
			if own, ok := r.inboxes.template(t.Protocol(), id); ok && samePlace(own, at) {
				each.Unhost(id)
			} else {
				each.Host(id)
			}
		}
	}
	for _, inbox := range r.inboxes.configured[id] {
		if err := r.inboxes.listen(inbox, id, !samePlace(inbox, at)); err != nil {
			return err
		}
	}
	return nil
}

// listen begins or ends to listen at a configured address.
func (x *inboxes) listen(at mtp.Address, id usp.EndpointID, on bool) error {
	for _, t := range x.transports {
		l, ok := t.(mtp.Listening)
		if !ok || t.Protocol() != at.Protocol {
			continue
		}
		if !on {
			l.Unlisten(at)
		} else if err := l.Listen(at, id); err != nil {
			return fmt.Errorf("listen at %s for %s: %w", addressText(at), id, err)
		}
		return nil
	}
	return fmt.Errorf("listen at %s for %s: no %s transport that can is configured", addressText(at), id, at.Protocol)
}

// leave ends to listen for an endpoint that is forgotten.
func (r *Relay) leave(id usp.EndpointID) {
	r.inboxes.changing.Lock()
	defer r.inboxes.changing.Unlock()
	for _, t := range r.inboxes.transports {
		if each, ok := t.(mtp.Hosting); ok {
			each.Unhost(id)
		}
	}
}

// listenForConfigured makes the relay listen for the controllers, whom native
// agents may write to first, and wherever the configuration says so.
func (r *Relay) listenForConfigured() error {
	r.inboxes.changing.Lock()
	defer r.inboxes.changing.Unlock()
	named := map[usp.EndpointID]bool{}
	for id := range r.cfg.Controllers {
		named[id] = r.cfg.Policy.names(id)
	}
	for id := range r.sessions.targets {
		named[id] = r.cfg.Policy.names(id)
	}
	for id := range r.inboxes.configured {
		named[id] = true
	}
	for id := range named {
		if !named[id] {
			continue
		}
		if err := r.listenFor(id); err != nil {
			return fmt.Errorf("relay: %w", err)
		}
	}
	return nil
}
