package record

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Message takes the message out of a record, under the default limits. See
// Limits.Message.
func Message(r *usppb.Record) (*usppb.Msg, error) { return Limits{}.Message(r) }

// Message takes the message out of a record that Unwrap returned: it has a
// message id and exactly one known request, response or error. msg_type may
// differ from it, the body counts (R-MSG.10): use TypeOf. The error is an
// *Error; a record with a session context gives 7106 (R-E2E.6a).
func (l Limits) Message(r *usppb.Record) (*usppb.Msg, error) {
	t, ok := r.GetRecordType().(*usppb.Record_NoSessionContext)
	if !ok {
		e := &Error{Code: usp.ErrRecordFields, Msg: "the record carries no message"}
		if r.GetSessionContext() != nil {
			e.Code, e.Msg = usp.ErrSessionContextDenied, "session contexts are not supported"
		}
		return nil, e.of(r)
	}
	return l.InSession(r, t.NoSessionContext.GetPayload())
}

// InSession takes the message out of the payload that a session context carried; r
// is the record with which it was whole. The error is an *Error.
func (l Limits) InSession(r *usppb.Record, payload []byte) (*usppb.Msg, error) {
	m, e := l.withDefaults().message(payload)
	if e != nil {
		e.MsgID = requestID(payload)
		return nil, e.of(r)
	}
	return m, nil
}

// of completes e with the addresses of a record.
func (e *Error) of(r *usppb.Record) *Error {
	e.From, e.To, e.Version = usp.EndpointID(r.GetFromId()), usp.EndpointID(r.GetToId()), r.GetVersion()
	return e
}

// message decodes and checks an encoded message.
func (l Limits) message(b []byte) (*usppb.Msg, *Error) {
	left := l.Elements
	if err := msgShape.check(b, &left); err != nil {
		if errors.Is(err, errElements) {
			return nil, &Error{Code: usp.ErrResourcesExceeded, Msg: "the message has more elements than accepted", Cause: err}
		}
		return nil, &Error{Code: usp.ErrInvalidArguments, Msg: err.Error(), Cause: err} // R-ENC.5
	}
	m := new(usppb.Msg)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, &Error{Code: usp.ErrInvalidArguments, Msg: "the message is not valid protobuf: " + err.Error(), Cause: err}
	}
	if m.GetHeader().GetMsgId() == "" { // R-MSG.6, R-MSG.8
		return nil, &Error{Code: usp.ErrInvalidArguments, Msg: "msg_id is missing"}
	}
	if code, why := unusable(m); why != "" {
		return nil, &Error{Code: code, Msg: why}
	}
	if _, known := usppb.Header_MsgType_name[int32(m.GetHeader().GetMsgType())]; !known { // R-ENC.2
		return nil, &Error{Code: usp.ErrInvalidArguments, Msg: "msg_type has an unknown value"}
	}
	return m, nil
}

// unusable tells why a message has no request, response or error that we know,
// "" if it has one. One of a newer version leaves unknown fields behind.
func unusable(m *usppb.Msg) (usp.ErrorCode, string) {
	var unknown []byte
	switch t := m.GetBody().GetMsgBody().(type) {
	case *usppb.Body_Error:
		return 0, ""
	case *usppb.Body_Request:
		if t.Request.GetReqType() != nil {
			return 0, ""
		}
		unknown = t.Request.ProtoReflect().GetUnknown()
	case *usppb.Body_Response:
		if t.Response.GetRespType() != nil {
			return 0, ""
		}
		unknown = t.Response.ProtoReflect().GetUnknown()
	}
	if len(unknown) > 0 {
		return usp.ErrMessageNotSupported, "messages of this type are not supported"
	}
	return usp.ErrInvalidArguments, "the message has no body" // R-ENC.5, R-MSG.7
}

// TypeOf returns the type of a message by its body, whatever the header says
// (R-MSG.10). A message without a known body is of type ERROR.
func TypeOf(m *usppb.Msg) usppb.Header_MsgType {
	switch b := m.GetBody().GetMsgBody().(type) {
	case *usppb.Body_Request:
		return requestType(b.Request)
	case *usppb.Body_Response:
		return responseType(b.Response)
	}
	return usppb.Header_ERROR
}

func requestType(r *usppb.Request) usppb.Header_MsgType {
	switch r.GetReqType().(type) {
	case *usppb.Request_Get:
		return usppb.Header_GET
	case *usppb.Request_GetSupportedDm:
		return usppb.Header_GET_SUPPORTED_DM
	case *usppb.Request_GetInstances:
		return usppb.Header_GET_INSTANCES
	case *usppb.Request_Set:
		return usppb.Header_SET
	case *usppb.Request_Add:
		return usppb.Header_ADD
	case *usppb.Request_Delete:
		return usppb.Header_DELETE
	case *usppb.Request_Operate:
		return usppb.Header_OPERATE
	case *usppb.Request_Notify:
		return usppb.Header_NOTIFY
	case *usppb.Request_GetSupportedProtocol:
		return usppb.Header_GET_SUPPORTED_PROTO
	case *usppb.Request_Register:
		return usppb.Header_REGISTER
	case *usppb.Request_Deregister:
		return usppb.Header_DEREGISTER
	}
	return usppb.Header_ERROR
}

func responseType(r *usppb.Response) usppb.Header_MsgType {
	switch r.GetRespType().(type) {
	case *usppb.Response_GetResp:
		return usppb.Header_GET_RESP
	case *usppb.Response_GetSupportedDmResp:
		return usppb.Header_GET_SUPPORTED_DM_RESP
	case *usppb.Response_GetInstancesResp:
		return usppb.Header_GET_INSTANCES_RESP
	case *usppb.Response_SetResp:
		return usppb.Header_SET_RESP
	case *usppb.Response_AddResp:
		return usppb.Header_ADD_RESP
	case *usppb.Response_DeleteResp:
		return usppb.Header_DELETE_RESP
	case *usppb.Response_OperateResp:
		return usppb.Header_OPERATE_RESP
	case *usppb.Response_NotifyResp:
		return usppb.Header_NOTIFY_RESP
	case *usppb.Response_GetSupportedProtocolResp:
		return usppb.Header_GET_SUPPORTED_PROTO_RESP
	case *usppb.Response_RegisterResp:
		return usppb.Header_REGISTER_RESP
	case *usppb.Response_DeregisterResp:
		return usppb.Header_DEREGISTER_RESP
	}
	return usppb.Header_ERROR
}
