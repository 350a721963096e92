package agent

import (
	"context"
	"errors"
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// What nobody waits for (Connect records, notifications, refusals) leaves an agent by
// a lane, one for each of its controllers, in the order in which it was said. Whoever
// says it does not wait: he may hold the agent's changes, or be a session of its
// device. A controller that takes nothing delays its own lane alone, until that is
// full: what wants a response is then sent when it is due, all else is lost, as it
// is when there is no connection.

// lane is the way to one controller.
type lane struct {
	agent, controller usp.EndpointID
	via               any // the connection, where it is not for the Controller table to say
}

// Bounds of what waits in lanes. A lane has room for all that an agent tells of one
// event; all together hold what a fleet says while its broker is late.
const (
	laneRoom    = 1000
	outgoingAll = 100_000
)

// drainTimeout bounds the time in which lanes are emptied at the end.
const drainTimeout = 5 * time.Second

// errLaneFull is why something was not sent.
var errLaneFull = errors.New("too much waits to be sent to the controller already")

func newOutgoing(h *Host) *dispatcher[lane, func()] {
	return newDispatcher(dispatchLimits{workers: h.cfg.Limits.Workers, atOnce: 1, queue: laneRoom, total: outgoingAll}, func(l lane, send func()) {
		defer h.survive(l.agent)
		send()
	})
}

// post has send called when it is its turn in a lane and, unless that is nil, an
// answer has been given.
func (h *Host) post(l lane, first answered, send func(ctx context.Context)) error {
	if !h.outgoing.submit(l, func() {
		if first != nil {
			<-first
		}
		ctx, cancel := context.WithTimeout(h.sending, sendTimeout)
		defer cancel()
		send(ctx)
	}) {
		return errLaneFull
	}
	return nil
}

// drain empties the lanes. What is still posted fails at once.
func (h *Host) drain() {
	late := time.AfterFunc(drainTimeout, h.stopSending)
	defer late.Stop()
	h.outgoing.wait()
	h.stopSending()
}

func (n *notification) lane() lane { return lane{n.agent.id, n.Controller, n.via} }

// answered is closed when the request of a session has been answered.
type answered chan struct{}

// behind returns what a notification that a request has caused waits for: its
// controller is to have the answer first. It is nil if that is not the one that has
// asked.
func (s *session) behind(n *notification) answered {
	if s == nil || s.triggered || n.Controller != s.by.endpoint || n.via != s.via() {
		return nil
	}
	if s.answered == nil {
		s.answered = make(answered)
	}
	return s.answered
}

// told ends the wait of what is behind the answer.
func (s *session) told() {
	if s.answered != nil {
		close(s.answered)
		s.answered = nil
	}
}

// sendAll has notifications sent that have been stored, or are being stored; asked is
// the request that has caused them, nil if none has.
func (h *Host) sendAll(notes []*notification, asked *session) {
	for _, n := range notes {
		if n.trigger != nil || n.dropped || n.Held {
			continue
		}
		if err := h.post(n.lane(), asked.behind(n), func(ctx context.Context) { h.sent(n, h.tell(ctx, n)) }); err != nil {
			h.sent(n, err)
		}
	}
}
