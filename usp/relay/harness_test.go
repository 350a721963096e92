package relay

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/test/clock"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const (
	controller = usp.EndpointID("proto::controller-1")
	native     = usp.EndpointID("os::00259E-NATIVE")
	other      = usp.EndpointID("os::00259E-OTHER")
	bridged    = usp.EndpointID("os::00259E-BRIDGED")
	cli        = usp.EndpointID("self::uspbridge-cli")
)

// sent is a record that a transport was given.
type sent struct {
	from, to usp.EndpointID
	at       mtp.Address
	record   string
}

// transport is a fake at the seam to the transports: what is sent is recorded,
// and so is where it listens.
type transport struct {
	protocol mtp.Protocol
	out      chan sent

	mu        sync.Mutex
	down      bool // nothing can be sent
	hosted    map[usp.EndpointID]bool
	listening map[string]usp.EndpointID
}

func newTransport(p mtp.Protocol) *transport {
	return &transport{protocol: p, out: make(chan sent, 1000), hosted: map[usp.EndpointID]bool{}, listening: map[string]usp.EndpointID{}}
}

func (f *transport) Protocol() mtp.Protocol                         { return f.protocol }
func (f *transport) Serve(ctx context.Context, _ mtp.Handler) error { <-ctx.Done(); return nil }
func (f *transport) Ready() <-chan struct{}                         { return nil }
func (f *transport) Status() mtp.Status                             { return mtp.Status{} }

func (f *transport) Send(_ context.Context, from, to usp.EndpointID, at mtp.Address, record []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down || !reachable(at) && f.protocol != mtp.WebSocket {
		return fmt.Errorf("fake: %w", mtp.ErrUnreachable)
	}
	f.out <- sent{from, to, at, string(record)}
	return nil
}

func (f *transport) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

// broker is a transport over a broker.
type broker struct{ *transport }

func (f broker) Host(ids ...usp.EndpointID)   { f.setHosted(true, ids) }
func (f broker) Unhost(ids ...usp.EndpointID) { f.setHosted(false, ids) }

func (f broker) setHosted(on bool, ids []usp.EndpointID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.hosted[id] = on
	}
}

func (f broker) hosts(id usp.EndpointID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hosted[id]
}

func (f broker) AgentAddress(id usp.EndpointID) mtp.Address {
	return address(f.protocol, "agent/"+string(id))
}

func (f broker) Listen(at mtp.Address, id usp.EndpointID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listening[addressText(at)] = id
	return nil
}

func (f broker) Unlisten(at mtp.Address) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.listening, addressText(at))
}

func (f broker) listensAt(where string) usp.EndpointID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listening[where]
}

// address is one at a broker.
func address(p mtp.Protocol, where string) mtp.Address {
	if p == mtp.STOMP {
		return mtp.Address{Protocol: p, Destination: where}
	}
	return mtp.Address{Protocol: p, Topic: where}
}

// owner is what the templates of the fakes say.
func owner(at mtp.Address) usp.EndpointID {
	var id string
	if n, _ := fmt.Sscanf(addressText(at), "agent/%s", &id); n == 1 {
		return usp.EndpointID(id)
	}
	return ""
}

// next is the handler of hosted agents.
type next struct {
	in        chan mtp.Inbound
	connected chan ends // peers and who of us they are connected to
}

func (n next) Receive(in mtp.Inbound) error { n.in <- in; return nil }
func (n next) Connected(peer, local usp.EndpointID, _ mtp.Address) {
	n.connected <- ends{peer, local}
}
func (n next) Disconnected(_, _ usp.EndpointID, via mtp.Address) {}

// claims has one hosted agent.
type claims struct{}

func (claims) Hosted(_ context.Context, id usp.EndpointID) (bool, error) { return id == bridged, nil }

