package translate

import (
	"context"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp/lightweight"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// notified remembers the last lightweight notification of a CPE, so that neither
// an old one nor the same once more is taken for new.
type notified struct {
	Time    int64    `json:"time"` // by the CPE's clock
	CNonces []string `json:"cnonces,omitempty"`
}

// maxCNonces bounds the notifications that a CPE can send in one second.
const maxCNonces = 16

// maxKeptCNonce bounds what is kept of a cnonce: CPE choose 16 or 32 characters.
const maxKeptCNonce = 64

// next returns the state after a notification; ok is false if it is old.
func (n notified) next(at int64, cnonce string) (after notified, ok bool) {
	cnonce = strings.Clone(cnonce[:min(len(cnonce), maxKeptCNonce)])
	switch {
	case at < n.Time:
		return n, false
	case at > n.Time:
		return notified{at, []string{cnonce}}, true
	case slices.Contains(n.CNonces, cnonce) || len(n.CNonces) >= maxCNonces:
		return n, false
	}
	return notified{at, append(slices.Clip(slices.Clone(n.CNonces)), cnonce)}, true
}

// Notified takes in a lightweight notification, which is genuine, as it takes in
// the values of an Inform. It is lightweight.Config.Take.
func (b *Bridge) Notified(ctx context.Context, m lightweight.Notification) (fresh bool, err error) {
	dev, err := b.devices.acquire(ctx, m.Device.Key())
	if err != nil {
		return false, err
	}
	defer b.devices.release(dev)
	s := dev.state.Load()
	if s.tree == nil {
		return false, errNotDiscovered
	}
	if _, ok := s.rec.Notified.next(m.Time, m.CNonce); !ok {
		return false, nil
	}
	err = b.publish(ctx, dev, func(old *snapshot) (c change, events func(old, now *snapshot) []agent.Event) {
		none := func(*snapshot, *snapshot) []agent.Event { return nil }
		after, ok := old.rec.Notified.next(m.Time, m.CNonce)
		if !ok { // its copy was quicker
			return c, none
		}
		fresh = true
		c.rec = old.rec.clone()
		c.rec.Notified = after
		changed := c.update(old, m.Values, b.now())
		created, deleted := c.reconcile(old.program, old.numbers)
		return c, func(old, now *snapshot) []agent.Event {
			return append(b.rowEvents(old, now, created, deleted), b.changeEvents(old, now, changed)...)
		}
	})
	return fresh, err
}
