// Package cpesim is a fleet of simulated CPE: each behaves towards an ACS as a
// TR-069 residential gateway does, from its first "0 BOOTSTRAP" to its factory
// reset. The demo, the tests, load benchmarks and `uspbridge simulate` run on it.
//
// It stands on the far side of the wire: it knows packages cwmp and soap and
// nothing of the ACS that it talks to. A CPE's parameters are a Model, immutable
// and shared by all CPE of that kind, and the CPE's own differences from it (a
// tree: changed values, added and deleted rows, attributes). What a CPE has to
// do next is one entry in the Fleet's timer heap; a goroutine and a connection
// exist only while it is in a session, so that ten thousand idle CPE cost bytes.
//
// The flow: Fleet (timers) → CPE.work (what is due: boot, transfers, session) →
// session (Inform … 204, over a link) → the RPC handlers, which change the tree →
// notifications and events for the next session.
//
// Deviations from the standard are never the default; each is a named field of
// Profile, with the kind of real CPE that shows it.
package cpesim
