package usp

import (
	"errors"
	"fmt"
)

// ErrorCode is a USP error code (TR-369 "Error Codes").
type ErrorCode uint32

// Message errors 7000–7031 and record errors 7100–7106.
const (
	ErrMessageFailed           ErrorCode = 7000
	ErrMessageNotSupported     ErrorCode = 7001
	ErrRequestDenied           ErrorCode = 7002
	ErrInternal                ErrorCode = 7003
	ErrInvalidArguments        ErrorCode = 7004
	ErrResourcesExceeded       ErrorCode = 7005
	ErrPermissionDenied        ErrorCode = 7006
	ErrInvalidConfiguration    ErrorCode = 7007
	ErrInvalidPathSyntax       ErrorCode = 7008
	ErrParameterActionFailed   ErrorCode = 7009
	ErrUnsupportedParameter    ErrorCode = 7010
	ErrInvalidType             ErrorCode = 7011
	ErrInvalidValue            ErrorCode = 7012
	ErrReadOnly                ErrorCode = 7013
	ErrValueConflict           ErrorCode = 7014
	ErrOperation               ErrorCode = 7015
	ErrObjectDoesNotExist      ErrorCode = 7016
	ErrObjectNotCreated        ErrorCode = 7017
	ErrNotATable               ErrorCode = 7018
	ErrNotCreatable            ErrorCode = 7019
	ErrObjectNotUpdated        ErrorCode = 7020
	ErrRequiredParameterFailed ErrorCode = 7021
	ErrCommandFailure          ErrorCode = 7022
	ErrCommandCanceled         ErrorCode = 7023
	ErrDeleteFailure           ErrorCode = 7024
	ErrUniqueKeyConflict       ErrorCode = 7025
	ErrInvalidPath             ErrorCode = 7026
	ErrInvalidCommandArguments ErrorCode = 7027
	ErrRegistrationFailure     ErrorCode = 7028
	ErrAlreadyInUse            ErrorCode = 7029
	ErrDeregistrationFailure   ErrorCode = 7030
	ErrPathAlreadyRegistered   ErrorCode = 7031

	ErrRecordParsing         ErrorCode = 7100
	ErrSecureSessionRequired ErrorCode = 7101
	ErrSecureSessionNotSupp  ErrorCode = 7102
	ErrSegmentation          ErrorCode = 7103
	ErrRecordFields          ErrorCode = 7104
	ErrSessionContextExpired ErrorCode = 7105
	ErrSessionContextDenied  ErrorCode = 7106
)

// Error is a USP failure: the code that goes on the wire, the path it concerns
// ("" for the whole message) and what failed, in words for an operator.
// Params name the parameters at fault where the message has a place for them.
type Error struct {
	Code   ErrorCode
	Path   string
	Msg    string
	Params []ParamError
	Cause  error // not sent; for errors.Is and the log
}

// ParamError is one parameter's part in a failure.
type ParamError struct {
	Param string // name relative to the object of the failed operation
	Code  ErrorCode
	Msg   string
}

// Errorf returns an Error for path. A %w in format sets Cause.
func Errorf(code ErrorCode, path, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Path: path, Msg: err.Error(), Cause: errors.Unwrap(err)}
}

func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("USP error %d: %s", e.Code, e.Msg)
	}
	return fmt.Sprintf("USP error %d: %s: %s", e.Code, e.Path, e.Msg)
}

func (e *Error) Unwrap() error { return e.Cause }

// AsError returns err as a *Error: itself if it is one behind any wrapping,
// else as 7003 Internal error for path, with err's text.
func AsError(err error, path string) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: ErrInternal, Path: path, Msg: err.Error(), Cause: err}
}
