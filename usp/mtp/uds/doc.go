// Package uds is the framing of the Unix domain socket MTP (TR-369 "UNIX Domain
// Socket Binding", USP 1.3): a header and type-length-value fields with the
// handshake, an error or a record.
//
// It knows bytes only. It is a codec: the transport that listens, shakes hands
// and implements mtp.Transport arrives with the UDS listener and stands on it.
package uds
