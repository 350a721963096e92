package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	stompserver "github.com/go-stomp/stomp/v3/server"
	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // go-stomp's server logs each connection
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/go-stomp/stomp/v3/server.(*requestProcessor).Serve"),
		goleak.IgnoreAnyFunction("github.com/go-stomp/stomp/v3/server.(*requestProcessor).Listen"))
}

const (
	agent      = usp.EndpointID("os::00259E-A%20B")
	other      = usp.EndpointID("os::00259E-2")
	controller = usp.EndpointID("proto::controller-1")
)

// pipe is a Link to an agent that the test plays.
type pipe struct {
	sent chan *usppb.Record
	in   chan []byte
	end  chan struct{}
	once sync.Once
}

func newPipe() *pipe {
	return &pipe{sent: make(chan *usppb.Record, 100), in: make(chan []byte, 2000), end: make(chan struct{})}
}

func (p *pipe) Send(_ context.Context, _ usp.EndpointID, b []byte) error {
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		return err
	}
	p.sent <- r
	return nil
}

func (p *pipe) Receive() ([]byte, error) {
	select {
	case b := <-p.in:
		return b, nil
	case <-p.end:
		return nil, io.EOF
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.end) })
	return nil
}

// say sends a message as an agent.
func (p *pipe) say(t testing.TB, from, to usp.EndpointID, msg *usppb.Msg) {
	t.Helper()
	b, err := record.WrapMsg(from, to, "1.4", msg)
	if err != nil {
		t.Fatal(err)
	}
	p.in <- b
}

// asked returns the request that was sent next.
func (p *pipe) asked(t testing.TB) *usppb.Msg {
	t.Helper()
	msg, err := record.Message(mtptest.Wait(t, p.sent, "request"))
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func open(t testing.TB) (*client.Client, *pipe) {
	t.Helper()
	p := newPipe()
	c := client.New(controller, p)
	t.Cleanup(func() { c.Close() })
	return c, p
}

func response(id string, r *usppb.Response) *usppb.Msg {
	return &usppb.Msg{Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET_RESP},
		Body: &usppb.Body{MsgBody: &usppb.Body_Response{Response: r}}}
}

func getResp(path string) *usppb.Response {
	return &usppb.Response{RespType: &usppb.Response_GetResp{GetResp: &usppb.GetResp{
		ReqPathResults: []*usppb.GetResp_RequestedPathResult{{RequestedPath: path}}}}}
}

type outcome struct {
	path string
	err  error
}

// get asks in the background.
func get(ctx context.Context, c *client.Client, to usp.EndpointID) <-chan outcome {
	ch := make(chan outcome, 1)
	go func() {
		r, err := c.Get(ctx, to, []string{"Device."}, 2)
		o := outcome{err: err}
		if err == nil {
			o.path = r.GetReqPathResults()[0].GetRequestedPath()
		}
		ch <- o
	}()
	return ch
}

