package translate

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/cwmp/connreq/udp"
	"github.com/uspbridge/uspbridge/cwmp/connreq/xmpp"
	"github.com/uspbridge/uspbridge/cwmp/lightweight"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// sleeper is a CPE that is to be woken, and the bridge that wants it.
type sleeper struct {
	*Bridge
	t      *testing.T
	store  store.Store
	params map[cwmp.Path]string
	clock  atomic.Int64 // unix seconds
	udp    *fakeUDP
	xmpp   *fakeXMPP
	sealer store.Sealer
	events []agent.Event
}

var sleeperID = cwmp.DeviceID{OUI: "00005E", ProductClass: "HG200", SerialNumber: "SN1"}

const ms = "Device.ManagementServer."

// embeddedMappings are loaded once: they are the same for all bridges.
var embeddedMappings = sync.OnceValues(func() (*mapping.Set, error) { return mapping.Load() })

// sleeperParams are the parameters of a CPE that has all that wakes one.
func sleeperParams() map[cwmp.Path]string {
	return map[cwmp.Path]string{
		"Device.DeviceInfo.SoftwareVersion": "1", "Device.DeviceInfo.UpTime": "5",
		ms + "ConnectionRequestURL": "http://192.0.2.1:7547/", ms + "ConnectionRequestUsername": "", ms + "ConnectionRequestPassword": "",
		ms + "PeriodicInformEnable": "1", ms + "PeriodicInformInterval": "900",
		ms + "UDPConnectionRequestAddress": "", ms + "NATDetected": "0", ms + "ConnReqJabberID": "",
		ms + "ConnReqAllowedJabberIDs": "", ms + "ConnReqXMPPConnection": "",
		ms + "STUNEnable": "0", ms + "STUNServerAddress": "", ms + "STUNServerPort": "3478", ms + "STUNUsername": "",
		ms + "STUNPassword": "", ms + "STUNMinimumKeepAlivePeriod": "30", ms + "STUNMaximumKeepAlivePeriod": "-1",
		ms + "LightweightNotificationProtocolsUsed": "", ms + "UDPLightweightNotificationHost": "", ms + "UDPLightweightNotificationPort": "0",
		"Device.XMPP.Connection.1.Enable": "0", "Device.XMPP.Connection.1.Username": "", "Device.XMPP.Connection.1.Password": "",
		"Device.XMPP.Connection.1.Domain": "", "Device.XMPP.Connection.1.UseTLS": "0",
	}
}

