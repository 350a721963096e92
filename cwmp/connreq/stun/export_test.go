package stun

import "net/netip"

// Answer is what a datagram is answered with.
func (s *Server) Answer(in []byte, from netip.AddrPort) (answer []byte, to netip.AddrPort) {
	answer, to, _ = s.answer(nil, in, new(Message), from)
	return answer, to
}
