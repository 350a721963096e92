package main

import (
	"context"
	"fmt"

	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// hosting are the agents as the joint tells them of devices: transports that
// subscribe for each agent apart are told first, so that a controller that
// answers the agent's first record is heard.
type hosting struct {
	*agent.Host
	transports []mtp.Hosting
}

func newHosting(host *agent.Host, transports []transport) *hosting {
	h := &hosting{Host: host}
	for _, t := range transports {
		if each, ok := t.Transport.(mtp.Hosting); ok {
			h.transports = append(h.transports, each)
		}
	}
	return h
}

// Hosted implements translate.Agents.
func (h *hosting) Hosted(ctx context.Context, id usp.EndpointID) error {
	for _, t := range h.transports {
		t.Host(id)
	}
	return h.Host.Hosted(ctx, id)
}

// Forget implements translate.Agents. The transports are told last: over them the
// agent takes leave of its controllers.
func (h *hosting) Forget(ctx context.Context, id usp.EndpointID) error {
	if err := h.Host.Forget(ctx, id); err != nil {
		return err
	}
	for _, t := range h.transports {
		t.Unhost(id)
	}
	return nil
}

// known tells the transports of the devices that the store has.
func (h *hosting) known(ctx context.Context, joint *translate.Bridge) error {
	if len(h.transports) == 0 {
		return nil
	}
	err := joint.List(ctx, "", "", func(r *translate.Record) bool {
		for _, t := range h.transports {
			t.Host(r.Endpoint)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("list the known devices: %w", err)
	}
	return nil
}
