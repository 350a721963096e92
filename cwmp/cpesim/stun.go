package cpesim

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/connreq/stun"
	"github.com/uspbridge/uspbridge/cwmp/connreq/udp"
)

// stunSettings is what a STUN client runs with.
type stunSettings struct {
	server             string
	username, password string
	keepAlive          time.Duration
}

// The STUN client's patience: a request is repeated some times, ever later, then
// given up until the next keep-alive.
const (
	stunRetry = 500 * time.Millisecond
	stunTries = 5
)

// stunClient keeps a binding open, and takes UDP Connection Requests at it.
type stunClient struct {
	c        *CPE
	settings stunSettings
	conn     *net.UDPConn
	server   netip.AddrPort
	local    netip.Addr // the address towards the server

	id      [16]byte
	mapped  netip.AddrPort
	changed bool // the binding is another than the server knows
	signed  bool // the server wants to know who asks
	tries   int
	next    time.Time // when to ask again
}

// runSTUN runs the STUN client until ctx ends.
func (c *CPE) runSTUN(ctx context.Context, settings stunSettings) {
	for ctx.Err() == nil {
		if err := c.holdSTUN(ctx, settings); err != nil && ctx.Err() == nil {
			c.log().Debug("STUN client", "error", err)
			idle(ctx, settings.keepAlive)
		}
	}
}

// idle waits for a time of the real clock.
func idle(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (c *CPE) holdSTUN(ctx context.Context, settings stunSettings) error {
	probe, err := net.Dial("udp", settings.server) // which sends nothing
	if err != nil {
		return err
	}
	server, local := probe.RemoteAddr().(*net.UDPAddr).AddrPort(), probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.AsSlice()})
	if err = errors.Join(err, probe.Close()); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := &stunClient{c: c, settings: settings, conn: conn, server: unmap(server), local: local.Unmap()}
	err = s.run()
	return errors.Join(err, conn.Close())
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// run asks when it is time to, and takes what comes meanwhile.
func (s *stunClient) run() error {
	in := make([]byte, udp.MaxDatagram)
	for {
		if !time.Now().Before(s.next) {
			if err := s.ask(); err != nil {
				return err
			}
		}
		if err := s.conn.SetReadDeadline(s.next); err != nil {
			return err
		}
		n, from, err := s.conn.ReadFromUDPAddrPort(in)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return err
		case bytes.HasPrefix(in[:n], []byte("GET ")):
			s.c.udpConnectionRequest(in[:n])
		case unmap(from) == s.server:
			s.take(in[:n])
		}
	}
}

// ask sends a Binding Request, or the same once more.
func (s *stunClient) ask() error {
	if s.tries == 0 {
		if _, err := rand.Read(s.id[:]); err != nil {
			return err
		}
		s.id[0] |= 0x80 // never the cookie of RFC 5389
	}
	if s.tries++; s.tries > stunTries || !s.c.Online() {
		s.rest()
		return nil
	}
	s.next = time.Now().Add(stunRetry * time.Duration(s.tries))
	m := stun.Message{Type: stun.BindingRequest, TransactionID: s.id}
	if name := s.settings.username; name != "" {
		padded := name + strings.Repeat(" ", -len(name)&3)
		m.Attributes = append(m.Attributes, stun.Attribute{Type: stun.Username, Value: []byte(padded)})
	}
	m.Attributes = append(m.Attributes, stun.Attribute{Type: stun.ConnectionRequestBinding, Value: []byte(stun.BindingValue)})
	if s.changed {
		m.Attributes = append(m.Attributes, stun.Attribute{Type: stun.BindingChange})
	}
	b := m.Append(nil)
	if s.signed {
		b = stun.Sign(b, s.settings.password)
	}
	_, err := s.conn.WriteToUDPAddrPort(b, s.server)
	return err
}

// rest waits for the next keep-alive.
func (s *stunClient) rest() {
	s.tries, s.signed, s.next = 0, false, time.Now().Add(s.settings.keepAlive)
}

// take reads the server's answer (TR-069 G.2.1.1).
func (s *stunClient) take(datagram []byte) {
	var m stun.Message
	if m.Parse(datagram) != nil || m.TransactionID != s.id {
		return
	}
	switch m.Type {
	case stun.BindingError:
		v, _ := m.Get(stun.ErrorCode)
		if unauthorized := len(v) >= 4 && v[2] == 4 && v[3] == 1; unauthorized && !s.signed && !s.c.profile.NoSTUNIntegrity {
			s.signed, s.tries, s.next = true, 0, time.Now()
			return
		}
		s.rest()
		if s.c.profile.NoSTUNIntegrity {
			s.next = time.Now().Add(stunRetry) // it knows no better than to ask again
		}
	case stun.BindingResponse:
		v, _ := m.Get(stun.MappedAddress)
		mapped, ok := stun.ParseAddress(v, nil)
		if !ok {
			return
		}
		s.rest()
		if s.changed = mapped != s.mapped; s.changed {
			s.mapped, s.next = mapped, time.Now() // the server is told that the binding is another
			s.c.local([2]string{s.c.managementServer("NATDetected"), boolText(mapped.Addr() != s.local)},
				[2]string{s.c.managementServer("UDPConnectionRequestAddress"), mapped.String()})
		}
	}
}

// udpConnectionRequest takes a UDP Connection Request (TR-069 G.2.2.3): signed
// with the password of connection requests, and none of before.
func (c *CPE) udpConnectionRequest(datagram []byte) {
	r, err := udp.Parse(datagram)
	if err != nil || !c.Online() {
		return
	}
	c.mu.Lock()
	username, password := c.text("ManagementServer.ConnectionRequestUsername"), c.text("ManagementServer.ConnectionRequestPassword")
	again := r.Time < c.clients.udpTime || r.Time == c.clients.udpTime && r.ID == c.clients.udpID
	good := !again && r.Username == username && r.Signed(password)
	if good {
		c.clients.udpTime, c.clients.udpID = r.Time, r.ID
	}
	c.mu.Unlock()
	if good {
		c.fleet.stats.connectionRequests.Add(1)
		c.connectionRequest()
	}
}
