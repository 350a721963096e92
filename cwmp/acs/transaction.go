package acs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// sessionUse is how a session's steps find it.
type sessionUse struct {
	cookie     atomic.Bool // the CPE has returned the cookie
	connection atomic.Bool // a step without cookie came on the Inform's connection
}

// ServeHTTP takes one step of a session. An answer that carries an envelope has
// status 200, also when it is a fault (TR-069 3.4.1); what is wrong below SOAP
// is answered with an HTTP status and one line of text.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if t := s.tapping(w, r); t != nil {
		w = t
		defer t.end()
	}
	if err := s.serveHTTP(w, r); err != nil {
		s.refuse(w, r, err)
	}
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &httpError{http.StatusMethodNotAllowed, "method", "this is the CWMP port: CPE use POST"}
	}
	x, byCookie := s.find(r)
	user := Identity{}
	limits := s.cfg.Limits
	if x == nil {
		// Before anything of a stranger's body is read: is there room, and who is it?
		if err := s.admissible(); err != nil {
			return err
		}
		var err error
		if user, err = s.authenticate(r); err != nil {
			return err
		}
		limits.Bytes = min(limits.Bytes, s.cfg.InformBytes)
	}
	b := getBuffer()
	defer putBuffer(b)
	account := &spend{bound: s.bodies}
	defer account.end()
	short, err := readBody(b, w, r, limits.Bytes, s.cfg.BodyTimeout, account)
	if err != nil {
		if x != nil {
			tappedOf(w).request(x.tap, b.Bytes())
		}
		var refusal *httpError
		if x != nil && errors.As(err, &refusal) && refusal.reason != brokenBody {
			x.cancel(lost("unreadable", err)) // after a broken connection it may come back instead
		}
		return err
	}
	if short {
		r = r.WithContext(context.WithoutCancel(r.Context()))
	}
	e := &exchange{gone: r.Context().Done(), reply: make(chan *soap.Envelope, 1)}
	if !blank(b.Bytes()) {
		e.env, e.err = soap.Read(b.Bytes(), r.Header.Get("Content-Type"), limits)
	}
	if inform, ok := informIn(e); ok {
		e.tap = tappedOf(w).inform(inform.DeviceID, b.Bytes())
		defer e.tap.release("")
		return s.begin(w, r, e, inform, x, byCookie, user)
	}
	if x == nil {
		return s.stray(w, e)
	}
	tappedOf(w).request(x.tap, b.Bytes())
	return s.step(w, r, x, e, b)
}

func informIn(e *exchange) (*cwmp.Inform, bool) {
	if e.env == nil || e.err != nil {
		return nil, false
	}
	inform, ok := e.env.Body.(*cwmp.Inform)
	return inform, ok
}

// find returns the open session the request belongs to: by its cookie, else by
// its connection if the session has never been seen to return the cookie.
func (s *Server) find(r *http.Request) (x *Session, byCookie bool) {
	for id := range cookieIDs(r.Header) {
		if x := s.session(id); x != nil {
			x.use.cookie.Store(true)
			return x, true
		}
	}
	if c := connectionOf(r.Context()); c != nil {
		if x := c.session.Load(); x != nil && !x.use.cookie.Load() {
			return x, false
		}
	}
	return nil, false
}

// admissible reports whether a new session may be opened now.
func (s *Server) admissible() error {
	if s.closing.Load() {
		return closingError()
	}
	if s.sessions.full() {
		return s.fullError()
	}
	return nil
}

func closingError() error {
	return &httpError{http.StatusServiceUnavailable, "closing", "the ACS is shutting down"}
}

func (s *Server) fullError() error {
	return &httpError{http.StatusServiceUnavailable, "sessions", "too many sessions are open: try again later"}
}

