package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// receiveMaximum is how many records the broker may send ahead of our
// acknowledgements.
const receiveMaximum = 1024

// envelope is what a PUBLISH has besides its payload, at most: a topic and a
// response topic of full length and some properties.
const envelope = 2*65535 + 4096

// connect opens a connection and an MQTT session on it. lost gets why it ended.
func (t *Transport) connect(ctx context.Context, h mtp.Handler, lost chan<- error) (*paho.Client, *paho.Connack, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	netConn, err := t.dial(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("mqtt: %w", err)
	}
	ended := func(err error) {
		select {
		case lost <- err:
		default: // the first reason is the one
		}
	}
	client := paho.NewClient(paho.ClientConfig{
		Conn:          netConn,
		Session:       t.session,
		PacketTimeout: t.cfg.Timeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			t.receive(h, p.Packet)
			return true, nil
		}},
		OnClientError: ended,
		OnServerDisconnect: func(d *paho.Disconnect) {
			ended(fmt.Errorf("the broker disconnects, reason code 0x%02x", d.ReasonCode))
		},
	})
	connack, err := client.Connect(ctx, t.connectPacket())
	if err != nil {
		if connack != nil {
			err = fmt.Errorf("%w (reason code 0x%02x)", err, connack.ReasonCode)
		}
		return nil, nil, fmt.Errorf("mqtt: %w", err)
	}
	if connack.Properties != nil && connack.Properties.AssignedClientID != "" {
		t.clientID = connack.Properties.AssignedClientID // R-MQTT.9, R-MQTT.11
	}
	return client, connack, nil
}

// connectPacket never asks for a clean start: while the broker keeps the
// session, what controllers sent during a short break is not lost. SessionExpiry
// bounds how old it can be when it is carried out.
func (t *Transport) connectPacket() *paho.Connect {
	expiry := uint32(min(t.cfg.SessionExpiry/time.Second, 1<<31))
	ahead, largest := uint16(receiveMaximum), uint32(min(t.cfg.MaxRecord+envelope, 1<<28))
	cp := &paho.Connect{
		ClientID:  t.clientID, // R-MQTT.8
		KeepAlive: uint16(t.cfg.KeepAlive / time.Second),
		Properties: &paho.ConnectProperties{
			SessionExpiryInterval: &expiry,
			ReceiveMaximum:        &ahead,
			MaximumPacketSize:     &largest,
			RequestProblemInfo:    true,
			RequestResponseInfo:   true,                                                                         // R-MQTT.12
			User:                  paho.UserProperties{{Key: "usp-endpoint-id", Value: string(t.cfg.Endpoint)}}, // R-MQTT.13
		},
	}
	if t.cfg.Username != "" { // R-MQTT.7
		cp.Username, cp.UsernameFlag = t.cfg.Username, true
	}
	if t.cfg.Password != "" {
		cp.Password, cp.PasswordFlag = []byte(t.cfg.Password), true
	}
	return cp
}

// dial opens the network connection under MQTT.
func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	switch t.broker.Scheme {
	case "ws", "wss":
		c, err := dialWebSocket(ctx, t.broker.String(), t.cfg.TLS)
		if err != nil {
			return nil, err
		}
		return newPacketConn(c, c.ws.NetConn(), t.cfg.Timeout), nil
	case "ssl", "tls", "mqtts":
		c, err := (&tls.Dialer{Config: t.cfg.TLS}).DialContext(ctx, "tcp", t.broker.Host)
		if err != nil {
			return nil, err
		}
		return newPacketConn(c, c.(*tls.Conn).NetConn(), t.cfg.Timeout), nil
	default:
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.broker.Host)
		if err != nil {
			return nil, err
		}
		return newPacketConn(c, c, t.cfg.Timeout), nil
	}
}

// subscribe subscribes to the template's topics and to what the broker asks for
// (R-MQTT.15), and takes over its Response Information (R-MQTT.21).
func (t *Transport) subscribe(ctx context.Context, client *paho.Client, connack *paho.Connack) error {
	filters := []string{t.topic.Expand("+")}
	t.responseInfo.Store(nil)
	if p := connack.Properties; p != nil {
		filters = append(filters, p.User.GetAll("subscribe-topic")...)
		if info := p.ResponseInfo; checkPublishTopic(info) == nil {
			t.responseInfo.Store(&info)
			if t.topic.Match(info) == "" {
				filters = append(filters, info)
			}
		}
	}
	slices.Sort(filters)
	var s paho.Subscribe
	for _, f := range slices.Compact(filters) {
		if t.cfg.ShareGroup != "" {
			f = "$share/" + t.cfg.ShareGroup + "/" + f
		}
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: 1})
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	suback, err := client.Subscribe(ctx, &s)
	if suback == nil {
		return fmt.Errorf("mqtt: subscribe: %w", err)
	}
	return t.subscribed(s, suback)
}

// subscribed looks at the broker's answers: without our own topics nothing
// works; one of those it asked for itself is only worth a warning.
func (t *Transport) subscribed(s paho.Subscribe, suback *paho.Suback) error {
	granted := 0
	for i, code := range suback.Reasons {
		if code < 0x80 {
			granted++
		} else if i < len(s.Subscriptions) {
			t.cfg.Log.Warn("the MQTT broker refuses a subscription", "topic", s.Subscriptions[i].Topic, "reason code", code)
		}
	}
	if granted == 0 {
		return fmt.Errorf("mqtt: the broker refuses every subscription, reason codes %v", suback.Reasons)
	}
	return nil
}

func (t *Transport) disconnect(client *paho.Client) {
	if err := client.Disconnect(&paho.Disconnect{}); err != nil {
		t.cfg.Log.Debug("MQTT disconnect", "error", err)
	}
}
