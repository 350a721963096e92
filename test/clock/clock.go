// Package clock is a time that tests move, for what is given its clock. It knows
// nothing of what that is.
package clock

import (
	"sync"
	"time"
)

// Clock stands still between Set and Advance. It is safe for use by several
// goroutines.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// At returns a clock that shows t.
func At(t time.Time) *Clock { return &Clock{now: t} }

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set makes the clock show t.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}
