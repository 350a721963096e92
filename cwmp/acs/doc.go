// Package acs is the Auto-Configuration Server of TR-069: it takes the sessions
// that CPE open over HTTP, authenticates them, and runs RPCs in them one at a
// time.
//
// One HTTP request is one step of a session. Server.ServeHTTP reads the step,
// finds the session it belongs to (by cookie, else by TCP connection) and hands
// it to the session's goroutine, which lives exactly as long as the session:
//
//	CPE: POST Inform        → Fleet.Inform  → 200 InformResponse, Set-Cookie
//	CPE: POST request       → Fleet.Request → 200 response
//	CPE: POST empty         → Fleet.Serve, then the queued jobs; each Call is
//	                          the answer to one POST:  200 request
//	CPE: POST response      → the Call returns; …      200 next request
//	                          nothing left to ask:     204
//
// Work for a CPE that is not in a session waits in its queue (Server.Do) while
// one connection request is made. Nothing is kept for a CPE that has neither an
// open session nor waiting work.
//
// The package knows the vocabulary (cwmp), envelopes (cwmp/soap) and what stands
// behind it only as a Fleet; it knows nothing of data models, stores or USP.
package acs
