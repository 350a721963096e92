package agent

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/clock"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const (
	testAgent = usp.EndpointID("os::00259E-0123456789")
	primary   = usp.EndpointID("proto::controller-1")
	secondary = usp.EndpointID("proto::controller-2")
	patience  = 10 * time.Second
)

// fakeTransport keeps what is sent, by receiver.
type fakeTransport struct {
	protocol mtp.Protocol
	packets  mtp.Packets
	mu       sync.Mutex
	down     bool
	sent     chan sentRecord
	confirm  chan struct{}                    // set: Send returns when this is closed, as if a broker had to confirm
	stuck    map[usp.EndpointID]chan struct{} // what Send waits for before anything is sent to an endpoint
}

// stick has an endpoint take nothing until the function that it returns is called.
func (f *fakeTransport) stick(to usp.EndpointID) (free func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.stuck = map[usp.EndpointID]chan struct{}{to: c}
	return func() { close(c) }
}

type sentRecord struct {
	from, to usp.EndpointID
	addr     mtp.Address
	record   *usppb.Record
	msg      *usppb.Msg
}

func newFakeTransport(p mtp.Protocol) *fakeTransport {
	return &fakeTransport{protocol: p, sent: make(chan sentRecord, 10000)}
}

func (f *fakeTransport) Protocol() mtp.Protocol { return f.protocol }

func (f *fakeTransport) Serve(ctx context.Context, _ mtp.Handler) error { <-ctx.Done(); return nil }

func (f *fakeTransport) Ready() <-chan struct{} { c := make(chan struct{}); close(c); return c }

func (f *fakeTransport) Status() mtp.Status { return mtp.Status{Up: true} }

func (f *fakeTransport) Packets(usp.EndpointID) (mtp.Packets, bool) { return f.packets, true }

