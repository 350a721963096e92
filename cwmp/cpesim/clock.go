package cpesim

import "time"

// Clock is where a Fleet takes the time from; a test gives one that it moves
// itself. Deadlines of connections are real time always.
type Clock interface {
	Now() time.Time
	// At returns a channel that receives once when the time t has come, at once
	// if it has, and a function that gives the timer up.
	At(t time.Time) (expired <-chan time.Time, stop func())
}

// systemClock is the machine's clock.
type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) At(t time.Time) (<-chan time.Time, func()) {
	timer := time.NewTimer(time.Until(t))
	return timer.C, func() { timer.Stop() }
}
