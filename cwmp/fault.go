package cwmp

import (
	"fmt"
	"strings"
)

// FaultCode is a CWMP fault code: 8000–8999 by the ACS, 9000–9999 by the CPE
// (TR-069 A.5).
type FaultCode uint16

// The fault codes of the CPE (TR-069 A.5.1) and of the ACS (A.5.2).
const (
	FaultMethodNotSupported          FaultCode = 9000
	FaultRequestDenied               FaultCode = 9001
	FaultInternalError               FaultCode = 9002
	FaultInvalidArguments            FaultCode = 9003
	FaultResourcesExceeded           FaultCode = 9004
	FaultInvalidParameterName        FaultCode = 9005
	FaultInvalidParameterType        FaultCode = 9006
	FaultInvalidParameterValue       FaultCode = 9007
	FaultNonWritableParameter        FaultCode = 9008
	FaultNotificationRequestRejected FaultCode = 9009
	FaultDownloadFailure             FaultCode = 9010
	FaultUploadFailure               FaultCode = 9011
	FaultTransferAuthentication      FaultCode = 9012
	FaultTransferProtocol            FaultCode = 9013
	FaultDownloadMulticast           FaultCode = 9014
	FaultDownloadContact             FaultCode = 9015
	FaultDownloadAccess              FaultCode = 9016
	FaultDownloadComplete            FaultCode = 9017
	FaultDownloadCorrupted           FaultCode = 9018
	FaultDownloadAuthentication      FaultCode = 9019
	FaultDownloadTimeWindow          FaultCode = 9020
	FaultCancelNotPermitted          FaultCode = 9021
	FaultInvalidUUID                 FaultCode = 9022
	FaultUnknownExecutionEnv         FaultCode = 9023
	FaultDisabledExecutionEnv        FaultCode = 9024
	FaultDUToEEMismatch              FaultCode = 9025
	FaultDuplicateDU                 FaultCode = 9026
	FaultSystemResourcesExceeded     FaultCode = 9027
	FaultUnknownDU                   FaultCode = 9028
	FaultInvalidDUState              FaultCode = 9029
	FaultInvalidDUStateDowngrade     FaultCode = 9030
	FaultInvalidDUStateUpgrade       FaultCode = 9031
	FaultInvalidDUStateVersionExists FaultCode = 9032

	FaultACSMethodNotSupported FaultCode = 8000
	FaultACSRequestDenied      FaultCode = 8001
	FaultACSInternalError      FaultCode = 8002
	FaultACSInvalidArguments   FaultCode = 8003
	FaultACSResourcesExceeded  FaultCode = 8004
	FaultACSRetryRequest       FaultCode = 8005
	FaultACSIncompatible       FaultCode = 8006
)

var faultTexts = map[FaultCode]string{
	9000: "Method not supported", 9001: "Request denied", 9002: "Internal error", 9003: "Invalid arguments",
	9004: "Resources exceeded", 9005: "Invalid parameter name", 9006: "Invalid parameter type",
	9007: "Invalid parameter value", 9008: "Attempt to set a non-writable parameter",
	9009: "Notification request rejected", 9010: "Download failure", 9011: "Upload failure",
	9012: "File transfer server authentication failure", 9013: "Unsupported protocol for file transfer",
	9014: "Download failure: unable to join multicast group", 9015: "Download failure: unable to contact file server",
	9016: "Download failure: unable to access file", 9017: "Download failure: unable to complete download",
	9018: "Download failure: file corrupted", 9019: "Download failure: file authentication failure",
	9020: "Download failure: unable to complete within time windows", 9021: "Cancelation of file transfer not permitted",
	9022: "Invalid UUID format", 9023: "Unknown execution environment", 9024: "Disabled execution environment",
	9025: "Deployment unit to execution environment mismatch", 9026: "Duplicate deployment unit",
	9027: "System resources exceeded", 9028: "Unknown deployment unit", 9029: "Invalid deployment unit state",
	9030: "Invalid deployment unit update: downgrade not permitted",
	9031: "Invalid deployment unit update: version not specified",
	9032: "Invalid deployment unit update: version already exists",
	8000: "Method not supported", 8001: "Request denied", 8002: "Internal error", 8003: "Invalid arguments",
	8004: "Resources exceeded", 8005: "Retry request", 8006: "ACS version incompatible with CPE",
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

// ByACS reports whether the code is one that an ACS gives, 8000 to 8999
// (TR-069 A.5.2).
func (c FaultCode) ByACS() bool { return c >= 8000 && c < 9000 }
