package main

import (
	"context"
	"errors"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// clientIDs keeps in the store what MQTT brokers have assigned. It implements
// mqtt.ClientIDs; the store is opened after the transports are made.
type clientIDs struct{ store store.Store }

func clientIDKey(broker string, endpoint usp.EndpointID) store.Key {
	return store.Key{Kind: store.Meta, Owner: "MQTT client ids", Name: string(endpoint) + "@" + broker}
}

// Assigned implements mqtt.ClientIDs.
func (c *clientIDs) Assigned(ctx context.Context, broker string, endpoint usp.EndpointID) (string, error) {
	id, err := c.store.Get(ctx, clientIDKey(broker, endpoint))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return string(id), err
}

// Keep implements mqtt.ClientIDs.
func (c *clientIDs) Keep(ctx context.Context, broker string, endpoint usp.EndpointID, id string) error {
	var b store.Batch
	if k := clientIDKey(broker, endpoint); id == "" {
		b.Delete(k)
	} else {
		b.Put(k, []byte(id))
	}
	return c.store.Commit(ctx, &b)
}