func TestEachKindOfRequest(t *testing.T) {
	c, p := open(t)
	ctx := t.Context()
	tests := []struct {
		typ  usppb.Header_MsgType
		ask  func() (any, error)
		resp *usppb.Response
		want any
	}{
		{usppb.Header_GET, func() (any, error) { return c.Get(ctx, agent, []string{"Device."}, 0) },
			&usppb.Response{RespType: &usppb.Response_GetResp{GetResp: &usppb.GetResp{}}}, &usppb.GetResp{}},
		{usppb.Header_SET, func() (any, error) { return c.Set(ctx, agent, &usppb.Set{}) },
			&usppb.Response{RespType: &usppb.Response_SetResp{SetResp: &usppb.SetResp{}}}, &usppb.SetResp{}},
		{usppb.Header_ADD, func() (any, error) { return c.Add(ctx, agent, &usppb.Add{}) },
			&usppb.Response{RespType: &usppb.Response_AddResp{AddResp: &usppb.AddResp{}}}, &usppb.AddResp{}},
		{usppb.Header_DELETE, func() (any, error) { return c.Delete(ctx, agent, &usppb.Delete{}) },
			&usppb.Response{RespType: &usppb.Response_DeleteResp{DeleteResp: &usppb.DeleteResp{}}}, &usppb.DeleteResp{}},
		{usppb.Header_OPERATE, func() (any, error) { return c.Operate(ctx, agent, &usppb.Operate{}) },
			&usppb.Response{RespType: &usppb.Response_OperateResp{OperateResp: &usppb.OperateResp{}}}, &usppb.OperateResp{}},
		{usppb.Header_GET_INSTANCES, func() (any, error) { return c.GetInstances(ctx, agent, &usppb.GetInstances{}) },
			&usppb.Response{RespType: &usppb.Response_GetInstancesResp{GetInstancesResp: &usppb.GetInstancesResp{}}}, &usppb.GetInstancesResp{}},
		{usppb.Header_GET_SUPPORTED_DM, func() (any, error) { return c.GetSupportedDM(ctx, agent, &usppb.GetSupportedDM{}) },
			&usppb.Response{RespType: &usppb.Response_GetSupportedDmResp{GetSupportedDmResp: &usppb.GetSupportedDMResp{}}}, &usppb.GetSupportedDMResp{}},
		{usppb.Header_GET_SUPPORTED_PROTO, func() (any, error) { return c.GetSupportedProtocol(ctx, agent, "1.4") },
			&usppb.Response{RespType: &usppb.Response_GetSupportedProtocolResp{GetSupportedProtocolResp: &usppb.GetSupportedProtocolResp{}}},
			&usppb.GetSupportedProtocolResp{}},
	}
	for i, tt := range tests {
		t.Run(tt.typ.String(), func(t *testing.T) {
			type result struct {
				v   any
				err error
			}
			for _, wrong := range []bool{false, true} {
				done := make(chan result, 1)
				go func() {
					v, err := tt.ask()
					done <- result{v, err}
				}()
				msg := p.asked(t)
				if got := msg.GetHeader().GetMsgType(); got != tt.typ || record.TypeOf(msg) != tt.typ {
					t.Errorf("asked with %v (%v)", got, record.TypeOf(msg))
				}
				resp := tt.resp
				if wrong {
					resp = tests[(i+1)%len(tests)].resp
				}
				p.say(t, agent, controller, response(msg.GetHeader().GetMsgId(), resp))
				r := mtptest.Wait(t, done, "answer")
				if wrong && r.err == nil {
					t.Error("an answer of another kind was taken")
				}
				if !wrong && (r.err != nil || fmt.Sprintf("%T", r.v) != fmt.Sprintf("%T", tt.want)) {
					t.Errorf("got %T, %v, want %T", r.v, r.err, tt.want)
				}
			}
		})
	}
}

func TestAnswersFindTheirRequests(t *testing.T) {
	c, p := open(t)
	first, second := get(t.Context(), c, agent), get(t.Context(), c, agent)
	a, b := p.asked(t).GetHeader().GetMsgId(), p.asked(t).GetHeader().GetMsgId()
	if a == b {
		t.Fatalf("two requests have the msg_id %q", a)
	}
	p.say(t, other, controller, response(a, getResp("of another agent")))
	p.say(t, agent, "proto::other", response(a, getResp("for another controller")))
	p.in <- []byte("garbage")
	p.say(t, agent, controller, response("nobody asked", getResp("unasked")))
	p.say(t, agent, controller, response(b, getResp(b)))
	p.say(t, agent, controller, response(a, getResp(a)))
	got := map[string]bool{mtptest.Wait(t, first, "answer").path: true, mtptest.Wait(t, second, "answer").path: true}
	if !got[a] || !got[b] {
		t.Errorf("got answers %v, want %s and %s", got, a, b)
	}
}

