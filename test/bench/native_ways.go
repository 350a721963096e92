package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/coap"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
)

// way is how a controller reaches a native agent.
type way struct {
	over, name string // over: of the transport, by which relayed ways are compared
	// open connects both; close ends what it has started.
	open func(ctx context.Context) (c *client.Client, close func() error, err error)
}

// native measures each way to a native agent: those that there are without the
// bridge, that over its embedded broker, and those through its relay.
func (m *measurement) native(ctx context.Context) error {
	m.direct = map[string]asked{}
	for _, w := range m.directWays() {
		m.note("native agent: %s", w.name)
		c, done, err := w.open(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		a, err := askNative(ctx, c, nativeAgent, loadOver(w.over))
		if err = errors.Join(err, c.Close(), done()); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		m.direct[w.over] = a
		m.table.add(a.row("records of a native agent, " + w.name))
	}
	if err := m.overEmbedded(ctx); err != nil {
		return err
	}
	return m.relayed(ctx)
}

// directWays are those between the two alone, or with a broker that is not the
// bridge.
func (m *measurement) directWays() []way {
	ways := []way{{overWebSocket, "WebSocket, direct", m.webSocketDirect}, {overUDS, "UDS, direct", m.socketDirect}, {overCoAP, "CoAP, direct", m.coapDirect}, {overMosquitto, "MQTT, mosquitto", m.mqttDirect}}
	if m.stomp != "" {
		ways = append(ways, way{overSTOMP, "STOMP, " + m.stomp, m.stompDirect})
	}
	return ways
}

func (m *measurement) webSocketDirect(ctx context.Context) (*client.Client, func() error, error) {
	t, err := websocket.NewServer(websocket.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		return nil, nil, err
	}
	n, err := startNative(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.Dial(ctx, client.Config{URL: "ws://" + t.Addr().String() + "/usp", Controller: controller})
	if err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return c, n.close, nil
}

func (m *measurement) socketDirect(ctx context.Context) (*client.Client, func() error, error) {
	path := filepath.Join(m.dir, "native.sock")
	t, err := uds.New(uds.Config{Listen: path, Endpoint: nativeAgent})
	if err != nil {
		return nil, nil, err
	}
	n, err := startNative(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.Dial(ctx, client.Config{URL: uds.Scheme + path, Controller: controller})
	if err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return c, n.close, nil
}

func (m *measurement) coapDirect(ctx context.Context) (*client.Client, func() error, error) {
	at, err := freeUDP()
	if err != nil {
		return nil, nil, err
	}
	t, err := coap.New(coap.Config{Listen: at})
	if err != nil {
		return nil, nil, err
	}
	n, err := startNative(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	link, err := coapLink(ctx, controller, at)
	if err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return client.New(controller, link), n.close, nil
}

// coapLink is an endpoint that writes to a CoAP server and listens for the answers.
func coapLink(ctx context.Context, id usp.EndpointID, server string) (client.Link, error) {
	own, err := freeUDP()
	if err != nil {
		return nil, err
	}
	t, err := coap.New(coap.Config{Listen: own})
	if err != nil {
		return nil, err
	}
	return client.OverLink(ctx, id, t, func(to usp.EndpointID) mtp.Address {
		return mtp.Address{Protocol: mtp.CoAP, URL: "coap://" + server + "/usp/" + url.PathEscape(string(to))}
	})
}

// freeUDP returns an address on loopback at which nobody listens.
func freeUDP() (string, error) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.LocalAddr().String(), l.Close()
}

func (m *measurement) mqttDirect(ctx context.Context) (*client.Client, func() error, error) {
	broker, err := newMosquitto(m.dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; test/setup.sh installs it", err)
	}
	if err := broker.start(ctx); err != nil {
		return nil, nil, err
	}
	c, done, err := overMQTT(ctx, broker.address)
	if err != nil {
		return nil, nil, errors.Join(err, broker.kill())
	}
	return c, func() error { return errors.Join(done(), broker.kill()) }, nil
}

// overMQTT connects both to a broker that lets anybody in.
func overMQTT(ctx context.Context, address string) (*client.Client, func() error, error) {
	t, err := mqtt.New(mqtt.Config{Broker: "tcp://" + address, Topic: agentTopic, Endpoint: nativeAgent})
	if err != nil {
		return nil, nil, err
	}
	return joined(ctx, t, address)
}

func joined(ctx context.Context, t *mqtt.Transport, address string) (*client.Client, func() error, error) {
	n, err := startNative(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.MQTT(ctx, controller, mqtt.Config{Broker: "tcp://" + address, Topic: controllerTopic}, agentTopic)
	if err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return c, n.close, nil
}

func (m *measurement) stompDirect(ctx context.Context) (*client.Client, func() error, error) {
	const agents = "/queue/bench.agent.{endpoint_id}"
	t, err := stomp.New(stomp.Config{Broker: "tcp://" + m.stomp, Destination: agents, Endpoint: nativeAgent, Host: "/", Login: "guest", Passcode: "guest"})
	if err != nil {
		return nil, nil, err
	}
	t.Host(nativeAgent)
	n, err := startNative(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	c, err := client.STOMP(ctx, controller, stomp.Config{Broker: "tcp://" + m.stomp, Destination: "/queue/bench.controller", Host: "/", Login: "guest", Passcode: "guest"}, agents)
	if err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return c, n.close, nil
}

// overEmbedded measures the way over the embedded broker, and what it takes of the
// bridge.
func (m *measurement) overEmbedded(ctx context.Context) error {
	return m.onBridgeWith(ctx, "native-embedded", func(b *bridge) { b.usp = fmt.Sprintf("\n  broker: {listen: %q, anonymous: true}", b.mqtt) }, func(b *bridge) error {
		t, err := mqtt.New(mqtt.Config{Broker: "tcp://" + b.mqtt, Topic: "usp/agent/" + string(nativeAgent), Endpoint: nativeAgent})
		if err != nil {
			return err
		}
		c, done, err := joined(ctx, t, b.mqtt)
		if err != nil {
			return err
		}
		var a asked
		used, err := b.measure(ctx, "native-embedded", func() (err error) {
			a, err = askNative(ctx, c, nativeAgent, fullLoad)
			return err
		})
		if err = errors.Join(err, c.Close(), done()); err != nil {
			return err
		}
		m.direct[overBroker] = a
		r := a.row("records of a native agent, MQTT, embedded broker")
		r.cpu = used.each(fullLoad.records())
		m.table.add(r)
		return nil
	})
}
