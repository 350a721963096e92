package testenv

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
)

// mqttLink is a controller's link over an MQTT 5 broker, on a bare client.
type mqttLink struct {
	client  *paho.Client
	own     string
	agents  string // with {endpoint_id}
	kind    string // Content Type of what it sends
	records chan []byte
	closing chan struct{}
	close   sync.Once
}

// MQTTLink connects to a broker. The controller listens on the topic own, an
// agent on that which agents gives it, a template with {endpoint_id}. Own names
// the client on the broker too.
func MQTTLink(t testing.TB, broker, own, agents string) client.Link {
	t.Helper()
	return MQTTLinkSending(t, "usp.msg", broker, own, agents)
}

// MQTTLinkSending is MQTTLink with another Content Type.
func MQTTLinkSending(t testing.TB, contentType, broker, own, agents string) client.Link {
	t.Helper()
	return newMQTTLink(t, contentType, broker, own, agents, &paho.Connect{})
}

// MQTTLinkAs is MQTTLink with a user name and a password.
func MQTTLinkAs(t testing.TB, username, password, broker, own, agents string) client.Link {
	t.Helper()
	return newMQTTLink(t, "usp.msg", broker, own, agents, &paho.Connect{
		Username: username, UsernameFlag: true, Password: []byte(password), PasswordFlag: true})
}

func newMQTTLink(t testing.TB, contentType, broker, own, agents string, connect *paho.Connect) client.Link {
	t.Helper()
	conn, err := net.Dial("tcp", broker)
	if err != nil {
		t.Fatal(err)
	}
	l := &mqttLink{own: own, agents: agents, kind: contentType, records: make(chan []byte, 64), closing: make(chan struct{})}
	l.client = paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			select {
			case l.records <- p.Packet.Payload:
			case <-l.closing:
			}
			return true, nil
		}}})
	ctx, cancel := limited(t)
	defer cancel()
	connect.ClientID, connect.KeepAlive, connect.CleanStart = strings.ReplaceAll(own, "/", "-"), 60, true
	if _, err := l.client.Connect(ctx, connect); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: own, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	return l
}

// Send publishes a record on an agent's topic.
func (l *mqttLink) Send(ctx context.Context, to usp.EndpointID, record []byte) error {
	_, err := l.client.Publish(ctx, &paho.Publish{
		QoS: 1, Topic: strings.ReplaceAll(l.agents, "{endpoint_id}", string(to)), Payload: record,
		Properties: &paho.PublishProperties{ContentType: l.kind, ResponseTopic: l.own},
	})
	return err
}

// Receive returns the next record.
func (l *mqttLink) Receive() ([]byte, error) {
	select {
	case b := <-l.records:
		return b, nil
	case <-l.closing:
		return nil, errors.New("the link was closed")
	case <-l.client.Done():
		return nil, errors.New("the broker has closed the connection")
	}
}

// Close ends the connection.
func (l *mqttLink) Close() error {
	l.close.Do(func() { close(l.closing) })
	return l.client.Disconnect(&paho.Disconnect{})
}
