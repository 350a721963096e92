package broker_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	controller = usp.EndpointID("proto::controller-1")
	native     = usp.EndpointID("os::00259E-NATIVE1")
	other      = usp.EndpointID("os::00259E-NATIVE2")
	password   = "a password of theirs"
)

// accounts are those of the tests, each with password.
type accounts map[string]broker.Account

func (a accounts) Find(_ context.Context, name string) (broker.Account, error) {
	if account, ok := a[name]; ok {
		return account, nil
	}
	return broker.Account{}, broker.ErrNoAccount
}

// people are a controller and two native agents.
var people = sync.OnceValue(func() accounts {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	all := accounts{}
	for name, id := range map[string]usp.EndpointID{"controller": controller, "native": native, "other": other} {
		all[name] = broker.Account{Username: name, Endpoint: id, Hash: hash}
	}
	return all
})

// running is a broker that listens.
type running struct {
	*broker.Broker
	address   string
	websocket string
	stop      func()
}

// start runs a broker until the test ends.
func start(t testing.TB, cfg broker.Config) *running {
	t.Helper()
	if cfg.AgentTopic == "" {
		cfg.AgentTopic = "usp/agent/{endpoint_id}"
	}
	if cfg.Controllers == nil {
		cfg.Controllers = map[usp.EndpointID]string{controller: "usp/controller/one"}
	}
	if cfg.Accounts == nil {
		cfg.Accounts = people()
	}
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tcp, ws := listen(t), listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx, tcp, ws) }()
	r := &running{Broker: b, address: tcp.Addr().String(), websocket: ws.Addr().String()}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := mtptest.Wait(t, ended, "end of the broker"); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// client is a bare MQTT 5 client.
type client struct {
	*paho.Client
	t        testing.TB
	connack  *paho.Connack
	messages chan *paho.Publish
	gone     chan byte // reason code of the broker's DISCONNECT
}

// as is a CONNECT with a user name.
func as(name string) *paho.Connect {
	return &paho.Connect{ClientID: name, KeepAlive: 30, CleanStart: true, Username: name, UsernameFlag: true,
		Password: []byte(password), PasswordFlag: true, Properties: &paho.ConnectProperties{RequestResponseInfo: true}}
}

// claiming adds the endpoint that a client says it is.
func claiming(c *paho.Connect, id usp.EndpointID) *paho.Connect {
	c.Properties.User = paho.UserProperties{{Key: "usp-endpoint-id", Value: string(id)}}
	return c
}

// connect connects and fails the test if that is refused.
func (r *running) connect(t testing.TB, c *paho.Connect) *client {
	t.Helper()
	cl, err := r.try(t, c, nil)
	if err != nil {
		t.Fatalf("%s: %v", c.ClientID, err)
	}
	return cl
}

// try connects, with TLS if secure is not nil.
func (r *running) try(t testing.TB, c *paho.Connect, secure *tls.Config) (*client, error) {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		conn = packets.NewThreadSafeConn(tls.Client(conn, secure)) // its first ping goes out beside what the test sends
	}
	cl := &client{t: t, messages: make(chan *paho.Publish, 1000), gone: make(chan byte, 1)}
	cl.Client = paho.NewClient(paho.ClientConfig{
		Conn: conn, PacketTimeout: mtptest.Patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			cl.messages <- p.Packet
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) { cl.gone <- d.ReasonCode },
	})
	ctx, cancel := context.WithTimeout(context.Background(), mtptest.Patience)
	defer cancel()
	cl.connack, err = cl.Connect(ctx, c)
	if err != nil {
		return cl, err
	}
	t.Cleanup(func() {
		_ = cl.Disconnect(&paho.Disconnect{}) // it may be gone
		<-cl.Done()
	})
	return cl, nil
}

// subscribe returns the reason code of a subscription.
func (c *client) subscribe(filter string) byte {
	c.t.Helper()
	ack, err := c.Subscribe(c.t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if ack == nil {
		c.t.Fatal(err)
	}
	return ack.Reasons[0]
}

// publish returns the reason code of a message.
func (c *client) publish(topic string, payload []byte, props *paho.PublishProperties) byte {
	c.t.Helper()
	ack, err := c.Publish(c.t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: payload, Properties: props})
	if ack == nil {
		c.t.Fatal(err)
	}
	return ack.ReasonCode
}

// The reason codes that tests look for (MQTT 5, 2.4).
const (
	success       = 0x00
	granted       = 0x01 // QoS 1
	badPassword   = 0x86
	notAuthorized = 0x87
	serverBusy    = 0x89
	shuttingDown  = 0x8b
	rateTooHigh   = 0x96
	quotaExceeded = 0x97
)

