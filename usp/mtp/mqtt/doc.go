// Package mqtt is the MQTT transport of USP (TR-369 "MQTT Binding"), versions 5.0
// and 3.1.1: one connection to a broker that carries the records of all hosted
// endpoints or, with one shared topic, those of a controller; or, as PerAgent, a
// connection for each hosted endpoint.
//
// It knows topics and MQTT properties and nothing of records. Records go up to an
// mtp.Handler, in the field package agent; answers come back through Send.
//
// # Versions
//
// They differ in what packets say, not in what is done. In 5.0 the topic of an
// answer is the Response Topic, the broker may name topics to subscribe to and the
// "reply to" topic, and may assign a ClientId. In 3.1.1 the topic of an answer
// follows "/reply-to=" at the end of the topic, which is a level more to subscribe
// to, and without a ClientId the endpoint id is tried. What has no "/reply-to=" is
// taken too (R-MQTT.26a would have it refused; there are controllers that never
// send it) and answered where the controller is configured.
//
// # What may be lost
//
// A record is kept from Send until the broker has acknowledged it, and sent again
// on the next connection if the first is lost (mtp.Outbox). The broker keeps what
// arrives while we are away, for SessionExpiry in 5.0 and for as long as it likes
// in 3.1.1. With QoS 0 (AtMostOnce) there is no acknowledgement, and what is under
// way when a connection is lost is lost with it. What a broker has retained is
// dropped: it would be carried out again on each connection.
//
// # Packets
//
// They are read and written here, with the codec of mochi-mqtt, which has both
// versions: a client library reads a packet of whatever size anybody may publish
// (3.1.1 has no way to announce a bound), has several goroutines and buffers for
// each connection, of which there may be one for each agent, and there would have
// to be two of them.
package mqtt
