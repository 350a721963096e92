package cpesim

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is what a fleet has done since it was made.
type Stats struct {
	CPE                int               `json:"cpe"`
	ActiveSessions     int               `json:"activeSessions"`
	QueuedSessions     int               `json:"queuedSessions"` // CPE that wait because MaxSessions are open
	Sessions           uint64            `json:"sessions"`       // ended in order
	FailedSessions     uint64            `json:"failedSessions"`
	Informs            uint64            `json:"informs"`
	ConnectionRequests uint64            `json:"connectionRequests"`
	RPCs               uint64            `json:"rpcs"` // by the ACS
	RPCsByName         map[string]uint64 `json:"rpcsByName"`
	FaultsSent         uint64            `json:"faultsSent"`
	FaultsReceived     uint64            `json:"faultsReceived"`
	SessionP50         time.Duration     `json:"sessionP50ns"` // upper edge of the bucket, a power of two of µs
	SessionP99         time.Duration     `json:"sessionP99ns"`
	LastError          string            `json:"lastError,omitempty"` // of a session
}

// counters is Stats in the making.
type counters struct {
	sessions, failed, informs, connectionRequests atomic.Uint64
	faultsSent, faultsReceived                    atomic.Uint64
	durations                                     [40]atomic.Uint64 // sessions of less than 2^i µs

	mu        sync.Mutex
	rpcs      map[string]uint64
	lastError error
}

// maxRPCNames bounds the names counted apart: an ACS may send any name.
const maxRPCNames = 64

func (s *counters) rpc(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rpcs == nil {
		s.rpcs = make(map[string]uint64)
	}
	if _, known := s.rpcs[name]; !known && len(s.rpcs) >= maxRPCNames {
		name = "other"
	}
	s.rpcs[name]++
}

func (s *counters) session(d time.Duration, err error) {
	if err != nil {
		s.failed.Add(1)
		s.mu.Lock()
		s.lastError = err
		s.mu.Unlock()
		return
	}
	s.sessions.Add(1)
	s.durations[min(bits.Len64(uint64(d.Microseconds())), len(s.durations)-1)].Add(1)
}

// quantile returns the upper edge of the bucket in which the q-th session is.
func (s *counters) quantile(q float64) time.Duration {
	var total, below uint64
	for i := range s.durations {
		total += s.durations[i].Load()
	}
	for i := range s.durations {
		below += s.durations[i].Load()
		if total > 0 && float64(below) >= q*float64(total) {
			return time.Microsecond << i
		}
	}
	return 0
}

// Stats returns the present counts.
func (f *Fleet) Stats() Stats {
	s := &f.stats
	st := Stats{CPE: f.Len(), Sessions: s.sessions.Load(), FailedSessions: s.failed.Load(), Informs: s.informs.Load(),
		ConnectionRequests: s.connectionRequests.Load(), FaultsSent: s.faultsSent.Load(), FaultsReceived: s.faultsReceived.Load(),
		SessionP50: s.quantile(0.5), SessionP99: s.quantile(0.99)}
	st.ActiveSessions, st.QueuedSessions = f.gate.load()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.RPCsByName = maps.Clone(s.rpcs)
	for _, n := range s.rpcs {
		st.RPCs += n
	}
	if s.lastError != nil {
		st.LastError = s.lastError.Error()
	}
	return st
}