func TestLogin(t *testing.T) {
	b := start(t, broker.Config{})
	wrong := as("native")
	wrong.Password = []byte("a guess")
	tests := []struct {
		name    string
		connect *paho.Connect
		want    byte
	}{
		{"password", as("native"), success},
		{"password, and who it is", claiming(as("native"), native), success},
		{"another's endpoint id", claiming(as("native"), other), notAuthorized},
		{"wrong password", wrong, badPassword},
		{"unknown user", as("nobody"), badPassword},
		{"nothing at all", claiming(&paho.Connect{ClientID: "x", KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{}}, native), badPassword},
		{"a will in another's name", &paho.Connect{ClientID: "x", KeepAlive: 30, CleanStart: true, Username: "native", UsernameFlag: true,
			Password: []byte(password), PasswordFlag: true, WillMessage: &paho.WillMessage{Topic: "usp/agent/" + string(other), Payload: []byte("x")}}, notAuthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl, err := b.try(t, tt.connect, nil)
			if cl.connack == nil || cl.connack.ReasonCode != tt.want || (err == nil) != (tt.want == success) {
				t.Errorf("answered %+v, %v; want 0x%02x", cl.connack, err, tt.want)
			}
		})
	}
}

// TestConnack: an endpoint is told where to listen (R-MQTT.12, R-MQTT.15).
func TestConnack(t *testing.T) {
	b := start(t, broker.Config{KeepAlive: 20 * time.Second, MaxRecord: 1 << 20})
	for name, topic := range map[string]string{"native": "usp/agent/" + string(native), "controller": "usp/controller/one"} {
		p := b.connect(t, as(name)).connack.Properties
		if p.ResponseInfo != topic || len(p.User) != 1 || p.User[0] != (paho.UserProperty{Key: "subscribe-topic", Value: topic}) {
			t.Errorf("%s: Response Information %q, user properties %v, want %s", name, p.ResponseInfo, p.User, topic)
		}
		if p.ServerKeepAlive == nil || *p.ServerKeepAlive != 20 || p.RetainAvailable || p.MaximumPacketSize == nil || *p.MaximumPacketSize < 1<<20 {
			t.Errorf("%s: CONNACK %+v", name, p)
		}
	}
	quiet := as("native")
	quiet.Properties.RequestResponseInfo = false
	if p := b.connect(t, quiet).connack.Properties; p.ResponseInfo != "" {
		t.Errorf("Response Information %q was not asked for", p.ResponseInfo)
	}
}

func TestTopics(t *testing.T) {
	b := start(t, broker.Config{Rules: []broker.Rule{
		{Endpoint: "os::00259E-NATIVE?", Publish: []string{"site/{endpoint_id}/log"}, Subscribe: []string{"site/all"}},
		{Endpoint: "proto::*", Subscribe: []string{"site/#"}},
	}})
	agent, ctl := b.connect(t, as("native")), b.connect(t, as("controller"))
	own, others := "usp/agent/"+string(native), "usp/agent/"+string(other)
	subscriptions := []struct {
		who    *client
		filter string
		want   byte
	}{
		{agent, own, granted}, {agent, own + "/#", granted}, {agent, own + "/reply-to=x", granted}, {agent, "$share/g/" + own, granted},
		{agent, others, notAuthorized}, {agent, "usp/agent/+", notAuthorized}, {agent, "usp/#", notAuthorized}, {agent, "#", notAuthorized},
		{agent, "$share/g/#", notAuthorized}, {agent, "$SYS/#", notAuthorized}, {agent, "usp/controller/one", notAuthorized},
		{agent, "site/all", granted}, {agent, "site/+", notAuthorized}, {agent, own + "x", notAuthorized}, {agent, "usp/agent/", notAuthorized},
		{ctl, "usp/controller/one", granted}, {ctl, own, notAuthorized}, {ctl, "site/#", granted}, {ctl, "site/a/b", granted}, {ctl, "+/a", notAuthorized},
	}
	for _, tt := range subscriptions {
		if got := tt.who.subscribe(tt.filter); got != tt.want {
			t.Errorf("subscription to %s: 0x%02x, want 0x%02x", tt.filter, got, tt.want)
		}
	}
	publications := []struct {
		who   *client
		topic string
		reply string
		want  byte
	}{
		{agent, "usp/controller/one", own, success}, {agent, "usp/controller/other", "", success},
		{agent, "usp/agent/" + string(controller), own, success}, // the bridge passes it on
		{agent, "usp/controller/one/reply-to=" + strings.ReplaceAll(own, "/", "%2F"), "", success},
		{agent, others, "", notAuthorized}, {agent, own, "", notAuthorized}, {agent, "somewhere", "", notAuthorized},
		{agent, "usp/controller/one", others, notAuthorized}, {agent, "usp/controller/one/reply-to=" + strings.ReplaceAll(others, "/", "%2F"), "", notAuthorized},
		{agent, "site/" + string(native) + "/log", "", success}, {agent, "site/" + string(other) + "/log", "", notAuthorized},
		{ctl, own, "usp/controller/one", success}, {ctl, others, "", success}, {ctl, "usp/controller/one", "", notAuthorized},
		{ctl, own, "usp/controller/other", notAuthorized},
	}
	for _, tt := range publications {
		if got := tt.who.publish(tt.topic, []byte("x"), &paho.PublishProperties{ResponseTopic: tt.reply}) &^ 0x10; got != tt.want { // 0x10: nobody listens
			t.Errorf("message on %s, answers to %q: 0x%02x, want 0x%02x", tt.topic, tt.reply, got, tt.want)
		}
	}
}
