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
//	go run ./test/bench                    1,000 devices, under three minutes on two cores
//	go run ./test/bench -devices 10000     the full run
//	go run ./test/bench -profile DIR       also a CPU profile of each row
//
// It has two parts. In the first, cached values may be of any age, so that a Get
// never asks a CPE. In the second, after a restart, a status may be a millisecond
// old, so that a Get of one always does.
package main
