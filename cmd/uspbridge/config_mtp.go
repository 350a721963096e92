package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
)

// WebSocketClient says how agents connect to controllers.
type WebSocketClient struct {
	TLS            ClientTLS `mapstructure:"tls"`
	Rate           Count     `mapstructure:"rate"`            // tries in a second
	Concurrent     Count     `mapstructure:"concurrent"`      // tries at once
	MaxConnections Count     `mapstructure:"max_connections"` // open at once
	Timeout        Duration  `mapstructure:"timeout"`         // of one try
}

func defaultWebSocketClient() WebSocketClient {
	return WebSocketClient{
		Rate: dialer.DefaultRate, Concurrent: dialer.DefaultConcurrent, MaxConnections: dialer.DefaultMax, Timeout: Duration(dialer.DefaultTimeout),
	}
}

// UDSConfig is the Unix domain socket at which controllers and native agents of
// this machine connect. An empty listen turns it off.
type UDSConfig struct {
	Listen     string   `mapstructure:"listen"`
	Mode       FileMode `mapstructure:"mode"`
	EndpointID string   `mapstructure:"endpoint_id"` // who the bridge says it is
}

func defaultUDS() UDSConfig { return UDSConfig{Mode: 0o660, EndpointID: string(uds.DefaultEndpoint)} }

// CoAPConfig is the CoAP server. An empty listen turns it off.
type CoAPConfig struct {
	Listen   string  `mapstructure:"listen"`
	Path     string  `mapstructure:"path"`
	Address  string  `mapstructure:"address"`   // host:port that peers are told
	AnyReply Switch  `mapstructure:"any_reply"` // reply-to may name another host than the sender
	TLS      CoAPTLS `mapstructure:"tls"`
}

// CoAPTLS is DTLS, in both roles. With cert the server speaks it.
type CoAPTLS struct {
	Cert string `mapstructure:"cert"`
	Key  string `mapstructure:"key"`
	CA   string `mapstructure:"ca"` // of peers; "": clients show none, controllers have one of the system's CAs
}

// FileMode is the permissions of a file, in octal.
type FileMode fs.FileMode

func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// UnmarshalText reads 0660.
func (m *FileMode) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 8, 9)
	if err != nil || v == 0 {
		return fmt.Errorf("%q are no permissions in octal; write for example 0660", b)
	}
	*m = FileMode(v)
	return nil
}

// reaches reports whether agents, bridged or native, connect to a controller by a
// protocol.
func (c *USPConfig) reaches(protocol mtp.Protocol) bool {
	by := func(m ControllerMTP) bool { return m.Protocol == Protocol(protocol) && m.URL != "" }
	return slices.ContainsFunc(c.Controllers, func(ctl ControllerConfig) bool { return by(ctl.MTP) }) ||
		slices.ContainsFunc(c.Relay.Routes, func(r RelayAddress) bool { return by(r.MTP) })
}

func (c *USPConfig) webSocketOn() bool {
	return c.MTP.WebSocket.Listen != "" || c.reaches(mtp.WebSocket)
}

func (c *USPConfig) udsOn() bool { return c.MTP.UDS.Listen != "" || c.reaches(mtp.UDS) }

func (l *configLoader) checkWebSocketClient(c WebSocketClient) {
	const key = "usp.mtp.websocket.client"
	l.checkClientTLS(key+".tls", c.TLS, true)
	for _, n := range []struct {
		name string
		none bool
	}{{"rate", c.Rate == 0}, {"concurrent", c.Concurrent == 0}, {"max_connections", c.MaxConnections == 0}, {"timeout", c.Timeout == 0}} {
		if n.none {
			l.wrong(key+"."+n.name, "must be more than 0")
		}
	}
	if c.Rate > Count(time.Second) {
		l.invalid(key+".rate", "%d in a second cannot be kept", c.Rate)
	}
}

func (l *configLoader) checkUDS(c UDSConfig) {
	if c.Listen != "" {
		if err := uds.CheckPath(c.Listen); err != nil {
			l.invalid("usp.mtp.uds.listen", "%v; write for example /run/uspbridge/usp.sock", err)
		}
	}
	if err := usp.EndpointID(c.EndpointID).Validate(); err != nil {
		l.invalid("usp.mtp.uds.endpoint_id", "%v", err)
	}
}

func (l *configLoader) checkCoAP(c CoAPConfig) {
	const key = "usp.mtp.coap"
	if c.Listen == "" {
		if c.Address != "" || c.TLS != (CoAPTLS{}) {
			l.wrong(key+".listen", "must be set, for example :5683: without it CoAP is off and the section's other keys do nothing")
		}
		return
	}
	l.checkListen(key+".listen", c.Listen)
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#{}% ") {
		l.invalid(key+".path", "%q is not a path; write for example /usp", c.Path)
	}
	if c.Address != "" {
		l.checkAddress(key+".address", c.Address)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		l.wrong(key+".tls", "cert and key must both be set, or neither")
		return
	}
	l.checkPair(key+".tls", c.TLS.Cert, c.TLS.Key)
	l.checkCA(key+".tls.ca", c.TLS.CA)
}

// controllerURLs say what is right with the URL by which agents reach a
// controller, and an example.
var controllerURLs = map[Protocol]struct {
	check   func(url string) error
	example string
}{
	Protocol(mtp.WebSocket): {schemes("ws", "wss"), "wss://controller.example:443/usp"},
	Protocol(mtp.CoAP):      {schemes("coap", "coaps"), "coaps://controller.example:5684/usp"},
	Protocol(mtp.UDS): {func(text string) error {
		path, ok := strings.CutPrefix(text, uds.Scheme)
		if !ok {
			return errors.New("it does not begin with " + uds.Scheme)
		}
		return uds.CheckPath(path)
	}, "unix:///run/controller/usp.sock"},
}

// schemes wants a URL with one of two schemes and a host.
func schemes(plain, secure string) func(string) error {
	return func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != plain && u.Scheme != secure || u.Hostname() == "" || u.User != nil {
			return fmt.Errorf("want %s:// or %s:// and a host", plain, secure)
		}
		return nil
	}
}

// checkControllerURL checks the URL by which agents reach a controller.
func (l *configLoader) checkControllerURL(key string, m ControllerMTP, transports MTPConfig) {
	want, has := controllerURLs[m.Protocol]
	switch {
	case m.URL == "" && !has:
	case m.URL == "" && m.Protocol == Protocol(mtp.UDS):
		if transports.UDS.Listen == "" {
			l.wrong(key, "must not be empty, since usp.mtp.uds.listen is: the controller has no socket to connect to, and none to be reached at")
		}
	case m.URL == "":
		l.wrong(key, "must not be empty: it is where a controller is reached by %s", m.Protocol)
	case !has:
		l.wrong(key, "is for protocol WebSocket, UDS or CoAP, but this controller's is %q", string(m.Protocol))
	default:
		if err := want.check(m.URL); err != nil {
			l.wrong(key, "is not a %s URL; write for example %s", m.Protocol, want.example)
		}
	}
}
