package translate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp"
)

func TestFaultsBecomeUSPErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		code usp.ErrorCode
		says string
	}{
		{cwmp.NewFault(9005), usp.ErrUnsupportedParameter, "9005"},
		{cwmp.NewFault(9007), usp.ErrInvalidValue, "9007"},
		{cwmp.NewFault(9008), usp.ErrReadOnly, "9008"},
		{cwmp.NewFault(9004), usp.ErrResourcesExceeded, "9004"},
		{cwmp.NewFault(9018), usp.ErrCommandFailure, "9018"},
		// Deviation: several CPE – send faults of their vendor's own; the error of USP is a general one with the vendor's words
		{cwmp.Faultf(9801, "vendor says no"), usp.ErrInternal, "vendor says no"},
		{fmt.Errorf("x: %w", acs.ErrQueueFull), usp.ErrResourcesExceeded, "wait for this CPE"},
		{fmt.Errorf("x: %w: connection refused", acs.ErrNoContact), usp.ErrInternal, "connection refused"},
		{acs.ErrSessionLost, usp.ErrInternal, "cannot be reached"},
		{context.DeadlineExceeded, usp.ErrInternal, "cannot be reached"},
		{usp.Errorf(usp.ErrInvalidType, "Device.X", "no number"), usp.ErrInvalidType, "no number"},
	} {
		got := uspError(c.err, "Device.X")
		if got.Code != c.code || !strings.Contains(got.Msg, c.says) || got.Path != "Device.X" {
			t.Errorf("%v: got %d %q for %q, want %d with %q", c.err, got.Code, got.Msg, got.Path, c.code, c.says)
		}
	}
}

// Each pair of codes holds in both directions, the first row of a code winning.
func TestFaultTableIsConsistent(t *testing.T) {
	seen := map[cwmp.FaultCode]bool{}
	for _, f := range faults {
		if seen[f.cwmp] {
			t.Errorf("CWMP fault %d is in the table twice", f.cwmp)
		}
		seen[f.cwmp] = true
		if got := uspCode(cwmpCode(f.usp)); got != f.usp {
			t.Errorf("USP %d becomes CWMP %d becomes USP %d", f.usp, cwmpCode(f.usp), got)
		}
	}
}

// Every fault of TR-069 reaches a controller as an error with the fault in it:
// of a parameter, of a command, and inside the end of an operation.
func TestEveryFaultIsTold(t *testing.T) {
	var codes []cwmp.FaultCode
	for code := cwmp.FaultMethodNotSupported; code <= cwmp.FaultInvalidDUStateVersionExists; code++ {
		codes = append(codes, code)
	}
	for code := cwmp.FaultACSMethodNotSupported; code <= cwmp.FaultACSIncompatible; code++ {
		codes = append(codes, code)
	}
	for _, code := range codes {
		fault := cwmp.NewFault(code)
		if fault.Text == "" {
			t.Errorf("fault %d has no text", code)
		}
		for what, e := range map[string]*usp.Error{"parameter": uspError(fault, ""), "command": commandError(fault),
			"operation": usp.AsError(failedBy(fault).err(), "")} {
			if e.Code < usp.ErrMessageFailed || !strings.Contains(e.Msg, fmt.Sprintf("CWMP fault %d: %s", code, fault.Text)) {
				t.Errorf("%d as the error of a %s: %d %q", code, what, e.Code, e.Msg)
			}
		}
		if code >= cwmp.FaultDownloadFailure && commandError(fault).Code != usp.ErrCommandFailure {
			t.Errorf("%d as the error of a command: %d", code, commandError(fault).Code)
		}
	}
	var typed *cwmp.Fault
	if !errors.As(uspError(cwmp.NewFault(9018), ""), &typed) || typed.Code != 9018 {
		t.Error("the fault is not found behind the error")
	}
}
