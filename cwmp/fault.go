package cwmp

import (
	"fmt"
	"strings"
)

// FaultCode is a CWMP fault code: 8000–8999 by the ACS, 9000–9999 by the CPE
// (TR-069 A.5). 8800–8899 and 9800–9899 are the vendors' own. It is an error to
// compare with: errors.Is(err, FaultInvalidParameterName) finds a Fault of that
// code behind any wrapping. The codes inside Fault.Parameters it does not look at.
type FaultCode uint16

// The fault codes of the CPE (TR-069 A.5.1) and of the ACS (A.5.2).
const (
	// Of any RPC.
	FaultMethodNotSupported FaultCode = 9000
	FaultRequestDenied      FaultCode = 9001
	FaultInternalError      FaultCode = 9002
	FaultInvalidArguments   FaultCode = 9003
	FaultResourcesExceeded  FaultCode = 9004

	// Of parameters and objects: GetParameterNames, Get and SetParameterValues, Get
	// and SetParameterAttributes, AddObject, DeleteObject; the last three of
	// SetParameterValues only.
	FaultInvalidParameterName  FaultCode = 9005
	FaultInvalidParameterType  FaultCode = 9006
	FaultInvalidParameterValue FaultCode = 9007
	FaultNonWritableParameter  FaultCode = 9008

	// Of SetParameterAttributes.
	FaultNotificationRequestRejected FaultCode = 9009

	// Of Download, ScheduleDownload, Upload, and of what their TransferComplete, an
	// AutonomousTransferComplete or a DU state change tells.
	FaultDownloadFailure        FaultCode = 9010
	FaultUploadFailure          FaultCode = 9011
	FaultTransferAuthentication FaultCode = 9012
	FaultTransferProtocol       FaultCode = 9013
	FaultDownloadMulticast      FaultCode = 9014
	FaultDownloadContact        FaultCode = 9015
	FaultDownloadAccess         FaultCode = 9016
	FaultDownloadComplete       FaultCode = 9017
	FaultDownloadCorrupted      FaultCode = 9018
	FaultDownloadAuthentication FaultCode = 9019
	FaultDownloadTimeWindow     FaultCode = 9020 // of a TransferComplete
	FaultCancelNotPermitted     FaultCode = 9021 // of CancelTransfer

	// Of single results in DUStateChangeComplete and AutonomousDUStateChangeComplete.
	FaultInvalidUUID                 FaultCode = 9022
	FaultUnknownExecutionEnv         FaultCode = 9023 // of Install
	FaultDisabledExecutionEnv        FaultCode = 9024
	FaultDUToEEMismatch              FaultCode = 9025 // of Install, Update
	FaultDuplicateDU                 FaultCode = 9026 // of Install
	FaultSystemResourcesExceeded     FaultCode = 9027 // of Install, Update
	FaultUnknownDU                   FaultCode = 9028 // of Update, Uninstall
	FaultInvalidDUState              FaultCode = 9029
	FaultInvalidDUStateDowngrade     FaultCode = 9030 // of Update
	FaultInvalidDUStateUpgrade       FaultCode = 9031 // of Update
	FaultInvalidDUStateVersionExists FaultCode = 9032 // of Update

	// Of the ACS.
	FaultACSMethodNotSupported FaultCode = 8000
	FaultACSRequestDenied      FaultCode = 8001
	FaultACSInternalError      FaultCode = 8002
	FaultACSInvalidArguments   FaultCode = 8003
	FaultACSResourcesExceeded  FaultCode = 8004
	FaultACSRetryRequest       FaultCode = 8005
	FaultACSIncompatible       FaultCode = 8006 // since CWMP 1.4
)

var faultTexts = map[FaultCode]string{
	9000: "Method not supported", 9001: "Request denied", 9002: "Internal error", 9003: "Invalid arguments",
	9004: "Resources exceeded", 9005: "Invalid parameter name", 9006: "Invalid parameter type",
	9007: "Invalid parameter value", 9008: "Attempt to set a non-writable parameter",
	9009: "Notification request rejected", 9010: "File transfer failure", 9011: "Upload failure",
	9012: "File transfer server authentication failure", 9013: "Unsupported protocol for file transfer",
	9014: "File transfer failure: unable to join multicast group", 9015: "File transfer failure: unable to contact file server",
	9016: "File transfer failure: unable to access file", 9017: "File transfer failure: unable to complete download",
	9018: "File transfer failure: file corrupted or otherwise unusable", 9019: "File transfer failure: file authentication failure",
	9020: "File transfer failure: unable to complete download within specified time windows",
	9021: "Cancelation of file transfer not permitted in current transfer state",
	9022: "Invalid UUID format", 9023: "Unknown execution environment", 9024: "Disabled execution environment",
	9025: "Deployment unit to execution environment mismatch", 9026: "Duplicate deployment unit",
	9027: "System resources exceeded", 9028: "Unknown deployment unit", 9029: "Invalid deployment unit state",
	9030: "Invalid deployment unit update: downgrade not permitted",
	9031: "Invalid deployment unit update: version not specified",
	9032: "Invalid deployment unit update: version already exists",
	8000: "Method not supported", 8001: "Request denied", 8002: "Internal error", 8003: "Invalid arguments",
	8004: "Resources exceeded", 8005: "Retry request", 8006: "ACS version incompatible with CPE",
}

func (c FaultCode) Error() string {
	if text := c.Text(); text != "" {
		return fmt.Sprintf("CWMP fault %d: %s", uint16(c), text)
	}
	return fmt.Sprintf("CWMP fault %d", uint16(c))
}

// Text returns the standard's wording for the code, "" for a vendor's code.
func (c FaultCode) Text() string { return faultTexts[c] }

// ParameterFault is one SetParameterValuesFault: which parameter, and why.
type ParameterFault struct {
	Name Path
	Code FaultCode
	Text string
}

// Fault is a CWMP fault in either direction. It is an error: errors.As finds it
// behind any wrapping.
type Fault struct {
	Code       FaultCode
	Text       string
	Parameters []ParameterFault // SetParameterValues only; may be empty even then
}

// NewFault returns a fault with the standard's wording.
func NewFault(code FaultCode) *Fault { return &Fault{Code: code, Text: code.Text()} }

// Faultf returns a fault whose text says what is wrong in this very case.
func Faultf(code FaultCode, format string, args ...any) *Fault {
	return &Fault{Code: code, Text: fmt.Sprintf(format, args...)}
}

func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CWMP fault %d: %s", f.Code, f.Text)
	for _, p := range f.Parameters {
		fmt.Fprintf(&b, "; %s: %d %s", p.Name, p.Code, p.Text)
	}
	return b.String()
}

// Is makes a fault equal to its code.
func (f *Fault) Is(target error) bool {
	code, ok := target.(FaultCode)
	return ok && code == f.Code
}

// ByACS reports whether the code is one that an ACS gives, 8000 to 8999
// (TR-069 A.5.2).
func (c FaultCode) ByACS() bool { return c >= 8000 && c < 9000 }
