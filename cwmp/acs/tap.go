package acs

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/capture"
)

// Tap is asked whether somebody wants to see a session as it is on the wire. A
// *capture.Hub is one.
type Tap interface {
	// Active is asked at each request. While it is false a request costs nothing
	// more than that.
	Active() bool
	// Session is asked once for each session, at its Inform; remote is where that
	// came from. Nil: nobody wants it.
	Session(id cwmp.DeviceID, remote string) capture.Recorder
}

// tapped is one request while the tap is active: it notes the answer that is
// written, and both go to the session's recording if it has one.
type tapped struct {
	http.ResponseWriter
	r      *http.Request
	tap    Tap
	came   time.Time
	to     *recording // nil until the session is known, and if nobody wants it
	status int
	answer []byte
}

// tapping returns the request for the tap, nil if nobody captures anything.
func (s *Server) tapping(w http.ResponseWriter, r *http.Request) *tapped {
	if s.cfg.Tap == nil || !s.cfg.Tap.Active() {
		return nil
	}
	return &tapped{ResponseWriter: w, r: r, tap: s.cfg.Tap, came: time.Now()}
}

// tappedOf returns the request that an answer is written to, nil if it is not
// tapped. All methods of *tapped do nothing then.
func tappedOf(w http.ResponseWriter) *tapped {
	t, _ := w.(*tapped)
	return t
}

// Unwrap is for http.ResponseController.
func (t *tapped) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *tapped) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tapped) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	if t.to != nil {
		t.answer = append(t.answer, b...)
	}
	return t.ResponseWriter.Write(b)
}

// inform asks whether the session that this Inform opens is wanted, and records
// what came before on the connection. The session holds what is returned; nil:
// it is not wanted.
func (t *tapped) inform(id cwmp.DeviceID, body []byte) *recording {
	if t == nil {
		return nil
	}
	recorder := t.tap.Session(id, t.r.RemoteAddr)
	if recorder == nil {
		return nil
	}
	to := &recording{Recorder: recorder}
	to.users.Store(1)
	if c := connectionOf(t.r.Context()); c != nil {
		if before := c.challenged.Swap(nil); before != nil {
			for _, e := range *before {
				recorder.Record(e)
			}
		}
	}
	t.request(to, body)
	return to
}

// request records the request, and has its answer recorded at its end.
func (t *tapped) request(to *recording, body []byte) {
	if t == nil || !to.hold() {
		return
	}
	t.to = to
	e := t.exchange()
	e.Body = slices.Clone(body)
	to.Record(e)
}

func (t *tapped) exchange() capture.Exchange {
	return capture.Exchange{From: capture.CPE, Time: t.came, Method: t.r.Method, Protocol: t.r.Proto, Remote: t.r.RemoteAddr,
		Header: t.r.Header, Transfer: t.r.TransferEncoding}
}

// end records the answer once it is written. A challenge is kept with its
// connection: whose it was is known when the Inform comes again.
func (t *tapped) end() {
	if t == nil {
		return
	}
	answer := capture.Exchange{From: capture.ACS, Time: time.Now(), Status: t.status, Header: t.Header().Clone(), Body: t.answer}
	if t.to != nil {
		if t.status != 0 { // the CPE has not gone before it was answered
			t.to.Record(answer)
		}
		t.to.release("")
		return
	}
	if c := connectionOf(t.r.Context()); c != nil && t.status == http.StatusUnauthorized {
		e := t.exchange()
		e.Header = e.Header.Clone()
		e.Note = "challenged; the body was not read"
		pair := []capture.Exchange{e, answer}
		if before := c.challenged.Load(); before != nil && len(*before) < maxChallenges {
			pair = slices.Concat(*before, pair)
		}
		c.challenged.Store(&pair)
	}
}

// maxChallenges bounds the messages kept with a connection that is challenged.
const maxChallenges = 8

// recording is one session on its way to a Recorder. The session and the requests
// in it use it; the last one to leave says how the session ended, so that the
// last answer is recorded before.
type recording struct {
	capture.Recorder
	users   atomic.Int32
	outcome atomic.Pointer[string]
}

// hold reports whether the recording is there and still open; it must be released
// then.
func (r *recording) hold() bool {
	if r == nil {
		return false
	}
	for {
		n := r.users.Load()
		if n == 0 {
			return false
		}
		if r.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release leaves the recording. outcome is the session's, "" of a request.
func (r *recording) release(outcome string) {
	if r == nil {
		return
	}
	if outcome != "" {
		r.outcome.Store(&outcome)
	}
	if r.users.Add(-1) > 0 {
		return
	}
	end := "refused" // no session was opened
	if o := r.outcome.Load(); o != nil {
		end = *o
	}
	r.End(end)
}
