package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// The bounds of captures.
const (
	// MaxCaptures is how many may run at once on one bridge.
	MaxCaptures = 8
	// maxQueuedBytes is what is kept for a capture whose reader is slow: two of the
	// largest messages. Beyond it messages are left out, with a note.
	maxQueuedBytes = 32 << 20
	// maxQueued bounds their number.
	maxQueued = 4096
)

// ErrTooMany says that MaxCaptures run already.
var ErrTooMany = fmt.Errorf("%d captures run at once, which is the limit: end one, or wait", MaxCaptures)

// Exchange is one HTTP message of a session, as it was on the wire. It belongs to
// whoever gets it and does not change any more.
type Exchange struct {
	From     Side
	Time     time.Time
	Method   string // of the CPE's
	Protocol string // of the CPE's
	Remote   string // of the CPE's: IP address and port
	Status   int    // of the ACS's
	Header   http.Header
	Transfer []string // Transfer-Encoding
	Body     []byte   // decompressed
	Note     string
}

// Recorder gets the messages of one session, in their order. Its methods do not
// wait for anybody.
type Recorder interface {
	Record(Exchange)
	// End says how the session ended: "ok", or in a word what went wrong.
	End(outcome string)
}

// Options say what a capture is to have.
type Options struct {
	Wanted    string // as the operator named it
	Program   string // name and version
	Anonymise bool
	Sessions  int // it ends after so many; 0: never by itself
	// Match tells whether a device is wanted, and its endpoint id.
	Match func(cwmp.DeviceID) (endpoint string, wanted bool)
}

// Hub knows who captures. The zero Hub is ready; it is package acs's Tap.
type Hub struct {
	active atomic.Int32 // number of captures: while it is 0, nothing else is looked at

	mu       sync.Mutex
	captures []*Capture
}

// Active reports whether anybody captures anything.
func (h *Hub) Active() bool { return h.active.Load() > 0 }

// Session is asked once for each session while the Hub is active. It returns nil
// if nobody wants that device's. remote is the address that it comes from.
func (h *Hub) Session(id cwmp.DeviceID, remote string) Recorder {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all recorders
	for _, c := range h.captures {
		if endpoint, wanted := c.options.Match(id); wanted {
			if r := c.begin(Session{Endpoint: endpoint, Device: deviceOf(id), Remote: hostOf(remote)}); r != nil {
				all = append(all, r)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// Start begins a capture. It must be closed.
func (h *Hub) Start(o Options) (*Capture, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.captures) >= MaxCaptures {
		return nil, ErrTooMany
	}
	c := &Capture{hub: h, options: o, ready: make(chan struct{}, 1)}
	c.lines = newLines(o, time.Now())
	h.captures = append(h.captures, c)
	h.active.Add(1)
	return c, nil
}

// recorders are those who capture one session.
type recorders []*sessionRecorder

func (all recorders) Record(e Exchange) {
	for _, r := range all {
		r.capture.put(happening{session: r.number, exchange: &e})
	}
}

func (all recorders) End(outcome string) {
	for _, r := range all {
		r.capture.put(happening{session: r.number, at: time.Now(), end: outcome})
	}
}

// sessionRecorder is one session of one capture.
type sessionRecorder struct {
	capture *Capture
	number  int
}

// Capture is one capture under way: sessions put messages in at one end, and who
// captures takes lines out at the other.
type Capture struct {
	hub     *Hub
	options Options
	lines   *lines
	ready   chan struct{} // there may be something in the queue

	mu       sync.Mutex
	queue    []happening
	bytes    int // of the bodies in the queue
	dropped  int // messages left out since the last note
	sessions int // begun
	ended    int
	closed   bool
}

// happening is what a line will be made of: one of begin, exchange, end and note.
type happening struct {
	session  int
	at       time.Time
	begin    *Session
	exchange *Exchange
	end      string
	note     string
}

func (h *happening) size() int {
	if h.exchange == nil {
		return 0
	}
	return len(h.exchange.Body)
}

// begin takes a session in, unless there are enough, or too much waits already.
func (c *Capture) begin(s Session) *sessionRecorder {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.options.Sessions
	if c.closed || n > 0 && c.sessions >= n || len(c.queue) >= maxQueued {
		return nil
	}
	c.sessions++
	s.Session, s.At = c.sessions, time.Now().UTC()
	c.add(happening{session: c.sessions, begin: &s})
	return &sessionRecorder{c, c.sessions}
}

// Note puts a note into the capture.
func (c *Capture) Note(text string) { c.put(happening{note: text}) }

// put adds to the queue. A message that does not fit is left out, and noted when
// there is room again; ends and notes always fit.
func (c *Capture) put(h happening) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if h.exchange != nil && (c.bytes+h.size() > maxQueuedBytes || len(c.queue) >= maxQueued) {
		c.dropped++
		return
	}
	if h.end != "" {
		c.ended++
	}
	c.add(h)
}

// add adds to the queue; c.mu is held.
func (c *Capture) add(h happening) {
	if c.dropped > 0 {
		c.queue = append(c.queue, happening{note: fmt.Sprintf("%d messages are left out here: they came faster than they were fetched", c.dropped)})
		c.dropped = 0
	}
	c.queue = append(c.queue, h)
	c.bytes += h.size()
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// Next waits for the next line and returns it, with its end. It returns io.EOF
// when the wanted number of sessions has ended, and ctx's error when that ends.
func (c *Capture) Next(ctx context.Context) ([]byte, error) {
	for {
		if line := c.lines.header(); line != nil {
			return line, nil
		}
		h, ok, over := c.take()
		if ok {
			return c.lines.of(h)
		}
		if over {
			return nil, io.EOF
		}
		select {
		case <-c.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Capture) take() (h happening, ok, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return h, false, c.closed || c.options.Sessions > 0 && c.ended >= c.options.Sessions
	}
	h = c.queue[0]
	c.queue[0] = happening{}
	c.queue = c.queue[1:]
	c.bytes -= h.size()
	return h, true, false
}

// Close ends the capture.
func (c *Capture) Close() {
	h := c.hub
	h.mu.Lock()
	for i, other := range h.captures {
		if other == c {
			h.captures = append(h.captures[:i:i], h.captures[i+1:]...)
			h.active.Add(-1)
			break
		}
	}
	h.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.queue, c.bytes = true, nil, 0
}

var errNoLine = errors.New("a capture's line could not be made")
