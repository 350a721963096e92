// Package record packs messages into USP records and takes them out again
// (TR-369 "USP Record Encapsulation", "Message Encoding"): records without
// session context, Connect and Disconnect records, and the answers to erroneous
// records.
//
// It knows bytes and protobuf, not what messages mean: no paths, no devices, no
// transports. In the flow it stands between the transports of package mtp, which
// move its bytes, and packages agent and client, which handle the messages. It
// keeps no state: session contexts are package e2e below it. MAC and signature
// of a record are made and verified here; whose a certificate is, others know.
package record
