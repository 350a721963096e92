package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
	"github.com/uspbridge/uspbridge/usp/record"
)

// The transports of native endpoints, as rows name them.
const (
	overWebSocket = "WebSocket"
	overUDS       = "UDS"
	overMosquitto = "MQTT (mosquitto)"
	overBroker    = "MQTT (embedded)"
	overSTOMP     = "STOMP"
	overCoAP      = "CoAP"
	// overServed is a controller that is the server: the bridge connects to it.
	overServed = "WebSocket (server)"
)

// servedController is the endpoint id of that controller.
const servedController = usp.EndpointID("proto::bench-served")

// agentQueue is where agents are written to over STOMP.
const agentQueue = "/queue/bench.agent.{endpoint_id}"

// relayed measures the ways through the relay, from each transport of an agent to
// each other of a controller. Where both are at the same broker they need no relay.
func (m *measurement) relayed(ctx context.Context) error {
	broker, err := newMosquitto(m.dir)
	if err != nil {
		return fmt.Errorf("%w; test/setup.sh installs it", err)
	}
	if err := broker.start(ctx); err != nil {
		return err
	}
	err = errors.Join(
		m.relayedBy(ctx, "relay", overMosquitto, broker.address, [][2]string{
			{overWebSocket, overWebSocket}, {overMosquitto, overWebSocket}, {overWebSocket, overMosquitto}, {overSTOMP, overWebSocket}, {overWebSocket, overSTOMP},
			{overMosquitto, overSTOMP}, {overSTOMP, overMosquitto},
			{overUDS, overUDS}, {overUDS, overWebSocket}, {overWebSocket, overUDS}, {overUDS, overMosquitto}, {overMosquitto, overUDS}, {overUDS, overSTOMP}, {overSTOMP, overUDS},
			{overCoAP, overCoAP}, {overCoAP, overWebSocket}, {overWebSocket, overCoAP}, {overCoAP, overMosquitto}, {overMosquitto, overCoAP},
			{overCoAP, overSTOMP}, {overSTOMP, overCoAP}, {overCoAP, overUDS}, {overUDS, overCoAP},
			{overMosquitto, overServed},
		}),
		broker.kill())
	if err != nil {
		return err
	}
	return m.relayedBy(ctx, "relay-embedded", overBroker, "", [][2]string{
		{overBroker, overWebSocket}, {overWebSocket, overBroker}, {overBroker, overSTOMP}, {overSTOMP, overBroker},
	})
}

// relayedBy measures pairs, of an agent's transport and a controller's, on one
// bridge. broker is where its MQTT is, "" for the embedded one.
func (m *measurement) relayedBy(ctx context.Context, name, onMQTT, broker string, pairs [][2]string) error {
	with := func(b *bridge) {
		b.usp = fmt.Sprintf("\n  relay: {rules: [{from: \"*\", to: \"*\"}], routes: [{endpoint_id: %q, mtp: {protocol: WebSocket, url: %q}}]}", servedController, "ws://"+b.served+"/usp")
		if broker == "" {
			b.usp += fmt.Sprintf("\n  broker: {listen: %q, anonymous: true, rules: [{endpoint: \"*\", publish: [\"usp/agent/+\"]}]}", b.mqtt)
		} else {
			b.mqtt = broker
			b.mtp = fmt.Sprintf(", mqtt: {broker: %q}", "tcp://"+broker)
		}
		b.mtp += fmt.Sprintf(", uds: {listen: %q}, coap: {listen: %q}", b.socket(), b.coap)
		if m.stomp != "" {
			b.mtp += fmt.Sprintf(", stomp: {broker: %q, destination: %q, login: guest, passcode: guest}", "tcp://"+m.stomp, agentQueue)
		}
	}
	return m.onBridgeWith(ctx, name, with, func(b *bridge) error {
		for i, p := range pairs {
			if m.stomp == "" && (p[0] == overSTOMP || p[1] == overSTOMP) {
				continue
			}
			// Endpoints of their own, so that no pair waits for the relay to follow one
			// that moves.
			d := relayedPair{m: m, b: b, agent: usp.EndpointID(fmt.Sprintf("os::00005E-%s-%d", name, i)), controller: usp.EndpointID(fmt.Sprintf("proto::%s-%d", name, i))}
			if p[1] == overServed {
				d.controller = servedController
			}
			if err := d.measure(ctx, p[0], p[1]); err != nil {
				return fmt.Errorf("%s to %s: %w", p[0], p[1], err)
			}
		}
		return nil
	})
}

func (b *bridge) socket() string { return filepath.Join(b.dir, "usp.sock") }

// relayedPair is an agent and a controller that are both on the same bridge.
type relayedPair struct {
	m                 *measurement
	b                 *bridge
	agent, controller usp.EndpointID
}

