// Package broker is an MQTT broker inside the program (MQTT 5 and 3.1.1, over
// mochi-mqtt), so that controllers and native agents of a small site or a lab need
// nothing else installed. The program's own MQTT transport connects to it by Dial,
// as it would to any other broker.
//
// What a general broker leaves to its operator is settled here: each client is one
// USP endpoint, known by its password or its certificate; an endpoint hears its own
// topics only and writes to those that Rules name; and each message tells who sent
// it, in a user property that no client can forge (SenderProperty). It knows
// endpoint ids and topics, nothing of records.
//
// Sessions and what they hold live in memory. When the program ends so do the
// agents behind it: what was answered is in their store, what was not is asked
// again, and notifications are repeated until a controller acknowledges them. A
// broker that outlived them would have nothing to add.
//
// The flow: listener (gate, conn) → mochi's codec and sessions → hook, which asks
// login who a client is and rights what it may do.
package broker
