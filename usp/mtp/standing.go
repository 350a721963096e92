package mtp

import (
	"context"
	"sync"
	"time"
)

// Standing is how the one connection of a transport over a broker is wanted, and
// how it stands. NewStanding makes one.
type Standing struct {
	gate Gate

	mu         sync.Mutex
	settings   Settings
	generation int           // of settings, for a connection that is being made
	changed    chan struct{} // ends a wait
	state      Connection
	fresh      bool
}

// NewStanding returns the Standing of a connection that is to have settings s and
// is made in its turn at gate. Fresh is for that of a new agent: until its first
// try has ended, what the agent says to begin with is kept for it.
func NewStanding(s Settings, gate Gate, fresh bool) *Standing {
	return &Standing{gate: gate, settings: s, changed: make(chan struct{}, 1), fresh: fresh}
}

// Settings returns what is wanted now.
func (s *Standing) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings
}

// Fresh tells that the first try has not ended.
func (s *Standing) Fresh() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh
}

// Begin waits for the turn of a new connection, which is to have the settings that
// it returns. It fails with ErrDisabled if none is wanted. Leave ends its turn.
func (s *Standing) Begin(ctx context.Context) (settings Settings, generation int, leave func(), err error) {
	if s.Settings().Disabled {
		return settings, 0, nil, ErrDisabled
	}
	if leave, err = s.gate.Enter(ctx); err != nil {
		return settings, 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings, s.generation, leave, nil
}

// Current returns ErrChanged if the settings of a connection that is being made
// are not those that are wanted any more.
func (s *Standing) Current(generation int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation != generation {
		return ErrChanged
	}
	return nil
}

// Change has other settings wanted: a connection that is being made is made again.
func (s *Standing) Change(settings Settings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings = settings
	s.generation++
}

// Hurry ends a wait for the next connection.
func (s *Standing) Hurry() {
	select {
	case s.changed <- struct{}{}:
	default: // one signal is enough
	}
}

// Hurried gets a signal for each Hurry.
func (s *Standing) Hurried() <-chan struct{} { return s.changed }

// Up notes that the connection stands, as c has it.
func (s *Standing) Up(c Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Up, c.Since = true, time.Now()
	s.state, s.fresh = c, false
}

// Down notes that it has ended, or could not be made, because of err.
func (s *Standing) Down(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Up || s.state.Since.IsZero() {
		s.state.Since = time.Now()
	}
	s.state.Up, s.state.LastError, s.state.Trouble, s.fresh = false, err.Error(), TroubleOf(err), false
}

// Connection returns how it stands; Inbox is left to the transport.
func (s *Standing) Connection() Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
