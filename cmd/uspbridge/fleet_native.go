package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/relay"
)

// The kinds of devices.
const (
	kindBridged = "bridged"
	kindNative  = "native"
)

// nativePage begins the place in the list from which native agents follow the
// bridged devices. No device's key has this character.
const nativePage = "~"

// listNative adds native agents from behind after to a page.
func (f fleet) listNative(ctx context.Context, q console.ListQuery, after usp.EndpointID, page []console.DeviceSummary) (devices []console.DeviceSummary, next string, err error) {
	last, more := after, false
	err = f.relay.List(ctx, q.Filter, after, func(a relay.Agent) bool {
		if len(page) == q.Limit {
			more = true
			return false
		}
		page, last = append(page, nativeSummary(a)), a.ID
		return true
	})
	if more {
		next = nativePage + string(last)
	}
	return page, next, err
}

func nativeSummary(a relay.Agent) console.DeviceSummary {
	return console.DeviceSummary{Endpoint: string(a.ID), Kind: kindNative, Stage: kindNative, Transport: string(a.Protocol), LastHeard: a.Last}
}

// showNative returns a native agent.
func (f fleet) showNative(endpoint string) (console.DeviceDetail, error) {
	a, err := f.relay.Show(usp.EndpointID(endpoint))
	if err != nil {
		return console.DeviceDetail{}, nativeError(endpoint, err)
	}
	return console.DeviceDetail{
		DeviceSummary: nativeSummary(a), Reachability: nativeReachability(a), Address: a.Address,
		FirstHeard: a.First, Authenticated: a.Proven, WaitingRecords: a.Held, WaitingBytes: a.HeldBytes,
	}, nil
}

func nativeReachability(a relay.Agent) string {
	switch {
	case !a.Reachable:
		return "away: it is not connected, or was not heard for long; it is reached again when it is heard"
	case a.Address == "":
		return "connected over " + string(a.Protocol)
	}
	return "over " + string(a.Protocol) + " at " + a.Address
}

// conflictOf says in words that a native endpoint has the id of a device.
func (f fleet) conflictOf(id usp.EndpointID) string {
	c, ok := f.relay.Conflict(id)
	if !ok {
		return ""
	}
	where := string(c.Protocol)
	if c.Address != "" {
		where += " at " + c.Address
	}
	return fmt.Sprintf("a native endpoint of the same id speaks over %s and is refused: %d records, the last at %s", where, c.Records, utc(c.Last))
}

// isNative reports whether an endpoint is a native agent and no device.
func (f fleet) isNative(ctx context.Context, id usp.EndpointID) (bool, error) {
	hosted, err := f.bridge.Hosts(ctx, id)
	if err != nil || hosted {
		return false, err
	}
	_, err = f.relay.Show(id)
	return err == nil, nil
}

// bridgedOnly fails for a native agent, of which the bridge reads and keeps no data.
func (f fleet) bridgedOnly(ctx context.Context, endpoint string) error {
	native, err := f.isNative(ctx, usp.EndpointID(endpoint))
	if err == nil && native {
		return fmt.Errorf("%w: %s is a native agent; its records are relayed, and nothing of its data is kept here", console.ErrInvalid, endpoint)
	}
	return err
}

func nativeError(endpoint string, err error) error {
	if errors.Is(err, relay.ErrUnknown) {
		return fmt.Errorf("%s: %w", endpoint, console.ErrUnknownDevice)
	}
	return err
}

// nativeAfter returns the native agent behind which a page begins, false if it
// begins among the bridged devices.
func nativeAfter(after string) (usp.EndpointID, bool) {
	id, native := strings.CutPrefix(after, nativePage)
	return usp.EndpointID(id), native
}
