package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
)

// The topics of the controller and the agents of rows with MQTT.
const (
	controllerTopic = "usp/controller/" + string(controller)
	agentTopic      = "usp/agent/{endpoint_id}"
)

// brokerRestart kills an MQTT broker and starts it again, and sees how long it takes
// until all agents are back: with one connection for all, and with one each.
func (m *measurement) brokerRestart(ctx context.Context) error {
	for _, connections := range []string{"shared", "per-agent"} {
		broker, err := newMosquitto(m.dir)
		if err != nil {
			return fmt.Errorf("mosquitto: %w; test/setup.sh installs it", err)
		}
		if err := broker.start(ctx); err != nil {
			return err
		}
		err = m.onBridgeWith(ctx, "restart-"+connections, func(b *bridge) {
			b.mtp = fmt.Sprintf(", mqtt: {broker: %q, connections: %s}", "tcp://"+broker.address, connections)
			b.settings = fmt.Sprintf(", limits: {discoveries: %d}", sessionsOpen)
		}, func(b *bridge) error { return m.agentsBack(ctx, b, broker, connections) })
		if err = errors.Join(err, broker.kill()); err != nil {
			return err
		}
	}
	return nil
}

// agentsBack measures one way of connecting.
func (m *measurement) agentsBack(ctx context.Context, b *bridge, broker *mosquitto, connections string) error {
	agents, err := m.wireFleet(ctx, b, m.agents)
	if err != nil {
		return err
	}
	want := 1
	if connections == "per-agent" {
		want = len(agents)
	}
	if err := b.connected(ctx, "MQTT", want); err != nil {
		return err
	}
	if err := broker.kill(); err != nil {
		return err
	}
	if err := b.connected(ctx, "MQTT", 0); err != nil {
		return err
	}
	if err := broker.start(ctx); err != nil {
		return err
	}
	back, err := b.measure(ctx, "restart-"+connections, func() error {
		if err := b.connected(ctx, "MQTT", want); err != nil {
			return err
		}
		return m.allAnswer(ctx, broker.address, agents)
	})
	if err != nil {
		return err
	}
	what := "all agents back after a restart of the broker, " + connections
	m.table.add(row{what: what, n: len(agents), clock: back.clock, cpu: back.each(len(agents))})
	return nil
}

// wireFleet has devices inform for the first time and returns their agents.
func (m *measurement) wireFleet(ctx context.Context, b *bridge, n int) ([]usp.EndpointID, error) {
	agents := make([]usp.EndpointID, n)
	began := time.Now()
	err := inParallel(sessionsOpen, n, func(i int) error {
		serial := fmt.Sprintf("BACK%06d", i)
		agents[i] = usp.EndpointID("ops::00005E-Wire-" + serial)
		w, err := newWire(b.cwmp, serial)
		if err != nil {
			return err
		}
		err = w.inform()
		for err == nil && !w.ended {
			err = w.answer()
		}
		return errors.Join(err, w.conn.Close())
	})
	if err != nil {
		return nil, err
	}
	m.note("%d agents after %v", n, time.Since(began).Round(time.Second))
	return agents, ctx.Err()
}

// allAnswer asks a sample of agents over the broker, each once.
func (m *measurement) allAnswer(ctx context.Context, address string, agents []usp.EndpointID) error {
	c, err := client.MQTT(ctx, controller, mqtt.Config{Broker: "tcp://" + address, Topic: controllerTopic}, agentTopic)
	if err != nil {
		return err
	}
	const sample = 100
	err = inParallel(sessionsOpen, min(sample, len(agents)), func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := c.Get(ctx, agents[i*len(agents)/min(sample, len(agents))], []string{"Device.DeviceInfo.SerialNumber"}, 0)
		return err
	})
	return errors.Join(err, c.Close())
}
