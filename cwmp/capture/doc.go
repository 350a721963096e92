// Package capture is what is known of captured CWMP sessions: the file format
// (docs/captures.md), who captures which sessions (Hub), and how the secrets in
// them are masked.
//
// It stands beside the sessions, not in them. Package acs hands the HTTP
// exchanges of a session to a Recorder as they were on the wire; the Hub keeps
// them, within bounds, until those who capture fetch them; a Writer masks them and
// makes lines of them. Package cpesim reads such lines with a Reader and plays
// them back. Nothing unmasked is ever handed out, so masking happens here and
// nowhere else.
//
// Masking does not use package soap: it works on the bytes as the CPE wrote them,
// keeps all of its XML but the secrets, and knows more than what soap reads as a
// value. What it cannot read as XML it masks wholly but for the names of CWMP's
// own elements (conservative.go), so that it never lets through what it has not
// understood.
package capture
