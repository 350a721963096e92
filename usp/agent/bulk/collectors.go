package bulk

import (
	"errors"
	"sync"
	"time"
)

// ErrResting is returned for uploads to a collector that has not answered
// lately.
var ErrResting = errors.New("the collector has not answered lately and is left alone for a while")

// ErrBusy is returned for uploads to a collector that is sent as many at once as
// one may be.
var ErrBusy = errors.New("as many reports as one collector may take at once are on their way to it")

// A collector that has failed so often in a row, without an answer, is asked by
// one upload at a time and after a pause each, so that one that is dead does not
// hold all uploads of the fleet up.
const (
	restAfter = 3
	restPause = 15 * time.Second
)

// collectors remembers which collectors do not answer. One that does, and one
// that nothing is sent to, has no entry.
type collectors struct {
	now    func() time.Time
	most   int // uploads to one collector at once; 0: any number
	mu     sync.Mutex
	byHost map[string]*collector
}

type collector struct {
	uploads  int // running
	failures int // in a row
	until    time.Time
}

// begin asks to upload to a host. The upload's end is told by done, with
// whether the host has answered.
func (s *collectors) begin(host string) (done func(answered bool), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byHost[host]
	if c != nil && c.failures >= restAfter {
		now := s.now()
		if now.Before(c.until) {
			return nil, ErrResting
		}
		c.until = now.Add(restPause) // for others; this one finds out
	}
	if c != nil && s.most > 0 && c.uploads >= s.most {
		return nil, ErrBusy
	}
	if c == nil {
		c = &collector{}
		if s.byHost == nil {
			s.byHost = map[string]*collector{}
		}
		s.byHost[host] = c
	}
	c.uploads++
	return func(answered bool) { s.end(host, c, answered) }, nil
}

// maxResting bounds the collectors remembered that do not answer. Controllers
// name them, so there can be any number; beyond it one is forgotten.
const maxResting = 1024

func (s *collectors) end(host string, c *collector, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.uploads--
	if answered {
		c.failures = 0
	} else if c.failures++; c.failures >= restAfter {
		c.until = s.now().Add(restPause)
	}
	if c.uploads == 0 && (c.failures == 0 || len(s.byHost) > maxResting) {
		delete(s.byHost, host)
	}
}
