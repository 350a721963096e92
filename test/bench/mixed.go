package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// kind is one thing that a controller does in its daily work.
type kind struct {
	what  string
	share int // of what the controller does to a device, in times
	do    func(ctx context.Context, agent usp.EndpointID, i int) error
}

// kinds are what the mixed load is made of. A Get is answered from the cache, a
// Set goes to the CPE, a subscription is stored and told to the CPE.
func (m *measurement) kinds() []kind {
	return []kind{
		{"Get of one parameter", 14, func(ctx context.Context, agent usp.EndpointID, _ int) error {
			return m.get(ctx, agent, oneParameter)
		}},
		{"Get of a column of a table", 4, func(ctx context.Context, agent usp.EndpointID, _ int) error {
			return m.get(ctx, agent, "Device.WiFi.SSID.*.SSID")
		}},
		{"Set of a parameter, CPE woken", 1, func(ctx context.Context, agent usp.EndpointID, i int) error {
			return m.set(ctx, agent, "Device.WiFi.SSID.1.", "SSID", fmt.Sprintf("mixed-%d", i))
		}},
		{"subscription to value changes", 1, func(ctx context.Context, agent usp.EndpointID, _ int) error {
			return m.subscribe(ctx, agent, changedPath, "mixed")
		}},
	}
}

// mixedLoad does all kinds of work at once, to each device as often as to any
// other.
func (m *measurement) mixedLoad(ctx context.Context) error {
	kinds, devices := m.kinds(), m.working()
	var turn []int // what is done to a device, by index of kinds
	for k := range kinds {
		turn = append(turn, slices.Repeat([]int{k}, kinds[k].share)...)
	}
	n := len(turn) * len(devices)
	seen := make([]time.Duration, n)
	// A device's first work is another kind than its neighbour's, so that all kinds
	// are under way all the time.
	kindOf := func(i int) int { return turn[(i+i/len(devices))%len(turn)] }
	c, err := m.bridge.measure(ctx, "mixed", func() error {
		return inParallel(inFlight, n, func(i int) error {
			began := time.Now()
			err := kinds[kindOf(i)].do(ctx, devices[i%len(devices)].agent, i)
			seen[i] = time.Since(began)
			return err
		})
	})
	if err != nil {
		return err
	}
	m.table.add(row{what: fmt.Sprintf("mixed load of a controller on %d devices, all kinds (CPU: sessions too)", len(devices)),
		n: n, cpu: c.each(n), perSecond: c.rate(n)})
	for k := range kinds {
		var its []time.Duration
		for i, took := range seen {
			if kindOf(i) == k {
				its = append(its, took)
			}
		}
		m.table.add(row{what: "mixed load: " + kinds[k].what, n: len(its), p50: quantile(its, 0.5), p99: quantile(its, 0.99)})
	}
	return m.settle(ctx)
}

// set writes one parameter.
func (m *measurement) set(ctx context.Context, agent usp.EndpointID, object, name, value string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := m.ctl.Set(ctx, agent, &usppb.Set{UpdateObjs: []*usppb.Set_UpdateObject{{ObjPath: object,
		ParamSettings: []*usppb.Set_UpdateParamSetting{{Param: name, Value: value, Required: true}}}}})
	if err != nil {
		return fmt.Errorf("set %s%s of %s: %w", object, name, agent, err)
	}
	for _, r := range resp.GetUpdatedObjResults() {
		if f := r.GetOperStatus().GetOperFailure(); f != nil {
			return fmt.Errorf("set %s%s of %s: %d %s", object, name, agent, f.GetErrCode(), f.GetErrMsg())
		}
	}
	return nil
}
