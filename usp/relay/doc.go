// Package relay lets native USP agents and controllers reach each other through
// the bridge, from any transport to any other, as the MTP Proxy of TR-369
// "Communications Proxying" does. The bytes of a record pass untouched; only
// Connect records, which belong to one transport, end here and are made anew for
// the other one.
//
// Where a controller has to be connected to, the relay has the transports keep a
// session for each native agent with it (mtp.Dialing), and sends what is the agent's
// by that.
//
// It stands in front of the handler of hosted agents: a record for one of those
// goes there, one between two others is relayed if Policy allows it, all else is
// left to that handler to drop. It knows endpoint ids and transports' addresses;
// it knows no messages, no agents of ours and no devices.
//
// The bytes have no place for a count of hops. Instead what was sent to a place
// is not taken from there again, and the same bytes for the same endpoint are
// passed on a few times only in a short while, see marks.
package relay
