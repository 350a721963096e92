package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/relay"
)

// newRelay makes the relay in front of the agents.
func (b *bridge) newRelay(metrics prometheus.Registerer) (*relay.Relay, error) {
	c := b.cfg.USP
	rules := make([]relay.Rule, len(c.Relay.Rules))
	for i, r := range c.Relay.Rules {
		rules[i] = relay.Rule{From: string(r.From), To: string(r.To)}
	}
	policy, err := relay.NewPolicy(rules...)
	if err != nil {
		return nil, fmt.Errorf("usp.relay.rules: %w", err)
	}
	cfg := relay.Config{
		Next: b.agents, Transports: b.mtps(), Store: b.store, Claims: claims{b.joint}, Policy: policy,
		Controllers: map[usp.EndpointID]mtp.Address{}, Routes: map[usp.EndpointID]mtp.Address{},
		Owner: c.MTP.inboxOwner(), Trusted: c.atTheirWord(), Reserved: agent.BuiltinController,
		Expiry: time.Duration(c.Relay.Expiry), Endpoints: int(c.Relay.Endpoints), Sessions: c.relaySessions(), Hold: c.Relay.StoreForward.settings(),
		Log: b.log.With("part", "relay"), Registerer: metrics,
	}
	for _, ctl := range c.Controllers {
		cfg.Controllers[ctl.endpoint()] = ctl.MTP.address()
	}
	for _, p := range c.Relay.Agents {
		cfg.Agents = append(cfg.Agents, string(p))
	}
	for _, r := range c.Relay.Routes {
		cfg.Routes[usp.EndpointID(r.EndpointID)] = r.MTP.address()
	}
	for _, i := range c.Relay.Inboxes {
		cfg.Inboxes = append(cfg.Inboxes, relay.Inbox{Endpoint: usp.EndpointID(i.EndpointID), At: i.MTP.address()})
	}
	return relay.New(cfg)
}

func (c StoreForwardConfig) settings() relay.HoldConfig {
	return relay.HoldConfig{
		Enabled: bool(c.Enabled), Expiry: time.Duration(c.Expiry), Records: int(c.Records), Bytes: int(c.Bytes),
		TotalRecords: int(c.TotalRecords), TotalBytes: int(c.TotalBytes),
	}
}

// atTheirWord are the transports on which a sender need not prove who it is, for
// native endpoints as for controllers of hosted agents.
func (c USPConfig) atTheirWord() (trusted []mtp.Protocol) {
	belief := c.senders()
	for _, p := range []mtp.Protocol{mtp.WebSocket, mtp.MQTT, mtp.STOMP, mtp.UDS, mtp.CoAP} {
		if belief[p] != agent.Proof {
			trusted = append(trusted, p)
		}
	}
	return trusted
}

// claims says which endpoint ids are the bridge's own: those of its devices. It
// implements relay.Claims.
type claims struct{ joint *translate.Bridge }

func (c claims) Hosted(ctx context.Context, id usp.EndpointID) (bool, error) {
	return c.joint.Hosts(ctx, id)
}

// inboxOwner returns a function that says whose inbox an address at a broker is by
// the templates, "" if it is made from none.
func (c MTPConfig) inboxOwner() func(mtp.Address) usp.EndpointID {
	template := func(text string) mtp.Template {
		t, err := mtp.ParseTemplate(text)
		if err != nil {
			return mtp.Template{} // of no address; the transport refuses it
		}
		return t
	}
	topic, destination := template(c.MQTT.Topic), template(c.STOMP.Destination)
	return func(at mtp.Address) usp.EndpointID {
		var id usp.EndpointID
		switch at.Protocol {
		case mtp.MQTT:
			if id = topic.Match(at.Topic); strings.Contains(string(id), "/") { // further levels
				return ""
			}
		case mtp.STOMP:
			id = destination.Match(at.Destination)
		}
		if id.Validate() != nil {
			return ""
		}
		return id
	}
}
