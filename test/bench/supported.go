package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// How often the supported data model is asked for.
const (
	supportedGets      = 1000
	aloneSupportedGets = 200 // one at a time, for the latency
)

// supported is what a controller asks of each agent that it meets first: the
// whole supported data model, with parameters, commands, events and unique keys.
func (m *measurement) supported(ctx context.Context) error {
	size, err := m.supportedOf(ctx, m.working()[0])
	if err != nil {
		return err
	}
	c, err := m.bridge.measure(ctx, "supported", func() error { return m.supportedEach(ctx, supportedGets, inFlight, nil) })
	if err != nil {
		return err
	}
	seen := make([]time.Duration, aloneSupportedGets)
	if err := m.supportedEach(ctx, len(seen), 1, seen); err != nil {
		return err
	}
	m.table.add(row{what: "GetSupportedDM of Device., all of it (bytes: of the answer)", n: supportedGets, cpu: c.each(supportedGets),
		perSecond: c.rate(supportedGets), p50: quantile(seen, 0.5), p99: quantile(seen, 0.99), bytes: float64(size)})
	return nil
}

// supportedEach asks the devices in turn, n times in all. seen, unless nil, takes
// the latencies.
func (m *measurement) supportedEach(ctx context.Context, n, workers int, seen []time.Duration) error {
	devices := m.working()
	return inParallel(workers, n, func(i int) error {
		began := time.Now()
		_, err := m.supportedOf(ctx, devices[i%len(devices)])
		if seen != nil {
			seen[i] = time.Since(began)
		}
		return err
	})
}

// supportedOf asks one agent and returns how many bytes the answer has.
func (m *measurement) supportedOf(ctx context.Context, d device) (size int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := m.ctl.GetSupportedDM(ctx, d.agent, &usppb.GetSupportedDM{ObjPaths: []string{"Device."},
		ReturnCommands: true, ReturnEvents: true, ReturnParams: true, ReturnUniqueKeySets: true})
	if err != nil {
		return 0, err
	}
	for _, r := range resp.GetReqObjResults() {
		if r.GetErrCode() != 0 || len(r.GetSupportedObjs()) == 0 {
			return 0, fmt.Errorf("GetSupportedDM of %s: %d objects, %d %s", d.agent, len(r.GetSupportedObjs()), r.GetErrCode(), r.GetErrMsg())
		}
	}
	return proto.Size(resp), nil
}
