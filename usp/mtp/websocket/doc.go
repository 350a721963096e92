// Package websocket is the WebSocket transport of USP in the server's role
// (TR-369 "WebSocket Binding"): controllers connect to it and each connection
// carries records of one hosted agent or of all of them.
//
// It knows HTTP, frames and endpoint ids, and reads nothing of a record but its
// from_id. Records go up to an mtp.Handler, in the field package agent; answers
// come back through Send.
package websocket
