// Package coap is the CoAP MTP (TR-369 "CoAP Binding", obsolete since USP 1.3),
// plain or over DTLS: for controllers and native agents of a local network that
// speak nothing newer.
//
// Each endpoint is server and client. A record comes as a POST with the URI that
// answers go to, and is acknowledged at once with 2.04; an answer is a POST of our
// own to that URI. There are no sessions: an address is a coap:// or coaps:// URI.
package coap
