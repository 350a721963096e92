package record

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/uspbridge/uspbridge/usp"
)

// Field numbers of usp-record.proto that are read without decoding it all.
const (
	fieldVersion    = 1
	fieldTo         = 2
	fieldFrom       = 3
	fieldNoSession  = 7
	fieldSession    = 8
	lastRecordType  = 13
	fieldPayload    = 2 // of NoSessionContextRecord
	fieldHeader     = 1 // of Msg
	fieldBody       = 2
	fieldMsgID      = 1 // of Header
	fieldRequest    = 1 // of Body
	firstRecordType = fieldNoSession
)

// field is one field of an encoded message. value is set for length-delimited
// fields only.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	value []byte
}

func (f field) is(num protowire.Number) bool { return f.num == num && f.typ == protowire.BytesType }

// next takes the first field off b.
func next(b []byte) (f field, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return field{}, nil, protowire.ParseError(n)
	}
	b = b[n:]
	f = field{num: num, typ: typ}
	if typ == protowire.BytesType {
		f.value, n = protowire.ConsumeBytes(b)
	} else {
		n = protowire.ConsumeFieldValue(num, typ, b)
	}
	if n < 0 {
		return field{}, nil, protowire.ParseError(n)
	}
	return f, b[n:], nil
}

// outline is what a look at a record's outermost fields finds, without copying.
type outline struct {
	version, to, from []byte
	types             int    // members of record_type present; 1 in a good record
	noSession         []byte // the NoSessionContextRecord
	session           []byte // the SessionContextRecord
}

// outlineOf reads as far as it can; with an error it returns what came before.
func outlineOf(b []byte) (o outline, err error) {
	var f field
	for len(b) > 0 {
		if f, b, err = next(b); err != nil {
			return o, err
		}
		if f.typ != protowire.BytesType {
			continue
		}
		switch {
		case f.num == fieldVersion:
			o.version = f.value
		case f.num == fieldTo:
			o.to = f.value
		case f.num == fieldFrom:
			o.from = f.value
		case firstRecordType <= f.num && f.num <= lastRecordType:
			o.types++
			if f.num == fieldNoSession {
				o.noSession = f.value
			}
			if f.num == fieldSession {
				o.session = f.value
			}
		}
	}
	return o, nil
}

// last returns the last field num of an encoded message, nil if there is none
// before the first unreadable byte.
func last(b []byte, num protowire.Number) (value []byte) {
	for len(b) > 0 {
		f, rest, err := next(b)
		if err != nil {
			return value
		}
		if f.is(num) {
			value = f.value
		}
		b = rest
	}
	return value
}

// requestID returns the message id of an encoded message if it is a request,
// "" if it is none or is too broken to tell.
func requestID(msg []byte) string {
	if last(last(msg, fieldBody), fieldRequest) == nil {
		return ""
	}
	return string(last(last(msg, fieldHeader), fieldMsgID))
}

// refuse returns the Error for a record of that outline.
func (o outline) refuse(code usp.ErrorCode, cause error, format string, args ...any) *Error {
	return &Error{
		Code:    code,
		Msg:     fmt.Sprintf(format, args...),
		From:    usp.EndpointID(o.from),
		To:      usp.EndpointID(o.to),
		Version: string(o.version),
		MsgID:   requestID(last(o.noSession, fieldPayload)),
		Cause:   cause,
	}
}

// Addresses reads sender and receiver of an encoded record and nothing else, for
// those who only pass it on. They are not validated.
func Addresses(b []byte) (from, to usp.EndpointID, err error) {
	o, err := outlineOf(b)
	if err != nil {
		return "", "", fmt.Errorf("USP record of %d bytes: %w", len(b), err)
	}
	return usp.EndpointID(o.from), usp.EndpointID(o.to), nil
}
