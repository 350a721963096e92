// Command uspbridge makes a fleet of TR-069 CPE manageable as USP agents.
//
// One file holds one subcommand. `serve` wires the parts of the project together
// and runs them (serve.go, demo.go, with config*.go for its configuration); the
// others are clients of a running bridge, as a USP controller over WebSocket
// (controller.go) or through the console's JSON API (package console), or work
// on files. There is no protocol logic here.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage.
package main
