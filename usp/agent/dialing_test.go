package agent

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// dialingTransport notes what it is told to connect to.
type dialingTransport struct {
	*fakeTransport
	calls chan string
}

func newDialingTransport(p mtp.Protocol) *dialingTransport {
	return &dialingTransport{newFakeTransport(p), make(chan string, 100)}
}

func (d *dialingTransport) Dial(local, peer usp.EndpointID, to mtp.Target) {
	d.calls <- fmt.Sprintf("dial %s to %s at %s, retry %v ×%v up to %v, keep alive %v", local, peer, to.URL, to.Retry.Min, to.Retry.Multiplier, to.Retry.Max, to.KeepAlive)
}

func (d *dialingTransport) Hang(local, peer usp.EndpointID) {
	d.calls <- fmt.Sprintf("hang %s to %s", local, peer)
}

func (d *dialingTransport) Again(local, peer usp.EndpointID) {
	d.calls <- fmt.Sprintf("again %s to %s", local, peer)
}

func (d *dialingTransport) Retries(usp.EndpointID, usp.EndpointID) int { return 7 }

// AgentAddress is where a Unix domain socket would listen.
func (d *dialingTransport) AgentAddress(usp.EndpointID) mtp.Address {
	return mtp.Address{Protocol: d.protocol, URL: "unix:///run/bridge.sock"}
}

// want compares what was called so far.
func (d *dialingTransport) want(t *testing.T, calls ...string) {
	t.Helper()
	for _, want := range calls {
		select {
		case got := <-d.calls:
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("it was not called: %s", want)
		}
	}
	select {
	case got := <-d.calls:
		t.Errorf("unasked: %s", got)
	default:
	}
}

const (
	dialSecondary = "dial os::00259E-0123456789 to proto::controller-2 at wss://c2.example:443/usp, "
	hangSecondary = "hang os::00259E-0123456789 to proto::controller-2"
	asStandard    = "retry 5s ×2 up to 1h25m20s, keep alive 30s"
	secondaryMTP  = "Device.LocalAgent.Controller.2.MTP.1."
)

// dialingBench is a bench with a transport that opens connections, by which the
// second controller is reached.
func dialingBench(t *testing.T) (*bench, *dialingTransport) {
	d := newDialingTransport(mtp.WebSocket)
	b := newBench(t, func(c *Config) {
		c.Transports = append(c.Transports, d)
		c.Controllers[1].MTP = mtp.Address{Protocol: mtp.WebSocket, URL: "wss://c2.example/usp"}
		c.Known = func(context.Context) ([]usp.EndpointID, error) {
			return []usp.EndpointID{testAgent, "os::forgotten"}, nil
		}
	})
	return b, d
}

func (b *bench) mustSet(path, param, value string) {
	b.t.Helper()
	body := b.ask(primary, setReq(false, update(path, kv{param, value, true})))
	if body.GetResponse().GetSetResp() == nil {
		b.t.Fatalf("Set of %s%s: %v", path, param, body)
	}
}

