package soap

import (
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
)

// SyntaxError says that a body is not an envelope that can be read: broken
// XML, no SOAP envelope, a DOCTYPE, or one of the Limits exceeded.
type SyntaxError struct {
	Offset int    // byte offset in the body; after a change of encoding, in its UTF-8 form
	Limit  string // field of Limits that was exceeded, "" if the body is just wrong
	Msg    string // what was expected and what was seen
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("SOAP message at byte %d: %s", e.Offset, e.Msg)
}

// UnknownRPCError says that the body's element is no RPC of CWMP. It unwraps to
// the fault that answers it, 8000 Method not supported.
type UnknownRPCError struct {
	Name   string // local name of the element
	Offset int
}

func (e *UnknownRPCError) Error() string {
	return fmt.Sprintf("SOAP message at byte %d: unknown RPC %q", e.Offset, e.Name)
}

// Unwrap returns the fault to answer with (TR-069 A.5.2).
func (e *UnknownRPCError) Unwrap() error { return cwmp.NewFault(cwmp.FaultACSMethodNotSupported) }