// newSleeper starts a bridge over a store and has the CPE inform and be
// discovered.
func newSleeper(t *testing.T, change func(*Config, map[cwmp.Path]string)) *sleeper {
	t.Helper()
	st, err := bolt.Open(bolt.Config{Path: t.TempDir() + "/db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	z := &sleeper{t: t, store: st, params: sleeperParams(), sealer: seal.Random(), udp: &fakeUDP{}, xmpp: &fakeXMPP{}}
	z.clock.Store(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).Unix())
	z.start(change)
	z.inform(cwmp.EventBoot)
	if err := z.Serve(t.Context(), z.session(cwmp.EventBoot)); err != nil {
		t.Fatal(err)
	}
	return z
}

func (z *sleeper) start(change func(*Config, map[cwmp.Path]string)) {
	z.t.Helper()
	set, err := embeddedMappings()
	if err != nil {
		z.t.Fatal(err)
	}
	cfg := Config{Store: z.store, Sealer: z.sealer, Mappings: set, Now: func() time.Time { return time.Unix(z.clock.Load(), 0) }}
	cfg.ConnectionRequest.Client = connreq.New(connreq.Config{})
	if change != nil {
		change(&cfg, z.params)
	}
	if z.Bridge, err = New(z.t.Context(), cfg); err != nil {
		z.t.Fatal(err)
	}
	z.Attach(nil, z)
	z.AttachWays(z.udp, z.xmpp)
}

// The sleeper is the Agents that its bridge tells of events.
func (z *sleeper) Deliver(_ context.Context, _ usp.EndpointID, events []agent.Event) error {
	z.events = append(z.events, events...)
	return nil
}
func (z *sleeper) DeliverWith(ctx context.Context, id usp.EndpointID, events []agent.Event, b *store.Batch, keep func(*store.Batch) func(context.Context) error) error {
	keep(b)
	return z.Deliver(ctx, id, events)
}
func (z *sleeper) Hosted(context.Context, usp.EndpointID) error { return nil }
func (z *sleeper) Forget(context.Context, usp.EndpointID) error { return nil }

// Call answers the RPCs of a discovery and of provisioning.
func (z *sleeper) Call(_ context.Context, req cwmp.Message) (cwmp.Message, error) {
	switch m := req.(type) {
	case *cwmp.GetParameterNames:
		out := &cwmp.GetParameterNamesResponse{Parameters: []cwmp.ParameterInfo{{Name: "Device.XMPP.Connection.1.", Writable: true}}}
		for name := range z.params {
			out.Parameters = append(out.Parameters, cwmp.ParameterInfo{Name: name, Writable: true})
		}
		return out, nil
	case *cwmp.GetParameterValues:
		out := &cwmp.GetParameterValuesResponse{}
		for _, name := range m.Names {
			out.Values = append(out.Values, cwmp.ParameterValue{Name: name, Value: cwmp.Value{Text: z.params[name]}})
		}
		return out, nil
	case *cwmp.SetParameterValues:
		for _, v := range m.Values {
			z.params[v.Name] = v.Value.Text
		}
		return &cwmp.SetParameterValuesResponse{}, nil
	}
	return nil, cwmp.NewFault(cwmp.FaultMethodNotSupported)
}

func (z *sleeper) session(events ...cwmp.EventCode) *acs.Session {
	m := &cwmp.Inform{DeviceID: sleeperID}
	for _, e := range events {
		m.Events = append(m.Events, cwmp.Event{Code: e})
	}
	for _, name := range []cwmp.Path{"Device.DeviceInfo.SoftwareVersion", ms + "ConnectionRequestURL", ms + "UDPConnectionRequestAddress", ms + "ConnReqJabberID"} {
		m.ParameterList = append(m.ParameterList, cwmp.ParameterValue{Name: name, Value: cwmp.Value{Text: z.params[name]}})
	}
	s := acs.Detached(m, z)
	if dev, err := z.devices.acquire(z.t.Context(), s.Key()); err == nil {
		s.SetData(dev)
		z.devices.release(dev)
	}
	return s
}

// inform has the CPE open a session that ends at once.
func (z *sleeper) inform(events ...cwmp.EventCode) {
	z.t.Helper()
	s := z.session(events...)
	if err := z.Inform(z.t.Context(), s); err != nil {
		z.t.Fatal(err)
	}
	z.Ended(s, nil)
}

func (z *sleeper) device() *device {
	z.t.Helper()
	dev, err := z.devices.acquire(z.t.Context(), sleeperID.Key())
	if err != nil {
		z.t.Fatal(err)
	}
	z.devices.release(dev)
	return dev
}

func (z *sleeper) state() *snapshot { return z.device().state.Load() }

// set changes what is known of the CPE.
func (z *sleeper) set(edit func(*Record)) {
	dev := z.device()
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	edit(rec)
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	z.keep(dev, &batch)
}

// fakeUDP is a STUN server that keeps what it is told to send.
type fakeUDP struct {
	mu      sync.Mutex
	binding netip.AddrPort
	settled bool
	fails   error
	sent    []sentDatagram
	onSend  func()
}

type sentDatagram struct {
	to netip.AddrPort
	r  udp.Received
}

func (f *fakeUDP) Binding(cwmp.DeviceKey) (netip.AddrPort, bool) {
	return f.binding, f.binding.IsValid()
}
func (f *fakeUDP) Settled() bool { return f.settled }
func (f *fakeUDP) Send(datagram []byte, to netip.AddrPort) error {
	if f.fails != nil {
		return f.fails
	}
	r, err := udp.Parse(datagram)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, sentDatagram{to, r})
	if f.onSend != nil {
		f.onSend()
	}
	return err
}

