package acs

import "time"

// Through returns the session with c in front of it: its Call is c's, which
// passes on what it wants by x's. It is for a Fleet that has to correct what is
// said to and by some of its CPE. How the session began, and its Data as it is now,
// are x's.
func (x *Session) Through(c Caller) *Session {
	return &Session{opening: x.opening, data: x.data, detached: c}
}

// Allow lets the CPE take up to d for each answer in this session, if that is
// more than it has, at most 10 minutes. Like Data it is for the Fleet's methods.
func (x *Session) Allow(d time.Duration) { x.rpcTimeout = max(x.rpcTimeout, min(d, maxAskedTimeout)) }
