package mqtt

import (
	"context"
	"fmt"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// ClientIDs keeps the ClientIds that a broker has assigned, beyond the end of the
// process: with another id an endpoint would be another client, for which the broker
// has kept nothing (R-MQTT.9, R-MQTT.11).
type ClientIDs interface {
	// Assigned returns the ClientId of an endpoint, "" if it has none.
	Assigned(ctx context.Context, broker string, endpoint usp.EndpointID) (string, error)
	// Keep replaces it; "" removes it.
	Keep(ctx context.Context, broker string, endpoint usp.EndpointID, id string) error
}

// clientIDFor returns the ClientId of the next connection: the configured one,
// else that which the broker assigned; 3.1.1 has none to assign that it would
// tell of, and the endpoint id is tried (R-MQTT.8, R-MQTT.11).
func (t *Transport) clientIDFor(s mtp.Settings) string {
	switch {
	case s.ClientID != "":
		return s.ClientID
	case t.version == 5:
		return t.assigned
	case t.anonymous:
		return ""
	default:
		return string(t.cfg.Endpoint)
	}
}

// keepsClientID reports whether assigned ClientIds are kept. Nodes that share
// subscriptions have each their own, and one store.
func (t *Transport) keepsClientID() bool {
	return t.version == 5 && t.cfg.ClientIDs != nil && t.cfg.ShareGroup == ""
}

// recall reads the ClientId that was assigned before the process began. Without it
// there is no connection: the broker would assign another.
func (t *Transport) recall(ctx context.Context, s mtp.Settings) (err error) {
	if t.recalled || s.ClientID != "" || !t.keepsClientID() {
		return nil
	}
	if t.assigned, err = t.cfg.ClientIDs.Assigned(ctx, t.broker.Host, t.cfg.Endpoint); err != nil {
		return fmt.Errorf("mqtt: the client id that %s has assigned cannot be read: %w", t.broker.Redacted(), err)
	}
	t.recalled = true
	return nil
}

// assign takes over what the broker has assigned; "" gives up what it does not take
// any more.
func (t *Transport) assign(ctx context.Context, id string) {
	if id == t.assigned {
		return
	}
	t.assigned, t.recalled = id, true
	if !t.keepsClientID() {
		return
	}
	if err := t.cfg.ClientIDs.Keep(ctx, t.broker.Host, t.cfg.Endpoint, id); err != nil {
		t.cfg.Log.Warn("a client id that the MQTT broker has assigned is not kept: it assigns another when the bridge starts again",
			"broker", t.broker.Redacted(), "endpoint", t.cfg.Endpoint, "error", err)
	}
}
