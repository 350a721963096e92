// Command bench measures a whole bridge and prints one table, with what a peer
// needs for the same work and what is aimed at beside it.
//
// It builds cmd/uspbridge, starts it as a child process on loopback with an empty
// data directory, gives it a fleet of simulated CPE (cwmp/cpesim) of some 800
// parameters, and asks as a controller over WebSocket (usp/client). All of these
// run here, so that the CPU time of the child is the bridge's alone. The clock is
// shared: where the table says "per second" or gives a latency, the simulated
// side took its part of the same cores.
//
//	go run ./test/bench                    1,000 devices, under five minutes on two cores
//	go run ./test/bench -profile DIR       also a CPU profile of each row
//	go run ./test/bench -only secured      only some parts
//
// Its parts, each with a bridge of its own:
//
//	fleet    One fleet. First, cached values may be of any age, so that a Get never
//	         asks a CPE. Then, after a restart, a status may be a millisecond old, so
//	         that a Get of one always does. It ends with what a controller does all
//	         day, of all kinds at once, and with changes that many subscriptions tell.
//	secured  Plain sessions, each on a connection of its own: open, with digest
//	         authentication, with TLS and a full handshake, with TLS resumed.
//	held     CPE in session at the same time, each owing the bridge an answer: what
//	         an open session takes of memory, and that all come to their end.
//	burst    A mass reboot: CPE that boot within 10 s, first all new to the bridge,
//	         then all known; how long until each is served, and at what memory. It
//	         fails if one is lost.
//
//	upgrade  A fleet whose firmware is upgraded through USP, of which one CPE in four
//	         has something wrong with it: until each upgrade has ended, once, in the
//	         state that its CPE is in.
//
//	websockets  Controllers that are connected and say nothing: what a connection takes.
//	restart  A broker that is killed and started again: how long until all agents are
//	         back, with one connection for all and with one each. It needs mosquitto.
//	native   A stub of a native agent that a controller asks: records a second and the
//	         latency of each way without the bridge, over its embedded broker, and through
//	         its relay from each transport to each, with what that adds; also to a
//	         controller that the bridge connects to. CoAP has a fixed rate, below what
//	         its server takes of one source. It needs mosquitto; STOMP has rows if -stomp
//	         says where a server is.
//
// The full runs take minutes each; a process needs 15,000 open files for them:
//
//	go run ./test/bench -only fleet -devices 10000
//	go run ./test/bench -only held -held 5000
//	go run ./test/bench -only websockets -websockets 10000
//	go run ./test/bench -only restart -agents 10000
//	go run ./test/bench -only burst -burst 10000
//	go run ./test/bench -only burst -burst 10000 -limits "sessions: 1000, connections: 1500, retry_after: 5s"
package main