// rig is a relay between fakes.
type rig struct {
	*Relay
	t           testing.TB
	file        string
	cfg         Config
	clock       *clock.Clock
	ws          *transport
	mqtt, stomp broker
	next        next
	stopRun     func()
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	policy, err := NewPolicy(Rule{From: "proto::*", To: "os::*"}, Rule{From: "os::*", To: "proto::*"}, Rule{From: "self::*", To: "*"})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, file: filepath.Join(t.TempDir(), "store"), clock: clock.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		ws: newTransport(mtp.WebSocket), mqtt: broker{newTransport(mtp.MQTT)}, stomp: broker{newTransport(mtp.STOMP)},
		next: next{make(chan mtp.Inbound, 1000), make(chan ends, 1000)},
	}
	r.cfg = Config{
		Transports: []mtp.Transport{r.ws, r.mqtt, r.stomp}, Claims: claims{}, Policy: policy, Next: r.next, Owner: owner,
		Controllers: map[usp.EndpointID]mtp.Address{controller: {}}, Trusted: []mtp.Protocol{mtp.WebSocket, mtp.MQTT, mtp.STOMP}, Reserved: cli, Now: r.clock.Now,
	}
	if change != nil {
		change(&r.cfg)
	}
	r.start()
	t.Cleanup(func() { r.stopRun() })
	return r
}

// start begins, again if stopRun was called before.
func (r *rig) start() {
	r.t.Helper()
	st, err := bolt.Open(bolt.Config{Path: r.file})
	if err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Store = st
	if r.Relay, err = New(r.cfg); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	r.stopRun = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				r.t.Error(err)
			}
			if err := st.Close(); err != nil {
				r.t.Error(err)
			}
		})
	}
}

// restart is what a restart of the bridge is to the relay.
func (r *rig) restart() {
	r.t.Helper()
	r.stopRun()
	r.start()
}

// receive lets a record arrive.
func (r *rig) receive(in mtp.Inbound) {
	r.t.Helper()
	if err := r.Receive(in); err != nil {
		r.t.Fatal(err)
	}
}

// overBroker is a record from a broker; reply is where its sender listens.
func overBroker(p mtp.Protocol, reply string, rec []byte) mtp.Inbound {
	return mtp.Inbound{Record: rec, Reply: address(p, reply)}
}

// connection is a WebSocket of a peer.
func connection(name string) mtp.Address { return mtp.Address{Protocol: mtp.WebSocket, Conn: name} }

// secure is a connection whose peer has shown its certificate.
type secure string

func (secure) Proven() bool { return true }

func overSocket(name string, peer usp.EndpointID, rec []byte) mtp.Inbound {
	return mtp.Inbound{Record: rec, Reply: connection(name), Peer: peer}
}

// message returns a record with a message, told apart by id. It has a field that
// no version of the standard has.
func message(t testing.TB, from, to usp.EndpointID, id string) []byte {
	t.Helper()
	b, err := record.WrapMsg(from, to, "1.3", &usppb.Msg{Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET}})
	if err != nil {
		t.Fatal(err)
	}
	return append(b, 0xfa, 0x07, 0x03, 'n', 'e', 'w')
}

// await returns the next record that a transport is given.
func (r *rig) await(on *transport) sent {
	r.t.Helper()
	select {
	case s := <-on.out:
		return s
	case <-time.After(20 * time.Second):
		r.t.Fatalf("nothing is sent over %s", on.protocol)
		panic("unreachable")
	}
}

// idle waits until all that was received is dealt with, and wants nothing more to
// have been sent.
func (r *rig) idle() {
	r.t.Helper()
	r.lanes.wait()
	for _, f := range []*transport{r.ws, r.mqtt.transport, r.stomp.transport} {
		select {
		case s := <-f.out:
			r.t.Fatalf("sent over %s: %+v", f.protocol, s)
		default:
		}
	}
	select {
	case in := <-r.next.in:
		r.t.Fatalf("left to the hosted agents: %x", in.Record)
	default:
	}
}

// decode reads a record.
func decode(t testing.TB, rec string) *usppb.Record {
	t.Helper()
	var r usppb.Record
	if err := proto.Unmarshal([]byte(rec), &r); err != nil {
		t.Fatal(err)
	}
	return &r
}
