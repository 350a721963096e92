package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// operation is one execution of a command of the agent itself; ctx bounds it.
type operation struct {
	ctx   context.Context
	host  *Host
	agent *agent
	tx    *txn
	s     *session
}

// operate answers the Operate message (TR-369 "The Operate Message"). A command
// that fails is told in the response; only a message that names no command is
// answered with an Error (R-OPR.1).
func (s *session) operate(ctx context.Context, req *usppb.Operate) (*usppb.Response, *usp.Error) {
	commands, err := s.commands(req.GetCommand())
	if err != nil {
		return nil, err
	}
	tx := s.begin()
	log := s.audit("Operate")
	resp := &usppb.OperateResp{}
	var started []*running
	for _, ref := range commands {
		res := &usppb.OperateResp_OperationResult{ExecutedCommand: ref.Path()}
		call := Call{Command: ref, Args: req.GetInputArgs(), Key: req.GetCommandKey(), Controller: s.by.endpoint}
		if err := s.callable(call); err != nil {
			res.OperationResp = commandFailure(err)
			log.add(ref.Path(), s.auditArgs(call), err)
		} else if ref.Node.Async {
			op, err := s.start(tx, call)
			if err != nil {
				res.OperationResp = commandFailure(err)
			} else {
				if op.model != nil {
					started = append(started, op)
				}
				res.OperationResp = &usppb.OperateResp_OperationResult_ReqObjPath{ReqObjPath: dm.Ref{Node: op.request.class.node, Inst: op.request.inst}.Path()}
			}
			log.add(ref.Path(), s.auditArgs(call), err)
		} else {
			out, err := s.runSync(ctx, tx, call)
			if err != nil {
				res.OperationResp = commandFailure(err)
			} else {
				res.OperationResp = &usppb.OperateResp_OperationResult_ReqOutputArgs{ReqOutputArgs: &usppb.OperateResp_OperationResult_OutputArgs{OutputArgs: utf8Args(out)}}
			}
			log.add(ref.Path(), s.auditArgs(call), err)
		}
		resp.OperationResults = append(resp.OperationResults, res)
	}
	if err := s.commit(ctx, tx, nil, log); err != nil {
		for range started {
			s.host.operations.Add(-1)
		}
		return nil, err
	}
	for _, op := range started {
		if op.call.Command.Node.Durable {
			s.after = append(s.after, op.handOver(ctx, s.host, s.agent))
		} else {
			s.after = append(s.after, op.begin(s.host, s.agent))
		}
	}
	if !req.GetSendResp() {
		return nil, nil // R-OPR.4
	}
	return &usppb.Response{RespType: &usppb.Response_OperateResp{OperateResp: resp}}, nil
}

// commands resolves the command path of the message.
func (s *session) commands(requested string) ([]dm.Ref, *usp.Error) {
	res, err := s.resolve(requested)
	if err != nil {
		return nil, err
	}
	if len(res.refs) == 0 && !res.search {
		return nil, usp.Errorf(usp.ErrObjectDoesNotExist, requested, "%s does not exist", shorten(requested))
	}
	for _, ref := range res.refs {
		if ref.Node.Kind != dm.Command {
			return nil, unsupported(requested)
		}
	}
	return s.visible(res, requested, readCommand|execute)
}

