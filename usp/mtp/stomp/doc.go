// Package stomp is the STOMP 1.2 transport of USP (TR-369 "STOMP Binding"): one
// connection to a server that carries the records of all hosted endpoints, with a
// subscription for each, for STOMP has no wildcards; or, by NewPerAgent, a
// connection for each hosted endpoint.
//
// It knows frames and destinations and nothing of records. Records go up to an
// mtp.Handler, in the field package agent; answers come back through Send.
//
// # What may be lost
//
// Each SEND asks for a RECEIPT. A record is kept from Send until that has come,
// and sent again on the next connection if the first is lost (mtp.Outbox); one for
// which the server answers with ERROR is not. What arrives while we are away is
// kept by servers with queues, however old it gets.
//
// # Frames
//
// They are read and written here and not by a client library, because those keep
// a goroutine and channels for each subscription and read frames of any size. A
// message of more than MaxRecord is read over and dropped, if its length is told.
// Otherwise a frame beyond the bounds (64 KiB of headers, 100 headers, MaxRecord)
// ends the connection, as the rest of the stream cannot be read. A message that is no
// record is dropped without an answer. A hosted agent costs about 270 bytes, and no
// goroutine.
package stomp