type fakeXMPP struct {
	down, refuses error
	asked         []xmpp.Request
}

func (f *fakeXMPP) Status() error { return f.down }
func (f *fakeXMPP) Do(_ context.Context, r xmpp.Request) error {
	f.asked = append(f.asked, r)
	return f.refuses
}

// dialing has connection requests by HTTP fail as in the network.
func dialing(err error) func(*Config, map[cwmp.Path]string) {
	return func(c *Config, _ map[cwmp.Path]string) {
		c.ConnectionRequest.Timeout = 30 * time.Millisecond
		c.ConnectionRequest.Client = connreq.New(connreq.Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}})
	}
}

// TestWays: which ways a CPE has, in which order, and why it lacks others.
func TestWays(t *testing.T) {
	bound := netip.MustParseAddrPort("203.0.113.7:40001")
	tests := []struct {
		name   string
		setUp  func(z *sleeper, p map[cwmp.Path]string, r *Record)
		open   []WakeWay
		closed []string // parts of the reasons, one each
	}{
		{"public address", func(*sleeper, map[cwmp.Path]string, *Record) {}, []WakeWay{WakeHTTP}, []string{"no STUN binding", "no Jabber id"}},
		{"private address", func(_ *sleeper, _ map[cwmp.Path]string, r *Record) { r.ConnectionURL = "http://10.0.0.7/" },
			[]WakeWay{WakeHTTP}, []string{"no STUN binding", "no Jabber id"}},
		{"no URL", func(_ *sleeper, _ map[cwmp.Path]string, r *Record) { r.ConnectionURL = "" }, nil, []string{"ConnectionRequestURL", "no STUN", "no Jabber"}},
		{"behind NAT with a binding", func(z *sleeper, _ map[cwmp.Path]string, r *Record) {
			r.ConnectionURL, z.udp.binding = "http://10.0.0.7/", bound
		},
			[]WakeWay{WakeUDP, WakeHTTP}, []string{"no Jabber id"}},
		{"public with a binding", func(z *sleeper, _ map[cwmp.Path]string, _ *Record) { z.udp.binding = bound }, []WakeWay{WakeHTTP, WakeUDP}, []string{"no Jabber id"}},
		{"private, but no NAT between", func(z *sleeper, _ map[cwmp.Path]string, r *Record) {
			r.ConnectionURL, r.Remote, z.udp.binding = "http://10.0.0.7/", "10.0.0.7", bound
		}, []WakeWay{WakeHTTP, WakeUDP}, []string{"no Jabber id"}},
		{"came last by XMPP", func(z *sleeper, p map[cwmp.Path]string, r *Record) {
			z.udp.binding, p[ms+"ConnReqJabberID"], r.WokenBy = bound, "cpe@example.com/cwmp", WakeXMPP
		}, []WakeWay{WakeXMPP, WakeHTTP, WakeUDP}, nil},
		{"XMPP server down", func(z *sleeper, p map[cwmp.Path]string, _ *Record) {
			p[ms+"ConnReqJabberID"], z.xmpp.down = "cpe@example.com/cwmp", errors.New("not connected to the XMPP server")
		}, []WakeWay{WakeHTTP}, []string{"no STUN binding", "not connected to the XMPP server"}},
		{"binding of before the restart", func(_ *sleeper, _ map[cwmp.Path]string, r *Record) { r.Binding = bound.String() }, []WakeWay{WakeHTTP, WakeUDP}, []string{"no Jabber id"}},
		{"binding not kept open", func(z *sleeper, _ map[cwmp.Path]string, r *Record) { r.Binding, z.udp.settled = bound.String(), true },
			[]WakeWay{WakeHTTP}, []string{"has not been kept open", "no Jabber id"}},
		{"address told by the CPE", func(_ *sleeper, p map[cwmp.Path]string, _ *Record) {
			p[ms+"UDPConnectionRequestAddress"] = "203.0.113.9:5"
		},
			[]WakeWay{WakeHTTP, WakeUDP}, []string{"no Jabber id"}},
		{"private address told by the CPE", func(_ *sleeper, p map[cwmp.Path]string, _ *Record) {
			p[ms+"UDPConnectionRequestAddress"] = "10.0.0.7:5"
		},
			[]WakeWay{WakeHTTP}, []string{"no STUN binding", "no Jabber id"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			z := newSleeper(t, nil)
			z.set(func(r *Record) { tt.setUp(z, z.params, r) })
			rec := z.state().rec
			z.params[ms+"ConnectionRequestURL"] = rec.ConnectionURL
			z.inform(cwmp.EventPeriodic)
			z.set(func(r *Record) { r.Remote = rec.Remote })
			open, closed := z.ways(sleeperID.Key(), z.state())
			if !slices.Equal(open, tt.open) {
				t.Errorf("ways %v, want %v", open, tt.open)
			}
			if len(closed) != len(tt.closed) {
				t.Fatalf("reasons %q, want %q", closed, tt.closed)
			}
			for i, want := range tt.closed {
				if !strings.Contains(closed[i], want) {
					t.Errorf("reason %q, want %q", closed[i], want)
				}
			}
		})
	}
}

