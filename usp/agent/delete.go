package agent

import (
	"context"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// deletePath is one obj_path of a Delete message.
type deletePath struct {
	requested string
	rows      []*target
	err       *usp.Error
}

// delete answers the Delete message (TR-369 "The Delete Message").
func (s *session) delete(ctx context.Context, req *usppb.Delete) (*usppb.Response, *usp.Error) {
	if err := s.checkPaths(len(req.GetObjPaths())); err != nil {
		return nil, err
	}
	var paths []*deletePath
	var all, failed []*target
	seen := map[dm.Ref]bool{}
	for _, requested := range req.GetObjPaths() {
		p := s.planDelete(requested)
		paths = append(paths, p)
		if p.err != nil {
			failed = append(failed, &target{err: p.err})
		}
		for _, t := range p.rows {
			if t.err != nil {
				failed = append(failed, t)
			} else if !seen[t.object] {
				seen[t.object] = true
				all = append(all, t)
			}
		}
	}
	if len(failed) > 0 && !req.GetAllowPartial() {
		return nil, whole(failed) // R-DEL.1
	}
	tx := s.begin()
	if failed = s.destroy(ctx, tx, all, req.GetAllowPartial()); len(failed) > 0 && !req.GetAllowPartial() {
		return nil, whole(failed)
	}
	var events []Event
	log := s.audit("Delete")
	for _, t := range all {
		if t.err == nil && !t.object.Node.Local {
			events = append(events, Event{Kind: ObjectDeleted, Ref: t.object})
		}
		log.target(t)
	}
	if err := s.commit(ctx, tx, events, log); err != nil {
		return nil, err
	}
	return s.deleteResp(paths), nil
}

func (s *session) planDelete(requested string) *deletePath {
	p := &deletePath{requested: requested}
	res, err := s.resolve(requested)
	var refs []dm.Ref
	if err == nil {
		refs, err = s.visible(res, requested, readObj|deleteObj)
	}
	if p.err = err; err != nil {
		return p
	}
	for _, ref := range refs { // none: R-DEL.2a
		t := &target{object: ref}
		switch {
		case !ref.Node.IsObject():
			p.err = unsupported(requested)
		case ref.Node.Kind != dm.Table:
			p.err = usp.Errorf(usp.ErrNotATable, requested, "%s is not a row of a table", shorten(requested))
		case ref.IsTable():
			p.err = usp.Errorf(usp.ErrDeleteFailure, requested, "%s is a table; name a row of it, or * for all", shorten(requested))
		case ref.Node.Access != dm.AddDelete && ref.Node.Access != dm.DeleteOnly:
			p.err = usp.Errorf(usp.ErrDeleteFailure, requested, "rows of %s cannot be deleted", ref.Node.Path)
		case !s.grants.can(ref, deleteObj):
			t.err = usp.Errorf(usp.ErrPermissionDenied, requested, "no role of the controller allows it to delete %s", ref.Path())
		}
		if p.err != nil {
			p.rows = nil
			return p
		}
		p.rows = append(p.rows, t)
	}
	return p
}

// destroy deletes rows, the agent's own on a copy that is thrown away if the
// device then refuses its part.
func (s *session) destroy(ctx context.Context, tx *txn, rows []*target, allowPartial bool) (failed []*target) {
	var remote []*target
	var refs []dm.Ref
	for _, t := range rows {
		if t.object.Node.Local {
			k := rowKey{s.host.spec.tables[t.object.Node], t.object.Inst}
			if tx.next.rows[k] == nil {
				continue // went with another row of the message
			}
			if err := tx.remove(t.object); err != nil {
				t.err = err
				failed = append(failed, t)
			}
			continue
		}
		remote, refs = append(remote, t), append(refs, t.object)
	}
	if len(failed) > 0 && !allowPartial || len(remote) == 0 {
		return failed
	}
	for i, err := range s.device.model.Delete(ctx, refs, allowPartial) {
		if err != nil {
			remote[i].err = usp.AsError(err, refs[i].Path())
			failed = append(failed, remote[i])
		}
	}
	return failed
}

func (s *session) deleteResp(paths []*deletePath) *usppb.Response {
	resp := &usppb.DeleteResp{}
	for _, p := range paths {
		status := &usppb.DeleteResp_DeletedObjectResult_OperationStatus{}
		if p.err != nil {
			status.OperStatus = &usppb.DeleteResp_DeletedObjectResult_OperationStatus_OperFailure{
				OperFailure: &usppb.DeleteResp_DeletedObjectResult_OperationStatus_OperationFailure{ErrCode: uint32(p.err.Code), ErrMsg: p.err.Msg},
			}
		} else {
			ok := &usppb.DeleteResp_DeletedObjectResult_OperationStatus_OperationSuccess{}
			for _, t := range p.rows {
				switch {
				case !s.grants.can(t.object, readObj): // R-DEL.2, R-DEL.4
				case t.err == nil:
					ok.AffectedPaths = append(ok.AffectedPaths, t.object.Path())
				default: // R-DEL.3
					ok.UnaffectedPathErrs = append(ok.UnaffectedPathErrs, &usppb.DeleteResp_UnaffectedPathError{
						UnaffectedPath: t.object.Path(), ErrCode: uint32(t.err.Code), ErrMsg: t.err.Msg,
					})
				}
			}
			status.OperStatus = &usppb.DeleteResp_DeletedObjectResult_OperationStatus_OperSuccess{OperSuccess: ok}
		}
		resp.DeletedObjResults = append(resp.DeletedObjResults, &usppb.DeleteResp_DeletedObjectResult{RequestedPath: p.requested, OperStatus: status})
	}
	return &usppb.Response{RespType: &usppb.Response_DeleteResp{DeleteResp: resp}}
}