// callable checks the right to run a command, and its arguments.
func (s *session) callable(call Call) *usp.Error {
	if !s.grants.can(call.Command, execute) {
		return usp.Errorf(usp.ErrPermissionDenied, "", "no role of the controller allows it to run %s", call.Command.Path())
	}
	var missing []string
	for _, name := range call.Command.Node.Required {
		if _, ok := call.Args[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 { // R-OPR.5
		return usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s lacks mandatory arguments: %s", call.Command.Path(), strings.Join(missing, ", "))
	}
	return nil
}

// runSync runs a command that ends at once.
func (s *session) runSync(ctx context.Context, tx *txn, call Call) (map[string]string, *usp.Error) {
	var out map[string]string
	var err error
	if call.Command.Node.Local {
		cmd := s.host.spec.commands[call.Command.Node]
		out, err = cmd.run(&operation{ctx: ctx, host: s.host, agent: s.agent, tx: tx, s: s}, call)
	} else {
		out, err = s.device.model.Operate(ctx, call)
	}
	if err != nil {
		return nil, commandError(err)
	}
	return out, nil
}

// commandError keeps to the codes that CommandFailure may have; a failure
// without a code of its own is 7022.
func commandError(err error) *usp.Error {
	e := usp.AsError(err, "")
	if e.Code == usp.ErrInternal && e.Cause == err {
		e.Code = usp.ErrCommandFailure
	}
	return e
}

func commandFailure(e *usp.Error) *usppb.OperateResp_OperationResult_CmdFailure {
	return &usppb.OperateResp_OperationResult_CmdFailure{CmdFailure: &usppb.OperateResp_OperationResult_CommandFailure{ErrCode: uint32(e.Code), ErrMsg: e.Msg}}
}

// utf8Args returns arguments fit for a message. The map itself is the Model's.
func utf8Args(args map[string]string) map[string]string {
	out := make(map[string]string, len(args))
	for k, v := range args {
		out[k] = utf8Text(v)
	}
	return out
}

// running is an asynchronous operation with its Request row. One without a model
// is a timer: nothing of it runs.
type running struct {
	request rowKey
	call    Call
	model   Model
	started time.Time
}

// start adds the Request row of an asynchronous operation (R-OPR.0); a row for
// each command matched (R-OPR.2).
func (s *session) start(tx *txn, call Call) (*running, *usp.Error) {
	h := s.host
	class := h.classes.request
	if tx.next.count(class, dm.Instance{}) >= h.cfg.Limits.AgentOperation {
		return nil, usp.Errorf(usp.ErrResourcesExceeded, "", "%d operations run on this agent already, the most it runs at once", h.cfg.Limits.AgentOperation)
	}
	wait, bad := h.waitOf(call)
	if bad != nil {
		return nil, bad
	}
	op := &running{call: call}
	if wait == 0 {
		if err := h.admit(); err != nil {
			return nil, err
		}
		op.model, op.started = s.device.model, s.device.now
	}
	err := tx.attempt(func(next *state) *usp.Error {
		n := next.numberFor(class, dm.Instance{})
		op.request, op.call.Request = rowKey{class, dm.Inst(n)}, n
		r := class.fresh()
		for rel, v := range map[string]string{
			"Alias": fmt.Sprintf("cpe-%d", n), "Originator": string(call.Controller),
			"Command": call.Command.Path(), "CommandKey": call.Key,
		} {
			r.values[class.byName[rel].index] = v
		}
		next.rows[op.request] = r
		if wait > 0 {
			next.setTimer(n, s.device.now.Add(wait))
		}
		return nil
	})
	if err != nil && op.model != nil {
		h.operations.Add(-1)
	}
	return op, err
}

// admit counts an operation that is about to run, if there is room for it.
func (h *Host) admit() *usp.Error {
	if h.operations.Add(1) > int64(h.cfg.Limits.Operations) {
		h.operations.Add(-1)
		return usp.Errorf(usp.ErrResourcesExceeded, "", "%d operations are running, the most this bridge runs at once", h.cfg.Limits.Operations)
	}
	return nil
}

// handOver has the Model take an operation over before it is answered, so that
// what was answered outlives the bridge. It returns what is left to do behind
// the answer: to tell that the Model has refused it.
func (op *running) handOver(ctx context.Context, h *Host, a *agent) func() {
	defer h.operations.Add(-1)
	out, err := op.model.Operate(ctx, op.call)
	if errors.Is(err, ErrDetached) {
		return func() {}
	}
	return func() { op.complete(h, a, out, err) }
}

// begin makes the operation cancellable and returns what runs it.
func (op *running) begin(h *Host, a *agent) func() {
	ctx, cancel := context.WithCancel(h.ctx)
	request := op.request.inst.At(0)
	a.mu.Lock()
	if a.cancels == nil {
		a.cancels = map[uint32]context.CancelFunc{}
	}
	a.cancels[request] = cancel
	a.mu.Unlock()
	h.agents.repin(a)
	h.background.Add(1)
	return func() {
		go func() {
			defer h.background.Done()
			defer h.agents.release(a)
			defer h.operations.Add(-1)
			out, err := op.model.Operate(ctx, op.call)
			canceled := ctx.Err() != nil && h.ctx.Err() == nil
			a.mu.Lock()
			delete(a.cancels, request)
			a.mu.Unlock()
			cancel()
			if errors.Is(err, ErrDetached) {
				if canceled {
					op.cancelDetached(h, a)
				}
				return // the Model tells of its end
			}
			if err != nil && h.ctx.Err() != nil {
				return // the bridge stops; the operation is reported as failed when it runs again
			}
			if err != nil && canceled {
				err = usp.Errorf(usp.ErrCommandCanceled, "", "canceled by a controller")
			}
			op.complete(h, a, out, err)
		}()
	}
}