func (f *fakeTransport) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeTransport) Send(ctx context.Context, from, to usp.EndpointID, addr mtp.Address, b []byte) error {
	f.mu.Lock()
	down, stuck := f.down, f.stuck[to]
	f.mu.Unlock()
	if stuck != nil {
		select {
		case <-stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if down {
		return mtp.ErrUnreachable
	}
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		return err
	}
	s := sentRecord{from: from, to: to, addr: addr, record: r}
	if r.GetNoSessionContext() != nil {
		if s.msg, err = record.Message(r); err != nil {
			return err
		}
	}
	f.sent <- s
	if f.confirm != nil {
		<-f.confirm
	}
	return nil
}

// bench is an agent with its surroundings: two controllers, a device, a store,
// a transport.
type bench struct {
	t     testing.TB
	host  *Host
	store *memStore
	net   *fakeTransport
	model *mapModel
	clock *clock.Clock
	cfg   Config
	ids   int
	held  []sentRecord // received while something else was waited for
}

func (b *bench) Model(_ context.Context, id usp.EndpointID) (Model, Identity, error) {
	if id != testAgent {
		return nil, Identity{}, ErrUnknownEndpoint
	}
	return b.model, Identity{OUI: "00259E", ProductClass: "HG8245", SerialNumber: "0123456789", SoftwareVersion: "V1R2"}, nil
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{
		t: t, store: newMemStore(), net: newFakeTransport(mtp.MQTT), model: newMapModel(t),
		clock: clock.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
	b.cfg = Config{
		Store: b.store, Devices: b, Transports: []mtp.Transport{b.net}, Now: b.clock.Now, Deadline: 5 * time.Second,
		Controllers: []ControllerConfig{
			{EndpointID: primary, MTP: mtp.Address{Protocol: mtp.MQTT, Topic: "usp/controller/1"}},
			{EndpointID: secondary, Role: Untrusted, MTP: mtp.Address{Protocol: mtp.MQTT, Topic: "usp/controller/2"}},
		},
	}
	for _, c := range change {
		c(&b.cfg)
	}
	b.start()
	t.Cleanup(func() { b.host.close() })
	return b
}

func (b *bench) start() {
	b.t.Helper()
	h, err := New(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.host = h
}

// restart stands for the end of the process and a new one on the same store.
func (b *bench) restart() {
	b.host.close()
	b.start()
	if err := b.host.failInterrupted(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// due runs what is due at the clock's time.
func (b *bench) due() {
	b.t.Helper()
	if _, err := b.host.due.pass(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) msgID() string {
	b.ids++
	return fmt.Sprintf("msg-%d", b.ids)
}

// deliverRequest hands a request to the agent and returns its message id.
func (b *bench) deliverRequest(from usp.EndpointID, req *usppb.Request) string {
	b.t.Helper()
	id := b.msgID()
	b.deliverMsg(from, &usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}},
	})
	return id
}

func (b *bench) deliverMsg(from usp.EndpointID, msg *usppb.Msg) {
	b.t.Helper()
	rec, err := record.WrapMsg(from, testAgent, "1.3", msg)
	if err != nil {
		b.t.Fatal(err)
	}
	in := mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "reply"}}
	if from == BuiltinController {
		in.Trusted, in.Reply.Conn = true, "conn-1"
	}
	if err := b.host.Receive(in); err != nil {
		b.t.Fatal(err)
	}
}

// next returns the next record sent that match accepts; others are kept.
func (b *bench) next(what string, match func(sentRecord) bool) sentRecord {
	b.t.Helper()
	for i, s := range b.held {
		if match(s) {
			b.held = append(b.held[:i:i], b.held[i+1:]...)
			return s
		}
	}
	timeout := time.After(patience)
	for {
		select {
		case s := <-b.net.sent:
			if match(s) {
				return s
			}
			b.held = append(b.held, s)
		case <-timeout:
			b.t.Fatalf("%s was not sent within %v", what, patience)
		}
	}
}

// ask sends a request and returns the answer's body.
func (b *bench) ask(from usp.EndpointID, req *usppb.Request) *usppb.Body {
	b.t.Helper()
	id := b.deliverRequest(from, req)
	s := b.next("the answer", func(s sentRecord) bool { return s.msg.GetHeader().GetMsgId() == id })
	if s.to != from || s.from != testAgent || s.addr.Topic != "reply" || s.record.GetVersion() != "1.3" {
		b.t.Fatalf("answer from %s to %s at %+v, version %s", s.from, s.to, s.addr, s.record.GetVersion())
	}
	return s.msg.GetBody()
}

// notify waits for a Notify to a controller.
func (b *bench) notify(to usp.EndpointID) (*usppb.Notify, string) {
	b.t.Helper()
	s := b.next("a Notify", func(s sentRecord) bool { return s.to == to && s.msg.GetBody().GetRequest().GetNotify() != nil })
	return s.msg.GetBody().GetRequest().GetNotify(), s.msg.GetHeader().GetMsgId()
}

// settle makes sure that all work is done: a request of the same agent that is
// ordered behind it has been answered.
func (b *bench) settle() {
	b.t.Helper()
	b.host.dispatch.wait()
	b.host.background.Wait()
	b.host.outgoing.wait()
}

// silence fails the test if a Notify was sent.
func (b *bench) silence() {
	b.t.Helper()
	b.settle()
	for {
		select {
		case s := <-b.net.sent:
			b.held = append(b.held, s)
			continue
		default:
		}
		break
	}
	for _, s := range b.held {
		if n := s.msg.GetBody().GetRequest().GetNotify(); n != nil {
			b.t.Fatalf("unwanted Notify to %s: %v", s.to, n)
		}
	}
}

func (b *bench) acknowledge(from usp.EndpointID, msgID string) {
	b.t.Helper()
	b.deliverMsg(from, &usppb.Msg{
		Header: &usppb.Header{MsgId: msgID, MsgType: usppb.Header_NOTIFY_RESP},
		Body: &usppb.Body{MsgBody: &usppb.Body_Response{Response: &usppb.Response{RespType: &usppb.Response_NotifyResp{
			NotifyResp: &usppb.NotifyResp{},
		}}}},
	})
	b.settle()
}

// subscription adds one and returns its path.
func (b *bench) subscribe(from usp.EndpointID, id, kind, references string, more ...kv) string {
	b.t.Helper()
	kvs := append([]kv{{param: "Enable", value: "true"}, {param: "ID", value: id}, {param: "NotifType", value: kind}, {param: "ReferenceList", value: references, required: true}}, more...)
	return b.added(from, create("Device.LocalAgent.Subscription.", kvs...))
}

// added adds a row and returns its path.
func (b *bench) added(from usp.EndpointID, obj *usppb.Add_CreateObject) string {
	b.t.Helper()
	body := b.ask(from, addReq(false, obj))
	res := body.GetResponse().GetAddResp().GetCreatedObjResults()
	if len(res) != 1 || res[0].GetOperStatus().GetOperSuccess() == nil {
		b.t.Fatalf("Add of %s: %v", obj.GetObjPath(), body)
	}
	return res[0].GetOperStatus().GetOperSuccess().GetInstantiatedPath()
}

// value gets one parameter; an error makes it "!code".
func (b *bench) value(path string) string {
	b.t.Helper()
	res := b.ask(primary, getReq(path)).GetResponse().GetGetResp().GetReqPathResults()[0]
	if res.GetErrCode() != 0 {
		return fmt.Sprintf("!%d", res.GetErrCode())
	}
	for _, r := range res.GetResolvedPathResults() {
		for _, v := range r.GetResultParams() {
			return v
		}
	}
	return ""
}

// got flattens a GetResp's result for one path: path=value lines, sorted.
func got(res *usppb.GetResp_RequestedPathResult) string {
	if res.GetErrCode() != 0 {
		return fmt.Sprintf("!%d", res.GetErrCode())
	}
	var lines []string
	for _, r := range res.GetResolvedPathResults() {
		for k, v := range r.GetResultParams() {
			lines = append(lines, r.GetResolvedPath()+k+"="+v)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func equalProto(t testing.TB, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
}

var errStore = errors.New("disk full")