func TestSessionsFollowTheControllerTable(t *testing.T) {
	b, d := dialingBench(t)
	if err := b.host.Hosted(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	d.want(t, dialSecondary+asStandard)
	b.raise(Event{Kind: Occurred, Ref: b.ref("Device.Boot!"), Args: map[string]string{"Cause": "LocalReboot"}})
	d.want(t, "again os::00259E-0123456789 to proto::controller-2")
	b.mustSet(secondaryMTP+"WebSocket.", "KeepAliveInterval", "60")
	d.want(t, dialSecondary+"retry 5s ×2 up to 1h25m20s, keep alive 1m0s")
	b.mustSet(secondaryMTP+"WebSocket.", "SessionRetryMinimumWaitInterval", "1")
	d.want(t, dialSecondary+"retry 1s ×2 up to 17m4s, keep alive 1m0s")
	b.mustSet("Device.LocalAgent.Controller.2.", "ProvisioningCode", "x")
	b.mustSet(secondaryMTP, "Enable", "false")
	d.want(t, hangSecondary)
	b.mustSet(secondaryMTP, "Enable", "true")
	d.want(t, dialSecondary+"retry 1s ×2 up to 17m4s, keep alive 1m0s")
	b.mustSet("Device.LocalAgent.Controller.2.", "Enable", "false")
	d.want(t, hangSecondary)

	third := b.added(primary, create("Device.LocalAgent.Controller.", kv{"EndpointID", "proto::c3", true}, kv{"Enable", "true", true}))
	b.added(primary, create(third+"MTP.", kv{"Protocol", "WebSocket", true}, kv{"Enable", "true", true},
		kv{"WebSocket.Host", "10.0.0.1", true}, kv{"WebSocket.Port", "8080", true}, kv{"WebSocket.EnableEncryption", "false", true}))
	d.want(t, "dial os::00259E-0123456789 to proto::c3 at ws://10.0.0.1:8080, "+asStandard)
	b.ask(primary, &usppb.Request{ReqType: &usppb.Request_Delete{Delete: &usppb.Delete{ObjPaths: []string{third}}}})
	d.want(t, "hang os::00259E-0123456789 to proto::c3")

	b.mustSet("Device.LocalAgent.Controller.2.", "Enable", "true")
	d.want(t, dialSecondary+"retry 1s ×2 up to 17m4s, keep alive 1m0s")
	if got := b.value(secondaryMTP + "WebSocket.CurrentRetryCount"); got != "7" {
		t.Errorf("CurrentRetryCount is %s", got)
	}
	if err := b.host.Forget(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	d.want(t, hangSecondary)
}

func TestSessionsAreOpenedAfterAStart(t *testing.T) {
	b, d := dialingBench(t)
	b.host.dialKnown(t.Context())
	d.want(t, dialSecondary+asStandard)

	// Of an agent whose own table asks for one, where the configured does not.
	b.mustSet(secondaryMTP+"WebSocket.", "KeepAliveInterval", "60")
	d.want(t, dialSecondary+"retry 5s ×2 up to 1h25m20s, keep alive 1m0s")
	third := b.added(primary, create("Device.LocalAgent.Controller.", kv{"EndpointID", "proto::c3", true}, kv{"Enable", "true", true}))
	b.added(primary, create(third+"MTP.", kv{"Protocol", "WebSocket", true}, kv{"Enable", "true", true}, kv{"WebSocket.Host", "c3.example", true}))
	d.want(t, "dial os::00259E-0123456789 to proto::c3 at wss://c3.example:443, "+asStandard)
	b.cfg.Controllers = b.cfg.Controllers[:1]
	b.cfg.Known = func(context.Context) ([]usp.EndpointID, error) {
		t.Error("all agents are asked for, though the configured controllers need none")
		return nil, nil
	}
	b.restart()
	b.host.dialKnown(t.Context())
	d.want(t, "dial os::00259E-0123456789 to proto::c3 at wss://c3.example:443, "+asStandard)
}

func TestConnectReturnsWhenTheControllerIsGreeted(t *testing.T) { // R-MTP.6
	for protocol, greeted := range map[mtp.Protocol]func(*usppb.Record) bool{
		mtp.WebSocket: func(r *usppb.Record) bool { return r.GetWebsocketConnect() != nil },
		mtp.UDS:       func(r *usppb.Record) bool { return r.GetUdsConnect() != nil },
	} {
		d := newDialingTransport(protocol)
		b := newBench(t, func(c *Config) { c.Transports = append(c.Transports, d) })
		b.host.Connected(primary, testAgent, mtp.Address{Protocol: protocol, Conn: "conn"})
		select {
		case s := <-d.sent:
			if !greeted(s.record) || s.addr.Conn != "conn" {
				t.Errorf("%s: sent %v to %+v", protocol, s.record, s.addr)
			}
		default:
			t.Errorf("%s: Connected has returned before a Connect record was sent", protocol)
		}
	}
}

func TestUnixDomainSockets(t *testing.T) { // R-UDS.1
	d := newDialingTransport(mtp.UDS)
	b := newBench(t, func(c *Config) {
		c.Transports = append(c.Transports, d)
		c.AgentAddress = func(p mtp.Protocol, id usp.EndpointID) mtp.Address {
			if p != mtp.UDS {
				return mtp.Address{Protocol: p}
			}
			return d.AgentAddress(id)
		}
		c.Controllers[1].MTP = mtp.Address{Protocol: mtp.UDS, URL: "unix:///run/c2.sock"}
	})
	if err := b.host.Hosted(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	d.want(t, "dial os::00259E-0123456789 to proto::controller-2 at unix:///run/c2.sock, retry 1s ×5 up to 5s, keep alive 0s") // R-UDS.5
	res := b.ask(primary, getReq("Device.UnixDomainSockets.", secondaryMTP+"UDS."))
	want := []string{`Device.UnixDomainSockets.UnixDomainSocket.1.Alias=cpe-1
Device.UnixDomainSockets.UnixDomainSocket.1.Mode=Listen
Device.UnixDomainSockets.UnixDomainSocket.1.Path=/run/bridge.sock
Device.UnixDomainSockets.UnixDomainSocket.2.Alias=cpe-2
Device.UnixDomainSockets.UnixDomainSocket.2.Mode=Connect
Device.UnixDomainSockets.UnixDomainSocket.2.Path=/run/c2.sock
Device.UnixDomainSockets.UnixDomainSocketNumberOfEntries=2`,
		secondaryMTP + "UDS.UnixDomainSocketRef=Device.UnixDomainSockets.UnixDomainSocket.2"}
	for i, r := range res.GetResponse().GetGetResp().GetReqPathResults() {
		if got(r) != want[i] {
			t.Errorf("got %s\nwant %s", got(r), want[i])
		}
	}
	// One that listens is none to connect to.
	b.mustSet(secondaryMTP+"UDS.", "UnixDomainSocketRef", "Device.UnixDomainSockets.UnixDomainSocket.1")
	d.want(t, hangSecondary)
}

func TestCoAPAddress(t *testing.T) {
	c := newFakeTransport(mtp.CoAP)
	b := newBench(t, func(cfg *Config) {
		cfg.Transports = append(cfg.Transports, c)
		cfg.Controllers[1].MTP = mtp.Address{Protocol: mtp.CoAP, URL: "coaps://c2.example/usp"}
	})
	if err := b.host.Hosted(t.Context(), testAgent); err != nil { // OnBoardRequest
		t.Fatal(err)
	}
	select {
	case s := <-c.sent:
		if want := "coaps://c2.example:5684/usp"; s.addr.URL != want {
			t.Errorf("sent to %s, want %s", s.addr.URL, want)
		}
	case <-time.After(patience):
		t.Error("nothing was sent")
	}
}

func TestRetryPolicy(t *testing.T) { // the table of R-WS.19
	p := retryPolicy(5*time.Second, 2)
	for try, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 10: 2560 * time.Second, 11: 2560 * time.Second, 100: 2560 * time.Second} {
		for range 50 {
			if w := p.Wait(try); w < want || w > 2*want {
				t.Errorf("try %d: a wait of %v, want %v to %v", try, w, want, 2*want)
			}
		}
	}
	largest := retryPolicy(65535*time.Second, 65.535)
	if w := largest.Wait(math.MaxInt32); w <= 0 || w > maxRetryWait {
		t.Errorf("the largest values make a wait of %v", w)
	}
}