// TestWakeFallsThrough: what fails by one way is tried by the next; what worked is
// tried first the next time.
func TestWakeFallsThrough(t *testing.T) {
	z := newSleeper(t, dialing(syscall.EHOSTUNREACH))
	z.params[ms+"ConnReqJabberID"] = "cpe@example.com/cwmp"
	z.inform(cwmp.EventPeriodic)
	if err := z.Wake(t.Context(), sleeperID.Key()); err != nil {
		t.Fatal(err)
	}
	rec := z.state().rec
	if len(z.xmpp.asked) != 1 || z.xmpp.asked[0].JID != "cpe@example.com/cwmp" || z.xmpp.asked[0].Username != rec.Username || rec.WokenBy != WakeXMPP {
		t.Errorf("asked by XMPP %+v; it came by %q", z.xmpp.asked, rec.WokenBy)
	}
	if open, _ := z.ways(sleeperID.Key(), z.state()); open[0] != WakeXMPP {
		t.Errorf("the next time %v are tried", open)
	}
	if got := z.reachability(sleeperID.Key(), z.state()); !strings.Contains(got, "by connection request: XMPP,HTTP") || !strings.Contains(got, "came last by XMPP") {
		t.Errorf("reachability: %s", got)
	}
}

// TestWakeFails: the error says of each way why it failed or is missing, and when
// the CPE is served; the device's reachability says so too until it works again.
func TestWakeFails(t *testing.T) {
	z := newSleeper(t, dialing(syscall.ETIMEDOUT))
	z.params[ms+"ConnectionRequestURL"] = "http://10.0.0.7:7547/"
	z.inform(cwmp.EventPeriodic)
	z.set(func(r *Record) { r.Remote = "203.0.113.7" })
	err := z.Wake(t.Context(), sleeperID.Key())
	if !errors.Is(err, connreq.ErrNAT) {
		t.Fatalf("error %v, want %v", err, connreq.ErrNAT)
	}
	for _, text := range []string{err.Error(), z.reachability(sleeperID.Key(), z.state()), z.own(z.state(), "X_USPBRIDGE_CWMP.Reachable", dm.Instance{})} {
		for _, want := range []string{"behind NAT", "10.0.0.7 is private", "informs from 203.0.113.7", "no STUN binding", "no Jabber id", "next Inform, expected before 2026-11-24T12:15:00Z"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q does not say %q", text, want)
			}
		}
	}
	z.clock.Add(3600)
	if got := z.reachability(sleeperID.Key(), z.state()); !strings.Contains(got, "overdue since 2026-11-24T12:15:00Z") {
		t.Errorf("after an hour: %s", got)
	}
	if got := z.own(z.state(), "X_USPBRIDGE_CWMP.NextInform", dm.Instance{}); got != "2026-11-24T12:15:00Z" {
		t.Errorf("NextInform is %s", got)
	}
	z.Bound(t.Context(), sleeperID.Key(), netip.MustParseAddrPort("203.0.113.7:9"))
	if got := z.reachability(sleeperID.Key(), z.state()); !strings.Contains(got, "by connection request: UDP,HTTP") {
		t.Errorf("with a binding: %s", got)
	}
}

