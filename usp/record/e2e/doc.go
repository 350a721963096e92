// Package e2e is the exchange of USP messages within an end-to-end session
// context (TR-369 "End to End Message Exchange"): numbered records, which are
// kept, asked for again and put in order; messages in pieces where a record may
// only be so large; TLS inside the records, and the proof that their other fields
// are what was sent.
//
// It stands between package record, whose records it makes and takes, and the
// packages agent and client, which know messages only. Context is one session
// context; Peer is what lasts between two endpoints while contexts come and go;
// Table is the peers of a program, as many as it can keep. None of them starts a
// goroutine or a timer or sends anything: records to be sent are returned, and
// what is due is done by Tick. Transports, agents and the store are unknown here.
package e2e
