package agent

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Sessions that an agent opens to its controllers itself: which they are follows
// from the Controller table, the transports keep them.

// maxRetryWait bounds the wait between two tries whatever a controller has set:
// with the largest multiplier R-WS.19 would come to years.
const maxRetryWait = 24 * time.Hour

// retryPolicy is the table of R-WS.19: after ten tries the wait grows no more.
func retryPolicy(minimum time.Duration, multiplier float64) mtp.Backoff {
	most := min(minimum.Seconds()*math.Pow(multiplier, 10), maxRetryWait.Seconds())
	return mtp.Backoff{Min: minimum, Multiplier: multiplier, Max: time.Duration(most * float64(time.Second))}
}

// dialKey names a session that an agent is to open.
type dialKey struct {
	protocol   mtp.Protocol
	controller usp.EndpointID
}

// dials returns the sessions that an agent with a state is to open.
func (h *Host) dials(s *state) map[dialKey]mtp.Target {
	if s == nil || len(h.dialing) == 0 {
		return nil
	}
	var all map[dialKey]mtp.Target
	for _, c := range s.index(h.spec).byInstance {
		for _, w := range c.mtps {
			if !c.enabled || w.target.URL == "" || h.dialing[w.address.Protocol] == nil {
				continue
			}
			if all == nil {
				all = map[dialKey]mtp.Target{}
			}
			all[dialKey{w.address.Protocol, c.endpoint}] = w.target
		}
	}
	return all
}

// dial makes the transports keep the sessions that an agent with state next is to
// open, and none that only base had. The caller holds the agent's write lock.
func (h *Host) dial(id usp.EndpointID, base, next *state) {
	before, after := h.dials(base), h.dials(next)
	for k := range before {
		if _, stays := after[k]; !stays {
			h.dialing[k.protocol].Hang(id, k.controller)
		}
	}
	for k, to := range after {
		if old, same := before[k]; !same || old != to {
			h.dialing[k.protocol].Dial(id, k.controller, to)
		}
	}
}

// dialKnown opens the sessions of agents that were hosted before this process
// began: of all, if the Controller table that they start with asks for sessions,
// else of those that have records of controllers of their own.
func (h *Host) dialKnown(ctx context.Context) {
	if len(h.dialing) == 0 {
		return
	}
	known, err := h.customized(ctx)
	if err == nil && len(h.dials(h.seed)) > 0 {
		known, err = h.cfg.Known(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			h.log.Error("agents that have to connect to controllers cannot be listed; they connect when they are changed or the bridge is restarted", "error", err)
		}
		return
	}
	for _, id := range known {
		err := h.dialOne(ctx, id)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, ErrUnknownEndpoint) {
			h.log.Error("an agent cannot be connected to its controllers", "agent", id, "error", err)
		}
	}
}

// customized returns the agents that have records of controllers.
func (h *Host) customized(ctx context.Context) (ids []usp.EndpointID, err error) {
	err = h.cfg.Store.Scan(ctx, store.Query{Kind: store.Controller}, func(k store.Key, _ []byte) bool {
		if id := usp.EndpointID(k.Owner); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
		return true
	})
	return ids, err
}

func (h *Host) dialOne(ctx context.Context, id usp.EndpointID) error {
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	a.write.Lock()
	defer a.write.Unlock()
	if len(h.dials(a.state.Load())) == 0 {
		return nil
	}
	if _, _, err := h.cfg.Devices.Model(ctx, id); err != nil {
		return err // it may have been forgotten meanwhile
	}
	h.dial(id, nil, a.state.Load())
	return nil
}

// currentRetries is the CurrentRetryCount of a row of a controller's MTP table.
func currentRetries(v *view, inst dm.Instance) int {
	c := v.index().byInstance[inst.At(0)]
	t := v.host.dialing[mtp.WebSocket]
	if c == nil || t == nil {
		return 0
	}
	return t.Retries(v.id, c.endpoint)
}
