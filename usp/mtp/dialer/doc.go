// Package dialer keeps the sessions that hosted endpoints open to their controllers,
// and those that are opened in the name of endpoints which are relayed: which are
// wanted, when the next try is due, how many are tried for at once. It knows pairs of
// endpoints and times; the transport that uses it knows how a session is opened and
// tells when one has ended.
//
// One goroutine serves all pairs. A pair that has a session, or waits for a try,
// costs memory only: about 300 bytes.
package dialer
