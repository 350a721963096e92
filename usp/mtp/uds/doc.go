// Package uds is the Unix domain socket MTP (TR-369 "UNIX Domain Socket Binding",
// USP 1.3): between the bridge and controllers or native agents of the same
// machine.
//
// Frames (a header and type-length-value fields) are a codec of their own; Transport
// stands on it: it listens at a path, or connects to a controller's for an agent,
// shakes hands, and moves records. It knows endpoint ids and paths, not messages.
package uds