func (d relayedPair) measure(ctx context.Context, agentOver, controllerOver string) error {
	d.m.note("native agent: %s to %s", agentOver, controllerOver)
	al, err := d.link(ctx, agentOver, d.agent)
	if err != nil {
		return err
	}
	stub := startLinked(al)
	cl, err := d.link(ctx, controllerOver, d.controller)
	if err != nil {
		return errors.Join(err, stub.close())
	}
	c := client.New(d.controller, cl)
	var a asked
	err = d.meet(ctx, al, c)
	if err == nil {
		var used cost
		used, err = d.b.measure(ctx, strings.ReplaceAll("relay "+agentOver+" "+controllerOver, " ", "-"), func() (err error) {
			a, err = askNative(ctx, c, d.agent, loadOver(agentOver, controllerOver))
			return err
		})
		a.cpu = used.cpu
	}
	if err = errors.Join(err, c.Close(), stub.close()); err != nil {
		return err
	}
	d.m.table.add(d.row(a, agentOver, controllerOver))
	return nil
}

// meet waits until the relay has heard both, so that it knows where they are.
func (d relayedPair) meet(ctx context.Context, agent client.Link, c *client.Client) error {
	return within(ctx, "the relay", func() (bool, error) {
		hello, err := record.WebSocketConnect(d.agent, d.controller, usp.RecordVersion)
		if err != nil {
			return false, err
		}
		if err := agent.Send(ctx, d.controller, hello); err != nil {
			return false, err
		}
		once, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = c.Get(once, d.agent, []string{oneParameter}, 0)
		return err == nil, nil // not yet, or never: within gives up
	})
}

// row is compared with the mean of both transports without the relay, which have
// the same two hops each.
func (d relayedPair) row(a asked, agentOver, controllerOver string) row {
	r := a.row("records relayed, agent on " + agentOver + ", controller on " + controllerOver)
	r.cpu = a.cpu / time.Duration(a.load.records())
	if controllerOver == overServed { // the hop is the same, whoever has opened it
		controllerOver = overWebSocket
	}
	mean := func(q float64) time.Duration {
		return (quantile(d.m.direct[agentOver].seen, q) + quantile(d.m.direct[controllerOver].seen, q)) / 2
	}
	r.peer = fmt.Sprintf("direct %s, %s: adds %s, %s", milliseconds(mean(0.5)), milliseconds(mean(0.99)), milliseconds(r.p50-mean(0.5)), milliseconds(r.p99-mean(0.99)))
	return r
}

// link connects an endpoint to the bridge, or to the broker that it uses too. Others
// are reached at the agent's address of their name.
func (d relayedPair) link(ctx context.Context, over string, id usp.EndpointID) (client.Link, error) {
	named := func(address string) string { return strings.ReplaceAll(address, mtp.EndpointPlaceholder, string(id)) }
	switch over {
	case overMosquitto, overBroker:
		t, err := mqtt.New(mqtt.Config{Broker: "tcp://" + d.b.mqtt, Topic: named(agentTopic), Endpoint: id})
		if err != nil {
			return nil, err
		}
		return client.OverLink(ctx, id, t, func(to usp.EndpointID) mtp.Address {
			return mtp.Address{Protocol: mtp.MQTT, Topic: strings.ReplaceAll(agentTopic, mtp.EndpointPlaceholder, string(to))}
		})
	case overSTOMP:
		t, err := stomp.New(stomp.Config{Broker: "tcp://" + d.m.stomp, Destination: named(agentQueue), Endpoint: id, Host: "/", Login: "guest", Passcode: "guest"})
		if err != nil {
			return nil, err
		}
		return client.OverLink(ctx, id, t, func(to usp.EndpointID) mtp.Address {
			return mtp.Address{Protocol: mtp.STOMP, Destination: strings.ReplaceAll(agentQueue, mtp.EndpointPlaceholder, string(to))}
		})
	case overUDS:
		return client.DialLink(ctx, client.Config{URL: uds.Scheme + d.b.socket(), Controller: id})
	case overCoAP:
		return coapLink(ctx, id, d.b.coap)
	case overServed:
		t, err := websocket.NewServer(websocket.Config{Listen: d.b.served})
		if err != nil {
			return nil, err
		}
		return client.OverLink(ctx, id, t, func(usp.EndpointID) mtp.Address { return mtp.Address{Protocol: mtp.WebSocket} })
	}
	return client.DialLink(ctx, client.Config{URL: "ws://" + d.b.websocket + "/usp", Controller: id})
}

// linked is a stub of a native agent that connects to the bridge, as native is one
// that is reached without it.
type linked struct {
	link    client.Link
	ended   chan struct{}
	sending sync.WaitGroup
}

func startLinked(link client.Link) *linked {
	l := &linked{link: link, ended: make(chan struct{})}
	go l.serve()
	return l
}

func (l *linked) serve() {
	defer close(l.ended)
	for {
		rec, err := l.link.Receive()
		if err != nil {
			return // closed
		}
		_, to, b, err := answer(rec)
		if err != nil || b == nil {
			continue // what is not answered, the controller misses
		}
		l.sending.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = l.link.Send(ctx, to, b) // likewise
		})
	}
}

func (l *linked) close() error {
	err := l.link.Close()
	<-l.ended
	l.sending.Wait()
	return err
}
