package record

import (
	"fmt"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Error tells why a record, or the message in it, was refused, and keeps of the
// record what is needed to answer it. Fields that could not be read are empty.
type Error struct {
	Code    usp.ErrorCode // 71xx for the record, 70xx for the message in it
	Msg     string
	From    usp.EndpointID // sender as the record has it
	To      usp.EndpointID
	Version string
	MsgID   string // of the request in the record; "" if there is none or it cannot be read
	Cause   error

	discard bool // must not be answered (R-ENC.4)
}

func (e *Error) Error() string {
	return fmt.Sprintf("USP record from %q to %q: error %d: %s", string(e.From), string(e.To), e.Code, e.Msg)
}

func (e *Error) Unwrap() error { return e.Cause }

// Answer returns the record that answers the refused one, and false if it must
// be ignored. local tells whether the caller hosts an endpoint.
//
// A request is answered with a message of type Error if the sender is valid, the
// receiver is ours and the message id is known (R-MTP.5); a record that begins a
// session context with a Disconnect record (R-E2E.6a); nothing else is.
func (e *Error) Answer(local func(usp.EndpointID) bool) ([]byte, bool) {
	if e.discard || e.From.Validate() != nil || e.To.Validate() != nil || !local(e.To) {
		return nil, false
	}
	if e.From == e.To { // R-ARC.2
		return nil, false
	}
	version := answerVersion(e.Version)
	var b []byte
	var err error
	switch {
	case e.Code == usp.ErrSessionContextDenied || e.Code == usp.ErrSessionContextExpired:
		b, err = Disconnect(e.To, e.From, version, e.Code, e.Msg)
	case e.MsgID != "":
		b, err = WrapMsg(e.To, e.From, version, ErrorMsg(e.MsgID, &usp.Error{Code: e.Code, Msg: e.Msg}))
	default:
		return nil, false
	}
	return b, err == nil
}

// answerVersion is the version an answer to a record of that version has: the
// same if we speak it, else our newest.
func answerVersion(version string) string {
	for _, v := range usp.SupportedVersions {
		if v == version {
			return v
		}
	}
	return usp.RecordVersion
}

// ErrorMsg returns the message of type Error that answers request msgID
// (R-MSG.9). The parameters at fault are named with their object's path.
func ErrorMsg(msgID string, e *usp.Error) *usppb.Msg {
	body := &usppb.Error{ErrCode: uint32(e.Code), ErrMsg: e.Msg}
	for _, p := range e.Params {
		body.ParamErrs = append(body.ParamErrs, &usppb.Error_ParamError{
			ParamPath: e.Path + p.Param,
			ErrCode:   uint32(p.Code),
			ErrMsg:    p.Msg,
		})
	}
	if len(e.Params) == 0 && e.Path != "" {
		body.ParamErrs = []*usppb.Error_ParamError{{ParamPath: e.Path, ErrCode: uint32(e.Code), ErrMsg: e.Msg}}
	}
	return &usppb.Msg{
		Header: &usppb.Header{MsgId: msgID, MsgType: usppb.Header_ERROR},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Error{Error: body}},
	}
}
