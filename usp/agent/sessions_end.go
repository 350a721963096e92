package agent

import (
	"context"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

// farewellTimeout is how long all controllers together are tried to be told that
// their sessions have ended. One that is not told learns of it when it next speaks
// in the session.
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
// (R-E2E.6b).
func (h *Host) endSessions(id usp.EndpointID, with []*controller) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), farewellTimeout)
	defer cancel()
	var told sync.WaitGroup
	for _, c := range with {
		told.Go(func() {
			h.sessions.Known(e2e.Pair{Local: id, Remote: c.endpoint}, func(p *e2e.Peer) {
				res := p.End()
				h.countSession(id, c.endpoint, res)
				h.sendDue(ctx, p, id, c, res)
			})
		})
	}
	told.Wait()
}
