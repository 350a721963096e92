package acs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Server is the ACS. It is an http.Handler that takes every path: TR-069 leaves
// the path of the ACS URL open.
type Server struct {
	cfg     Config
	log     logger
	metrics *metrics

	seed    maphash.Seed
	devices [shards]deviceShard  // CPE with an open session or waiting jobs
	byID    [shards]sessionShard // open sessions by cookie

	sessions    *bound
	bodies      *bound // bytes
	connections *bound

	running sync.WaitGroup // sessions
	closing atomic.Bool
	closed  chan struct{} // closed when closing begins
	base    context.Context
	cancel  context.CancelCauseFunc
}

// shards is the number of locks that CPE are spread over, so that no lock is
// shared by many.
const shards = 64

type sessionShard struct {
	sync.Mutex
	sessions map[sessionID]*Session
}

// New returns a Server. It fails if the configuration cannot work or its
// metrics are registered already.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: logger{cfg.Log}, seed: maphash.MakeSeed(), closed: make(chan struct{})}
	s.sessions = &bound{log: s.log, name: "sessions", limit: int64(cfg.MaxSessions),
		effect: "CPE are sent away with 503 and come again; those that do are preferred"}
	s.bodies = &bound{log: s.log, name: "bodies", limit: int64(cfg.BodiesBytes),
		effect: "CPE with large messages are sent away with 503 and come again"}
	s.connections = &bound{log: s.log, name: "connections", limit: int64(cfg.MaxConnections),
		effect: "new connections of CPE wait until others are closed"}
	s.base, s.cancel = context.WithCancelCause(context.Background())
	for i := range s.devices {
		s.devices[i].devices = map[cwmp.DeviceKey]*device{}
		s.byID[i].sessions = map[sessionID]*Session{}
	}
	s.metrics, err = newMetrics(cfg.Metrics, s.sessions, s.bodies, s.connections)
	if err != nil {
		return nil, fmt.Errorf("acs: register metrics: %w", err)
	}
	return s, nil
}

// Sessions returns the number of open sessions.
func (s *Server) Sessions() int { return int(s.sessions.used.Load()) }

// InSession reports whether the CPE has an open session that still takes jobs.
func (s *Server) InSession(key cwmp.DeviceKey) bool {
	shard := s.deviceShard(key)
	shard.Lock()
	defer shard.Unlock()
	d := shard.devices[key]
	return d != nil && d.takesJobs()
}

// Close ends the Server: from now on new sessions get 503, and jobs that wait
// for a CPE fail with ErrClosed. Open sessions may come to their end until ctx
// is done; what is left then ends with ErrSessionLost. Close returns when no
// session is left, with ctx's error if some had to be broken off.
func (s *Server) Close(ctx context.Context) error {
	if s.closing.Swap(true) {
		return ErrClosed
	}
	close(s.closed)
	s.endWakes()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("acs: %d sessions broken off at shutdown: %w", s.Sessions(), ctx.Err())
	}
	s.cancel(lost("closed", ErrClosed))
	<-done
	return err
}

// endWakes passes every shard's lock once, so that whoever saw the Server open
// has entered by then, and cuts connection requests in flight short.
func (s *Server) endWakes() {
	for i := range s.devices {
		shard := &s.devices[i]
		shard.Lock()
		for _, d := range shard.devices {
			if d.wake != nil {
				d.wake.cancel() // a request in flight holds its job up
			}
		}
		shard.Unlock()
	}
}

// session returns the open session with that id, nil if there is none.
func (s *Server) session(id sessionID) *Session {
	shard := &s.byID[id[0]%shards]
	shard.Lock()
	defer shard.Unlock()
	return shard.sessions[id]
}

// admit makes the session known by its cookie and as its CPE's session. It
// returns the CPE's session until then, which is told to end: the newest wins,
// since the CPE can only be in one and has just opened this one. A CPE that
// takes over from itself finds a place always.
func (s *Server) admit(x *Session) (previous *Session, err error) {
	ids := &s.byID[x.id[0]%shards]
	shard := s.deviceShard(x.key)
	shard.Lock()
	if s.closing.Load() {
		shard.Unlock()
		return nil, closingError()
	}
	d := shard.device(x.key)
	if d.session != nil {
		s.sessions.force(1)
	} else if !s.sessions.take(1, s.reserved(x.inform)) {
		shard.tidy(x.key, d)
		shard.Unlock()
		return nil, s.fullError()
	}
	s.running.Add(1)
	previous, d.session = d.session, x
	d.ending, d.wakeErr, d.wokenAt = false, nil, time.Time{} // the connection request is used up
	if d.wake != nil {
		d.wake.came = true
		d.wake.cancel()
	}
	shard.Unlock()

	ids.Lock()
	ids.sessions[x.id] = x
	ids.Unlock()
	if previous != nil {
		previous.cancel(lost("superseded", errors.New("the CPE opened a new session")))
	}
	return previous, nil
}

// reserveShare is the part of all sessions that is kept for CPE that have tried
// before (RetryCount above 0), most of them because they were sent away: so
// nobody is sent away for ever by those who come for the first time.
const reserveShare = 10

// reserved returns how many sessions this Inform must leave free.
func (s *Server) reserved(inform *cwmp.Inform) int64 {
	if inform.RetryCount > 0 {
		return 0
	}
	return int64(s.cfg.MaxSessions / reserveShare)
}

// dismiss forgets a session that has ended.
func (s *Server) dismiss(x *Session) {
	ids := &s.byID[x.id[0]%shards]
	ids.Lock()
	delete(ids.sessions, x.id)
	ids.Unlock()
	if x.conn != nil {
		x.conn.session.CompareAndSwap(x, nil) // an idle connection keeps no session alive
	}
	shard := s.deviceShard(x.key)
	shard.Lock()
	if d := shard.devices[x.key]; d != nil && d.session == x {
		d.session, d.ending = nil, false
		d.nudge()
		shard.tidy(x.key, d)
	}
	shard.Unlock()
	s.sessions.give(1)
	s.running.Done()
}
