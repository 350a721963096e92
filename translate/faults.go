package translate

import (
	"context"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp"
)

// fault is one row of the table of kinds: the CWMP fault a CPE gives and the USP
// error that tells a controller the same. The first row of a USP code is the
// one taken in the other direction.
type fault struct {
	cwmp cwmp.FaultCode
	usp  usp.ErrorCode
}

// faults pairs the codes of both protocols (TR-069 A.5.1, TR-369 "Error Codes").
// A pair whose sides mean different things is not here: such a fault is sent as
// 7003 with its text.
var faults = [...]fault{
	{cwmp.FaultMethodNotSupported, usp.ErrMessageNotSupported},
	{cwmp.FaultRequestDenied, usp.ErrRequestDenied},
	{cwmp.FaultInternalError, usp.ErrInternal},
	{cwmp.FaultInvalidArguments, usp.ErrInvalidArguments},
	{cwmp.FaultResourcesExceeded, usp.ErrResourcesExceeded},
	{cwmp.FaultInvalidParameterName, usp.ErrUnsupportedParameter},
	{cwmp.FaultInvalidParameterType, usp.ErrInvalidType},
	{cwmp.FaultInvalidParameterValue, usp.ErrInvalidValue},
	{cwmp.FaultNonWritableParameter, usp.ErrReadOnly},
	{cwmp.FaultNotificationRequestRejected, usp.ErrParameterActionFailed},
	{cwmp.FaultDownloadFailure, usp.ErrCommandFailure},
	{cwmp.FaultUploadFailure, usp.ErrCommandFailure},
	{cwmp.FaultACSMethodNotSupported, usp.ErrMessageNotSupported},
	{cwmp.FaultACSRequestDenied, usp.ErrRequestDenied},
	{cwmp.FaultACSInternalError, usp.ErrInternal},
	{cwmp.FaultACSInvalidArguments, usp.ErrInvalidArguments},
	{cwmp.FaultACSResourcesExceeded, usp.ErrResourcesExceeded},
	{cwmp.FaultACSRetryRequest, usp.ErrInternal},
	{cwmp.FaultACSIncompatible, usp.ErrMessageNotSupported},
}

// uspCode returns the USP error code for a CWMP fault code.
func uspCode(code cwmp.FaultCode) usp.ErrorCode {
	for _, f := range faults {
		if f.cwmp == code {
			return f.usp
		}
	}
	if code >= cwmp.FaultDownloadFailure && code <= cwmp.FaultInvalidDUStateVersionExists {
		return usp.ErrCommandFailure
	}
	return usp.ErrInternal
}

// cwmpCode returns the CWMP fault code for a USP error code.
func cwmpCode(code usp.ErrorCode) cwmp.FaultCode {
	for _, f := range faults {
		if f.usp == code {
			return f.cwmp
		}
	}
	return cwmp.FaultInternalError
}

// uspError says in USP terms why something asked of a CPE failed. path is the
// USP path it concerns.
func uspError(err error, path string) *usp.Error {
	var f *cwmp.Fault
	var e *usp.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &f):
		return &usp.Error{Code: uspCode(f.Code), Path: path, Msg: "the CPE refused: " + f.Error(), Cause: err}
	case errors.Is(err, acs.ErrQueueFull):
		return &usp.Error{Code: usp.ErrResourcesExceeded, Path: path, Msg: err.Error(), Cause: err}
	case errors.Is(err, acs.ErrNoContact), errors.Is(err, acs.ErrSessionLost), errors.Is(err, context.DeadlineExceeded):
		return &usp.Error{Code: usp.ErrInternal, Path: path, Msg: fmt.Sprintf("the CPE cannot be reached now: %v", err), Cause: err}
	}
	return usp.AsError(err, path)
}

// failedBy returns the result of an operation that an error has ended.
func failedBy(err error) *OperationResult {
	e := commandError(err)
	return &OperationResult{Code: e.Code, Text: e.Msg}
}

// commandError says in terms of commands why something asked of a CPE failed:
// arguments that it does not take are those of the command.
func commandError(err error) *usp.Error {
	var f *cwmp.Fault
	if !errors.As(err, &f) {
		return uspError(err, "")
	}
	code := uspCode(f.Code)
	switch {
	case f.Code == cwmp.FaultInvalidArguments:
		code = usp.ErrInvalidCommandArguments
	case code != usp.ErrRequestDenied && code != usp.ErrResourcesExceeded && code != usp.ErrInternal:
		code = usp.ErrCommandFailure
	}
	return &usp.Error{Code: code, Msg: fmt.Sprintf("the CPE refused: %v", f), Cause: err}
}
