package acs

import (
	"errors"
	"net"
	"sync"
)

// Limit returns a listener that holds no more than Config.MaxConnections
// connections open. Further ones wait in the operating system's backlog, where
// they cost next to nothing, until one is closed: a CPE that waits a little is
// served, one that is cut off comes back with all the others.
//
// It also bounds TLS handshakes: one takes about 1 ms of CPU with RSA-2048, so
// that all that can be open get theirs within http.Server.ReadHeaderTimeout and
// none is lost to the others.
func (s *Server) Limit(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, bound: s.connections, closed: make(chan struct{}),
		places: make(chan struct{}, s.cfg.MaxConnections)}
}

type limitedListener struct {
	net.Listener
	bound  *bound
	places chan struct{} // holds one for each open connection

	closing sync.Once
	closed  chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	default:
		l.bound.bite()
		select {
		case l.places <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	l.bound.force(1)
	return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { l.bound.give(1); <-l.places })}, nil
}

func (l *limitedListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// CloseWrite lets net/http close one half first, as it does with TCP, so that
// the last answer is not lost to a reset.
func (c *limitedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
