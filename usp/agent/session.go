package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// session is the handling of one message from one controller.
type session struct {
	host     *Host
	agent    *agent
	by       *controller
	grants   *access // once the device is open
	reply    mtp.Address
	device   *device
	resolver *resolver
	after    []func() // to be done once the response is on its way
	answered answered // nil while nothing waits for that

	// triggered: the message is one of a subscription's TriggerConfigSettings.
	triggered bool
}

// handle answers a request. nil, nil means that there is nothing to answer.
func (s *session) handle(ctx context.Context, req *usppb.Request) (*usppb.Response, *usp.Error) {
	switch r := req.GetReqType().(type) {
	case *usppb.Request_Set, *usppb.Request_Add, *usppb.Request_Delete, *usppb.Request_Operate:
		s.agent.write.Lock()
		defer s.agent.write.Unlock()
		s.agent.beginChange()
		defer s.agent.endChange()
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		return s.change(ctx, req)
	case *usppb.Request_GetSupportedProtocol:
		return getSupportedProtocol(), nil
	case *usppb.Request_Get:
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		return s.get(ctx, r.Get)
	case *usppb.Request_GetInstances:
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		return s.getInstances(r.GetInstances)
	case *usppb.Request_GetSupportedDm:
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		return s.getSupportedDM(r.GetSupportedDm)
	case *usppb.Request_Register, *usppb.Request_Deregister, *usppb.Request_Notify:
		// Register and Deregister go to a USP Broker's controller, Notify to a
		// controller; an agent is neither (TR-369 "The Register Message").
		return nil, usp.Errorf(usp.ErrMessageNotSupported, "", "%s is not a message for an agent", record.TypeOf(&usppb.Msg{Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}}}))
	}
	return nil, usp.Errorf(usp.ErrMessageNotSupported, "", "the type of the request is not known") // R-MSG.1
}

func (s *session) change(ctx context.Context, req *usppb.Request) (*usppb.Response, *usp.Error) {
	switch r := req.GetReqType().(type) {
	case *usppb.Request_Set:
		return s.set(ctx, r.Set)
	case *usppb.Request_Add:
		return s.add(ctx, r.Add)
	case *usppb.Request_Delete:
		return s.delete(ctx, r.Delete)
	case *usppb.Request_Operate:
		return s.operate(ctx, r.Operate)
	}
	return nil, usp.Errorf(usp.ErrMessageNotSupported, "", "the type of the request is not known")
}

// open takes a view of the device for this message.
func (s *session) open(ctx context.Context) *usp.Error {
	d, err := s.host.open(ctx, s.agent)
	if err != nil {
		if errors.Is(err, ErrUnknownEndpoint) {
			return usp.Errorf(usp.ErrRequestDenied, "", "the device has been removed")
		}
		return usp.Errorf(usp.ErrInternal, "", "the device cannot be loaded: %w", err)
	}
	s.device, s.grants = d, s.by.roles.in(d)
	s.resolver = &resolver{device: d, grants: s.grants, left: s.host.cfg.Limits.Matches}
	return nil
}

// begin starts the txn of this message.
func (s *session) begin() *txn {
	tx := s.host.begin(s.agent, s.by, s.via())
	tx.schema = s.device.schema
	return tx
}

// resolve finds the elements of a path as the controller sees them.
func (s *session) resolve(p string) (resolved, *usp.Error) { return s.resolver.resolve(p) }

// visible leaves out of what a path stands for the elements on which the
// controller has none of some rights: to it they do not exist. The error is 7026
// for a path that addresses only such.
func (s *session) visible(res resolved, requested string, some rights) ([]dm.Ref, *usp.Error) {
	var refs []dm.Ref
	for _, ref := range res.refs {
		if s.grants.on(ref)&some != 0 {
			refs = append(refs, ref)
		}
	}
	if len(refs) == 0 && len(res.refs) > 0 && !res.search {
		return nil, unsupported(requested)
	}
	return refs, nil
}

// checkPaths bounds the paths of a message.
func (s *session) checkPaths(n int) *usp.Error {
	if most := s.host.cfg.Limits.Paths; n > most {
		return usp.Errorf(usp.ErrResourcesExceeded, "", "%d paths in one message: at most %d are handled", n, most)
	}
	return nil
}

// getSupportedProtocol answers the GetSupportedProtocol message.
func getSupportedProtocol() *usppb.Response {
	return &usppb.Response{RespType: &usppb.Response_GetSupportedProtocolResp{
		GetSupportedProtocolResp: &usppb.GetSupportedProtocolResp{AgentSupportedProtocolVersions: versions()},
	}}
}

// descend finds an element by its path relative to an object, through
// single-instance objects (TR-369 "Relative Paths"); nil if there is none.
func descend(n *dm.Node, rel string) *dm.Node {
	start := 0
	for i := 0; i <= len(rel); i++ {
		if i < len(rel) && rel[i] != '.' {
			continue
		}
		if start > 0 && n.Kind != dm.Object {
			return nil
		}
		if n = n.Child(rel[start:i]); n == nil {
			return nil
		}
		start = i + 1
	}
	return n
}

