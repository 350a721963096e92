package acs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// exchange is one HTTP request of the CPE inside its session, and the way back.
type exchange struct {
	gone  <-chan struct{}     // closed when the CPE's connection has broken
	env   *soap.Envelope      // nil: an empty POST
	err   error               // why the body could not be read; env may hold its id
	reply chan *soap.Envelope // room for one; nil is sent for 204
	tap   *recording          // of an Inform's session, nil: nobody captures it
}

func (e *exchange) alive() bool {
	select {
	case <-e.gone:
		return false
	default:
		return true
	}
}

func (e *exchange) name() string {
	switch {
	case e.env == nil || e.env.Body == nil:
		return "an empty request"
	}
	return e.env.Body.RPC()
}

// step is what one POST of the CPE means to the session.
type step uint8

const (
	stepUnreadable step = iota
	stepEmpty
	stepRequest
	stepAnswer
	stepRepeated // something said before, or nothing, instead of an answer
	stepWrong
)

// kind tells what the exchange is, given the RPC that is outstanding (nil:
// none). The id of an answer is not trusted: CPE leave it out or send a
// constant. As only one RPC is ever outstanding, an answer of its type is its
// answer, unless its id shows that it is the previous answer once more.
func (x *Session) kind(e *exchange, c *call) step {
	var unknown *soap.UnknownRPCError
	switch {
	case errors.As(e.err, &unknown):
		if strings.HasSuffix(unknown.Name, "Response") {
			return stepWrong
		}
		return stepRequest
	case e.err != nil:
		return stepUnreadable
	case e.env == nil || e.env.Body == nil:
		if c != nil {
			return stepRepeated
		}
		return stepEmpty
	}
	rpc := e.env.Body.RPC()
	_, fault := e.env.Body.(*cwmp.Fault)
	answer := fault || strings.HasSuffix(rpc, "Response")
	switch {
	case !answer:
		return stepRequest
	case c == nil:
		return stepWrong
	case e.env.ID == x.answered.id && x.answered.id != "" && e.env.ID != c.id && (fault || rpc == x.answered.rpc+"Response"):
		return stepRepeated
	case fault || rpc == c.req.RPC()+"Response":
		return stepAnswer
	}
	return stepWrong
}

// run is the session's goroutine.
func (x *Session) run() {
	s := x.server
	defer close(x.done)
	if x.previous != nil {
		<-x.previous.done // one session of a CPE at a time, also in the Fleet's eyes
		x.previous = nil
	}
	x.timer = time.NewTimer(time.Hour)
	defer x.timer.Stop()

	informed, err := x.converse()
	if err == nil {
		err = x.broken()
	}
	x.cancel(lost("ended", errors.New("the session is over")))
	s.next(x, true) // jobs that come from now on wait for the next session
	if x.now != nil && x.now.name() == "Inform" {
		x.replyFault(cwmp.NewFault(cwmp.FaultACSInternalError)) // ended before it was taken
	}
	x.reply(nil) // 204 where no answer has been given
	s.metrics.ended(x.started, err)
	x.tap.release(outcomeOf(err))
	if err != nil {
		s.log.Warn("session failed", "device", string(x.key), "remote", x.remote, "error", err)
	} else {
		s.log.Debug("session ended", "device", string(x.key), "rpcs", x.rpcs)
	}
	if informed {
		x.tellEnded(err)
	}
	s.dismiss(x)
}

func (x *Session) tellEnded(err error) {
	defer func() {
		if p := recover(); p != nil {
			//nolint:errcheck // logged there; nobody is left to tell
			_ = x.server.log.panicked(x.key, "the end of the session", p)
		}
	}()
	x.server.cfg.Fleet.Ended(x, err)
}

// converse goes through the session from the Inform to its end (TR-069 3.7.2).
// HoldRequests is the ACS's to send (3.5) and is never set: what a CPE has to
// tell comes first, and its next empty POST is then our turn. In a CPE's own
// envelope it means nothing.
func (x *Session) converse() (informed bool, err error) {
	defer func() {
		if p := recover(); p != nil { // the Fleet's panics are caught in shield
			err = lost("panic", x.server.log.panicked(x.key, "the session", p))
		}
	}()
	if err := x.broken(); err != nil {
		return false, err
	}
	informed = true
	if err := x.shield("Inform", x.server.cfg.Fleet.Inform); err != nil {
		x.replyFault(faultOf(err))
		return informed, lost("refused", fmt.Errorf("Inform refused: %w", err))
	}
	x.reply(&soap.Envelope{ID: x.now.env.ID, HasID: x.now.env.HasID, Version: x.version, UseVersion: x.useVer,
		Body: &cwmp.InformResponse{MaxEnvelopes: 1}}) // A.3.3.1: always 1
	for {
		if err := x.receive(x.ctx, x.server.cfg.SessionTimeout); err != nil {
			return informed, err
		}
		switch x.kind(x.now, nil) {
		case stepEmpty:
			x.serving = true
			return informed, x.serve()
		case stepRequest:
			if err := x.serveRequest(); err != nil {
				return informed, err
			}
		case stepUnreadable:
			err := x.now.err
			x.replyFault(cwmp.Faultf(cwmp.FaultACSInvalidArguments, "%v", err))
			return informed, lost("unreadable", err)
		default:
			err := fmt.Errorf("%s without a request of the ACS", x.now.name())
			x.replyFault(cwmp.Faultf(cwmp.FaultACSInvalidArguments, "%v", err))
			return informed, lost("wrong_answer", err)
		}
	}
}

