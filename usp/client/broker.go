package client

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
)

// MQTT returns a Client of a controller behind an MQTT broker. cfg.Topic is where
// the controller listens; agentTopic, a template with {endpoint_id}, is where
// agents do. It waits for the broker until ctx ends.
func MQTT(ctx context.Context, controller usp.EndpointID, cfg mqtt.Config, agentTopic string) (*Client, error) {
	agents, err := mtp.ParseTemplate(agentTopic)
	if err != nil {
		return nil, fmt.Errorf("topic of agents: %w", err)
	}
	cfg.Endpoint = controller
	t, err := mqtt.New(cfg)
	if err != nil {
		return nil, err
	}
	return Over(ctx, controller, t, func(agent usp.EndpointID) mtp.Address {
		return mtp.Address{Protocol: mtp.MQTT, Topic: agents.Expand(string(agent))}
	})
}

// STOMP returns a Client of a controller behind a STOMP server. cfg.Destination is
// where the controller listens; agentDestination, a template with {endpoint_id},
// is where agents do. It waits for the server until ctx ends.
func STOMP(ctx context.Context, controller usp.EndpointID, cfg stomp.Config, agentDestination string) (*Client, error) {
	agents, err := mtp.ParseTemplate(agentDestination)
	if err != nil {
		return nil, fmt.Errorf("destination of agents: %w", err)
	}
	cfg.Endpoint = controller
	t, err := stomp.New(cfg)
	if err != nil {
		return nil, err
	}
	return Over(ctx, controller, t, func(agent usp.EndpointID) mtp.Address {
		return mtp.Address{Protocol: mtp.STOMP, Destination: agents.Expand(string(agent))}
	})
}

// Over returns a Client of a controller over a transport, which it runs until the
// Client is closed. route says where an agent is reached. It waits until the
// transport is ready or ctx ends.
func Over(ctx context.Context, controller usp.EndpointID, t mtp.Transport, route func(agent usp.EndpointID) mtp.Address) (*Client, error) {
	link, err := OverLink(ctx, controller, t, route)
	if err != nil {
		return nil, err
	}
	return New(controller, link), nil
}

// OverLink is Over for who deals with records itself.
func OverLink(ctx context.Context, controller usp.EndpointID, t mtp.Transport, route func(agent usp.EndpointID) mtp.Address) (Link, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &transportLink{
		transport: t, controller: controller, route: route, stop: stop,
		records: make(chan []byte, 64), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	go func() {
		defer close(l.ended)
		l.err = t.Serve(running, inbox{l})
	}()
	select {
	case <-t.Ready():
		return l, nil
	case <-l.ended:
		stop()
		return nil, l.err
	case <-ctx.Done():
		err := fmt.Errorf("%s is not ready (%s): %w", t.Protocol(), t.Status().LastError, ctx.Err())
		return nil, errors.Join(err, l.Close())
	}
}

// transportLink is a Link over a transport.
type transportLink struct {
	transport  mtp.Transport
	controller usp.EndpointID
	route      func(usp.EndpointID) mtp.Address
	records    chan []byte
	stop       context.CancelFunc
	closeOnce  sync.Once
	closing    chan struct{}
	ended      chan struct{}
	err        error // of Serve, once ended is closed
}

// errClosed is what Receive returns after Close.
var errClosed = errors.New("the link is closed")

// Send sends a record to where agents of that id are reached.
func (l *transportLink) Send(ctx context.Context, to usp.EndpointID, record []byte) error {
	return l.transport.Send(ctx, l.controller, to, l.route(to), record)
}

// Receive returns the next record.
func (l *transportLink) Receive() ([]byte, error) {
	select {
	case b := <-l.records:
		return b, nil
	case <-l.closing:
		return nil, errClosed
	case <-l.ended:
		return nil, errors.Join(errClosed, l.err)
	}
}

// Close stops the transport and waits for its end.
func (l *transportLink) Close() error {
	l.closeOnce.Do(func() { close(l.closing) })
	l.stop()
	<-l.ended
	return l.err
}

// inbox is the Handler of a transportLink's transport.
type inbox struct{ link *transportLink }

// Receive passes a record on. Where nobody takes them the transport has to wait.
func (i inbox) Receive(in mtp.Inbound) error {
	select {
	case i.link.records <- in.Record:
		return nil
	case <-i.link.closing:
		return errClosed
	}
}

// Connected is of no interest to a controller that waits for records.
func (inbox) Connected(_, _ usp.EndpointID, _ mtp.Address) {}

// Disconnected is neither.
func (inbox) Disconnected(_, _ usp.EndpointID, _ mtp.Address) {}
