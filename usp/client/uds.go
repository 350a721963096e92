package client

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
)

// sendWithin bounds the writing of a frame whose context has no deadline.
const sendWithin = 10 * time.Second

// dialSocket connects to a Unix domain socket of agents (TR-369 "UNIX Domain
// Socket Binding").
func dialSocket(ctx context.Context, cfg Config) (Link, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(cfg.URL, uds.Scheme))
	if err != nil {
		return nil, fmt.Errorf("no bridge answers at %s: %w", cfg.URL, err)
	}
	l := &unixSocket{conn: conn, frames: uds.NewReader(conn, maxRecord)}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the handshake fails
	defer stop()
	if err := l.shake(ctx, cfg.Controller); err != nil {
		conn.Close() //nolint:errcheck // the handshake has failed
		return nil, fmt.Errorf("%s: %w", cfg.URL, err)
	}
	return l, nil
}

// unixSocket is a Unix domain socket as a Link.
type unixSocket struct {
	mu     sync.Mutex // of writers
	conn   net.Conn
	frames *uds.Reader
}

// shake says who we are and waits for the other side to do so (R-UDS.16).
func (s *unixSocket) shake(ctx context.Context, controller usp.EndpointID) error {
	if err := s.write(ctx, uds.NewHandshake(controller)); err != nil {
		return err
	}
	for {
		f, err := s.next()
		if err != nil {
			return fmt.Errorf("no handshake: %w", err)
		}
		if _, ok := f.Find(uds.Handshake); ok {
			return nil
		}
	}
}

// next returns the next frame; one with an Error is the end (R-UDS.25).
func (s *unixSocket) next() (uds.Frame, error) {
	f, err := s.frames.Next()
	if err != nil {
		return nil, err
	}
	if msg, ok := f.Find(uds.Error); ok {
		return nil, fmt.Errorf("the bridge says %q", msg)
	}
	return f, nil
}

func (s *unixSocket) write(ctx context.Context, f uds.Frame) error {
	b, err := f.Append(nil)
	if err != nil {
		return err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(sendWithin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err = s.conn.Write(b)
	return err
}

// Send implements Link.
func (s *unixSocket) Send(ctx context.Context, _ usp.EndpointID, record []byte) error {
	return s.write(ctx, uds.NewRecord(record))
}

// Receive implements Link.
func (s *unixSocket) Receive() ([]byte, error) {
	for {
		f, err := s.next()
		if err != nil {
			return nil, err
		}
		if record, ok := f.Find(uds.Record); ok {
			return record, nil
		}
	}
}

// Close implements Link.
func (s *unixSocket) Close() error { return s.conn.Close() }
