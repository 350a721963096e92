package acs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// Session is one CWMP session: the CPE's Inform and what followed. Its methods
// are for the Fleet's methods and for jobs, while they run.
type Session struct {
	opening
	id       sessionID
	detached Caller // of Detached and Through; nil in real sessions

	server   *Server
	conn     *connection // the TCP connection of the Inform; nil without ConnContext
	previous *Session    // the session this one takes over from, until it has ended
	ctx      context.Context
	cancel   context.CancelCauseFunc
	inbox    chan *exchange // unbuffered: a step is taken over or refused, never lost
	done     chan struct{}  // closed when the session has ended
	use      sessionUse
	tap      *recording // nil: nobody captures the session

	// Only the session's goroutine uses what follows.
	data        any       // the Fleet's
	now         *exchange // the CPE's step that waits for its answer
	serving     bool      // the ACS's turn: Call is allowed
	outstanding *call     // a request whose answer nobody waits for any more
	answered    answered  // the last RPC that was answered
	rpcTimeout  time.Duration
	rpcs        int // sent by us, for ids
	requests    int // received from the CPE
	timer       *time.Timer
}

// opening is how a session began.
type opening struct {
	key     cwmp.DeviceKey
	inform  *cwmp.Inform
	version cwmp.Version
	useVer  string // UseCWMPVersion of the InformResponse, "" for none
	user    string
	remote  string
	base    string // "http://host:port" as the CPE wrote it
	started time.Time
}

// answered remembers the RPC answered last, to know its answer if it comes twice.
type answered struct{ id, rpc string }

// Detached returns a Session that is not tied to HTTP: its Call is c's. It is
// for tests of a Fleet or of jobs.
func Detached(inform *cwmp.Inform, c Caller) *Session {
	return &Session{opening: opening{key: inform.DeviceID.Key(), inform: inform, started: time.Now()}, detached: c}
}

// Key returns the key of the session's CPE.
func (x *Session) Key() cwmp.DeviceKey { return x.key }

// DeviceID returns who the CPE says it is, in its Inform.
func (x *Session) DeviceID() cwmp.DeviceID { return x.inform.DeviceID }

// Inform returns the Inform that opened the session. It must not be changed.
func (x *Session) Inform() *cwmp.Inform { return x.inform }

// Version returns the CWMP version of the CPE's namespace; it is answered in kind.
func (x *Session) Version() cwmp.Version { return x.version }

// Speaks returns the latest version of CWMP that the CPE is known to speak: that
// of its namespace, or a later one that its Inform has in SupportedCWMPVersions
// (TR-069 3.6.1). It may know RPCs of later versions all the same.
func (x *Session) Speaks() cwmp.Version {
	if x.useVer == "" {
		return x.version
	}
	return max(x.version, cwmp.Version(x.useVer[len("1.")]-'0')) // useVersion made it
}

// User returns the name the CPE authenticated with, "" if it did not.
func (x *Session) User() string { return x.user }

// RemoteAddr returns the IP address and port the Inform came from.
func (x *Session) RemoteAddr() string { return x.remote }

// Data returns what SetData kept, nil before. Like SetData it is for the Fleet's
// methods, which a session calls one at a time.
func (x *Session) Data() any { return x.data }

// SetData keeps what the Fleet knows of the session's CPE, to have it at hand in
// its later methods.
func (x *Session) SetData(v any) { x.data = v }

// BaseURL returns the scheme and the host that the CPE addressed the ACS by,
// "http://acs.example.net:7547": what else listens there it reaches by it too.
func (x *Session) BaseURL() string { return x.base }

// Started returns when the Inform came.
func (x *Session) Started() time.Time { return x.started }

// call is an RPC on its way to the CPE.
type call struct {
	id   string
	req  cwmp.Message
	sent int // how often it was handed to a connection believed alive
}

// maxSends bounds the repetition of a read whose answer a CPE keeps owing.
const maxSends = 2

// Call implements Caller. It is to be called from the goroutine that the Fleet's
// method or the job was started in, and only in Serve and in jobs: before that
// it is the CPE's turn to speak (TR-069 3.7.2.3). An RPC that the CPE's version
// does not have is not sent: it is fault 9000.
//
// When ctx ends first, Call returns its error; the RPC stays with the CPE, which
// may still act on it, and the session's next Call waits for the CPE first.
func (x *Session) Call(ctx context.Context, req cwmp.Message) (cwmp.Message, error) {
	if x.detached != nil {
		return x.detached.Call(ctx, req)
	}
	if !x.serving {
		return nil, fmt.Errorf("%s: %s called while it is not the ACS's turn", x.key, req.RPC())
	}
	resp, err := x.call(ctx, req)
	x.server.metrics.rpcs.WithLabelValues(req.RPC(), callOutcome(err)).Inc()
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func callOutcome(err error) string {
	var fault *cwmp.Fault
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &fault):
		return "fault"
	case errors.Is(err, ErrSessionLost):
		return "lost"
	}
	return "given_up"
}