func TestMessageIDsOfTwoClientsDiffer(t *testing.T) {
	c1, p1 := open(t)
	c2, p2 := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	one, two := get(ctx, c1, agent), get(ctx, c2, agent)
	if a, b := p1.asked(t).GetHeader().GetMsgId(), p2.asked(t).GetHeader().GetMsgId(); a == b {
		t.Errorf("both ask with msg_id %q", a)
	}
	cancel()
	mtptest.Wait(t, one, "end")
	mtptest.Wait(t, two, "end")
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, p *pipe, cancel func(), id string)
		want func(error) bool
	}{
		{"Error message", func(t *testing.T, p *pipe, _ func(), id string) {
			p.say(t, agent, controller, &usppb.Msg{Header: &usppb.Header{MsgId: id}, Body: &usppb.Body{MsgBody: &usppb.Body_Error{Error: &usppb.Error{
				ErrCode: 7004, ErrMsg: "no", ParamErrs: []*usppb.Error_ParamError{{ParamPath: "Device.X", ErrCode: 7012, ErrMsg: "bad"}}}}}})
		}, func(err error) bool {
			var e *usp.Error
			return errors.As(err, &e) && cmp.Equal(*e, usp.Error{Code: usp.ErrInvalidArguments, Msg: "no",
				Params: []usp.ParamError{{Param: "Device.X", Code: usp.ErrInvalidValue, Msg: "bad"}}})
		}},
		{"Disconnect record", func(t *testing.T, p *pipe, _ func(), _ string) {
			b, err := record.Disconnect(agent, controller, "1.4", usp.ErrRecordFields, "bad record")
			if err != nil {
				t.Fatal(err)
			}
			p.in <- b
		}, func(err error) bool { return strings.Contains(err.Error(), "bad record") }},
		{"link gone", func(_ *testing.T, p *pipe, _ func(), _ string) { p.Close() },
			func(err error) bool { return errors.Is(err, io.EOF) }},
		{"no answer", func(_ *testing.T, _ *pipe, cancel func(), _ string) { cancel() },
			func(err error) bool { return errors.Is(err, context.Canceled) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := open(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := get(ctx, c, agent)
			tt.do(t, p, cancel, p.asked(t).GetHeader().GetMsgId())
			if o := mtptest.Wait(t, done, "failure"); o.err == nil || !tt.want(o.err) {
				t.Errorf("got %v", o.err)
			}
		})
	}
}

func TestAfterTheEnd(t *testing.T) {
	c, _ := open(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), agent, nil, 0); !errors.Is(err, io.EOF) {
		t.Errorf("Get: %v", err)
	}
	if _, ok := <-c.Notifications(); ok {
		t.Error("a notification after the end")
	}
}

func notify(id string, resp bool) *usppb.Msg {
	return &usppb.Msg{Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_NOTIFY}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{
		ReqType: &usppb.Request_Notify{Notify: &usppb.Notify{SubscriptionId: "s-" + id, SendResp: resp}}}}}}
}

func TestNotificationsAreAcknowledged(t *testing.T) {
	c, p := open(t)
	p.say(t, agent, controller, notify("1", false))
	p.say(t, other, controller, notify("2", true))
	for i, want := range []client.Notification{{Agent: agent, MsgID: "1"}, {Agent: other, MsgID: "2"}} {
		n := mtptest.Wait(t, c.Notifications(), "notification")
		if n.Agent != want.Agent || n.MsgID != want.MsgID || n.Notify.GetSubscriptionId() != "s-"+want.MsgID {
			t.Errorf("notification %d: %+v", i, n)
		}
	}
	r := mtptest.Wait(t, p.sent, "NotifyResp")
	msg, err := record.Message(r)
	if err != nil {
		t.Fatal(err)
	}
	if r.GetToId() != string(other) || msg.GetHeader().GetMsgId() != "2" || msg.GetBody().GetResponse().GetNotifyResp().GetSubscriptionId() != "s-2" {
		t.Errorf("acknowledged with %v to %s", msg, r.GetToId())
	}
}

func TestWhatNobodyTakesIsNotAcknowledged(t *testing.T) {
	c, p := open(t)
	const n = 1100 // more than a client keeps
	for i := range n {
		p.say(t, agent, controller, notify(fmt.Sprint(i), i == n-1))
	}
	done := get(t.Context(), c, agent) // answered only after all of them were looked at
	msg := p.asked(t)
	if msg.GetBody().GetRequest().GetGet() == nil {
		t.Fatalf("the dropped notification was acknowledged: %v", msg)
	}
	p.say(t, agent, controller, response(msg.GetHeader().GetMsgId(), getResp("x")))
	mtptest.Wait(t, done, "answer")
	if len(p.sent) != 0 {
		t.Error("the dropped notification was acknowledged")
	}
}

// echoAgent is the Handler of an agent's side: it answers each Get with the
// path asked for.
type echoAgent struct {
	t         testing.TB
	transport mtp.Transport
}

