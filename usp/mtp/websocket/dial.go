package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
)

// ClientConfig says how connections to controllers are opened. Zero values have
// the defaults named.
type ClientConfig struct {
	// TLS is for wss URLs; nil: TLS 1.2 and later, and the system's roots. The
	// controller's certificate is checked against it and the URL's host.
	TLS *tls.Config
	// Certificate returns what an agent shows of itself where a controller asks
	// for a certificate; nil, or a nil certificate: that of TLS, if it has one.
	Certificate func(ctx context.Context, agent usp.EndpointID) (*tls.Certificate, error)
	// Pace bounds the connections and the tries to open them; Log and Failed are
	// set here.
	Pace dialer.Config
}

// client is the transport in the client's role (R-WS.5).
type client struct {
	cfg    ClientConfig
	server *Server
	dialer websocket.Dialer
	keep   *dialer.Dialer
}

func newClient(s *Server) (*client, error) {
	c := &client{cfg: s.cfg.Client, server: s}
	if c.cfg.TLS == nil {
		c.cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	c.cfg.Pace.Log, c.cfg.Pace.Failed = s.cfg.Log, s.meter.Failed
	var err error
	if c.keep, err = dialer.New(c.cfg.Pace, c); err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	c.dialer = websocket.Dialer{
		NetDialContext:  dialTCP,
		Subprotocols:    []string{Subprotocol}, // R-WS.9, R-WS.10
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &sync.Pool{},
	}
	return c, c.register(s.cfg.Registerer)
}

func (c *client) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "uspbridge_mtp_" + name, Help: help,
			ConstLabels: prometheus.Labels{"protocol": string(mtp.WebSocket)}}, f)
	}
	return errors.Join(
		reg.Register(gauge("dialled_wanted", "Connections that agents are to keep to controllers.", func() float64 {
			wanted, _ := c.keep.Wanted()
			return float64(wanted)
		})),
		reg.Register(gauge("dialled_open", "Connections that agents have opened to controllers.", func() float64 {
			_, open := c.keep.Wanted()
			return float64(open)
		})))
}

// Dial implements mtp.Dialing.
func (s *Server) Dial(local, peer usp.EndpointID, to mtp.Target) { s.client.keep.Dial(local, peer, to) }

// Hang implements mtp.Dialing.
func (s *Server) Hang(local, peer usp.EndpointID) { s.client.keep.Hang(local, peer) }

// Again implements mtp.Dialing.
func (s *Server) Again(local, peer usp.EndpointID) { s.client.keep.Again(local, peer) }

// Retries implements mtp.Dialing.
func (s *Server) Retries(local, peer usp.EndpointID) int { return s.client.keep.Retries(local, peer) }

// Joined implements dialer.Opener: two endpoints have one session, whoever has
// opened it (R-WS.4).
func (c *client) Joined(p dialer.Pair) bool {
	return c.server.index.newest(ends{p.Peer, p.Local}, func(*conn) bool { return true }) != nil
}

// Open implements dialer.Opener.
func (c *client) Open(ctx context.Context, p dialer.Pair, to mtp.Target) (dialer.Session, error) {
	target, err := requestURL(to.URL, p.Local)
	if err != nil {
		return nil, err
	}
	d := c.dialer
	if target.Scheme == "wss" {
		if d.TLSClientConfig, err = c.tlsFor(ctx, p.Local); err != nil {
			return nil, err
		}
	}
	ws, resp, err := d.DialContext(ctx, target.String(), nil)
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("the controller answered %s: %w", resp.Status, err)
		}
		return nil, err
	}
	if err := checkAnswer(ws, resp, p.Peer); err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	shaken(ws.NetConn())
	state := tlsState(ws)
	hs := handshake{local: p.Local, peer: p.Peer}
	if state != nil {
		hs.chain = state.PeerCertificates
	}
	if err := c.server.identify(ctx, &hs, state); err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	conn := newConn(c.server, ws, hs)
	conn.dialled = true
	if to.KeepAlive > 0 {
		conn.keepAlive = to.KeepAlive
	}
	if !c.server.launch(conn) {
		return nil, errors.New("the transport stops")
	}
	return session{conn}, nil
}

// tlsState returns what a server has shown, nil without TLS.
func tlsState(ws *websocket.Conn) *tls.ConnectionState {
	secure, ok := ws.NetConn().(*tls.Conn)
	if !ok {
		return nil
	}
	state := secure.ConnectionState()
	return &state
}

// tlsFor returns the configuration for a connection of an agent.
func (c *client) tlsFor(ctx context.Context, agent usp.EndpointID) (*tls.Config, error) {
	if c.cfg.Certificate == nil {
		return c.cfg.TLS, nil
	}
	own, err := c.cfg.Certificate(ctx, agent)
	if err != nil {
		return nil, fmt.Errorf("certificate of the agent: %w", err)
	}
	if own == nil {
		return c.cfg.TLS, nil
	}
	secure := c.cfg.TLS.Clone()
	secure.Certificates = []tls.Certificate{*own}
	return secure, nil
}

// requestURL adds the agent's endpoint id to the query, each percent sign of it as
// %25 (R-WS.10b, R-WS.10c).
func requestURL(controller string, agent usp.EndpointID) (*url.URL, error) {
	u, err := url.Parse(controller)
	if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return nil, fmt.Errorf("%q is not a ws:// or wss:// URL", controller)
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += url.Values{"eid": {string(agent)}}.Encode()
	return u, nil
}

// checkAnswer wants the subprotocol (R-WS.12) and, where the server says who it
// is, the controller that was meant; most do not say (R-WS.11b).
func checkAnswer(ws *websocket.Conn, resp *http.Response, controller usp.EndpointID) error {
	if ws.Subprotocol() != Subprotocol {
		return fmt.Errorf("the server did not choose the subprotocol %s", Subprotocol)
	}
	if eid, named := extensionEndpoint(resp.Header.Values(extensionHeader)); named && eid != "" && eid != controller {
		return fmt.Errorf("the server says that it is %q", string(eid))
	}
	return nil
}

// session is a connection as dialer.Session.
type session struct{ *conn }

// Close implements dialer.Session.
func (s session) Close(reason string) { go s.close(websocket.CloseNormalClosure, reason) }

// Closed implements dialer.Session.
func (s session) Closed() bool { return s.closed() }