// Deviation: CPE in a session – answer 503 to a connection request; that is no
// failure of the way, nothing else is tried, and reads go on waiting for it.
func TestWakeBusy(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer busy.Close()
	z := newSleeper(t, func(c *Config, _ map[cwmp.Path]string) { c.ConnectionRequest.Timeout = time.Second })
	z.params[ms+"ConnReqJabberID"] = "cpe@example.com/cwmp"
	z.params[ms+"ConnectionRequestURL"] = busy.URL
	z.inform(cwmp.EventPeriodic)
	gaveUp := false
	dev := z.device()
	dev.fetch.next = &fetch{cancel: func(error) { gaveUp = true }}
	err := z.Wake(t.Context(), sleeperID.Key())
	if !errors.Is(err, connreq.ErrBusy) || gaveUp || len(z.xmpp.asked) > 0 {
		t.Errorf("error %v, reads given up %v, XMPP asked %d times", err, gaveUp, len(z.xmpp.asked))
	}
	if rec := z.state().rec; rec.WakeError != "" || rec.WokenBy != WakeHTTP {
		t.Errorf("kept: error %q, way %q", rec.WakeError, rec.WokenBy)
	}
}

// TestWakeUDP: the datagram goes to the binding, some times over, and is the same
// each time; the CPE's coming is the answer.
func TestWakeUDP(t *testing.T) {
	z := newSleeper(t, nil)
	z.params[ms+"ConnectionRequestURL"] = "http://10.0.0.7:7547/"
	z.params[ms+"UDPConnectionRequestAddress"] = "203.0.113.7:2"
	z.inform(cwmp.EventPeriodic)
	z.udp.binding = netip.MustParseAddrPort("203.0.113.7:1")
	ctx, cancel := context.WithCancel(t.Context())
	z.udp.onSend = func() {
		if len(z.udp.sent) == 2*2 { // two copies to each of two addresses
			cancel() // the ACS ends the request when the session is open
		}
	}
	if err := z.Wake(ctx, sleeperID.Key()); !errors.Is(err, context.Canceled) {
		t.Fatalf("Wake: %v", err)
	}
	z.inform(cwmp.EventConnectionRequest)
	rec := z.state().rec
	if rec.WokenBy != WakeUDP || rec.WakeError != "" {
		t.Errorf("it came by %q, error %q", rec.WokenBy, rec.WakeError)
	}
	password, err := rec.password(z.sealer)
	if err != nil {
		t.Fatal(err)
	}
	first := z.udp.sent[0].r
	for i, d := range z.udp.sent {
		if want := uint16(1 + i%2); d.to.Port() != want || d.r.Host != d.to.String() {
			t.Errorf("datagram %d went to %v for %s, want port %d", i, d.to, d.r.Host, want)
		}
		if !d.r.Signed(password) || d.r.Username != rec.Username || d.r.Time != first.Time || d.r.ID != first.ID || d.r.CNonce != first.CNonce || d.r.ID == 0 {
			t.Errorf("datagram %d is %+v, the first was %+v", i, d.r.Request, first.Request)
		}
	}
}