func (e *echoAgent) Receive(in mtp.Inbound) error {
	r, err := record.Unwrap(in.Record, record.Limits{})
	if err != nil {
		return err
	}
	msg, err := record.Message(r)
	if err != nil {
		return err
	}
	path := msg.GetBody().GetRequest().GetGet().GetParamPaths()[0]
	b, err := record.WrapMsg(agent, controller, "1.4", response(msg.GetHeader().GetMsgId(), getResp(path)))
	if err != nil {
		return err
	}
	go func() {
		// An answer may still wait for its acknowledgement when the test is over.
		if err := e.transport.Send(context.Background(), agent, controller, in.Reply, b); err != nil && e.t.Context().Err() == nil {
			e.t.Error(err)
		}
	}()
	return nil
}
func (*echoAgent) Connected(_, _ usp.EndpointID, _ mtp.Address)    {}
func (*echoAgent) Disconnected(_, _ usp.EndpointID, _ mtp.Address) {}

func startMQTT(t testing.TB) string {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	for _, err := range []error{s.AddHook(new(auth.AllowHook), nil), s.AddHook(new(mtptest.NoQuota), nil), s.AddListener(l), s.Serve()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.Close() })
	return "tcp://" + l.Address()
}

func startSTOMP(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go (&stompserver.Server{Addr: l.Addr().String()}).Serve(l) //nolint:errcheck // ends with its listener
	return "tcp://" + l.Addr().String()
}

func TestOverEachTransport(t *testing.T) {
	tests := []struct {
		name  string
		start func(t *testing.T) (mtp.Transport, func(context.Context) (*client.Client, error))
	}{
		{"WebSocket", func(t *testing.T) (mtp.Transport, func(context.Context) (*client.Client, error)) {
			s, err := websocket.NewServer(websocket.Config{Listen: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			return s, func(ctx context.Context) (*client.Client, error) {
				return client.Dial(ctx, client.Config{URL: "ws://" + s.Addr().String() + "/usp", Controller: controller})
			}
		}},
		{"MQTT", func(t *testing.T) (mtp.Transport, func(context.Context) (*client.Client, error)) {
			broker := startMQTT(t)
			tr, err := mqtt.New(mqtt.Config{Broker: broker, Topic: "usp/agent/{endpoint_id}"})
			if err != nil {
				t.Fatal(err)
			}
			return tr, func(ctx context.Context) (*client.Client, error) {
				return client.MQTT(ctx, controller, mqtt.Config{Broker: broker, Topic: "usp/controller/1"}, "usp/agent/{endpoint_id}")
			}
		}},
		{"STOMP", func(t *testing.T) (mtp.Transport, func(context.Context) (*client.Client, error)) {
			broker := startSTOMP(t)
			tr, err := stomp.New(stomp.Config{Broker: broker, Destination: "/queue/usp.agent.{endpoint_id}"})
			if err != nil {
				t.Fatal(err)
			}
			tr.Host(agent)
			return tr, func(ctx context.Context) (*client.Client, error) {
				return client.STOMP(ctx, controller, stomp.Config{Broker: broker, Destination: "/queue/c"}, "/queue/usp.agent.{endpoint_id}")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr, dial := tt.start(t)
			mtptest.Serve(t, tr, &echoAgent{t, tr})
			ctx, cancel := context.WithTimeout(t.Context(), mtptest.Patience)
			defer cancel()
			c, err := dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					path := fmt.Sprintf("Device.%d.", i)
					r, err := c.Get(ctx, agent, []string{path}, 0)
					if err != nil || r.GetReqPathResults()[0].GetRequestedPath() != path {
						t.Errorf("Get %s: %v, %v", path, r, err)
					}
				})
			}
			all.Wait()
			if err := c.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if _, err := c.Get(ctx, agent, []string{"x"}, 0); err == nil {
				t.Error("Get after Close")
			}
		})
	}
}

// A server that wants TLS answers what it takes for HTTP with 400.
func TestTLSWanted(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	url := "ws" + strings.TrimPrefix(server.URL, "https") + "/usp"
	if _, err := client.Dial(t.Context(), client.Config{URL: url, Controller: controller}); err == nil || !strings.Contains(err.Error(), "wss://") {
		t.Errorf("Dial: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := client.Dial(ctx, client.Config{URL: "ws://" + address + "/usp", Controller: controller}); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), address) {
		t.Errorf("Dial: %v, want who refused the connection", err)
	}
	if _, err := client.MQTT(ctx, controller, mqtt.Config{Broker: "tcp://" + address, Topic: "c"}, "a/{endpoint_id}"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("MQTT: %v", err)
	}
	if _, err := client.STOMP(ctx, controller, stomp.Config{Broker: "tcp://" + address, Destination: "c"}, "{"); err == nil {
		t.Error("STOMP with a bad template")
	}
}