func (x *Session) call(ctx context.Context, req cwmp.Message) (cwmp.Message, error) {
	if err := x.broken(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %s not sent: %w", x.key, req.RPC(), err)
	}
	if x.outstanding != nil {
		if _, err := x.await(ctx, x.outstanding); x.broken() != nil || ctx.Err() != nil {
			return nil, err
		}
	}
	x.rpcs++
	c := &call{id: x.nextID(), req: req}
	x.send(c)
	return x.await(ctx, c)
}

// nextID returns an id that is unique in the session, and between sessions of a
// CPE as far as four random bytes go, so that a late answer is told apart.
func (x *Session) nextID() string {
	b := make([]byte, 0, 16)
	for _, c := range x.id[:4] {
		b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
	}
	return string(strconv.AppendInt(append(b, '-'), int64(x.rpcs), 10))
}

// send answers the CPE's waiting step with the RPC. If its connection is gone
// already the RPC has not left; await then sends it when the CPE comes again.
func (x *Session) send(c *call) {
	if x.now != nil && x.now.alive() {
		c.sent++
	}
	x.reply(&soap.Envelope{ID: c.id, HasID: true, Version: x.version, Body: c.req})
}

// await waits for the answer to c and returns it, serving requests of the CPE
// that come in between. c stays outstanding if ctx ends first.
func (x *Session) await(ctx context.Context, c *call) (cwmp.Message, error) {
	x.outstanding = c
	for {
		if err := x.receive(ctx, x.rpcTimeout); err != nil {
			if x.broken() == nil {
				return nil, fmt.Errorf("%s: %s is with the CPE, its answer no longer waited for: %w", x.key, c.req.RPC(), err)
			}
			return nil, err
		}
		switch x.kind(x.now, c) {
		case stepAnswer:
			x.outstanding, x.answered = nil, answered{c.id, c.req.RPC()}
			if fault, refused := x.now.env.Body.(*cwmp.Fault); refused {
				return nil, fault
			}
			return x.now.env.Body, nil
		case stepRequest:
			if err := x.serveRequest(); err != nil {
				return nil, x.lose(err)
			}
		case stepRepeated:
			// The CPE has not seen our request: its connection broke and it
			// repeats what it said before. What is not sure to be harmless
			// twice is sent again only if it never left.
			if c.sent > 0 && (!harmless(c.req) || c.sent >= maxSends) {
				x.reply(nil)
				return nil, x.lose(lost("unanswered", fmt.Errorf("the CPE did not answer %s and came back", c.req.RPC())))
			}
			x.send(c)
		default:
			return nil, x.lose(x.refuseStep(c))
		}
	}
}

// harmless reports whether sending the RPC twice does what sending it once does.
func harmless(req cwmp.Message) bool {
	switch req.(type) {
	case *cwmp.GetRPCMethods, *cwmp.GetParameterNames, *cwmp.GetParameterValues, *cwmp.GetParameterAttributes,
		*cwmp.SetParameterAttributes, *cwmp.GetQueuedTransfers, *cwmp.GetAllQueuedTransfers, *cwmp.GetOptions:
		return true
	}
	return false
}

// refuseStep answers a step that cannot be the answer to c with fault 8003 and
// says what was wrong with it.
func (x *Session) refuseStep(c *call) error {
	var err error
	if x.now.err != nil {
		err = lost("unreadable", fmt.Errorf("the CPE's answer to %s cannot be read: %w", c.req.RPC(), x.now.err))
	} else {
		err = lost("wrong_answer", fmt.Errorf("the CPE answered %s with %s", c.req.RPC(), x.now.name()))
	}
	x.replyFault(cwmp.Faultf(cwmp.FaultACSInvalidArguments, "%v", errors.Unwrap(err)))
	return err
}

// sessionError is why a session ended out of order. It is ErrSessionLost to
// those who wait for its CPE.
type sessionError struct {
	outcome string // label of the sessions counter
	cause   error
}

func lost(outcome string, cause error) error { return &sessionError{outcome, cause} }

func (e *sessionError) Error() string   { return ErrSessionLost.Error() + ": " + e.cause.Error() }
func (e *sessionError) Unwrap() error   { return e.cause }
func (e *sessionError) Is(t error) bool { return t == ErrSessionLost }

// lose marks the session as broken, so that nothing more is sent in it, and
// returns the error with the CPE's name.
func (x *Session) lose(err error) error {
	x.cancel(err)
	return x.broken()
}

// broken returns why the session is broken, nil while it is not.
func (x *Session) broken() error {
	if x.ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", x.key, context.Cause(x.ctx))
}
