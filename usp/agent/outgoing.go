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

// Bounds of what waits in lanes, in records. What is told of one event may be more:
// it is taken whole, or not at all. All together hold what a fleet says while its
// broker is late.
const (
	laneRoom    = 1000
	outgoingAll = 100_000
)

// drainTimeout bounds the time in which lanes are emptied at the end.
const drainTimeout = 5 * time.Second

// errLaneFull is why something was not sent.
var errLaneFull = errors.New("too much waits to be sent to the controller already")

// letter is what leaves by a lane at one go.
type letter struct {
	records int
	send    func()
}

func newOutgoing(h *Host) *dispatcher[lane, letter] {
	d := newDispatcher(dispatchLimits{workers: h.cfg.Limits.Workers, atOnce: 1, queue: laneRoom, total: outgoingAll}, func(l lane, it letter) {
		defer h.survive(l.agent)
		it.send()
	})
	d.size = func(it letter) int { return it.records }
	return d
}

// post has one record sent when it is its turn in a lane.
func (h *Host) post(l lane, send func(ctx context.Context)) error {
	if !h.outgoing.submit(l, letter{1, func() { h.try(send) }}) {
		return errLaneFull
	}
	return nil
}

// try bounds the sending of one record.
func (h *Host) try(send func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(h.sending, sendTimeout)
	defer cancel()
	send(ctx)
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

// behind returns what the notifications in a lane that a request has caused wait for:
// their controller is to have the answer first. It is nil if that is not the one that
// has asked.
func (s *session) behind(l lane) answered {
	if s == nil || s.triggered || l.controller != s.by.endpoint || l.via != s.via() {
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
	lanes := map[lane][]*notification{}
	for _, n := range notes {
		if n.trigger == nil && !n.dropped && !n.Held {
			lanes[n.lane()] = append(lanes[n.lane()], n)
		}
	}
	for l, all := range lanes {
		first := asked.behind(l)
		taken := h.outgoing.submit(l, letter{len(all), func() {
			if first != nil {
				<-first
			}
			for _, n := range all {
				h.try(func(ctx context.Context) { h.sent(n, h.tell(ctx, n)) })
			}
		}})
		for _, n := range all {
			if !taken {
				h.sent(n, errLaneFull)
			}
		}
	}
}
