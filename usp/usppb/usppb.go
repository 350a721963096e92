// Package usppb is the protobuf of USP messages and records (TR-369 encoding),
// generated from the .proto files beside it. It is data only: what the messages
// mean is known to packages record, agent and client.
package usppb

//go:generate protoc --go_out=. --go_opt=paths=source_relative usp-msg.proto usp-record.proto