// setting is one param_setting of Set or Add.
type setting interface {
	GetParam() string
	GetValue() string
	GetRequired() bool
}

// target is an object that Set updates or a row that Add creates.
type target struct {
	object  dm.Ref
	params  []Assignment
	failed  []usp.ParamError // of parameters that fail alone
	err     *usp.Error       // of the whole target; Params relative to object
	before  map[string]Value // of a device's parameters
	updated map[string]string
	created dm.Ref
	keys    map[string]string
}

// assign checks the settings of one target as far as the data model and the
// controller's rights tell.
func assign[S setting](s *session, t *target, settings []S, adding bool) {
	var refused []usp.ParamError
	for _, set := range settings {
		n, err := s.settable(t.object, set.GetParam(), adding)
		if err == nil {
			t.params = append(t.params, Assignment{Param: n, Value: set.GetValue(), Required: set.GetRequired() || adding && inKey(t.object.Node, set.GetParam())})
			continue
		}
		e := usp.ParamError{Param: set.GetParam(), Code: err.Code, Msg: err.Msg}
		if set.GetRequired() {
			refused = append(refused, e)
		}
		t.failed = append(t.failed, e)
	}
	if len(refused) > 0 {
		// R-SET.2, R-ADD.3
		t.err = &usp.Error{
			Code: usp.ErrRequiredParameterFailed, Params: refused,
			Msg: fmt.Sprintf("required parameter %s of %s: %s", shorten(refused[0].Param), t.object.Path(), refused[0].Msg),
		}
		if denied(refused) {
			t.err.Code = usp.ErrPermissionDenied // TP-469 2.16, 2.26
		}
	}
}

// denied reports whether it is for want of permission alone that parameters are
// refused.
func denied(refused []usp.ParamError) bool {
	return !slices.ContainsFunc(refused, func(p usp.ParamError) bool { return p.Code != usp.ErrPermissionDenied })
}

func inKey(table *dm.Node, rel string) bool {
	for _, key := range table.Unique {
		for _, name := range key {
			if name == rel {
				return true
			}
		}
	}
	return false
}

// settable returns the node of a parameter to be written, or why it cannot be.
func (s *session) settable(object dm.Ref, rel string, adding bool) (*dm.Node, *usp.Error) {
	n := descend(object.Node, rel)
	if n == nil || n.Kind != dm.Param {
		return nil, usp.Errorf(usp.ErrUnsupportedParameter, rel, "%s has no parameter %s", object.Path(), shorten(rel))
	}
	switch right := s.grants.on(dm.Ref{Node: n, Inst: object.Inst}); {
	case right&(readParam|writeParam) == 0:
		return nil, usp.Errorf(usp.ErrUnsupportedParameter, rel, "%s has no parameter %s", object.Path(), shorten(rel))
	case right&writeParam == 0:
		return nil, usp.Errorf(usp.ErrPermissionDenied, rel, "no role of the controller allows it to write %s", rel)
	}
	if n.Access == dm.ReadWrite || n.Access == dm.WriteOnce && adding {
		return n, nil
	}
	return nil, usp.Errorf(usp.ErrReadOnly, rel, "%s cannot be written", rel)
}

// took takes over what the device or the agent's own objects answered.
func (t *target) took(err *usp.Error, failed map[int]*usp.Error) {
	if err != nil {
		t.err = err
		return
	}
	for i, as := range t.params {
		if e := failed[i]; e != nil {
			t.failed = append(t.failed, usp.ParamError{Param: t.relative(as.Param), Code: e.Code, Msg: e.Msg})
		}
	}
}

// relative returns a parameter's path relative to the target's object.
func (t *target) relative(n *dm.Node) string { return n.Path[len(t.object.Node.Path):] }

// atFault leaves out of failed targets those that failed because of others.
func atFault(failed []*target) []*target {
	var out []*target
	for _, t := range failed {
		if !errors.Is(t.err, ErrCollateral) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return failed
	}
	return out
}

// whole makes of failed targets the error of the whole message: the parameters
// at fault with their whole paths (TR-369 "Error Fields").
func whole(failed []*target) *usp.Error {
	failed = atFault(failed)
	first := failed[0].err
	e := &usp.Error{Code: first.Code, Msg: first.Msg, Cause: first}
	for _, t := range failed {
		path := t.err.Path
		if t.object.Node != nil {
			path = t.object.Path()
		}
		if len(t.err.Params) == 0 {
			e.Params = append(e.Params, usp.ParamError{Param: path, Code: t.err.Code, Msg: t.err.Msg})
		}
		for _, p := range t.err.Params {
			p.Param = path + p.Param
			e.Params = append(e.Params, p)
		}
	}
	return e
}
