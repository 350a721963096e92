// Package translate is the joint: it presents a CWMP CPE as the data model of a
// USP agent. It is the only package that knows both protocols.
//
// Towards CWMP it is the acs.Fleet: it meets a CPE at its Inform, discovers its
// parameter tree, provisions it, and reads, writes, adds and deletes on it. Towards
// USP it is agent.Devices and agent.Model: USP paths go through a mapping.Program,
// compiled once per template, to CPE parameters and back.
//
// In the flow: agent → Model (read.go, write.go, rows.go, delete.go,
// operate.go) → tree, or
// acs queue → CPE → tree; and CPE Inform → inform.go → tree and events → agent.
// A CPE that is wanted is woken by whichever way it has (ways.go, wake.go).
//
// What a device is stays in the store (Record, tree, numbers); a device is in
// memory only while something happens to it and for a short time after.
package translate
