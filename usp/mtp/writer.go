package mtp

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a Writer.
const (
	batchSize  = 64 << 10 // what is written at once, but for one longer frame
	maxControl = 1 << 20  // of the connection's own frames; a peer that lets these pile up reads nothing
)

// Writer writes the frames of a connection in the background, so that who sends
// does not wait for a peer that reads slowly or not at all. Its goroutine exists
// only while there is something to write. A peer that does not take a batch in
// time loses the connection.
type Writer struct {
	conn    net.Conn
	timeout time.Duration
	fill    func([]byte) []byte

	mu      sync.Mutex
	control []byte
	last    []byte    // written when nothing else is left
	over    time.Time // by when all must be written; zero for no matter
	busy    bool
	failure error
	buf     []byte
	flushed chan struct{} // closed when the goroutine begun last has ended; nil: there was none
	wrote   atomic.Int64  // when, in Unix milliseconds
}

// NewWriter returns a Writer to conn. Fill appends the next whole frame to a
// buffer, nothing if there is none; it is called by one goroutine at a time.
// Timeout bounds the time in which the peer takes a batch.
func NewWriter(conn net.Conn, timeout time.Duration, fill func([]byte) []byte) *Writer {
	return &Writer{conn: conn, timeout: timeout, fill: fill}
}

// Kick has what fill provides written.
func (w *Writer) Kick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.start()
}

// errUnread is what ends a connection whose peer reads nothing.
var errUnread = errors.New("the peer sends, and reads nothing")

// Control has a frame of the connection itself written, before those of fill.
func (w *Writer) Control(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil && len(w.control)+len(frame) > maxControl {
		w.fail(errUnread)
	}
	if w.failure != nil {
		return w.failure
	}
	w.control = append(w.control, frame...)
	w.start()
	return nil
}

func (w *Writer) start() {
	if !w.busy && w.failure == nil {
		w.busy, w.flushed = true, make(chan struct{})
		go w.flush(w.flushed)
	}
}

// flush writes until nothing is left.
func (w *Writer) flush(done chan<- struct{}) {
	defer close(done)
	for {
		batch, by := w.next()
		if len(batch) == 0 {
			return
		}
		err := w.conn.SetWriteDeadline(by)
		if err == nil {
			_, err = w.conn.Write(batch)
		}
		if err != nil {
			w.mu.Lock()
			w.fail(err)
			w.mu.Unlock()
			return
		}
		w.wrote.Store(time.Now().UnixMilli())
	}
}

// next returns what is to be written now, and by when; with nothing flush is at
// its end.
func (w *Writer) next() (batch []byte, by time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure != nil {
		return nil, by
	}
	batch = append(w.buf[:0], w.control...)
	w.control = nil
	for n := -1; n < len(batch) && len(batch) < batchSize; {
		n = len(batch)
		batch = w.fill(batch)
	}
	if len(batch) == 0 {
		batch, w.last = append(batch, w.last...), nil
	}
	w.buf = batch
	if len(batch) == 0 {
		w.busy, w.buf = false, nil // an idle connection keeps no buffer
	}
	if !w.over.IsZero() {
		return batch, w.over
	}
	return batch, time.Now().Add(w.timeout)
}

// fail ends the connection, by which its reader learns of it.
func (w *Writer) fail(err error) {
	if w.failure == nil {
		w.failure = err
	}
	_ = w.conn.Close() // the first error is the one that counts
}

// Failure returns why writing has failed, nil if it has not.
func (w *Writer) Failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// Idle returns how long ago something was last written.
func (w *Writer) Idle() time.Duration {
	return time.Duration(time.Now().UnixMilli()-w.wrote.Load()) * time.Millisecond
}

// Finish writes what is left and then a last frame, for as long as all that is
// allowed to take, and closes the connection.
func (w *Writer) Finish(last []byte, within time.Duration) {
	w.mu.Lock()
	w.last, w.over = last, time.Now().Add(within)
	_ = w.conn.SetWriteDeadline(w.over) // of a write under way; a dead connection has none
	w.start()
	w.mu.Unlock()
	w.wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(net.ErrClosed)
}

// Close closes the connection and waits until nothing is written any more.
func (w *Writer) Close() {
	w.mu.Lock()
	w.fail(net.ErrClosed)
	w.mu.Unlock()
	w.wait()
}

// wait returns when what is being written has been, or has failed. Others may begin
// to write meanwhile.
func (w *Writer) wait() {
	w.mu.Lock()
	flushed := w.flushed
	w.mu.Unlock()
	if flushed != nil {
		<-flushed
	}
}
