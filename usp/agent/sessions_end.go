package agent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

// farewellTimeout is how long a forgotten agent's transports are kept for its
// controllers to be told that their sessions have ended. One that is not told learns
// of it when it next speaks in the session.
const farewellTimeout = 3 * time.Second

// unspoken returns the controllers that an agent with state base spoke with and
// with state next does not. next may be nil: the agent is gone.
func (h *Host) unspoken(base, next *state) (gone []*controller) {
	for _, c := range base.index(h.spec).byInstance {
		if !c.enabled {
			continue
		}
		if next != nil {
			if now := next.index(h.spec).controllers[c.endpoint]; now != nil && now.enabled {
				continue
			}
		}
		gone = append(gone, c)
	}
	return gone
}

// endSessions ends the sessions of an agent with controllers, and tells them
// (R-E2E.6b), behind what is on its way to them. Ended is closed when all have.
func (h *Host) endSessions(id usp.EndpointID, with []*controller) (ended <-chan struct{}) {
	var left atomic.Int64
	all := make(chan struct{})
	end := func(c *controller, how func(*e2e.Peer)) {
		h.sessions.Known(e2e.Pair{Local: id, Remote: c.endpoint}, how)
		if left.Add(-1) == 0 {
			close(all)
		}
	}
	if left.Store(int64(len(with))); len(with) == 0 {
		close(all)
	}
	for _, c := range with {
		err := h.post(lane{agent: id, controller: c.endpoint}, func(ctx context.Context) {
			end(c, func(p *e2e.Peer) {
				res := p.End()
				h.countSession(id, c.endpoint, res)
				h.sendDue(ctx, p, id, c, res)
			})
		})
		if err != nil { // it takes nothing, and is told nothing
			h.background.Go(func() { end(c, (*e2e.Peer).Forget) })
		}
	}
	return all
}
