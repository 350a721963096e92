// Package trust is who hosted agents are and whom they believe: the certificates
// of agents, and the judgement of the certificates that their peers show (TR-369
// "Authentication and Authorization").
//
// An agent's certificate is made when it is first asked for, by a CA of the
// bridge's own, by an operator's CA whose key is here, or by an operator who signs
// requests elsewhere. It is renewed when it is asked for near its end: nothing
// runs for an agent that is idle.
//
// The package knows X.509, endpoint ids and the store, nothing of records,
// messages and transports. What an agent's own objects say of its controllers it
// asks a Book, which package agent implements; CAs and revocations from files it
// asks Authorities. Transports and agents ask it.
package trust