func TestWakeUDPSilent(t *testing.T) {
	z := newSleeper(t, func(c *Config, _ map[cwmp.Path]string) { c.ConnectionRequest.Timeout = 20 * time.Millisecond })
	z.params[ms+"ConnectionRequestURL"] = ""
	z.set(func(r *Record) { r.ConnectionURL = "" })
	z.udp.binding = netip.MustParseAddrPort("203.0.113.7:1")
	if err := z.Wake(t.Context(), sleeperID.Key()); !errors.Is(err, connreq.ErrSilent) || !strings.Contains(err.Error(), "203.0.113.7:1") {
		t.Errorf("a CPE that does not come: %v", err)
	}
	z.udp.fails = errors.New("network is down")
	if err := z.Wake(t.Context(), sleeperID.Key()); !errors.Is(err, connreq.ErrOurSide) || !strings.Contains(err.Error(), "network is down") {
		t.Errorf("a socket that fails: %v", err)
	}
}

// TestUDPTime: each UDP Connection Request is later than the one before, in the
// same second, with a clock that was set back, and after a restart.
func TestUDPTime(t *testing.T) {
	z := newSleeper(t, nil)
	last, lastID := int64(0), uint32(0)
	next := func(when string) {
		t.Helper()
		r, err := z.udpRequest(t.Context(), z.device())
		if err != nil {
			t.Fatal(err)
		}
		if r.Time <= last || r.ID == lastID || r.ID == 0 {
			t.Errorf("%s: time %d after %d, id %d after %d", when, r.Time, last, r.ID, lastID)
		}
		last, lastID = r.Time, r.ID
	}
	next("first")
	if last != z.clock.Load() {
		t.Errorf("time is %d, the clock says %d", last, z.clock.Load())
	}
	next("in the same second")
	z.clock.Add(-3600)
	next("with a clock that was set back")
	z.start(nil)
	next("after a restart")
	z.clock.Add(7200)
	next("later")
	if last != z.clock.Load() {
		t.Errorf("time is %d, the clock says %d", last, z.clock.Load())
	}
}

// Deviation: several CPE – report "2 PERIODIC" in place of "6 CONNECTION REQUEST"
// when they were called; it is taken for the answer to a UDP Connection Request,
// which has no other. An Inform that nobody has called for is none.
func TestCameBy(t *testing.T) {
	for _, tt := range []struct {
		asked WakeWay
		ago   time.Duration
		event cwmp.EventCode
		want  WakeWay
	}{
		{WakeUDP, 0, cwmp.EventConnectionRequest, WakeUDP},
		{WakeUDP, 0, cwmp.EventPeriodic, WakeUDP},
		{WakeUDP, 0, cwmp.EventValueChange, ""},
		{WakeUDP, 2 * cameWithin, cwmp.EventConnectionRequest, ""},
		{WakeXMPP, 0, cwmp.EventConnectionRequest, WakeXMPP},
		{WakeHTTP, 0, cwmp.EventPeriodic, ""},
		{"", 0, cwmp.EventConnectionRequest, ""},
	} {
		z := newSleeper(t, nil)
		z.set(func(r *Record) { r.WakeError = "it did not come" })
		if tt.asked != "" {
			z.device().asked.Store(&asked{way: tt.asked, at: z.now().Add(-tt.ago)})
		}
		z.inform(tt.event)
		if rec := z.state().rec; rec.WokenBy != tt.want || (rec.WakeError == "") != (tt.want != "") {
			t.Errorf("%s %v after %q was asked: came by %q, error %q", tt.event, tt.ago, tt.asked, rec.WokenBy, rec.WakeError)
		}
	}
}

// A CPE that refuses the credentials of connection requests gets them again.
func TestCredentialsAgain(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	z := newSleeper(t, nil)
	z.params[ms+"ConnectionRequestURL"] = refuses.URL
	z.inform(cwmp.EventPeriodic)
	password := z.params[ms+"ConnectionRequestPassword"]
	z.params[ms+"ConnectionRequestPassword"] = "lost"
	if err := z.Wake(t.Context(), sleeperID.Key()); !errors.Is(err, connreq.ErrCredentials) {
		t.Fatal(err)
	}
	if err := z.Serve(t.Context(), z.session(cwmp.EventPeriodic)); err != nil {
		t.Fatal(err)
	}
	if got := z.params[ms+"ConnectionRequestPassword"]; password == "" || got != password {
		t.Errorf("in the next session the CPE's password is %q, want %q", got, password)
	}
}

