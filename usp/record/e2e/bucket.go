package e2e

import "time"

// bucket bounds how often something happens: full times in quick succession, then
// once in every.
type bucket struct {
	full  int
	every time.Duration
	spent int
	since time.Time // when the last was given back
}

// take reports whether it may happen now.
func (b *bucket) take(now time.Time) bool {
	if back := int(now.Sub(b.since) / b.every); back > 0 {
		b.spent = max(0, b.spent-back)
		b.since = b.since.Add(time.Duration(back) * b.every)
	}
	if b.spent >= b.full {
		return false
	}
	if b.spent == 0 {
		b.since = now
	}
	b.spent++
	return true
}