// begin opens a session with an Inform. old is the session the request seems to
// belong to, if any.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, e *exchange, inform *cwmp.Inform, old *Session, byCookie bool, user Identity) error {
	key := inform.DeviceID.Key()
	if old != nil {
		if old.key != key && (byCookie || old.use.connection.Load()) {
			return s.impostor(w, e, old, key)
		}
		// A CPE in a session of its own begins anew, or another one uses the
		// same connection. Either has to say who it is.
		var err error
		if user, err = s.authenticate(r); err != nil {
			return err
		}
	}
	if err := s.confirm(r, user, inform.DeviceID); errors.As(err, new(*Mismatch)) {
		return s.write(w, getFaultEnvelope(e, cwmp.Faultf(cwmp.FaultACSRequestDenied, "these credentials are not for this device")), nil)
	} else if err != nil {
		return err
	}
	x := s.newSession(r, e, inform, user.Username)
	previous, err := s.admit(x)
	if err != nil {
		x.cancel(err)
		x.tap.release("closing")
		return err
	}
	x.previous = previous
	if x.conn != nil {
		x.conn.session.Store(x)
	}
	s.metrics.informs.Inc()
	s.log.Debug("session opened", "device", string(key), "remote", r.RemoteAddr, "version", x.version.String())
	go x.run()
	w.Header().Set("Set-Cookie", x.id.setCookie())
	return s.await(w, r, x, e, nil)
}

// maxAskedTimeout bounds the SessionTimeout that a CPE may ask for in its Inform.
const maxAskedTimeout = 10 * time.Minute

func (s *Server) newSession(r *http.Request, e *exchange, inform *cwmp.Inform, user string) *Session {
	x := &Session{
		opening: opening{
			key: inform.DeviceID.Key(), inform: inform, version: e.env.Version, useVer: useVersion(e.env.SupportedVersions),
			user: user, remote: r.RemoteAddr, base: baseURL(r), started: time.Now(),
		},
		id: newSessionID(), server: s, conn: connectionOf(r.Context()),
		inbox: make(chan *exchange), done: make(chan struct{}), now: e,
	}
	asked := min(time.Duration(e.env.SessionTimeout)*time.Second, maxAskedTimeout)
	x.rpcTimeout = max(s.cfg.RPCTimeout, asked)
	x.ctx, x.cancel = context.WithCancelCause(s.base)
	if e.tap.hold() {
		x.tap = e.tap
	}
	return x
}

