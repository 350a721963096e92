package relay

import (
	"context"
	"errors"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
)

// hold makes a record wait until its receiver is heard again.
func (r *Relay) hold(ctx context.Context, j job) {
	switch err := r.held.add(ctx, j.env.To, j.record); {
	case err == nil:
		r.log.Debug("record waits for a native agent", "from", j.env.From, "to", j.env.To)
	case errors.Is(err, errHeldFull):
		r.drop(j.env, j.via, droppedHeld)
	default:
		r.log.Error("record cannot wait for a native agent", "from", j.env.From, "to", j.env.To, "error", err)
		r.drop(j.env, j.via, droppedFailed)
	}
}

// wake has what waits for an agent sent, now that it was heard. The lane of its
// own keeps that from waiting for anything else.
func (r *Relay) wake(id usp.EndpointID) {
	if r.held.beginDrain(id) && !r.lanes.submit("", job{kind: jobDrain, env: record.Envelope{To: id}}) {
		r.held.endDrain(id, true)
	}
}

// deliverHeld sends what waits for an agent in order, until there is no more or it
// cannot be reached. What was sent is removed afterwards: a record that is cut off
// in between is sent twice rather than never, and a receiver knows it by its
// message id.
func (r *Relay) deliverHeld(id usp.EndpointID) {
	for {
		batch, err := r.held.first(r.ctx, id)
		if err != nil {
			r.log.Error("records that wait for a native agent cannot be read", "endpoint", id, "error", err)
			r.held.endDrain(id, true)
			return
		}
		for _, waiting := range batch {
			if err := r.deliverOne(id, waiting); err != nil {
				r.log.Debug("native agent is away again", "endpoint", id, "error", err)
				r.held.endDrain(id, true)
				return
			}
		}
		if r.held.endDrain(id, false) {
			return
		}
	}
}

func (r *Relay) deliverOne(id usp.EndpointID, waiting heldRecord) error {
	ctx, cancel := context.WithTimeout(r.ctx, sendTimeout)
	defer cancel()
	env, err := record.ReadEnvelope(waiting.record)
	switch {
	case err != nil || !waiting.expires.After(r.cfg.Now()):
		r.drop(env, "", droppedExpired)
	default:
		if err := r.toReceiver(ctx, env, "", waiting.record); err != nil {
			return err
		}
	}
	return r.held.remove(ctx, id, waiting)
}
