package agent

import (
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// dataModelURI names the data model in GetSupportedDMResp.
const dataModelURI = "urn:broadband-forum-org:tr-181-2-19-0"

// getSupportedDM answers the GetSupportedDM message (TR-369 "The GetSupportedDM
// Message").
func (s *session) getSupportedDM(req *usppb.GetSupportedDM) (*usppb.Response, *usp.Error) {
	if err := s.checkPaths(len(req.GetObjPaths())); err != nil {
		return nil, err
	}
	resp := &usppb.GetSupportedDMResp{}
	for _, p := range req.GetObjPaths() {
		res := &usppb.GetSupportedDMResp_RequestedObjectResult{ReqObjPath: p, DataModelInstUri: dataModelURI}
		if err := s.supported(p, req, res); err != nil {
			res = &usppb.GetSupportedDMResp_RequestedObjectResult{ReqObjPath: p, ErrCode: uint32(err.Code), ErrMsg: err.Msg}
		}
		resp.ReqObjResults = append(resp.ReqObjResults, res)
	}
	return &usppb.Response{RespType: &usppb.Response_GetSupportedDmResp{GetSupportedDmResp: resp}}, nil
}

func (s *session) supported(requested string, req *usppb.GetSupportedDM, res *usppb.GetSupportedDMResp_RequestedObjectResult) *usp.Error {
	n, parent, err := s.supportedNode(requested)
	if err != nil {
		return err
	}
	d := describer{s: s, req: req, res: res}
	if n.IsObject() {
		if s.grants.anywhere(n)&readObj == 0 {
			return unsupported(requested) // R-GSP.0
		}
		return d.object(n, true)
	}
	// A command, event or parameter: that alone, whatever the flags say.
	out := header(parent, s.grants.anywhere(parent))
	d.req = &usppb.GetSupportedDM{ReturnCommands: true, ReturnEvents: true, ReturnParams: true}
	if !d.child(n, out) {
		return unsupported(requested)
	}
	res.SupportedObjs = append(res.SupportedObjs, out)
	return nil
}

// supportedNode finds the node of a path with "{i}", instance numbers, or
// without the last of them.
func (s *session) supportedNode(requested string) (n, parent *dm.Node, _ *usp.Error) {
	p, err := path.ParseSchema(requested)
	if err != nil {
		return nil, nil, usp.Errorf(usp.ErrInvalidPathSyntax, requested, "%w", err)
	}
	n = s.device.schema.Root
	row, inst, schematic := false, dm.Instance{}, false
	for i := range p.Steps {
		st := &p.Steps[i]
		if st.Kind == path.Name {
			if n.Kind == dm.Table && !row {
				return nil, nil, unsupported(requested)
			}
			parent, row = n, false
			if n = n.Child(st.Name); n == nil {
				return nil, nil, unsupported(requested)
			}
			continue
		}
		if n.Kind != dm.Table || row {
			return nil, nil, unsupported(requested)
		}
		row = true
		if st.Kind == path.Placeholder {
			schematic = true
			continue
		}
		if schematic {
			return nil, nil, usp.Errorf(usp.ErrInvalidPathSyntax, requested, "an instance number cannot come behind {i}")
		}
		if !slices.Contains(s.device.instances(dm.Ref{Node: n, Inst: inst}), st.Number) {
			return nil, nil, usp.Errorf(usp.ErrObjectDoesNotExist, requested, "%s does not exist", shorten(requested))
		}
		inst = inst.Append(st.Number)
	}
	if p.Kind == path.Object && !n.IsObject() {
		return nil, nil, unsupported(requested)
	}
	return n, parent, nil
}

// describer writes what the supported data model has at one requested path.
type describer struct {
	s   *session
	req *usppb.GetSupportedDM
	res *usppb.GetSupportedDMResp_RequestedObjectResult
}

// header describes an object, with the access that the data model and the
// controller's rights leave it.
func header(n *dm.Node, right rights) *usppb.GetSupportedDMResp_SupportedObjectResult {
	access := usppb.GetSupportedDMResp_OBJ_READ_ONLY
	add := (n.Access == dm.AddDelete || n.Access == dm.AddOnly) && right&createObj != 0
	remove := (n.Access == dm.AddDelete || n.Access == dm.DeleteOnly) && right&deleteObj != 0
	switch {
	case add && remove:
		access = usppb.GetSupportedDMResp_OBJ_ADD_DELETE
	case add:
		access = usppb.GetSupportedDMResp_OBJ_ADD_ONLY
	case remove:
		access = usppb.GetSupportedDMResp_OBJ_DELETE_ONLY
	}
	return &usppb.GetSupportedDMResp_SupportedObjectResult{
		SupportedObjPath: n.Path, Access: access, IsMultiInstance: n.Kind == dm.Table,
	}
}

// object describes an object and those below it. With first_level_only the
// children are named only, with their unique keys (TP-469 1.75).
func (d *describer) object(n *dm.Node, top bool) *usp.Error {
	rights := d.s.grants.anywhere(n)
	if rights&readObj == 0 {
		return nil // R-GSP.0
	}
	if d.s.resolver.left--; d.s.resolver.left < 0 {
		return usp.Errorf(usp.ErrResourcesExceeded, n.Path, "the data model is larger than is handled in one message")
	}
	out := header(n, rights)
	if d.req.GetReturnUniqueKeySets() {
		for _, key := range n.Unique {
			if d.tellsKey(n, key) {
				out.UniqueKeySets = append(out.UniqueKeySets, &usppb.GetSupportedDMResp_SupportedUniqueKeySet{KeyNames: key})
			}
		}
	}
	d.res.SupportedObjs = append(d.res.SupportedObjs, out)
	if d.req.GetFirstLevelOnly() && !top {
		return nil
	}
	for _, c := range n.Children {
		if !c.IsObject() {
			d.child(c, out)
		}
	}
	for _, c := range n.Children {
		if c.IsObject() {
			if err := d.object(c, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellsKey reports whether a table has all parameters of a unique key, and the
// controller may know of them: a device may lack some that the standard has.
func (d *describer) tellsKey(table *dm.Node, key []string) bool {
	for _, name := range key {
		if n := descend(table, name); n == nil || d.s.grants.anywhere(n)&readParam == 0 {
			return false
		}
	}
	return true
}

// child adds a parameter, command or event to its object if it is asked for,
// and reports whether it did.
func (d *describer) child(c *dm.Node, out *usppb.GetSupportedDMResp_SupportedObjectResult) bool {
	right := d.s.grants.anywhere(c)
	switch {
	case c.Kind == dm.Param && d.req.GetReturnParams() && right&readParam != 0:
		access := usppb.GetSupportedDMResp_PARAM_READ_ONLY
		if (c.Access == dm.ReadWrite || c.Access == dm.WriteOnce) && right&writeParam != 0 {
			access = usppb.GetSupportedDMResp_PARAM_READ_WRITE
		}
		out.SupportedParams = append(out.SupportedParams, &usppb.GetSupportedDMResp_SupportedParamResult{
			ParamName: c.Name, Access: access,
			ValueType:   usppb.GetSupportedDMResp_ParamValueType(c.Type),
			ValueChange: usppb.GetSupportedDMResp_ValueChangeType(c.Change),
		})
	case c.Kind == dm.Command && d.req.GetReturnCommands() && right&readCommand != 0:
		typ := usppb.GetSupportedDMResp_CMD_SYNC
		if c.Async {
			typ = usppb.GetSupportedDMResp_CMD_ASYNC
		}
		out.SupportedCommands = append(out.SupportedCommands, &usppb.GetSupportedDMResp_SupportedCommandResult{
			CommandName: c.Name, InputArgNames: c.InArgs, OutputArgNames: c.OutArgs, CommandType: typ,
		})
	case c.Kind == dm.Event && d.req.GetReturnEvents() && right&readCommand != 0:
		out.SupportedEvents = append(out.SupportedEvents, &usppb.GetSupportedDMResp_SupportedEventResult{
			EventName: c.Name, ArgNames: c.Args,
		})
	default:
		return false
	}
	return true
}
