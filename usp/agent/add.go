package agent

import (
	"context"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// addPath is one create_obj of an Add message.
type addPath struct {
	requested string
	targets   []*target // one row for each table the path matches
	err       *usp.Error
}

// add answers the Add message (TR-369 "The Add Message").
func (s *session) add(ctx context.Context, req *usppb.Add) (*usppb.Response, *usp.Error) {
	if err := s.checkPaths(len(req.GetCreateObjs())); err != nil {
		return nil, err
	}
	var paths []*addPath
	var all, failed []*target
	for _, obj := range req.GetCreateObjs() {
		p := s.planAdd(obj)
		paths = append(paths, p)
		if p.err != nil {
			failed = append(failed, &target{err: p.err})
		}
		for _, t := range p.targets {
			all = append(all, t)
			if t.err != nil {
				failed = append(failed, t)
			}
		}
	}
	if len(failed) > 0 && !req.GetAllowPartial() {
		return nil, whole(failed) // R-ADD.1, R-ADD.2a
	}
	tx := s.begin()
	if failed = s.create(ctx, tx, all, req.GetAllowPartial()); len(failed) > 0 && !req.GetAllowPartial() {
		return nil, whole(failed)
	}
	var events []Event
	log := s.audit("Add")
	for _, t := range all {
		if t.err == nil && !t.created.Node.Local {
			events = append(events, Event{Kind: ObjectCreated, Ref: t.created})
		}
		log.target(t)
	}
	if err := s.commit(ctx, tx, events, log); err != nil {
		return nil, err
	}
	s.device.state = tx.next
	for _, t := range all {
		if t.err == nil {
			t.keys = s.uniqueKeys(t.created) // R-ADD.5, R-ADD.6
		}
	}
	return addResp(paths), nil
}

func (s *session) planAdd(obj *usppb.Add_CreateObject) *addPath {
	p := &addPath{requested: obj.GetObjPath()}
	res, err := s.resolve(obj.GetObjPath())
	if err == nil && len(res.refs) == 0 && !res.search {
		err = usp.Errorf(usp.ErrObjectDoesNotExist, obj.GetObjPath(), "%s does not exist", shorten(obj.GetObjPath()))
	}
	var refs []dm.Ref
	if err == nil {
		refs, err = s.visible(res, obj.GetObjPath(), readObj|createObj)
	}
	if p.err = err; err != nil {
		return p
	}
	for _, ref := range refs {
		t := &target{object: ref}
		switch {
		case !ref.Node.IsObject():
			p.err = unsupported(p.requested)
		case !ref.IsTable():
			p.err = usp.Errorf(usp.ErrNotATable, p.requested, "%s is not a table", ref.Path())
		case ref.Node.Access != dm.AddDelete && ref.Node.Access != dm.AddOnly:
			p.err = usp.Errorf(usp.ErrNotCreatable, p.requested, "rows of %s cannot be created", ref.Path())
		case !s.grants.can(ref, createObj):
			t.err = usp.Errorf(usp.ErrPermissionDenied, p.requested, "no role of the controller allows it to create rows of %s", ref.Path())
		default:
			assign(s, t, obj.GetParamSettings(), true)
		}
		if p.err != nil {
			p.targets = nil
			return p
		}
		p.targets = append(p.targets, t)
	}
	return p
}

// create makes the rows: the agent's own first, on a copy that is thrown away if
// the device then refuses its part. It returns the targets that failed.
func (s *session) create(ctx context.Context, tx *txn, targets []*target, allowPartial bool) (failed []*target) {
	var remote []*target
	for _, t := range targets {
		switch {
		case t.err != nil:
			failed = append(failed, t)
		case t.object.Node.Local:
			res := tx.add(NewRow{Table: t.object, Params: t.params})
			t.took(res.Err, res.Failed)
			if t.created = res.Row; t.err != nil {
				failed = append(failed, t)
			}
		default:
			remote = append(remote, t)
		}
	}
	if len(failed) > 0 && !allowPartial || len(remote) == 0 {
		return failed
	}
	rows := make([]NewRow, len(remote))
	for i, t := range remote {
		rows[i] = NewRow{Table: t.object, Params: t.params}
	}
	for i, res := range s.device.model.Add(ctx, rows, allowPartial) {
		t := remote[i]
		t.took(res.Err, res.Failed)
		if t.created = res.Row; t.err != nil {
			failed = append(failed, t)
		}
	}
	// The device has rows now that this view of it does not know.
	if d, err := s.host.open(ctx, s.agent); err == nil {
		d.state = s.device.state
		s.device = d
	}
	return failed
}

func addResp(paths []*addPath) *usppb.Response {
	resp := &usppb.AddResp{}
	result := func(requested string) *usppb.AddResp_CreatedObjectResult_OperationStatus {
		r := &usppb.AddResp_CreatedObjectResult{RequestedPath: requested, OperStatus: &usppb.AddResp_CreatedObjectResult_OperationStatus{}}
		resp.CreatedObjResults = append(resp.CreatedObjResults, r)
		return r.OperStatus
	}
	for _, p := range paths {
		switch {
		case p.err != nil:
			result(p.requested).OperStatus = addFailure(p.err)
		case len(p.targets) == 0: // R-MSG.4a
			result(p.requested).OperStatus = &usppb.AddResp_CreatedObjectResult_OperationStatus_OperSuccess{
				OperSuccess: &usppb.AddResp_CreatedObjectResult_OperationStatus_OperationSuccess{},
			}
		}
		for _, t := range p.targets {
			if t.err != nil {
				result(p.requested).OperStatus = addFailure(t.err)
				continue
			}
			ok := &usppb.AddResp_CreatedObjectResult_OperationStatus_OperationSuccess{InstantiatedPath: t.created.Path(), UniqueKeys: t.keys}
			for _, f := range t.failed { // R-ADD.4
				ok.ParamErrs = append(ok.ParamErrs, &usppb.AddResp_ParameterError{Param: f.Param, ErrCode: uint32(f.Code), ErrMsg: f.Msg})
			}
			result(p.requested).OperStatus = &usppb.AddResp_CreatedObjectResult_OperationStatus_OperSuccess{OperSuccess: ok}
		}
	}
	return &usppb.Response{RespType: &usppb.Response_AddResp{AddResp: resp}}
}

func addFailure(e *usp.Error) *usppb.AddResp_CreatedObjectResult_OperationStatus_OperFailure {
	return &usppb.AddResp_CreatedObjectResult_OperationStatus_OperFailure{
		OperFailure: &usppb.AddResp_CreatedObjectResult_OperationStatus_OperationFailure{ErrCode: uint32(e.Code), ErrMsg: e.Msg},
	}
}
