// Package stun is the STUN server of TR-069 Annex G: CPE behind NAT learn from
// it that they are, and under which address and port it sees them, and keep that
// binding of their NAT open by asking again and again. UDP Connection Requests
// leave from its socket, since a NAT lets in only what comes from the address
// that the CPE sends to.
//
// Annex G builds on RFC 3489, whose messages have no magic cookie; requests with
// the cookie of RFC 5389 are answered in kind. A CPE names itself by USERNAME,
// which is its device key if the bridge has provisioned it, and proves it by
// MESSAGE-INTEGRITY when it is asked to. Only a binding that was proven is
// believed.
//
// Everything that comes in may be forged. So an answer goes to where the request
// came from (its port may be another, for the CPE's own test of how long a
// binding lives), is hardly larger than the request, and costs a bounded table
// and no store: a password is derived from the device key, not looked up.
package stun
