package main

import (
	"bytes"
	"sync"
)

// syncBuffer is a buffer that one goroutine writes and another reads. wait, if
// set, is closed at the first write.
type syncBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	wait chan struct{}
	once sync.Once
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait != nil {
		s.once.Do(func() { close(s.wait) })
	}
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
