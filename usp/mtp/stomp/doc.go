// Package stomp is the STOMP 1.2 transport of USP (TR-369 "STOMP Binding"): one
// connection to a server carries the records of all hosted endpoints, with a
// subscription for each, for STOMP has no wildcards.
//
// It knows frames and destinations and nothing of records. Records go up to an
// mtp.Handler, in the field package agent; answers come back through Send.
//
// Frames are read and written here and not by a client library, because those
// keep a goroutine and channels for each subscription and read frames of any
// size.
package stomp
