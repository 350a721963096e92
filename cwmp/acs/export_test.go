package acs

// Entries returns how many CPE are remembered.
func (s *Server) Entries() (n int) {
	for i := range s.devices {
		s.devices[i].Lock()
		n += len(s.devices[i].devices)
		s.devices[i].Unlock()
		s.byID[i].Lock()
		n += len(s.byID[i].sessions)
		s.byID[i].Unlock()
	}
	return n
}
