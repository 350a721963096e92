package mqtt

import (
	"context"
	"crypto/tls"
	"net"
	"syscall"
)

// dial opens the network connection under MQTT.
func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	if t.cfg.Dial != nil {
		return t.cfg.Dial(ctx)
	}
	switch t.broker.Scheme {
	case "ws", "wss":
		c, err := dialWebSocket(ctx, t.broker.String(), t.tls())
		if err != nil {
			return nil, err
		}
		return promptConn(c, c.ws.NetConn()), nil
	case "ssl", "tls", "mqtts":
		c, err := (&tls.Dialer{Config: t.tls()}).DialContext(ctx, "tcp", t.broker.Host)
		if err != nil {
			return nil, err
		}
		return promptConn(c, c.(*tls.Conn).NetConn()), nil
	default:
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.broker.Host)
		if err != nil {
			return nil, err
		}
		return promptConn(c, c), nil
	}
}

// tls returns the TLS configuration, with the endpoint's own certificate if
// there is a source of them.
func (t *Transport) tls() *tls.Config {
	if t.cfg.Certificate == nil {
		return t.cfg.TLS
	}
	c := t.cfg.TLS.Clone()
	if c == nil {
		c = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return t.cfg.Certificate(r.Context(), t.cfg.Endpoint)
	}
	return c
}

// promptConn returns c so that what is read from it is acknowledged to the peer's
// TCP at once. Mosquitto leaves Nagle's algorithm on, and its next small packet
// would wait 40 ms for our delayed acknowledgement. tcp is the connection under
// it, c itself or that which TLS or WebSocket runs on.
func promptConn(c, tcp net.Conn) net.Conn {
	s, ok := tcp.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	return &prompt{c, raw}
}

type prompt struct {
	net.Conn
	raw syscall.RawConn
}

func (p *prompt) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 {
		acknowledgeNow(p.raw)
	}
	return n, err
}
