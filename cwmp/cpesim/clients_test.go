package cpesim

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/connreq/stun"
	"github.com/uspbridge/uspbridge/cwmp/connreq/udp"
	"github.com/uspbridge/uspbridge/cwmp/lightweight"
)

const stunPassword = "password of STUN"

// startSTUN runs a STUN server on loopback.
func startSTUN(t *testing.T) (*stun.Server, *net.UDPAddr) {
	t.Helper()
	s, err := stun.New(stun.Config{Password: func(cwmp.DeviceKey) string { return stunPassword }, Learn: func(context.Context, cwmp.DeviceKey, netip.AddrPort) {}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, conn.LocalAddr().(*net.UDPAddr)
}

// enableSTUN sets the CPE up as an ACS does.
func (b *bench) enableSTUN(t *testing.T, server *net.UDPAddr) {
	t.Helper()
	const ms = "Device.ManagementServer."
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{
		value(ms+"ConnectionRequestUsername", cwmp.TypeString, "acs"), value(ms+"ConnectionRequestPassword", cwmp.TypeString, "s3cret"),
		value(ms+"STUNServerAddress", cwmp.TypeString, server.IP.String()), value(ms+"STUNServerPort", cwmp.TypeUnsignedInt, strconv.Itoa(server.Port)),
		value(ms+"STUNUsername", cwmp.TypeString, string(b.cpe.identity.Key())), value(ms+"STUNPassword", cwmp.TypeString, stunPassword),
		value(ms+"STUNEnable", cwmp.TypeBoolean, "1"),
	}})
}

// awaitAddress waits until the CPE tells where UDP Connection Requests get in.
func (b *bench) awaitAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	for {
		text, told := reportedValue(b.acs.next(t), "Device.ManagementServer.UDPConnectionRequestAddress")
		if a, err := netip.ParseAddrPort(text); told && err == nil {
			b.settle(t)
			return a
		}
	}
}

// TestSTUN: the CPE finds its binding, tells the ACS of it, proves itself to the
// server, and opens a session for a UDP Connection Request that is right, once.
func TestSTUN(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	s, server := startSTUN(t)
	b.enableSTUN(t, server)
	at := b.awaitAddress(t)
	key := b.cpe.identity.Key()
	wait(t, "the binding to be proven", func() bool { _, known := s.Binding(key); return known })
	if bound, _ := s.Binding(key); bound != at {
		t.Errorf("the server has the binding %v, the CPE tells %v", bound, at)
	}
	if nat, _ := b.cpe.Get("Device.ManagementServer.NATDetected"); nat != "false" {
		t.Errorf("on loopback NATDetected is %s", nat)
	}
	send := func(r udp.Request, password string) {
		t.Helper()
		if err := s.Send(r.Append(nil, password), at); err != nil {
			t.Fatal(err)
		}
	}
	good := udp.Request{Host: at.String(), Time: 1000, ID: 7, Username: "acs", CNonce: "x"}
	stranger, old, later := good, good, good
	stranger.Username, old.Time, later.Time = "other", 999, 1001
	send(good, "guess")
	send(stranger, "s3cret")
	if err := s.Send([]byte("GET / HTTP/1.1\r\n\r\n"), at); err != nil {
		t.Fatal(err)
	}
	send(good, "s3cret")
	wantEvents(t, b.acs.next(t), cwmp.EventConnectionRequest)
	b.settle(t)
	send(good, "s3cret") // a copy
	send(old, "s3cret")  // a replay
	send(later, "s3cret")
	wantEvents(t, b.acs.next(t), cwmp.EventConnectionRequest)
	b.settle(t)
	if got := b.fleet.Stats().ConnectionRequests; got != 2 {
		t.Errorf("%d connection requests were taken, want 2", got)
	}
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value("Device.ManagementServer.STUNEnable", cwmp.TypeBoolean, "0")}})
	b.settle(t)
	b.cpe.mu.Lock()
	defer b.cpe.mu.Unlock()
	if b.cpe.clients.stun.stop != nil {
		t.Error("the STUN client runs though it was turned off")
	}
}

// A STUN client that knows no MESSAGE-INTEGRITY still finds its address and tells
// it to the ACS.
func TestSTUNWithoutIntegrity(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{NoSTUNIntegrity: true}})
	s, server := startSTUN(t)
	b.enableSTUN(t, server)
	b.awaitAddress(t)
	if bound, known := s.Binding(b.cpe.identity.Key()); known {
		t.Errorf("the server believes %v, which nobody has proven", bound)
	}
}

// A connection request that came during a session is reported in the next one, as
// "2 PERIODIC" if the profile has it so.
func TestPeriodicAfterSession(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{PeriodicAfterSession: true}})
	b.cpe.mu.Lock()
	b.cpe.abort = func() {} // in a session
	b.cpe.mu.Unlock()
	if !b.cpe.connectionRequest() {
		t.Fatal("refused")
	}
	wantEvents(t, b.acs.next(t), cwmp.EventPeriodic)
}

// TestAnnounce: the URL that is told need not be where the CPE listens.
func TestAnnounce(t *testing.T) {
	acs := newACS(t)
	f := startFleet(t, FleetConfig{Announce: "10.0.0.7:7547", BootTime: time.Millisecond})
	c, err := f.Add(Config{ACSURL: acs.URL, Model: TR181()})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := reportedValue(acs.next(t), "Device.ManagementServer.ConnectionRequestURL"); got != c.ConnectionRequestURL() || got[:21] != "http://10.0.0.7:7547/" {
		t.Errorf("the CPE tells %s", got)
	}
}

func TestNotify(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Username: "acs-user", Password: "pw"})
	const ssid = "Device.WiFi.SSID.1.SSID"
	if err := b.cpe.Notify(ssid); err == nil {
		t.Error("notified though the CPE is not set up for it")
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	port := strconv.Itoa(conn.LocalAddr().(*net.UDPAddr).Port)
	const ms = "Device.ManagementServer."
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{
		value(ms+"UDPLightweightNotificationHost", cwmp.TypeString, "127.0.0.1"), value(ms+"UDPLightweightNotificationPort", cwmp.TypeUnsignedInt, port),
		value(ms+"LightweightNotificationProtocolsUsed", cwmp.TypeString, "UDP"), value(ssid, cwmp.TypeString, "told"),
	}})
	if err := b.cpe.Notify("Device.Nonsense"); err == nil {
		t.Error("notified of a parameter that is not there")
	}
	if err := b.cpe.Notify(ssid); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	in := make([]byte, lightweight.MaxDatagram)
	n, err := conn.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := lightweight.Parse(in[:n])
	if err != nil || !r.Signed("pw") || r.Username != "acs-user" || r.Device.Key() != b.cpe.identity.Key() || r.Time != b.clock.Now().Unix() ||
		len(r.Values) != 1 || r.Values[0].Name != ssid || r.Values[0].Value.Text != "told" {
		t.Errorf("received %+v, %v", r.Notification, err)
	}
}

func TestAllowedJabberIDs(t *testing.T) {
	from := jid.MustParse("acs@example.com/bridge")
	for list, want := range map[string]bool{
		"": true, "acs@example.com": true, "acs@example.com/bridge": true, "x@example.com, acs@example.com/bridge": true,
		"acs@example.com/other": false, "acs": false, "x@example.com": false,
	} {
		if got := allows(list, from); got != want {
			t.Errorf("%q allows %s: %v, want %v", list, from, got, want)
		}
	}
}