// baseURL returns the scheme and host of a request's URL.
func baseURL(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// useVersion answers SupportedCWMPVersions ("1.0,1.1,…") with the highest
// version that both sides have (TR-069 3.6.1), "" if the CPE gave none.
func useVersion(supported string) (use string) {
	for v := range strings.SplitSeq(supported, ",") {
		v = strings.TrimSpace(v)
		if len(v) == 3 && v[:2] == "1." && v[2] >= '0' && v[2] <= '4' && v > use {
			use = v
		}
	}
	return use
}

// impostor deals with an Inform of one device in the session of another. The
// session cannot be trusted any more and ends too.
func (s *Server) impostor(w http.ResponseWriter, e *exchange, old *Session, key cwmp.DeviceKey) error {
	err := fmt.Errorf("an Inform of %s came in it", key)
	s.log.Warn("CPE changed its identity in a session", "device", string(old.key), "claimed", string(key), "remote", old.remote)
	s.metrics.refused.WithLabelValues("identity").Inc()
	old.cancel(lost("identity", err))
	return s.write(w, getFaultEnvelope(e, cwmp.Faultf(cwmp.FaultACSRequestDenied, "this session belongs to another device")), nil)
}

// stray answers a step that belongs to no session. A 4xx makes the CPE open a
// new session with all its events, so nothing is lost.
func (s *Server) stray(w http.ResponseWriter, e *exchange) error {
	if e.err != nil {
		s.metrics.refused.WithLabelValues("unreadable").Inc()
		s.log.Warn("unreadable first message of a CPE", "error", e.err)
		code := cwmp.FaultACSInvalidArguments
		if errors.As(e.err, new(*soap.UnknownRPCError)) {
			code = cwmp.FaultACSMethodNotSupported
		}
		return s.write(w, getFaultEnvelope(e, cwmp.Faultf(code, "%v", e.err)), nil)
	}
	return &httpError{http.StatusBadRequest, "no_session",
		e.name() + " outside a session: a session begins with an Inform; if it has begun, return its cookie or keep its connection"}
}

func getFaultEnvelope(e *exchange, f *cwmp.Fault) *soap.Envelope {
	env := &soap.Envelope{Body: f}
	if e.env != nil {
		env.ID, env.HasID, env.Version = e.env.ID, e.env.HasID, e.env.Version
	}
	return env
}

// step hands a step to its session. The body's buffer is reused for the answer.
func (s *Server) step(w http.ResponseWriter, r *http.Request, x *Session, e *exchange, b *bytes.Buffer) error {
	if !x.use.cookie.Load() {
		x.use.connection.Store(true)
	}
	over := &httpError{http.StatusBadRequest, "no_session", "the session is over: begin a new one with an Inform"}
	if x.ctx.Err() != nil {
		return over // it may not have noticed yet, and would take one more step
	}
	select {
	case x.inbox <- e:
		return s.await(w, r, x, e, b)
	case <-x.ctx.Done():
		return over
	case <-r.Context().Done():
		return nil // the CPE has gone
	}
}

// await writes the session's answer to the step.
func (s *Server) await(w http.ResponseWriter, r *http.Request, x *Session, e *exchange, b *bytes.Buffer) error {
	select {
	case env := <-e.reply:
		if e.alive() { // else the session may have to send it again, and it must not arrive twice
			return s.write(w, env, b)
		}
	case <-r.Context().Done():
	}
	return nil // the CPE has gone; the session goes on and it may come back
}

// write sends an envelope, or 204 if there is none (TR-069 3.4.1, 3.7.2.4).
func (s *Server) write(w http.ResponseWriter, env *soap.Envelope, b *bytes.Buffer) error {
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(s.cfg.BodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil // the connection is closed
	}
	if env == nil {
		if s.connections.scarce() {
			// The session is over: an idle connection would keep others waiting.
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if b == nil {
		b = getBuffer()
		defer putBuffer(b)
	}
	b.Reset()
	b.Grow(4 << 10)
	text := soap.Append(b.AvailableBuffer(), env)
	h := w.Header()
	h.Set("Content-Type", `text/xml; charset="utf-8"`)
	h.Set("Content-Length", strconv.Itoa(len(text))) // never chunked: some CPE cannot read it
	if _, err := w.Write(text); err != nil {
		s.log.Debug("answer not written", "error", err) // the session's time-out ends it, or the CPE comes back
	}
	return nil
}

// refuse answers with an HTTP status.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal, expected := unauthenticated(w, err)
	if refusal == nil {
		refusal = &httpError{http.StatusInternalServerError, "internal", "internal error"}
		errors.As(err, &refusal)
	}
	s.metrics.refused.WithLabelValues(refusal.reason).Inc()
	level := s.log.Warn
	if expected || refusal.status == http.StatusServiceUnavailable { // told of by the bound
		level = s.log.Debug
	}
	host, _, splitErr := net.SplitHostPort(r.RemoteAddr)
	if splitErr != nil {
		host = r.RemoteAddr
	}
	level("request refused", "remote", host, "status", refusal.status, "error", err)
	if _, _, err := expect(w, s.cfg.BodyTimeout); err != nil {
		s.log.Debug("refusal not written", "remote", host, "error", err)
	}
	if refusal.status != http.StatusUnauthorized {
		w.Header().Set("Connection", "close") // nothing more is to be said on it for now
	}
	if refusal.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(s.retryAfter()))
	}
	http.Error(w, refusal.text, refusal.status)
}

// retryAfter returns after how many seconds a CPE that is sent away may come
// again: spread between once and twice Config.RetryAfter, so that those sent
// away together do not come back together.
func (s *Server) retryAfter() int {
	seconds := max(int((s.cfg.RetryAfter+time.Second-1)/time.Second), 1)
	return seconds + rand.IntN(seconds+1)
}
