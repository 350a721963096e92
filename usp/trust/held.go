package trust

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// ErrNone is the failure for an agent that has neither a certificate nor a request.
var ErrNone = errors.New("the agent has no certificate; it gets one when one is first needed")

// Held is what an agent has.
type Held struct {
	Agent usp.EndpointID
	Chain []*x509.Certificate // the certificate in use, leaf first; nil: none yet
	// Request waits for an operator to sign it, DER; nil: none does.
	Request []byte
	// Since is when the certificate, or with none the request, was made.
	Since time.Time
}

// List calls f for what agents have, in the order of their ids, those behind after.
// f ends it by returning false.
func (t *Trust) List(ctx context.Context, after usp.EndpointID, f func(Held) bool) error {
	var h Held
	var broken error
	q := store.Query{Kind: store.Certificate}
	if after != "" { // behind the last of its records
		q.After = &store.Key{Kind: store.Certificate, Owner: string(after), Name: waitingName}
	}
	err := t.cfg.Store.Scan(ctx, q, func(k store.Key, value []byte) bool {
		if k.Owner == caOwner {
			return true
		}
		if h.Agent != "" && h.Agent != usp.EndpointID(k.Owner) {
			if !f(h) {
				h = Held{}
				return false
			}
			h = Held{}
		}
		broken = h.add(k, value)
		return broken == nil
	})
	if broken == nil && err == nil && h.Agent != "" {
		f(h)
	}
	return errors.Join(broken, err)
}

// Show returns what an agent has.
func (t *Trust) Show(ctx context.Context, agent usp.EndpointID) (Held, error) {
	if err := agent.Validate(); err != nil {
		return Held{}, err
	}
	var h Held
	var broken error
	err := t.cfg.Store.Scan(ctx, store.Query{Kind: store.Certificate, Owner: string(agent), WholeOwner: true}, func(k store.Key, value []byte) bool {
		broken = h.add(k, value)
		return broken == nil
	})
	if err = errors.Join(broken, err); err != nil {
		return Held{}, err
	}
	if h.Agent == "" {
		return Held{}, fmt.Errorf("%s: %w", agent, ErrNone)
	}
	return h, nil
}

// add takes one record of an agent in. "current" comes before "waiting".
func (h *Held) add(k store.Key, value []byte) error {
	var p pair
	if err := json.Unmarshal(value, &p); err != nil {
		return fmt.Errorf("record of %s: %w", k.Owner, err)
	}
	h.Agent = usp.EndpointID(k.Owner)
	if k.Name == currentName {
		var err error
		if h.Chain, err = p.certificates(); err != nil {
			return fmt.Errorf("record of %s: %w", k.Owner, err)
		}
	} else {
		h.Request = slices.Clone(p.Request)
	}
	if since, err := time.Parse(time.RFC3339, p.Issued); err == nil && h.Since.IsZero() {
		h.Since = since
	}
	return nil
}
