package mtp

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Goodbye is how long a broker may take for what is left when we disconnect.
const Goodbye = time.Second

// Ending is why a connection to a broker ends. The zero Ending is that of one
// that goes on.
type Ending struct {
	mu  sync.Mutex
	err error // why we have ended it ourselves
}

// Begin notes that we end the connection because of err. It returns false if that
// was begun before.
func (e *Ending) Begin(err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return false
	}
	e.err = err
	return true
}

// Reason tells what has ended a connection of which reading failed with err: what
// Begin was told, else what w failed with, else err.
func (e *Ending) Reason(w *Writer, err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if failure := w.Failure(); failure != nil {
		err = failure
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("the broker does not answer: %w", err)
	}
	return fmt.Errorf("connection lost: %w", err)
}
