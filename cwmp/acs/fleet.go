package acs

import (
	"context"
	"errors"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Fleet is what stands behind the ACS: it is told what CPE say and decides what
// they are asked. Package translate implements it. Methods are called from the
// session's goroutine, one at a time for a session, concurrently for different
// CPE.
type Fleet interface {
	// Inform is called when a session's Inform has been read and its sender
	// authenticated. The InformResponse is sent when it returns nil: what must
	// survive is durable by then. A *cwmp.Fault is sent as it is; any other
	// error as 8002, and the CPE will retry.
	Inform(ctx context.Context, s *Session) error

	// Serve is called when the CPE has nothing more to say for now (its first
	// empty POST, or after an answer to a HoldRequests). It asks the CPE what
	// the Fleet wants, by s.Call, one RPC at a time. When it returns, the jobs
	// that wait in the CPE's queue are run, then the session ends with 204.
	Serve(ctx context.Context, s *Session) error

	// Request answers an RPC of the CPE other than Inform and GetRPCMethods:
	// TransferComplete, DUStateChangeComplete, …. Durable before it returns.
	Request(ctx context.Context, s *Session, req cwmp.Message) (cwmp.Message, error)

	// Ended is called once for each session for which Inform was called. err
	// is nil for an orderly end.
	Ended(s *Session, err error)

	// Wake asks a CPE that is not in a session to open one (connection
	// request). It returns when the CPE has accepted the request, not when it
	// has come; an error says why it will not come before its next Inform.
	Wake(ctx context.Context, key cwmp.DeviceKey) error
}

// Job is work on a CPE inside a session: any number of s.Call, one after
// another. It may run in a later session than the one open when it was queued,
// but is started at most once.
type Job func(ctx context.Context, s *Session) error

// Caller is the part of a Session that runs RPCs; jobs and discovery are
// written against it so that they can be tested without HTTP.
type Caller interface {
	// Call sends one RPC to the CPE and returns its response. A refusal of the
	// CPE is a *cwmp.Fault; ErrSessionLost means that the session broke before
	// the answer, so that it is unknown whether the CPE acted.
	Call(ctx context.Context, req cwmp.Message) (cwmp.Message, error)
}

// The failures of sessions and queues.
var (
	ErrSessionLost = errors.New("session ended before the CPE answered")
	ErrQueueFull   = errors.New("too many operations wait for this CPE")
	ErrNoContact   = errors.New("the CPE did not open a session in time")
	ErrClosed      = errors.New("the ACS is shutting down")
)
