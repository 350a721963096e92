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
// What a CPE carries out beyond a session is an Operation (operation.go): kept
// in the device's record, carried on in its sessions (carry.go), ended by what the
// CPE tells (request.go, transfer_complete.go, deployment.go) or by the clock
// (due.go). RPCs whose answer was lost are settled by looking at the CPE
// (settle.go, carry.go, reboot.go).
//
// Diagnostics (diagnostic.go) and firmware images (image.go) are operations like
// transfers: the first run in turn at the object that a CPE has for them, the
// others begin with what the bridge fetches and checks (image_fetch.go).
//
// What a device is stays in the store (Record, tree, numbers); a device is in
// memory only while something happens to it and for a short time after.
package translate
