package agent

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The answer to Get is by far the most frequent and the largest message. It is
// written here field by field, straight from the values, and handed on as the
// encoded content of a Response: what the general encoder needs for it, a map
// for each object, costs more than the rest of the message.

// Field numbers of usp-msg.proto.
const (
	fieldGetResp       protowire.Number = 1 // Response.get_resp
	fieldReqPathResult protowire.Number = 1 // GetResp.req_path_results
	fieldRequestedPath protowire.Number = 1 // RequestedPathResult.requested_path
	fieldErrCode       protowire.Number = 2 // RequestedPathResult.err_code
	fieldErrMsg        protowire.Number = 3 // RequestedPathResult.err_msg
	fieldResolved      protowire.Number = 4 // RequestedPathResult.resolved_path_results
	fieldResolvedPath  protowire.Number = 1 // ResolvedPathResult.resolved_path
	fieldResultParams  protowire.Number = 2 // ResolvedPathResult.result_params
	fieldKey           protowire.Number = 1 // of a map's entry
	fieldValue         protowire.Number = 2
)

// response puts the values into the answer.
func (p *getPlan) response(values []Value) *usppb.Response {
	const guess = 64 // bytes for a parameter with its object's path
	resp := make([]byte, 0, 64+guess*len(values))
	result := make([]byte, 0, cap(resp))
	var object []byte
	next := 0
	for i := range p.results {
		r := &p.results[i]
		groups := p.groups[next:r.end]
		next = r.end
		result = appendText(result[:0], fieldRequestedPath, r.path)
		body := len(result)
		failure := r.err
		for _, g := range groups {
			var err *usp.Error
			object, err = p.appendObject(object[:0], g, values[g.from:g.to])
			if len(object) > 0 {
				result = protowire.AppendTag(result, fieldResolved, protowire.BytesType)
				result = protowire.AppendBytes(result, object)
			}
			if failure == nil {
				failure = err
			}
		}
		resp = protowire.AppendTag(resp, fieldReqPathResult, protowire.BytesType)
		if failure == nil {
			resp = protowire.AppendBytes(resp, result)
			continue
		}
		// The error's fields come before the results.
		object = append(object[:0], result[body:]...)
		result = protowire.AppendTag(result[:body], fieldErrCode, protowire.Fixed32Type)
		result = protowire.AppendFixed32(result, uint32(failure.Code))
		result = appendText(result, fieldErrMsg, utf8Text(failure.Msg))
		result = append(result, object...)
		resp = protowire.AppendBytes(resp, result)
	}
	out := &usppb.Response{}
	raw := protowire.AppendTag(make([]byte, 0, len(resp)+8), fieldGetResp, protowire.BytesType)
	out.ProtoReflect().SetUnknown(protowire.AppendBytes(raw, resp))
	return out
}

// appendObject writes one ResolvedPathResult, nothing if it has no parameter. A
// parameter that the device does not have after all is left out of an object's;
// one that could not be read makes the path's error, beside what could.
func (p *getPlan) appendObject(b []byte, g getGroup, values []Value) (_ []byte, failure *usp.Error) {
	b = p.appendObjectPath(b, g)
	empty := true
	for i := range values {
		v, n := &values[i], p.refs[g.from+i].Node
		if v.Err != nil {
			if failure == nil && (g.object == nil || v.Err.Code == usp.ErrInternal) {
				failure = v.Err
			}
			continue
		}
		text := ""
		if !n.Secured || p.s.grants.shows(p.refs[g.from+i]) {
			text = utf8Text(v.Text)
		}
		empty = false
		size := protowire.SizeTag(fieldKey) + protowire.SizeBytes(len(n.Name)) + protowire.SizeTag(fieldValue) + protowire.SizeBytes(len(text))
		b = protowire.AppendTag(b, fieldResultParams, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = appendText(b, fieldKey, n.Name)
		b = appendText(b, fieldValue, text)
	}
	if empty {
		return b[:0], failure
	}
	return b, failure
}

// appendObjectPath writes resolved_path: of a parameter asked for by its path,
// that of its object (R-GET.2).
func (p *getPlan) appendObjectPath(b []byte, g getGroup) []byte {
	var space [128]byte
	ref := p.refs[g.from]
	if g.object != nil {
		ref.Node = g.object
	}
	path := ref.AppendPath(space[:0])
	if g.object == nil {
		path = path[:bytes.LastIndexByte(path, '.')+1]
	}
	b = protowire.AppendTag(b, fieldResolvedPath, protowire.BytesType)
	return protowire.AppendBytes(b, path)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}
