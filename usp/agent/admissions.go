package agent

import (
	"context"
	"sync"

	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

// A certificate inside of records is judged while its session is held. What follows
// from it changes the agent's objects, and who changes those may be sending in the
// very session: each would wait for the other. So it is done when the session is let
// go, before a message of it is handled.

// admissions are those that have still to be done.
type admissions struct {
	mu sync.Mutex
	of map[e2e.Pair][]func(context.Context) error
}

type admissionKey struct{}

// later has what follows from a judgement with the context returned be done by settle.
func (h *Host) later(ctx context.Context, pair e2e.Pair) context.Context {
	return context.WithValue(ctx, admissionKey{}, pair)
}

// postponed reports whether f was put off, see later.
func (h *Host) postponed(ctx context.Context, f func(context.Context) error) bool {
	pair, ok := ctx.Value(admissionKey{}).(e2e.Pair)
	if !ok {
		return false
	}
	h.admissions.mu.Lock()
	defer h.admissions.mu.Unlock()
	if h.admissions.of == nil {
		h.admissions.of = map[e2e.Pair][]func(context.Context) error{}
	}
	h.admissions.of[pair] = append(h.admissions.of[pair], f)
	return true
}

// settleAdmissions does what was put off for a pair, and reports whether all of it is done.
func (h *Host) settleAdmissions(ctx context.Context, pair e2e.Pair) bool {
	h.admissions.mu.Lock()
	todo := h.admissions.of[pair]
	delete(h.admissions.of, pair)
	h.admissions.mu.Unlock()
	for _, f := range todo {
		if err := f(ctx); err != nil {
			h.log.Error("what the certificate of a controller gives it is not stored; its messages are dropped", "agent", pair.Local, "controller", pair.Remote, "error", err)
			return false
		}
	}
	return true
}
