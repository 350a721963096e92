package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// PerAgent is the MQTT transport that gives each hosted endpoint a connection of
// its own. It implements what mtp.PerAgent does, mtp.Publisher,
// mtp.Counting and mtp.Reconnecting.
type PerAgent struct {
	*mtp.PerAgent
	cfg    Config
	broker string
}

// What is asked for at run time only.
var (
	_ mtp.PerEndpoint  = (*PerAgent)(nil)
	_ mtp.Reconnecting = (*PerAgent)(nil)
	_ mtp.Counting     = (*PerAgent)(nil)
)

// NewPerAgent returns a transport of which each hosted endpoint has a connection:
// its own usp-endpoint-id, ClientId and certificate. Of cfg, {endpoint_id} may
// stand in ClientID, Username and the will; without a ClientID the endpoint id is
// used. cfg.Endpoint is for the connection that carries what is no agent's.
func NewPerAgent(cfg Config) (*PerAgent, error) {
	broker, topic, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if !topic.PerEndpoint() {
		return nil, fmt.Errorf("mqtt: topic %q: needs %s where each agent has its own connection", cfg.Topic, mtp.EndpointPlaceholder)
	}
	if cfg.ClientID != "" && !strings.Contains(cfg.ClientID, mtp.EndpointPlaceholder) {
		return nil, fmt.Errorf("mqtt: client id %q: needs %s where each agent has its own connection", cfg.ClientID, mtp.EndpointPlaceholder)
	}
	if cfg.ShareGroup != "" {
		return nil, errors.New("mqtt: connections of single agents share no subscriptions")
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.MQTT)
	if err != nil {
		return nil, err
	}
	escape := escaper(cfg.Version)
	return &PerAgent{cfg: cfg, broker: broker.Host, PerAgent: mtp.NewPerAgent(mtp.Singles{
		Protocol: mtp.MQTT, Meter: meter, Own: cfg.Endpoint, Check: func(s mtp.Settings) error { return check(cfg.level(), s) },
		Address: cfg.address,
		Defaults: func(e usp.EndpointID) mtp.Settings {
			id := string(e)
			if cfg.ClientID != "" {
				id = expand(cfg.ClientID, e)
			}
			return mtp.Settings{ClientID: id, KeepAlive: cfg.KeepAlive, Inbox: topic.Expand(escape.Replace(string(e)))}
		},
		New: func(e usp.EndpointID, s mtp.Settings, meter *mtp.Meter, gate mtp.Gate) (mtp.Single, error) {
			return New(cfg.of(e, s, meter, gate))
		},
	})}, nil
}

// of returns the configuration of one agent's connection.
func (c Config) of(e usp.EndpointID, s mtp.Settings, meter *mtp.Meter, gate mtp.Gate) Config {
	c.Endpoint, c.Username, c.ClientID = e, expand(c.Username, e), ""
	if c.Will != nil {
		w := *c.Will
		w.Topic, w.Payload = expand(w.Topic, e), []byte(expand(string(w.Payload), e))
		c.Will = &w
	}
	c.Registerer = nil
	c.single = &single{settings: s, meter: meter, gate: gate}
	return c
}

// forgetTimeout bounds what has to ask the store when endpoints go.
const forgetTimeout = 5 * time.Second

// Unhost ends the connections of endpoints and forgets their settings, and the
// ClientIds that the broker has assigned to them.
func (t *PerAgent) Unhost(endpoints ...usp.EndpointID) {
	t.PerAgent.Unhost(endpoints...)
	if t.cfg.ClientIDs == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetTimeout)
	defer cancel()
	for _, e := range endpoints {
		if err := t.cfg.ClientIDs.Keep(ctx, t.broker, e, ""); err != nil {
			t.cfg.Log.Warn("the client id of an endpoint that is gone is still kept", "endpoint", e, "error", err)
		}
	}
}

// ownOf returns an endpoint's own connection, nil if it is not hosted.
func (t *PerAgent) ownOf(e usp.EndpointID) *Transport {
	if _, hosted := t.Connection(e); !hosted {
		return nil
	}
	own, _ := t.Via(e).(*Transport)
	return own
}

// Reconnect implements mtp.Reconnecting.
func (t *PerAgent) Reconnect(e usp.EndpointID) {
	if own := t.ownOf(e); own != nil {
		own.again()
	}
}

func expand(s string, e usp.EndpointID) string {
	return strings.ReplaceAll(s, mtp.EndpointPlaceholder, string(e))
}

// check reports why settings cannot work.
func check(version byte, s mtp.Settings) error {
	if err := checkUserProperties(version, s.UserProperties); err != nil {
		return err
	}
	if s.Inbox != "" {
		if err := checkPublishTopic(s.Inbox); err != nil {
			return err
		}
	}
	if s.KeepAlive < 0 || s.KeepAlive > 65535*time.Second {
		return fmt.Errorf("mqtt: keep-alive of %s: 0 to 65535 seconds", s.KeepAlive)
	}
	if len(s.ClientID) > 65535 || strings.ContainsRune(s.ClientID, 0) {
		return errors.New("mqtt: the client id has a NUL, or more than 65535 bytes")
	}
	if len(s.Subscriptions) > maxSubscriptions {
		return fmt.Errorf("mqtt: %d subscriptions, at most %d are made", len(s.Subscriptions), maxSubscriptions)
	}
	for _, sub := range s.Subscriptions {
		if err := checkFilter(sub.Topic); err != nil {
			return err
		}
	}
	return nil
}

// Publish publishes over the connection of p.From.
func (t *PerAgent) Publish(ctx context.Context, p mtp.Publication) error {
	via, ok := t.Via(p.From).(*Transport)
	if !ok {
		return fmt.Errorf("mqtt: %s has no connection here: %w", p.From, mtp.ErrUnreachable)
	}
	return via.Publish(ctx, p)
}
