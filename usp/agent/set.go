package agent

import (
	"context"
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// setPath is one update_obj of a Set message: the objects that its path
// matches, which are updated all or none (R-SET.2a).
type setPath struct {
	requested string
	targets   []*target
	err       *usp.Error // of the path as such
}

// set answers the Set message (TR-369 "The Set Message").
func (s *session) set(ctx context.Context, req *usppb.Set) (*usppb.Response, *usp.Error) {
	if err := s.checkPaths(len(req.GetUpdateObjs())); err != nil {
		return nil, err
	}
	var paths []*setPath
	var failed []*target
	for _, obj := range req.GetUpdateObjs() {
		p := s.planSet(obj)
		paths = append(paths, p)
		failed = append(failed, p.failures()...)
	}
	if len(failed) > 0 && !req.GetAllowPartial() {
		return nil, whole(failed) // R-SET.1
	}
	tx := s.begin()
	if req.GetAllowPartial() {
		s.setEach(ctx, tx, paths)
	} else if err := s.setAll(ctx, tx, paths); err != nil {
		return nil, err
	}
	var events []Event
	log := s.audit("Set")
	for _, p := range paths {
		for _, t := range p.targets {
			s.updatedValues(t, &events)
			log.target(t)
		}
	}
	if err := s.commit(ctx, tx, events, log); err != nil {
		return nil, err
	}
	return setResp(paths), nil
}

// via is the connection by which subscriptions of the built-in controller live.
func (s *session) via() any {
	if s.by.instance == 0 {
		return s.reply.Conn
	}
	return nil
}

func (p *setPath) failures() []*target {
	if p.err != nil {
		return []*target{{err: p.err}}
	}
	var failed []*target
	for _, t := range p.targets {
		if t.err != nil {
			failed = append(failed, t)
		}
	}
	return failed
}

func (s *session) planSet(obj *usppb.Set_UpdateObject) *setPath {
	p := &setPath{requested: obj.GetObjPath()}
	res, err := s.resolve(obj.GetObjPath())
	if err == nil && len(res.refs) == 0 && !res.search {
		err = usp.Errorf(usp.ErrObjectDoesNotExist, obj.GetObjPath(), "%s does not exist", shorten(obj.GetObjPath()))
	}
	if p.err = err; err != nil {
		return p
	}
	for _, ref := range res.refs {
		switch {
		case !ref.Node.IsObject():
			p.err = unsupported(p.requested)
		case ref.IsTable():
			p.err = usp.Errorf(usp.ErrObjectDoesNotExist, p.requested, "%s is a table; name a row of it, or * for all", shorten(p.requested))
		}
		if p.err != nil {
			p.targets = nil
			return p
		}
		t := &target{object: ref}
		assign(s, t, obj.GetParamSettings(), false)
		if s.grants.can(ref, readObj) || !t.unknown() {
			p.targets = append(p.targets, t)
		} else if !res.search {
			p.err = unsupported(p.requested)
		}
	}
	return p
}

// unknown reports whether none of the settings is of a parameter that the
// controller may know of.
func (t *target) unknown() bool {
	return len(t.params) == 0 && !slices.ContainsFunc(t.failed, func(p usp.ParamError) bool { return p.Code != usp.ErrUnsupportedParameter })
}

// setAll updates everything or nothing: first the agent's own objects, on a
// copy that is thrown away if the device then refuses its part (R-SET.1).
func (s *session) setAll(ctx context.Context, tx *txn, paths []*setPath) *usp.Error {
	var all []*target
	for _, p := range paths {
		all = append(all, p.targets...)
	}
	return s.setTogether(ctx, tx, all)
}

func (s *session) setTogether(ctx context.Context, tx *txn, targets []*target) *usp.Error {
	saved := tx.next
	var remote []*target
	var failed []*target
	for _, t := range targets {
		switch {
		case len(t.params) == 0:
		case t.params[0].Param.Local:
			res := tx.set(Update{Object: t.object, Params: t.params})
			t.took(res.Err, res.Failed)
			t.values(res.Values)
			if t.err != nil {
				failed = append(failed, t)
			}
		default:
			remote = append(remote, t)
		}
	}
	if len(failed) == 0 {
		failed = s.setDevice(ctx, remote, false)
	}
	if len(failed) > 0 {
		tx.next = saved
		return whole(failed)
	}
	return nil
}

// setDevice hands updates to the device and returns those that failed.
func (s *session) setDevice(ctx context.Context, targets []*target, allowPartial bool) (failed []*target) {
	if len(targets) == 0 {
		return nil
	}
	updates := make([]Update, len(targets))
	for i, t := range targets {
		updates[i] = Update{Object: t.object, Params: t.params}
	}
	for _, t := range targets {
		t.remember(s.device)
	}
	for i, res := range s.device.model.Set(ctx, updates, allowPartial) {
		targets[i].took(res.Err, res.Failed)
		targets[i].values(res.Values)
		if res.Err != nil {
			failed = append(failed, targets[i])
		}
	}
	return failed
}

// remember keeps the values from before, if anybody is to be told of a change.
func (t *target) remember(d *device) {
	if len(d.index().subscribers) == 0 {
		return
	}
	refs := make([]dm.Ref, len(t.params))
	for i, as := range t.params {
		refs[i] = dm.Ref{Node: as.Param, Inst: t.object.Inst}
	}
	t.before = make(map[string]Value, len(refs))
	for i, v := range d.model.Peek(refs) {
		t.before[t.relative(refs[i].Node)] = v
	}
}

// setEach updates what can be (R-SET.0). Objects matched by one search path
// stand or fall together (R-SET.2a).
func (s *session) setEach(ctx context.Context, tx *txn, paths []*setPath) {
	var single []*target
	for _, p := range paths {
		if len(p.failures()) > 0 {
			continue
		}
		if len(p.targets) == 1 && len(p.targets[0].params) > 0 && !p.targets[0].params[0].Param.Local {
			single = append(single, p.targets[0])
			continue
		}
		if err := s.setTogether(ctx, tx, p.targets); err != nil {
			for _, t := range p.targets {
				t.updated = nil
			}
		}
	}
	s.setDevice(ctx, single, true)
}

// values takes over what was written.
func (t *target) values(values []string) {
	if t.err != nil {
		return
	}
	t.updated = make(map[string]string, len(values))
	lost := map[string]bool{}
	for _, f := range t.failed {
		lost[f.Param] = true
	}
	for i, as := range t.params {
		if rel := t.relative(as.Param); !lost[rel] && i < len(values) {
			t.updated[rel] = values[i]
		}
	}
}

// updatedValues turns what was written on the device into events, since a
// subscription also covers changes made through the agent itself, and hides
// what the controller may not read (R-SET.3).
func (s *session) updatedValues(t *target, events *[]Event) {
	for _, as := range t.params {
		rel := t.relative(as.Param)
		v, ok := t.updated[rel]
		if !ok || t.err != nil {
			continue
		}
		ref := dm.Ref{Node: as.Param, Inst: t.object.Inst}
		if !as.Param.Local && t.before[rel] != (Value{Text: v}) {
			*events = append(*events, Event{Kind: ValueChanged, Ref: ref, Value: v})
		}
		if !s.grants.can(ref, readParam) {
			delete(t.updated, rel)
		} else if as.Param.Secured && !s.grants.shows(ref) {
			t.updated[rel] = ""
		} else {
			t.updated[rel] = utf8Text(v)
		}
	}
}

func setResp(paths []*setPath) *usppb.Response {
	resp := &usppb.SetResp{}
	for _, p := range paths {
		res := &usppb.SetResp_UpdatedObjectResult{RequestedPath: p.requested, OperStatus: &usppb.SetResp_UpdatedObjectResult_OperationStatus{}}
		if failed := p.failures(); len(failed) > 0 {
			res.OperStatus.OperStatus = &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperFailure{OperFailure: setFailure(failed)}
		} else {
			res.OperStatus.OperStatus = &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperSuccess{OperSuccess: setSuccess(p.targets)}
		}
		resp.UpdatedObjResults = append(resp.UpdatedObjResults, res)
	}
	return &usppb.Response{RespType: &usppb.Response_SetResp{SetResp: resp}}
}

func setFailure(failed []*target) *usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationFailure {
	first := atFault(failed)[0].err
	out := &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationFailure{ErrCode: uint32(first.Code), ErrMsg: first.Msg}
	for _, t := range failed {
		if t.object.Node == nil {
			continue
		}
		f := &usppb.SetResp_UpdatedInstanceFailure{AffectedPath: t.object.Path()}
		for _, p := range t.err.Params {
			f.ParamErrs = append(f.ParamErrs, &usppb.SetResp_ParameterError{Param: p.Param, ErrCode: uint32(p.Code), ErrMsg: p.Msg})
		}
		out.UpdatedInstFailures = append(out.UpdatedInstFailures, f)
	}
	return out
}

func setSuccess(targets []*target) *usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationSuccess {
	out := &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationSuccess{}
	for _, t := range targets {
		r := &usppb.SetResp_UpdatedInstanceResult{AffectedPath: t.object.Path(), UpdatedParams: t.updated}
		for _, p := range t.failed {
			r.ParamErrs = append(r.ParamErrs, &usppb.SetResp_ParameterError{Param: p.Param, ErrCode: uint32(p.Code), ErrMsg: p.Msg})
		}
		out.UpdatedInstResults = append(out.UpdatedInstResults, r)
	}
	return out
}
