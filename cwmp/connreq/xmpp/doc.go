// Package xmpp makes connection requests over XMPP (TR-069 Annex K): the bridge
// and the CPE are both clients of an XMPP server, which knows where the CPE is
// whatever is in between. The request is an IQ of type get with the user name and
// password of connection requests in it; its result means that the CPE will open a
// session.
//
// One connection serves the whole fleet. It is kept open and opened again when it
// breaks; requests under way are bounded in number and time. Streams, SASL and
// stanzas are mellium.im/xmpp's work.
package xmpp
