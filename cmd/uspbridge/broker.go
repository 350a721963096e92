package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
)

// embedded is the embedded MQTT broker and where it listens; of one that is off
// there is none.
type embedded struct {
	*broker.Broker
	book    *broker.Book
	tcp, ws net.Listener
	inside  mtp.Transport // the bridge's, which uses it; nil: that uses another broker
}

// newEmbedded makes the broker, nil if it is off. Its accounts are there once the
// store is, with open.
func newEmbedded(cfg *Config, log *slog.Logger, metrics prometheus.Registerer, tlsMetrics *servertls.Metrics) (*embedded, error) {
	c := cfg.USP.Broker
	if !c.on() {
		return nil, nil
	}
	e := &embedded{book: &broker.Book{}}
	if c.Users != "" {
		fixed, err := readBrokerUsers(c.Users)
		if err != nil {
			return nil, fmt.Errorf("usp.broker.users: %w", err)
		}
		e.book.Fixed = fixed
	}
	topics := map[usp.EndpointID]string{}
	for _, ctl := range cfg.USP.Controllers {
		topics[ctl.endpoint()] = ctl.MTP.Topic
	}
	log = log.With("mtp", "broker")
	config := broker.Config{
		AgentTopic: cfg.USP.agentTopic(), Controllers: topics, Rules: c.rules(), Accounts: e.book, Anonymous: bool(c.Anonymous),
		MaxClients: int(c.Clients), MaxSessions: int(c.Sessions), MaxQueue: int(c.Queue), SessionExpiry: time.Duration(c.SessionExpiry),
		KeepAlive: time.Duration(c.KeepAlive), Rates: cfg.USP.Limits.rates(), Log: log, Registerer: metrics,
	}
	secure, err := c.TLS.server("broker", log, tlsMetrics)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		config.TLS, config.ErrorLog = secure.TLS(), secure.ErrorLog()
	} else {
		warnPlain(log, c.Listen, c.WebSocketListen)
	}
	if e.Broker, err = broker.New(config); err != nil {
		return nil, fmt.Errorf("usp.%w", err)
	}
	e.book.Changed = e.Drop
	return e, nil
}

// agentTopic is where agents are written to on the embedded broker: as on another
// that the bridge uses, if each agent has a topic of its own there.
func (c USPConfig) agentTopic() string {
	if strings.Contains(c.MTP.MQTT.Topic, mtp.EndpointPlaceholder) {
		return c.MTP.MQTT.Topic
	}
	return "usp/agent/" + mtp.EndpointPlaceholder
}

// warnPlain tells that passwords can be read on the way.
func warnPlain(log *slog.Logger, addresses ...string) {
	for _, a := range addresses {
		if host, _, err := net.SplitHostPort(a); err == nil && !isLoopbackHost(host) {
			log.Warn("the embedded broker can be reached from other machines without TLS: passwords are readable on the way", "listen", a)
		}
	}
}

// serves has a transport of the bridge use the broker.
func (e *embedded) serves(c *mqtt.Config) {
	c.Broker, c.Dial, c.SenderProperty = "mqtt://embedded", e.Dial, broker.SenderProperty
}

// open gives the accounts their store.
func (e *embedded) open(st store.Store) {
	if e != nil {
		e.book.Store = st
	}
}

// listen opens the listeners, so that an address in use stops the start.
func (e *embedded) listen(c BrokerConfig) (err error) {
	if e == nil {
		return nil
	}
	if c.Listen != "" {
		if e.tcp, err = net.Listen("tcp", c.Listen); err != nil {
			return fmt.Errorf("usp.broker.listen: %w", err)
		}
	}
	if c.WebSocketListen != "" {
		if e.ws, err = net.Listen("tcp", c.WebSocketListen); err != nil {
			return errors.Join(fmt.Errorf("usp.broker.websocket_listen: %w", err), e.close())
		}
	}
	return nil
}

// close closes the listeners of a bridge that does not come to run.
func (e *embedded) close() error {
	if e == nil {
		return nil
	}
	var errs []error
	for _, l := range []net.Listener{e.tcp, e.ws} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// start runs the broker. Others are let in once the bridge itself listens on it: what
// they would send before, nobody would hear.
func (e *embedded) start(g *group) {
	if e == nil {
		return
	}
	g.start("usp.broker", func(ctx context.Context) error {
		if e.inside != nil {
			select {
			case <-e.inside.Ready():
			case <-ctx.Done():
			}
		}
		return e.Serve(ctx, e.tcp, e.ws)
	})
}

// users shows and changes the broker's accounts for the console, nil if it is off.
// Bridged tells whether an endpoint is a device's behind the bridge.
func (e *embedded) users(bridged func(context.Context, usp.EndpointID) (bool, error)) console.BrokerUsers {
	if e == nil {
		return nil
	}
	return brokerUsers{e.book, bridged}
}

// brokerUsers implements console.BrokerUsers.
type brokerUsers struct {
	book    *broker.Book
	bridged func(context.Context, usp.EndpointID) (bool, error)
}

// List implements console.BrokerUsers.
func (u brokerUsers) List(ctx context.Context, q console.ListQuery) (list []console.BrokerUser, next string, err error) {
	filter := strings.ToLower(q.Filter)
	err = u.book.List(ctx, q.After, func(a broker.Account) bool {
		if filter != "" && !strings.Contains(strings.ToLower(a.Username+" "+string(a.Endpoint)), filter) {
			return true
		}
		if len(list) == q.Limit {
			next = list[len(list)-1].Username
			return false
		}
		list = append(list, console.BrokerUser{Username: a.Username, Endpoint: string(a.Endpoint), Changed: a.Changed})
		return true
	})
	return list, next, err
}

// Put implements console.BrokerUsers.
func (u brokerUsers) Put(ctx context.Context, username, endpoint, password string) (warning string, err error) {
	a, err := broker.NewAccount(username, usp.EndpointID(endpoint), password)
	if err != nil {
		return "", fmt.Errorf("%w: %w", console.ErrInvalid, err)
	}
	bridged, err := u.bridged(ctx, a.Endpoint)
	if err != nil {
		return "", err
	}
	if bridged {
		warning = fmt.Sprintf("%s is a device that the bridge presents as an agent: whoever logs in so reads what is written to it and answers in its name; "+
			"if the device has not come to speak USP itself, take it back with `uspbridge broker user remove %s`", endpoint, username)
	}
	return warning, brokerFailure(u.book.Put(ctx, a))
}

// Remove implements console.BrokerUsers.
func (u brokerUsers) Remove(ctx context.Context, username string) error {
	return brokerFailure(u.book.Remove(ctx, username))
}

// brokerFailure gives a failure the status that the console has for it.
func brokerFailure(err error) error {
	switch {
	case errors.Is(err, broker.ErrNoAccount):
		return console.ErrNoBrokerUser
	case errors.Is(err, broker.ErrFixed):
		return fmt.Errorf("%w: %w", console.ErrInvalid, err)
	}
	return err
}
