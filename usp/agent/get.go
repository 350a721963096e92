package agent

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// get answers the Get message (TR-369 "The Get Message"). All parameters of the
// message are read at once.
func (s *session) get(ctx context.Context, req *usppb.Get) (*usppb.Response, *usp.Error) {
	paths := req.GetParamPaths()
	if err := s.checkPaths(len(paths)); err != nil {
		return nil, err
	}
	plan := getPlan{s: s, maxDepth: int(min(req.GetMaxDepth(), 1<<16)), results: make([]getResult, len(paths))}
	for i, p := range paths {
		plan.results[i] = getResult{path: p, err: plan.add(p)}
		plan.results[i].end = len(plan.groups)
	}
	return plan.response(s.device.get(ctx, plan.refs)), nil
}

// getPlan is what a Get message reads: for each object of the answer, a range
// of parameters.
type getPlan struct {
	s        *session
	maxDepth int
	refs     []dm.Ref
	groups   []getGroup
	results  []getResult
}

// getResult is one requested path; its groups follow those of the one before.
type getResult struct {
	path string
	err  *usp.Error
	end  int // of its groups
}

// getGroup is one resolved_path of the answer: parameters of one object or row.
type getGroup struct {
	object   *dm.Node // nil if a parameter was asked for by its path
	from, to int      // of refs, at least one
}

func (p *getPlan) add(requested string) *usp.Error {
	res, err := p.s.resolve(requested)
	if err != nil {
		return err
	}
	before := len(p.groups)
	shown := 0
	p.refs = slices.Grow(p.refs, len(res.refs))
	p.groups = slices.Grow(p.groups, len(res.refs))
	for _, ref := range res.refs {
		if !p.visible(ref) {
			continue
		}
		shown++
		switch {
		case ref.Node.Kind == dm.Param:
			p.param(ref)
		case ref.Node.IsObject():
			if err := p.object(ref, 1); err != nil {
				p.groups = p.groups[:before]
				return err
			}
		default:
			return &usp.Error{Code: usp.ErrInvalidPath, Path: requested, Msg: requested + " is a command or event; it has no value"}
		}
	}
	if shown == 0 && !res.search {
		// R-GET.0, R-GET.1
		return &usp.Error{Code: usp.ErrInvalidPath, Path: requested, Msg: shorten(requested) + " does not exist"}
	}
	return nil
}

// visible applies R-GET.1 to an element matched by a requested path.
func (p *getPlan) visible(ref dm.Ref) bool {
	if ref.Node.Kind == dm.Param {
		return p.s.grants.can(ref, readParam)
	}
	return p.s.grants.can(ref, readObj)
}

// param adds one parameter; those of one object that follow each other share a
// resolved_path only if they belong to one requested path (R-GET.2, R-GET.3).
func (p *getPlan) param(ref dm.Ref) {
	p.refs = append(p.refs, ref)
	p.groups = append(p.groups, getGroup{from: len(p.refs) - 1, to: len(p.refs)})
}

// object adds an object and what lies below it, down to max_depth (R-GET.5). A
// row is as deep as its table.
func (p *getPlan) object(ref dm.Ref, depth int) *usp.Error {
	if !p.s.grants.can(ref, readObj) {
		return nil // R-GET.1
	}
	if ref.IsTable() {
		for _, n := range p.s.device.instances(ref) {
			row := dm.Ref{Node: ref.Node, Inst: ref.Inst.Append(n)}
			if !p.s.grants.can(row, readInst) {
				continue
			}
			if err := p.object(row, depth); err != nil {
				return err
			}
		}
		return nil
	}
	g := getGroup{object: ref.Node, from: len(p.refs)}
	for _, c := range ref.Node.Children {
		if c.Kind != dm.Param {
			continue
		}
		if param := (dm.Ref{Node: c, Inst: ref.Inst}); p.s.grants.can(param, readParam) { // R-GET.4
			p.refs = append(p.refs, param)
		}
	}
	if g.to = len(p.refs); g.to > g.from {
		p.groups = append(p.groups, g)
	}
	if p.s.resolver.left -= g.to - g.from; p.s.resolver.left < 0 {
		return usp.Errorf(usp.ErrResourcesExceeded, ref.Path(), "the message reads more parameters than are handled at once; ask for less, or use max_depth")
	}
	if depth == p.maxDepth {
		return nil
	}
	for _, c := range ref.Node.Children {
		if c.IsObject() {
			if err := p.object(dm.Ref{Node: c, Inst: ref.Inst}, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// utf8Text makes a device's text fit for protobuf, which has UTF-8 only.
func utf8Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