// TestWakeSettings: a CPE is told of the other ways what the configuration says,
// as far as it has the parameters and does not have the values.
func TestWakeSettings(t *testing.T) {
	z := newSleeper(t, func(c *Config, p map[cwmp.Path]string) {
		c.ConnectionRequest.Settings = WakeSettings{
			STUNAddress: "stun.example:3479", STUNMinKeepAlive: 20 * time.Second, STUNMaxKeepAlive: time.Minute,
			XMPPJID:       "acs@example.com/bridge",
			XMPPDevice:    XMPPAccount{Username: "{oui}-{serial}", Password: "pw", Domain: "example.com"},
			NotifyAddress: "acs.example:8765",
		}
		delete(p, ms+"STUNMaximumKeepAlivePeriod")
	})
	for name, want := range map[cwmp.Path]string{
		ms + "STUNEnable": "1", ms + "STUNServerAddress": "stun.example", ms + "STUNServerPort": "3479",
		ms + "STUNUsername": "00005E-HG200-SN1", ms + "STUNPassword": z.STUNPassword(sleeperID.Key()),
		ms + "STUNMinimumKeepAlivePeriod": "20",
		ms + "ConnReqAllowedJabberIDs":    "acs@example.com/bridge", ms + "ConnReqXMPPConnection": "Device.XMPP.Connection.1",
		"Device.XMPP.Connection.1.Username": "00005e-sn1", "Device.XMPP.Connection.1.Password": "pw", "Device.XMPP.Connection.1.Domain": "example.com",
		"Device.XMPP.Connection.1.Enable": "1", "Device.XMPP.Connection.1.UseTLS": "1",
		ms + "UDPLightweightNotificationHost": "acs.example", ms + "UDPLightweightNotificationPort": "8765",
		ms + "LightweightNotificationProtocolsUsed": "UDP",
	} {
		if z.params[name] != want {
			t.Errorf("%s is %q, want %q", name, z.params[name], want)
		}
	}
	if _, made := z.params[ms+"STUNMaximumKeepAlivePeriod"]; made {
		t.Error("a parameter that the CPE does not have was set")
	}
}

// Nothing is set that the configuration does not ask for.
func TestNoWakeSettings(t *testing.T) {
	z := newSleeper(t, nil)
	if groups := z.wakeSettings(z.state()); len(groups) > 0 {
		t.Errorf("without configuration %v is set", groups)
	}
	if z.params[ms+"STUNEnable"] != "0" {
		t.Error("STUN was enabled")
	}
}

// TestSTUNPassword: each CPE has its own, the same after a restart.
func TestSTUNPassword(t *testing.T) {
	z := newSleeper(t, nil)
	one, other := z.STUNPassword("a-b-c"), z.STUNPassword("a-b-d")
	z.start(nil)
	if one == other || len(one) != 24 || z.STUNPassword("a-b-c") != one {
		t.Errorf("%q and %q; after the restart %q", one, other, z.STUNPassword("a-b-c"))
	}
}

// A secret that cannot be opened any more, because its key was lost, is made anew;
// CPE then lack what they are to be given, and get it.
func TestSecretLost(t *testing.T) {
	settings := func(c *Config, _ map[cwmp.Path]string) {
		c.ConnectionRequest.Settings = WakeSettings{STUNAddress: "stun.example:3478", STUNMinKeepAlive: time.Second, STUNMaxKeepAlive: time.Minute}
	}
	z := newSleeper(t, settings)
	before := z.params[ms+"STUNPassword"]
	z.sealer = seal.Random()
	z.start(settings)
	z.inform(cwmp.EventPeriodic)
	if err := z.Serve(t.Context(), z.session(cwmp.EventPeriodic)); err != nil {
		t.Fatal(err)
	}
	if got := z.params[ms+"STUNPassword"]; got == before || got != z.STUNPassword(sleeperID.Key()) {
		t.Errorf("the CPE has the password %q, had %q, and is to have %q", got, before, z.STUNPassword(sleeperID.Key()))
	}
}

