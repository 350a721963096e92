package e2e

import (
	"bytes"
	"errors"
	"net"
	"time"
)

// wire is the network of a tls.Conn: what has come, and what is to be sent.
type wire struct {
	in, out bytes.Buffer
	// wait returns when there is more to read, or false if there will be none.
	// nil: nobody waits.
	wait func() bool
}

var (
	errWire          = errors.New("the TLS session is over")
	_       error    = dry{}
	_       net.Conn = (*wire)(nil)
)

// dry is the error of reading when nothing has come. It is temporary, so that the
// tls.Conn goes on with the next read.
type dry struct{}

func (dry) Error() string   { return "no more TLS records have come" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	for w.in.Len() == 0 {
		if w.wait == nil {
			return 0, dry{}
		}
		if !w.wait() {
			return 0, errWire
		}
	}
	return w.in.Read(b)
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) { return w.out.Write(b) }

// taken returns what is to be sent and forgets it.
func (w *wire) taken() []byte {
	b := bytes.Clone(w.out.Bytes())
	w.out.Reset()
	return b
}

// Close implements net.Conn.
func (*wire) Close() error { return nil }

// LocalAddr implements net.Conn; nothing asks for it, nor for the others.
func (*wire) LocalAddr() net.Addr { return nil }

// RemoteAddr implements net.Conn.
func (*wire) RemoteAddr() net.Addr { return nil }

// SetDeadline implements net.Conn. Reading never waits after the handshake, and
// the handshake's time is the session's to bound.
func (*wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (*wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (*wire) SetWriteDeadline(time.Time) error { return nil }
