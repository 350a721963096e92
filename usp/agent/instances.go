package agent

import (
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// getInstances answers the GetInstances message (TR-369 "The GetInstances
// Message").
func (s *session) getInstances(req *usppb.GetInstances) (*usppb.Response, *usp.Error) {
	if err := s.checkPaths(len(req.GetObjPaths())); err != nil {
		return nil, err
	}
	resp := &usppb.GetInstancesResp{}
	for _, p := range req.GetObjPaths() {
		res := &usppb.GetInstancesResp_RequestedPathResult{RequestedPath: p}
		if err := s.instancesOf(p, req.GetFirstLevelOnly(), res); err != nil {
			res.ErrCode, res.ErrMsg, res.CurrInsts = uint32(err.Code), err.Msg, nil
		}
		resp.ReqPathResults = append(resp.ReqPathResults, res)
	}
	return &usppb.Response{RespType: &usppb.Response_GetInstancesResp{GetInstancesResp: resp}}, nil
}

func (s *session) instancesOf(requested string, firstLevel bool, res *usppb.GetInstancesResp_RequestedPathResult) *usp.Error {
	found, err := s.resolve(requested)
	if err != nil {
		return err
	}
	p, _ := parse(requested)
	if len(found.refs) == 0 && !p.IsSearch() {
		return usp.Errorf(usp.ErrObjectDoesNotExist, requested, "%s does not exist", shorten(requested))
	}
	for _, ref := range found.refs {
		right := s.grants.on(ref)
		if ref.IsTable() {
			right |= s.grants.anywhere(ref.Node) // there may be a row to be told of
		}
		switch {
		case right&(readObj|readInst) == 0:
			if !found.search {
				return unsupported(requested)
			}
			continue
		case ref.Node.Kind != dm.Table && (firstLevel || !ref.Node.IsObject()):
			return usp.Errorf(usp.ErrNotATable, requested, "%s is not a table", ref.Path())
		case !s.reachable(ref):
			if !found.search {
				return usp.Errorf(usp.ErrObjectDoesNotExist, requested, "%s does not exist", shorten(requested))
			}
			continue
		}
		if err := s.listInstances(ref, firstLevel, res); err != nil {
			return err
		}
	}
	return nil
}

// reachable reports whether the controller may know of the rows in which an
// element lies (R-GIN.0: of those used for matching through the path).
func (s *session) reachable(ref dm.Ref) bool {
	n := s.device.schema.Root
	for seg := range strings.SplitSeq(strings.TrimSuffix(ref.Node.Path, "."), ".") {
		if seg != "{i}" {
			n = n.Child(seg)
			continue
		}
		if n.Depth > ref.Inst.Len() {
			break // the table itself
		}
		if row := (dm.Ref{Node: n, Inst: ref.Inst.Prefix(n.Depth)}); !s.grants.can(row, readInst) {
			return false
		}
	}
	return true
}

// listInstances adds a row and what is below it, the rows of a table, or those of
// the tables below an object.
func (s *session) listInstances(ref dm.Ref, firstLevel bool, res *usppb.GetInstancesResp_RequestedPathResult) *usp.Error {
	if ref.IsTable() {
		for _, n := range s.device.instances(ref) {
			if err := s.listInstances(dm.Ref{Node: ref.Node, Inst: ref.Inst.Append(n)}, firstLevel, res); err != nil {
				return err
			}
		}
		return nil
	}
	if ref.Node.Kind == dm.Table {
		if !s.grants.can(ref, readInst) { // R-GIN.0
			return nil
		}
		if s.resolver.left--; s.resolver.left < 0 {
			return usp.Errorf(usp.ErrResourcesExceeded, ref.Path(), "the message lists more rows than are handled at once")
		}
		res.CurrInsts = append(res.CurrInsts, &usppb.GetInstancesResp_CurrInstance{
			InstantiatedObjPath: ref.Path(), UniqueKeys: s.uniqueKeys(ref),
		})
		if firstLevel {
			return nil
		}
	}
	for _, c := range ref.Node.Children {
		if c.IsObject() {
			if err := s.listInstances(dm.Ref{Node: c, Inst: ref.Inst}, firstLevel, res); err != nil {
				return err
			}
		}
	}
	return nil
}

// uniqueKeys returns the unique key parameters of a row that the device has and
// the controller may read (R-GIN.1, R-ADD.6).
func (s *session) uniqueKeys(row dm.Ref) map[string]string {
	return s.device.uniqueKeys(row, s.grants)
}

func (d *device) uniqueKeys(row dm.Ref, g *access) map[string]string {
	var refs []dm.Ref
	for _, key := range row.Node.Unique {
		for _, name := range key {
			n := descend(row.Node, name)
			if n == nil {
				continue
			}
			if ref := (dm.Ref{Node: n, Inst: row.Inst}); g.shows(ref) {
				refs = append(refs, ref)
			}
		}
	}
	if len(refs) == 0 {
		return nil
	}
	keys := make(map[string]string, len(refs))
	for i, v := range d.peek(refs) {
		if v.Err == nil {
			keys[refs[i].Node.Path[len(row.Node.Path):]] = utf8Text(v.Text)
		}
	}
	return keys
}