// TestBound: a proven binding survives a restart; one of a device that is not
// known makes none.
func TestBound(t *testing.T) {
	z := newSleeper(t, nil)
	z.Bound(t.Context(), sleeperID.Key(), netip.MustParseAddrPort("203.0.113.7:1"))
	z.Bound(t.Context(), "no-such-device", netip.MustParseAddrPort("203.0.113.8:1"))
	if _, err := z.udpRequest(t.Context(), z.device()); err != nil { // durable: so is what was written before
		t.Fatal(err)
	}
	z.start(nil)
	if got, _ := z.udpTargets(sleeperID.Key(), z.state()); !reflect.DeepEqual(got, []netip.AddrPort{netip.MustParseAddrPort("203.0.113.7:1")}) {
		t.Errorf("after the restart the CPE is at %v", got)
	}
	if _, err := z.devices.acquire(t.Context(), "no-such-device"); !errors.Is(err, errUnknownDevice) {
		t.Errorf("a device was made of a datagram: %v", err)
	}
}

// TestNotified: a lightweight notification changes values as an Inform does, once,
// and never back.
func TestNotified(t *testing.T) {
	z := newSleeper(t, nil)
	m := &model{bridge: z.Bridge, dev: z.device()}
	upTime, ok := lookup(m.Schema(), "Device.DeviceInfo.UpTime")
	if !ok {
		t.Fatal("the model has no UpTime")
	}
	z.set(func(r *Record) { r.Watched = []cwmp.Path{"Device.DeviceInfo.UpTime"} })
	send := func(at int64, nonce, value string) (fresh bool) {
		t.Helper()
		fresh, err := z.Notified(t.Context(), lightweight.Notification{Time: at, CNonce: nonce, Device: sleeperID,
			Values: []cwmp.ParameterValue{{Name: "Device.DeviceInfo.UpTime", Value: cwmp.Value{Text: value}}, {Name: "Device.Nonsense", Value: cwmp.Value{Text: "x"}}}})
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	for _, step := range []struct {
		at           int64
		nonce, value string
		fresh        bool
		known        string
	}{
		{100, "a", "10", true, "10"},
		{100, "a", "10", false, "10"}, // the same once more
		{100, "b", "11", true, "11"},  // another of the same second
		{100, "a", "10", false, "11"}, // replayed
		{99, "c", "9", false, "11"},   // late
		{101, "a", "12", true, "12"},
	} {
		if fresh := send(step.at, step.nonce, step.value); fresh != step.fresh {
			t.Errorf("%+v: taken as new %v", step, fresh)
		}
		if v := z.peek(z.state(), upTime); v.Text != step.known {
			t.Errorf("%+v: known is %q", step, v.Text)
		}
	}
	var values []string
	for _, e := range z.events {
		if e.Kind == agent.ValueChanged {
			values = append(values, e.Value)
		}
	}
	if !slices.Equal(values, []string{"10", "11", "12"}) {
		t.Errorf("controllers were told of %v", values)
	}
	if _, err := z.Notified(t.Context(), lightweight.Notification{Device: cwmp.DeviceID{OUI: "x"}}); !errors.Is(err, errUnknownDevice) {
		t.Errorf("a device that is not known: %v", err)
	}
	for i := range 2 * maxCNonces {
		send(200, strings.Repeat("n", i+1), "13")
	}
	if n := len(z.state().rec.Notified.CNonces); n > maxCNonces {
		t.Errorf("%d nonces are kept", n)
	}
}