// serve is the ACS's turn: what the Fleet wants, then the jobs in the queue.
func (x *Session) serve() error {
	s := x.server
	err := x.shield("Serve", s.cfg.Fleet.Serve)
	for x.ctx.Err() == nil {
		q := s.next(x, time.Since(x.started) > s.cfg.SessionDuration)
		if q == nil {
			break
		}
		x.runJob(q)
	}
	if x.outstanding != nil && x.ctx.Err() == nil {
		// The session ends in order only when the CPE has answered (3.7.2.4).
		if _, lateErr := x.await(x.ctx, x.outstanding); x.broken() != nil {
			return lateErr
		}
	}
	if broken := x.broken(); broken != nil {
		return broken
	}
	return err
}

// runJob runs one job. Its context ends with that of the Do it came by and with
// the session.
func (x *Session) runJob(q *queued) {
	defer close(q.done)
	ctx, cancel := context.WithCancelCause(q.ctx)
	defer cancel(nil)
	defer context.AfterFunc(x.ctx, func() { cancel(context.Cause(x.ctx)) })()
	q.err = x.shield("a job", func(_ context.Context, x *Session) error { return q.job(ctx, x) })
}

// shield calls Fleet code and turns a panic in it into an error that ends the
// session.
func (x *Session) shield(what string, f func(context.Context, *Session) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = x.server.log.panicked(x.key, what, p)
			x.cancel(lost("panic", err))
		}
	}()
	return f(x.ctx, x)
}

// serveRequest answers an RPC of the CPE. Its error means that the CPE has sent
// too many for one session.
func (x *Session) serveRequest() error {
	if x.requests++; x.requests > x.server.cfg.MaxRequests {
		x.replyFault(cwmp.Faultf(cwmp.FaultACSResourcesExceeded, "more than %d requests in one session", x.server.cfg.MaxRequests))
		return lost("too_many_requests", fmt.Errorf("the CPE sent more than %d requests", x.server.cfg.MaxRequests))
	}
	name, resp, err := "unknown", cwmp.Message(nil), error(nil)
	if x.now.err != nil {
		err = cwmp.Faultf(cwmp.FaultACSMethodNotSupported, "%v", x.now.err)
	} else {
		name = x.now.env.Body.RPC()
		resp, err = x.answerRequest(x.now.env.Body)
	}
	if err == nil && resp == nil {
		err = fmt.Errorf("%s: no answer to %s", x.key, name)
	}
	if err != nil {
		x.server.metrics.requests.WithLabelValues(name, "fault").Inc()
		x.server.log.Warn("request of the CPE refused", "device", string(x.key), "rpc", name, "error", err)
		x.replyFault(faultOf(err))
		return nil
	}
	x.server.metrics.requests.WithLabelValues(name, "ok").Inc()
	x.reply(&soap.Envelope{ID: x.now.env.ID, HasID: x.now.env.HasID, Version: x.version, Body: resp})
	return nil
}

// answerRequest finds the answer: GetRPCMethods here, ACS methods at the Fleet;
// a CPE method sent to the ACS is not supported (TR-069 A.5.2, 8000).
func (x *Session) answerRequest(req cwmp.Message) (resp cwmp.Message, err error) {
	switch req.(type) {
	case *cwmp.GetRPCMethods:
		return &cwmp.GetRPCMethodsResponse{Methods: x.server.cfg.Methods}, nil
	case *cwmp.TransferComplete, *cwmp.AutonomousTransferComplete, *cwmp.DUStateChangeComplete,
		*cwmp.AutonomousDUStateChangeComplete, *cwmp.RequestDownload, *cwmp.Kicked:
		err = x.shield(req.RPC(), func(ctx context.Context, x *Session) (err error) {
			resp, err = x.server.cfg.Fleet.Request(ctx, x, req)
			return err
		})
		return resp, err
	}
	return nil, cwmp.Faultf(cwmp.FaultACSMethodNotSupported, "%s is not a method of the ACS", req.RPC())
}

// receive waits for the CPE's next step and puts it into x.now. An error other
// than ctx's means that the session is broken.
func (x *Session) receive(ctx context.Context, timeout time.Duration) error {
	x.timer.Reset(timeout)
	select {
	case x.now = <-x.inbox:
		return nil
	case <-x.timer.C:
		return x.lose(lost("timeout", fmt.Errorf("nothing came from the CPE for %v", timeout)))
	case <-x.ctx.Done():
		return x.broken()
	case <-ctx.Done():
		if err := x.broken(); err != nil {
			return err // a job's ctx ends with the session's: the session is the reason
		}
		return ctx.Err()
	}
}

// reply answers the waiting step, if there is one; nil is 204.
func (x *Session) reply(env *soap.Envelope) {
	if x.now == nil {
		return
	}
	x.now.reply <- env
	x.now = nil
}

// replyFault answers the waiting step with a SOAP fault.
func (x *Session) replyFault(f *cwmp.Fault) {
	if x.now == nil {
		return
	}
	env := &soap.Envelope{Version: x.version, Body: f}
	if x.now.env != nil {
		env.ID, env.HasID = x.now.env.ID, x.now.env.HasID
	}
	x.reply(env)
}

// faultOf makes of an error the fault for the CPE: a fault of the ACS as it is,
// anything else as 8002 without its text, which is none of the CPE's business.
func faultOf(err error) *cwmp.Fault {
	var f *cwmp.Fault
	if errors.As(err, &f) && f.Code.ByACS() {
		return f
	}
	return cwmp.NewFault(cwmp.FaultACSInternalError)
}
